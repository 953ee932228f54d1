"""Nothing of a screen is ever lost, cut or covered; decoders raise only their own error."""

from __future__ import annotations

import contextlib
import itertools
import string
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from primegap.bitcoin.amounts import MAX_MONEY, Satoshi, format_btc, format_sats
from primegap.bitcoin.networks import Network
from primegap.keyos.ui import theme
from primegap.keyos.ui.canonical import decode_screen_untrusted, encode_screen
from primegap.keyos.ui.errors import LayoutError, ScreenFormatError
from primegap.keyos.ui.input import ActionKind, TouchMachine
from primegap.keyos.ui.items import ICON_NAMES
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.parts import Layout, Rect
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
    Item,
    Keypad,
    KeypadPurpose,
    OneTimeCode,
    Progress,
    Qr,
    QrLevel,
    Row,
    Screen,
    Spacer,
    Text,
    TextStyle,
    Toggle,
    Tone,
    Untrusted,
    Words,
    shown,
)
from primegap.keyos.ui.text import MAX_UNTRUSTED_CHARS, SHOWABLE, neutralise, wrap

CHARS = st.sampled_from(sorted(SHOWABLE)) | st.sampled_from("  aeinstW")


def texts(limit: int, *, least: int = 0) -> st.SearchStrategy[str]:
    """Texts of our own, often as long as allowed."""
    short = st.text(CHARS, min_size=least, max_size=limit)
    long = st.text(CHARS, min_size=limit * 3 // 4, max_size=limit)
    return (short | long).filter(lambda text: least == 0 or bool(text.strip()))


def labels(limit: int, *, least: int = 0) -> st.SearchStrategy[str | Untrusted]:
    """Texts of our own or from outside."""
    return texts(limit, least=least) | st.builds(Untrusted, st.text(max_size=limit))


def with_own_ids(screen_parts: list[Any]) -> list[Any]:
    """Give every button, choice and switch an id of its own."""
    numbers = itertools.count()

    def renamed(part: Any) -> Any:
        if isinstance(part, ChoiceList):
            return replace(part, choices=tuple(renamed(choice) for choice in part.choices))
        if isinstance(part, Button | Choice | Toggle | OneTimeCode):
            return replace(part, id=f"id-{next(numbers)}")
        return part

    return [renamed(part) for part in screen_parts]


paragraphs = st.lists(texts(120, least=1), min_size=1, max_size=4).map("\n".join) | st.builds(
    Untrusted, st.text(max_size=400)
)
icons: st.SearchStrategy[Any] = st.sampled_from(sorted(ICON_NAMES))
choices = st.builds(
    Choice,
    st.just("id"),
    labels(60, least=1),
    labels(120),
    st.booleans(),
    st.none() | icons,
)
items: st.SearchStrategy[Item] = st.one_of(
    st.builds(Text, paragraphs, st.sampled_from(TextStyle)),
    st.builds(Row, labels(60), labels(200), st.sampled_from(Tone)),
    st.builds(
        Amount, labels(60), st.integers(0, MAX_MONEY), st.sampled_from(Network), st.booleans()
    ),
    st.builds(
        Address, labels(60), st.text(string.ascii_letters + string.digits, min_size=1, max_size=128)
    ),
    st.builds(
        Code,
        labels(60),
        st.text(string.hexdigits + " -", min_size=1, max_size=128).map(str.strip).filter(bool),
    ),
    st.builds(
        Words,
        st.lists(
            st.text(string.ascii_lowercase, min_size=1, max_size=8), min_size=1, max_size=33
        ).map(tuple),
    ),
    st.builds(ChoiceList, st.lists(choices, min_size=1, max_size=5).map(tuple), st.booleans()),
    st.builds(
        Qr,
        st.text(string.ascii_uppercase, min_size=1, max_size=300),
        labels(80),
        st.sampled_from(QrLevel),
    ),
    st.builds(Progress, labels(60), st.none() | st.floats(0, 1)),
    st.builds(Toggle, st.just("id"), labels(60, least=1), st.booleans(), labels(120)),
    st.builds(
        OneTimeCode,
        st.just("id"),
        labels(60, least=1),
        labels(120),
        st.lists(st.text(string.digits, min_size=1, max_size=3), max_size=3).map(" ".join),
        st.none() | st.floats(0, 1),
    ),
    st.builds(Icon, icons, st.sampled_from(Tone)),
    st.builds(Spacer, st.sampled_from([8, 24, 240, None])),
)
keypads = st.builds(Keypad, st.sampled_from(KeypadPurpose))
buttons = st.builds(
    Button,
    st.just("id"),
    texts(24, least=1),
    st.sampled_from(ButtonStyle),
    st.sampled_from([0, 0, 1500]),
)


@st.composite
def screens(draw: st.DrawFn) -> Screen:
    """Any screen that the model allows."""
    content = draw(st.lists(items, max_size=6))
    if draw(st.integers(0, 5)) == 0:
        content.insert(draw(st.integers(0, len(content))), draw(keypads))
    parts = with_own_ids([*content, *draw(st.lists(buttons, max_size=4))])
    return Screen(
        "any",
        draw(texts(64, least=1)),
        tuple(part for part in parts if not isinstance(part, Button)),
        tuple(part for part in parts if isinstance(part, Button)),
        app=draw(st.none() | st.just("Bitcoin")),
        banner=draw(st.none() | st.builds(Banner, texts(60, least=1), st.sampled_from(Tone))),
    )


def laid_out(screen: Screen) -> Layout:
    """Lay out a screen, or leave the example when it is refused."""
    try:
        return layout(screen)
    except LayoutError:
        assume(False)
        raise


def written(item: Item) -> list[str]:
    """Return what must stand on the display for an item, in reading order."""
    match item:
        case Text():
            return [shown(item.text)]
        case Row():
            return [shown(item.label), shown(item.value)]
        case Amount():
            sat = Satoshi(item.sat)
            number = f"{format_btc(sat, unit='')} {item.network.currency}"
            pill = item.network.value.capitalize() if item.network.is_test else ""
            head = [pill] if item.emphasised else []
            return [*head, shown(item.label), number, format_sats(sat)]
        case Address() | Code():
            return [shown(item.label), item.text]
        case Words():
            return [f"{number} {word}" for number, word in enumerate(item.words, item.first)]
        case ChoiceList():
            return [text for c in item.choices for text in (shown(c.label), shown(c.detail))]
        case Toggle():
            return [shown(item.label), shown(item.detail)]
        case OneTimeCode():
            return [shown(item.label), shown(item.detail), item.code or "– – –"]
        case Qr():
            return [shown(item.caption)]
        case Progress():
            done = item.fraction
            return [shown(item.label), "" if done is None else f"{int(done * 100)} %"]
        case Keypad():
            keys = {
                "pin": "1234567890",
                "code": "1234567890",
                "dice": "123456",
                "words": "qwertyuiopasdfghjklzxcvbnm",
            }
            return [keys[item.purpose.value]]
        case Icon() | Spacer():
            return []


def squeezed(text: str) -> str:
    """Return a text without whitespace: lines may break anywhere."""
    return "".join(text.split())


DISPLAY = Rect(0, theme.STATUS_HEIGHT, theme.WIDTH, theme.HEIGHT)
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(screen=screens())
def test_all_text_of_a_screen_stands_in_its_layout(screen: Screen) -> None:
    pages = laid_out(screen).pages
    for number, item in enumerate(screen.items):
        found = [
            p.text for page in pages for e in page.elements if e.item == number for p in e.texts()
        ]
        assert squeezed("".join(found)) == squeezed("".join(written(item)))
    for page in pages:
        frame = squeezed(
            "".join(p.text for e in page.elements if e.item is None for p in e.texts())
        )
        assert squeezed(screen.title) in frame
        assert screen.banner is None or squeezed(screen.banner.text) in frame
    last = squeezed("".join(p.text for e in pages[-1].elements for p in e.texts()))
    assert all(squeezed(button.label) in last for button in screen.buttons)


@SETTINGS
@given(screen=screens())
def test_everything_is_inside_and_nothing_overlaps(screen: Screen) -> None:
    for page in laid_out(screen).pages:
        for element in page.elements:
            assert DISPLAY.holds(element.rect)
            assert all(element.rect.holds(part.rect) for part in element.parts)
            assert all(element.rect.holds(part.rect) for part in element.texts())
            for one, two in itertools.combinations(element.texts(), 2):
                assert not one.rect.overlaps(two.rect)
        for a, b in itertools.combinations(page.elements, 2):
            assert not a.rect.overlaps(b.rect)
        for c, d in itertools.combinations(page.targets, 2):
            assert not c.rect.overlaps(d.rect)
        assert all(DISPLAY.holds(target.rect) for target in page.targets)
        assert all(target.rect.height >= 36 for target in page.targets)


@SETTINGS
@given(screen=screens())
def test_whatever_can_be_pressed_is_there_at_its_page(screen: Screen) -> None:
    pages = laid_out(screen).pages
    listed = [target.id for page in pages for target in page.targets]
    for button in screen.buttons:
        where = [page.target(button.id) is not None for page in pages]
        assert where == [not button.commits] * (len(pages) - 1) + [True]
    for item in screen.items:
        if isinstance(item, ChoiceList):
            assert all(listed.count(choice.id) == 1 for choice in item.choices)
        elif isinstance(item, Toggle | OneTimeCode):
            assert listed.count(item.id) == 1


@SETTINGS
@given(screen=screens())
def test_a_screen_comes_back_from_its_encoding(screen: Screen) -> None:
    assert decode_screen_untrusted(encode_screen(screen)) == screen


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["type", "text", "id"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300) | plain_values.map(cbor2.dumps))
def test_other_bytes_raise_the_format_error_and_nothing_else(data: bytes) -> None:
    try:
        decode_screen_untrusted(data)
    except ScreenFormatError:
        return
    raise AssertionError("no screen is made of such bytes")


