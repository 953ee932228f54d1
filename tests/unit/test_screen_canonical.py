"""The encoding of screens and the digest that confirmations are bound to."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import cbor2
import pytest

from primegap.bitcoin.networks import Network
from primegap.keyos.ui.canonical import (
    MAX_SCREEN_BYTES,
    decode_screen_untrusted,
    encode_screen,
    parse_app_screen_untrusted,
    screen_digest,
)
from primegap.keyos.ui.errors import ScreenFormatError
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
    Words,
    untrusted,
)

EVERYTHING = Screen(
    "all",
    "Everything",
    (
        Icon("coin", Tone.WARNING),
        Text("A text\nof two lines", TextStyle.DANGER),
        Text(untrusted("from outside")),
        Row(untrusted("name"), "value", Tone.SUCCESS),
        Amount("You send", 123, Network.SIGNET, emphasised=True),
        Address("To", "bc1qxyz"),
        Code("Compare", "12 34"),
        Words(("abandon", "zoo"), first=3),
        Keypad(KeypadPurpose.DICE, 50, 0),
        ChoiceList((Choice("one", "One", "first", selected=True, icon="key"),), tiles=True),
        Qr("HELLO", "scan", QrLevel.M, min_version=4),
        Progress("half", 0.5),
        Progress("running", None),
        Toggle("switch", "Switch", on=False, detail="off"),
        OneTimeCode("totp", "Mail", "me", "123 456", 0.25),
        OneTimeCode("hotp", "Bank", "", "", None),
        Spacer(24),
        Spacer(None),
    ),
    (Button("ok", "OK", ButtonStyle.PRIMARY), Button("hold", "Hold", hold_ms=900, enabled=False)),
    app="Bitcoin",
    banner=Banner("Regtest"),
)


def changed(**fields: Any) -> bytes:
    """Return the canonical bytes of the sample with fields of its map replaced."""
    plain = cbor2.loads(encode_screen(EVERYTHING))
    plain.update(fields)
    return cbor2.dumps(plain, canonical=True)


def test_every_kind_of_item_comes_back() -> None:
    assert decode_screen_untrusted(encode_screen(EVERYTHING)) == EVERYTHING


def test_the_encoding_is_what_the_standard_says() -> None:
    """Written by hand from RFC 8949: keys in the order of their encodings, shortest first."""
    screen = Screen("a", "T", (Text("x"),), (Button("b", "B"),))
    expected = bytes.fromhex(
        "a7"
        "626964 6161"  # id: a
        "63617070 f6"  # app: null
        "656974656d73 81"  # items: one
        "a3 6474657874 6178 6474797065 6474657874 657374796c65 64626f6479"
        "657469746c65 6154"  # title: T
        "6662616e6e6572 f6"  # banner: null
        "67627574746f6e73 81"  # buttons: one
        "a5 626964 6162 656c6162656c 6142 657374796c65 697365636f6e64617279"
        "67656e61626c6564 f5 67686f6c645f6d73 00"
        "67636f6e6669726d f4"  # confirm: false
    )
    assert encode_screen(screen) == expected
    assert screen_digest(screen) == hashlib.sha256(b"primegap/screen/1\0" + expected).digest()


@pytest.mark.guarantee("U-5", tried="every field of a screen changed")
def test_the_digest_covers_whatever_is_shown() -> None:
    variants = [
        EVERYTHING,
        dataclasses.replace(EVERYTHING, id="other"),
        dataclasses.replace(EVERYTHING, title="Other"),
        dataclasses.replace(EVERYTHING, app="Vault"),
        dataclasses.replace(EVERYTHING, app=None),
        dataclasses.replace(EVERYTHING, banner=None),
        dataclasses.replace(EVERYTHING, items=EVERYTHING.items[:-1]),
        dataclasses.replace(EVERYTHING, items=EVERYTHING.items[::-1]),
        dataclasses.replace(EVERYTHING, buttons=EVERYTHING.buttons[::-1]),
        dataclasses.replace(EVERYTHING, items=(Text("me"),)),
        dataclasses.replace(EVERYTHING, items=(Text(untrusted("me")),)),
    ]
    assert len({screen_digest(screen) for screen in variants}) == len(variants)


WRONG: dict[str, bytes] = {
    "nothing": b"",
    "not a map": cbor2.dumps([1]),
    "another field": changed(extra=1),
    "wrong type": changed(title=1),
    "bytes for a text": changed(title=b"T"),
    "number for a truth": changed(confirm=0),
    "item without a type": changed(items=[{"text": "x", "style": "body"}]),
    "item of unknown type": changed(items=[{"type": "video"}]),
    "type that is no text": changed(items=[{"type": ["text"]}]),
    "item with another field": changed(
        items=[{"type": "text", "text": "x", "style": "body", "size": 9}]
    ),
    "item without a field": changed(items=[{"type": "text", "text": "x"}]),
    "unknown style": changed(items=[{"type": "text", "text": "x", "style": "blink"}]),
    "style of another type": changed(items=[{"type": "text", "text": "x", "style": {}}]),
    "text that is not neutral": changed(
        items=[{"type": "text", "text": {"untrusted": "a\u202e"}, "style": "body"}]
    ),
    "text that cannot be shown": changed(
        items=[{"type": "text", "text": "a\u202e", "style": "body"}]
    ),
    "text from inside and outside": changed(
        items=[{"type": "text", "text": {"untrusted": "a", "x": 1}, "style": "body"}]
    ),
    "large number": changed(
        items=[
            {"type": "amount", "label": "", "sat": 2**80, "network": "signet", "emphasised": False}
        ]
    ),
    "items that are no array": changed(items={"type": "text"}),
    "banner that is a text": changed(banner="x"),
    "trailing byte": encode_screen(EVERYTHING) + b"\0",
    "cut": encode_screen(EVERYTHING)[:-1],
    "keys in another order": cbor2.dumps(dict(reversed(cbor2.loads(changed()).items()))),
    "deep": b"\x81" * 5000 + b"\0",
    "large": b"\0" * (MAX_SCREEN_BYTES + 1),
    "indefinite": b"\xbf\xff",
    "tag": cbor2.dumps(cbor2.CBORTag(30, [1, 0])),
    "regular expression": bytes.fromhex("d82361") + b"(",
    "shared reference": bytes.fromhex("d81c81d81d00"),
    "not UTF-8": b"\x61\xff",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_anything_else_raises_the_format_error(data: bytes) -> None:
    with pytest.raises(ScreenFormatError):
        decode_screen_untrusted(data)


PLAIN = Screen("a", "Title", (Text("x"),))


def test_the_system_names_the_app() -> None:
    assert parse_app_screen_untrusted(encode_screen(PLAIN), app="Bitcoin") == dataclasses.replace(
        PLAIN, app="Bitcoin"
    )


@pytest.mark.guarantee("U-12", "U-2", tried="screens only the system may show")
@pytest.mark.parametrize(
    "screen",
    [
        dataclasses.replace(PLAIN, app="System"),
        dataclasses.replace(PLAIN, items=(Keypad(KeypadPurpose.PIN),)),
        dataclasses.replace(PLAIN, items=(Words(("abandon",)),)),
    ],
    ids=["name", "keypad", "words"],
)
def test_an_app_cannot_name_itself_or_show_what_only_the_system_shows(screen: Screen) -> None:
    with pytest.raises(ScreenFormatError):
        parse_app_screen_untrusted(encode_screen(screen), app="Bitcoin")
