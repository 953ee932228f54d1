"""Screens as data: limits of the constructors, the characters, the texts from outside."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from primegap.bitcoin.networks import Network
from primegap.keyos.ui.errors import LayoutError, ScreenError, ScreenFormatError
from primegap.keyos.ui.screen import (
    Address,
    Amount,
    Banner,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Code,
    Icon,
    Keypad,
    KeypadPurpose,
    Progress,
    Qr,
    Row,
    Screen,
    Spacer,
    Text,
    Toggle,
    Untrusted,
    Words,
    untrusted,
)
from primegap.keyos.ui.text import CUT, REPLACEMENT, SHOWABLE, neutralise, shown, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG: dict[str, Callable[[], Any]] = {
    "text of control characters": lambda: Text("a\x07b"),
    "text of bidirectional controls": lambda: Text("a\u202eb"),
    "text of zero width": lambda: Text("a\u200bb"),
    "text of combining marks": lambda: Text("a\u0301"),
    "text with the sign for what cannot be shown": lambda: Text(REPLACEMENT),
    "empty text": lambda: Text(""),
    "long text": lambda: Text("a" * 1001),
    "text that is bytes": lambda: Text(b"a"),  # type: ignore[arg-type]
    "style by name": lambda: Text("a", style="body"),  # type: ignore[arg-type]
    "line feed in a label": lambda: Row("a\nb", "c"),
    "long label": lambda: Row("a" * 61, "c"),
    "negative amount": lambda: Amount("a", -1, Network.MAINNET),
    "more than all bitcoin": lambda: Amount("a", 21_000_000 * 10**8 + 1, Network.MAINNET),
    "amount that is a truth": lambda: Amount("a", True, Network.MAINNET),
    "fractional amount": lambda: Amount("a", 1.5, Network.MAINNET),  # type: ignore[arg-type]
    "address with a space": lambda: Address("a", "bc1q xyz"),
    "address with other letters": lambda: Address("a", "bc1q\u0430"),
    "empty address": lambda: Address("a", ""),
    "long address": lambda: Address("a", "a" * 129),
    "code of other letters": lambda: Code("a", "é"),
    "code with an end": lambda: Code("a", "abc "),
    "word with a capital": lambda: Words(("Abandon",)),
    "no words": lambda: Words(()),
    "too many words": lambda: Words(("abandon",) * 34),
    "words in a list": lambda: Words(["abandon"]),  # type: ignore[arg-type]
    "keypad longer than its purpose": lambda: Keypad(KeypadPurpose.PIN, 17),
    "keypad that needs more than it takes": lambda: Keypad(KeypadPurpose.PIN, 6, 7),
    "reserved id": lambda: Button("page:next", "Next"),
    "reserved key": lambda: Choice("key:1", "One"),
    "id with capitals": lambda: Button("OK", "OK"),
    "long id": lambda: Button("a" * 65, "OK"),
    "button without a label": lambda: Button("a", " "),
    "button with a long label": lambda: Button("a", "b" * 25),
    "hold too short to be one": lambda: Button("a", "b", hold_ms=100),
    "hold that is a truth": lambda: Button("a", "b", hold_ms=False),
    "endless hold": lambda: Button("a", "b", hold_ms=60_000),
    "no choices": lambda: ChoiceList(()),
    "choices of texts": lambda: ChoiceList((Text("a"),)),  # type: ignore[arg-type]
    "unknown icon": lambda: Icon("skull"),  # type: ignore[arg-type]
    "empty symbol": lambda: Qr(""),
    "symbol of other letters": lambda: Qr("é"),
    "large symbol": lambda: Qr("a" * 2954),
    "fraction above one": lambda: Progress("a", 1.01),
    "fraction that is minus zero": lambda: Progress("a", -0.0),
    "fraction that is none": lambda: Progress("a", float("nan")),
    "fraction that is an integer": lambda: Progress("a", 1),
    "spacer off the grid": lambda: Spacer(12),
    "empty banner": lambda: Banner(""),
    "screen without a title": lambda: Screen("a", ""),
    "long title": lambda: Screen("a", "b" * 65),
    "long name of an app": lambda: Screen("a", "b", app="c" * 25),
    "item of no kind": lambda: Screen("a", "b", (Button("c", "d"),)),  # type: ignore[arg-type]
    "too many items": lambda: Screen("a", "b", (Text("c"),) * 65),
    "too many buttons": lambda: Screen("a", "b", (), tuple(Button(c, c) for c in "cdefg")),
    "too much text": lambda: Screen("a", "b", (Text("c" * 1000),) * 7),
    "id used twice": lambda: Screen("a", "b", (Toggle("c", "d", on=True),), (Button("c", "d"),)),
    "two keypads": lambda: Screen("a", "b", (Keypad(KeypadPurpose.PIN),) * 2),
    "confirmation with one button": lambda: Screen(
        "a", "b", (), (Button("c", "d", ButtonStyle.PRIMARY),), confirm=True
    ),
    "confirmation with two that commit": lambda: Screen(
        "a",
        "b",
        (),
        (Button("c", "d", ButtonStyle.PRIMARY), Button("e", "f", ButtonStyle.DANGER)),
        confirm=True,
    ),
    "confirmation with a switch": lambda: Screen(
        "a",
        "b",
        (Toggle("t", "u", on=True),),
        (Button("c", "d", ButtonStyle.PRIMARY), Button("e", "f")),
        confirm=True,
    ),
    "untrusted text that is bytes": lambda: Untrusted(b"a"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG.keys())
def test_what_breaks_a_rule_raises_the_typed_error(make: Callable[[], Any]) -> None:
    with pytest.raises(ScreenError):
        make()


def test_errors_have_codes_of_their_own() -> None:
    codes = {error.code for error in (ScreenError, ScreenFormatError, LayoutError)}
    assert len(codes) == 3


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Text("a").text = "b"  # type: ignore[misc]


@pytest.mark.guarantee("H-1", tried="repr of items with secrets")
def test_secrets_are_not_in_the_representation() -> None:
    screen = Screen("a", "b", (Words(("abandon", "zoo")), Qr("SECRET", secret=True)))
    assert "abandon" not in repr(screen)
    assert "SECRET" not in repr(screen)


@pytest.mark.parametrize(
    ("item", "secret"),
    [
        (Words(("zoo",)), True),
        (Keypad(KeypadPurpose.WORDS), True),
        (Keypad(KeypadPurpose.PIN), False),
        (Qr("A"), False),
        (Qr("A", secret=True), True),
        (ChoiceList((Choice("a", "zoo"),), secret=True), True),
    ],
)
def test_a_screen_knows_whether_it_shows_a_secret(item: Any, secret: bool) -> None:
    assert Screen("a", "b", (item,)).secret is secret


def test_a_confirmation_names_its_approving_button() -> None:
    approve = Button("yes", "Yes", ButtonStyle.PRIMARY, hold_ms=1000)
    screen = Screen("a", "b", (), (Button("no", "No"), approve), confirm=True)
    assert screen.approval is approve
    assert dataclasses.replace(screen, confirm=False).approval is None


# -- texts from outside ----------------------------------------------------------------------------


@pytest.mark.guarantee("U-10", tried="control, bidi and look-alike characters")
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain name", "plain name"),
        ("", ""),
        ("tab\tand\nline", "tab and line"),
        ("no\u00a0break", "no break"),
        ("  many    spaces  ", "many spaces"),
        ("exe.\u202egpj", "exe.□gpj"),
        ("\u2066isolate\u2069", "□isolate□"),
        ("zero\u200bwidth\u200d", "zero□width□"),
        ("soft\u00adhyphen", "soft□hyphen"),
        ("Z\u0321\u0322\u0323\u0324\u0325algo", "□algo"),
        ("e\u0301t\u0065\u0301", "été"),
        ("nul\x00bell\x07", "nul□bell□"),
        ("\ud800", "□"),
        ("日本語", "□"),
        ("שלום", "□"),
        ("tag\U000e0041\U000e0042", "tag□"),
        ("Привет, Γειά, Łódź", "Привет, Γειά, Łódź"),
    ],
)
def test_text_from_outside_is_neutralised(raw: str, expected: str) -> None:
    assert neutralise(raw) == expected
    assert Untrusted(raw).text == expected


@pytest.mark.guarantee("U-10", tried="texts beyond the limit")
def test_text_from_outside_is_cut_visibly() -> None:
    assert neutralise("a" * 50, 10) == "a" * 9 + CUT
    assert neutralise("a" * 10, 10) == "a" * 10
    assert neutralise("\u200b" * 10_000 + "hidden", 10) == REPLACEMENT + CUT
    assert len(untrusted("a" * 10**6).text) == 120


def test_text_from_outside_is_quoted() -> None:
    assert shown(Untrusted("me")) == "“me”"
    assert shown("me") == "me"


@pytest.mark.guarantee("U-10", tried="every character that may be shown")
def test_no_showable_character_is_invisible_or_ambiguous() -> None:
    assert REPLACEMENT not in SHOWABLE
    assert all(char.isprintable() for char in SHOWABLE)
    assert [char for char in SHOWABLE if char.isspace()] == [" "]


# -- breaking lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("abcdefghijklmnopqrst", ["abcdefghij", "klmnopqrst"]),
        ("a bcdefghijklmn", ["a", "bcdefghijk", "lmn"]),
        ("one\ntwo", ["one", "two"]),
        ("one\n\ntwo", ["one", "", "two"]),
    ],
)
def test_lines_break_at_spaces_and_inside_long_words(text: str, expected: list[str]) -> None:
    assert wrap(text, 10, len) == expected


def test_a_line_too_narrow_for_a_character_is_refused() -> None:
    with pytest.raises(ScreenError):
        wrap("ab", 0.5, len)


def test_describing_a_screen_loads_no_drawing_library() -> None:
    code = (
        "import sys, primegap.keyos.ui.canonical, primegap.keyos.ui.input;"
        "print([m for m in sys.modules if m.split('.')[0] in {'PIL', 'zxingcpp', 'numpy'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