@pytest.mark.guarantee("U-5", tried="an encoded screen with bytes changed")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(screen=screens(), data=st.data())
def test_a_changed_encoding_is_another_screen_or_none(screen: Screen, data: st.DataObject) -> None:
    encoded = bytearray(encode_screen(screen))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ScreenFormatError):
        assert decode_screen_untrusted(bytes(encoded)) != screen


@settings(max_examples=300, deadline=None)
@given(raw=st.text(max_size=2000), limit=st.integers(1, MAX_UNTRUSTED_CHARS))
def test_text_from_outside_is_short_showable_and_settled(raw: str, limit: int) -> None:
    text = neutralise(raw, limit)
    assert len(text) <= limit
    assert SHOWABLE.issuperset(text.replace("□", ""))
    assert neutralise(text, limit) == text


@settings(max_examples=300, deadline=None)
@given(text=st.text("ab \n", max_size=80), width=st.integers(1, 12))
def test_lines_hold_every_character_and_fit(text: str, width: int) -> None:
    lines = wrap(text, width, len)
    assert squeezed("".join(lines)) == squeezed(text)
    assert all(len(line) <= width for line in lines)


CONFIRM = layout(
    Screen(
        "confirm",
        "Sign?",
        (Text("word " * 150),),
        (Button("reject", "Reject"), Button("sign", "Hold", ButtonStyle.PRIMARY, hold_ms=1000)),
        confirm=True,
    )
)
BUTTON = (240, 656)
"Where `Next` is on the first page and the button to hold on the last."
steps = st.tuples(
    st.sampled_from(["down", "move", "up", "cancel", "show", *["tick"] * 4]),
    st.sampled_from([BUTTON, BUTTON, BUTTON, (100, 640), (240, 740), (240, 200)]),
    st.floats(0, 1.2),
)


