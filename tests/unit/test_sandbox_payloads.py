"""Payloads made to keep a service busy: refused at once, whatever they say (H-6, X-3)."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Final

import pytest

from primegap.keyos.errors import FrameError
from primegap.keyos.messages import Message, decode_message_untrusted, encode_message


@dataclass(frozen=True, slots=True)
class Anything(Message):
    """A message with a field of each kind that payloads may have."""

    number: int
    text: str | None
    content: bytes


def text(content: bytes) -> bytes:
    return b"\x7a" + struct.pack(">I", len(content)) + content


def number(size: int) -> bytes:
    return b"\xc2\x5a" + struct.pack(">I", size) + b"\xff" * size


COLLIDING: Final = [1 + i * ((1 << 61) - 1) for i in range(30_000)]  # one hash for all of them
BOMBS: Final = {
    "decimal fraction of a large integer": b"\xc4\x82\x00" + number(500_000),
    "binary fraction with a large integer": b"\xc5\x82\x1a\x00\x1f\xff\xff" + number(300_000),
    "rational of large integers": b"\xd8\x1e\x82" + number(300_000) + number(299_001),
    "large integer": number(2_000_000),
    "regular expression": b"\xd8\x23" + text(b"[a-z]|" * 300_000 + b"a"),
    "mail message": b"\xd8\x24" + text(b"a: " + b"x;" * 500_000),
    "date": b"\xc0" + text(b"2" * 1_000_000),
    "set": b"\xd9\x01\x02\x82\x01\x02",
    "map of colliding numbers": b"\xba"
    + struct.pack(">I", len(COLLIDING))
    + b"".join(b"\xc2\x4a" + value.to_bytes(10, "big") + b"\x00" for value in COLLIDING),
    "reference to itself": b"\xd8\x1c\x81\xd8\x1d\x00",
    "array that claims 2^31 items": b"\x9b\x00\x00\x00\x00\x7f\xff\xff\xff",
    "bytes that claim 2 GiB": b"\x5b\x00\x00\x00\x00\x7f\xff\xff\xff",
    "a million arrays": b"\x81" * 1_000_000,
    "a million tags": b"\xc6" * 1_000_000 + b"\x00",
    "half a million maps": b"\xa1\x00" * 500_000,
    "two million empty strings without an end": b"\x9f" + b"\x60" * 2_000_000,
    "unknown tag": b"\xd9\x30\x39\x00",
    "itself, described": b"\xd9\xd9\xf7\x00",
    "simple value": b"\xe0",
    "undefined": b"\xf7",
    "not a number": b"\xf9\x7e\x00",
}


@pytest.mark.guarantee("H-6", "X-3", tried="payloads made to keep a service busy")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("place", [0, 1, 2, None])
def test_a_bomb_is_refused_at_once(bomb: bytes, place: int | None) -> None:
    fields = [b"\x01", b"\x60", b"\x40"]
    if place is None:
        payload = bomb
    else:
        fields[place] = bomb
        payload = b"\x83" + b"".join(fields)
    started_s = time.process_time()
    with pytest.raises(FrameError):
        decode_message_untrusted(Anything, payload)
    assert time.process_time() - started_s < 0.5


def test_what_is_no_bomb_passes() -> None:
    message = Anything(2**64 - 1, None, bytes(1_000_000))
    assert decode_message_untrusted(Anything, encode_message(message)) == message