@pytest.mark.guarantee("U-9", tried="random sequences of touches")
@settings(max_examples=200, deadline=None)
@given(sequence=st.lists(steps, max_size=40), turned=st.booleans())
def test_no_sequence_of_touches_confirms_without_a_full_hold(
    sequence: list[Any], turned: bool
) -> None:
    """A model beside the machine: how long one finger has rested on the button, at most."""
    machine = TouchMachine()
    now_s = visible_s = 0.0
    ask = 1
    held_from_s: float | None = None
    touching = False
    machine.show(CONFIRM, ask=ask, now_s=now_s)
    if turned:
        machine.down(*BUTTON, now_s=now_s)
        assert machine.up(*BUTTON, now_s=now_s) is not None
    for kind, (x, y), pause_s in sequence:
        now_s += pause_s
        page = CONFIRM.pages[machine.page]
        button = page.target("sign")
        on_button = button is not None and button.rect.contains(x, y)
        action = None
        if kind == "down":
            machine.down(x, y, now_s=now_s)
            held_from_s = now_s if on_button and not touching else None
            touching = True
        elif kind == "move":
            action = machine.move(x, y, now_s=now_s)
        elif kind == "up":
            action = machine.up(x, y, now_s=now_s)
            touching = False
        elif kind == "tick":
            action = machine.tick(now_s=now_s)
        elif kind == "cancel":
            machine.cancel()
            held_from_s = None
        else:
            ask += 1
            machine.show(CONFIRM, ask=ask, now_s=now_s)
            visible_s, held_from_s = now_s, None
        if action is not None and action.kind is ActionKind.PAGE:
            visible_s, held_from_s = now_s, None
        if action is not None and action.id == "sign":
            assert page is CONFIRM.pages[-1]
            assert held_from_s is not None
            event("confirmed")
            assert now_s - held_from_s >= 1.0 - 1e-9
            assert now_s - visible_s >= 1.6 - 1e-9
            held_from_s = None
        elif (kind == "move" and not on_button) or kind == "up":
            held_from_s = None
