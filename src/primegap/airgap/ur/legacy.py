"""UR of version 1 (uniform-resources.md section 10): read because old wallets write it.

Only the type `bytes` exists. The Bech32-like text of the whole CBOR is cut into pieces, all of
which are needed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from primegap.airgap.errors import (
    LegacyUrError,
    LegacyUrPartError,
    LocalAirgapError,
    TooLargeForQrError,
    UrTextError,
)
from primegap.airgap.limits import MAX_SYMBOL_CHARACTERS
from primegap.airgap.reader import Format, Frame, FrameReader, Pieces
from primegap.airgap.ur.message import Ur, ur_from_message_untrusted
from primegap.airgap.ur.text import parse_ur_text_untrusted

MAX_LEGACY_PIECES: Final = 512
"Each of them must be seen; nobody waits for more."
MAX_LEGACY_CHARACTERS: Final = 400_000
"Characters of all pieces, for a message of 250 kB; the checksum takes a step for each."

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF: Final = {character: value for value, character in enumerate(_ALPHABET)}
_CHECKSUM: Final = 6
_CHECKSUM_XOR: Final = 0x3FFFFFFF
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_FORM: Final = re.compile(
    rf"ur:bytes/(?:([1-9][0-9]{{0,2}})of([1-9][0-9]{{0,2}})/([{_ALPHABET}]{{58}})/)?([{_ALPHABET}]+)"
)


def is_legacy_ur_text(text: str) -> bool:
    """Tell whether the text of a UR has the form of version 1; it may still be damaged."""
    try:
        parse_ur_text_untrusted(text)
    except LegacyUrError:
        return True
    except UrTextError:
        return False
    return False


def _remainder_table() -> tuple[int, ...]:
    """Return what the top five bits of the state add, for each of their values."""
    table = []
    for top in range(32):
        value = 0
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                value ^= generator
        table.append(value)
    return tuple(table)


_REMAINDER: Final = _remainder_table()


def _polymod(values: list[int]) -> int:
    state = 1
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _REMAINDER[state >> 25]
    return state


def encode_bc32(data: bytes) -> str:
    """Return `data` in BC32: five bits a character, and a checksum of six characters."""
    padding = -len(data) * 8 % 5
    number = int.from_bytes(data, "big") << padding
    count = (len(data) * 8 + padding) // 5
    values = [int(digit, 32) for digit in _base32_digits(number, count)]
    checksum = _polymod([0, *values, *[0] * _CHECKSUM]) ^ _CHECKSUM_XOR
    values += [checksum >> 5 * (_CHECKSUM - 1 - at) & 31 for at in range(_CHECKSUM)]
    return "".join([_ALPHABET[value] for value in values])


def _base32_digits(number: int, count: int) -> str:
    """Return `count` digits to the base 32, 0 to 9 and a to v, in time proportional to them."""
    digits = "0123456789abcdefghijklmnopqrstuv"
    bits = format(number, f"0{5 * count}b") if count else ""
    return "".join([digits[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5)])


def decode_bc32_untrusted(text: str) -> bytes:
    """Return the bytes of a BC32 text in lower case.

    Raises:
        LegacyUrPartError: unknown character, wrong checksum, or bits behind the last byte.
    """
    try:
        values = [_VALUE_OF[character] for character in text]
    except KeyError:
        raise LegacyUrPartError("a character that is not in the alphabet") from None
    if len(values) <= _CHECKSUM or _polymod([0, *values]) != _CHECKSUM_XOR:
        raise LegacyUrPartError("checksum")
    bits = 5 * (len(values) - _CHECKSUM)
    number = int("".join([f"{value:05b}" for value in values[:-_CHECKSUM]]), 2)
    padding = bits % 8
    if padding >= 5 or number & ((1 << padding) - 1):
        raise LegacyUrPartError("bits behind the last byte")
    return (number >> padding).to_bytes(bits // 8, "big")


def encode_legacy_ur(ur: Ur, max_characters: int) -> list[str]:
    """Return the texts of all symbols of a UR of version 1, in upper case.

    Args:
        ur: of type `bytes`.
        max_characters: longest text of a symbol, 120 to 4296.

    Raises:
        TooLargeForQrError: more than 512 symbols.
        LocalAirgapError: another type, or `max_characters` is out of range.
    """
    if ur.ur_type != "bytes" or not 120 <= max_characters <= MAX_SYMBOL_CHARACTERS:
        raise LocalAirgapError("not of type bytes, or length out of range")
    text = encode_bc32(ur.cbor)
    if len("ur:bytes/") + len(text) <= max_characters:
        return [f"ur:bytes/{text}".upper()]
    digest = encode_bc32(hashlib.sha256(ur.cbor).digest())
    room = max_characters - len(f"ur:bytes/999of999/{digest}/")
    count = -(-len(text) // room)
    if count > MAX_LEGACY_PIECES:
        raise TooLargeForQrError("more symbols than a person can wait for")
    length = -(-len(text) // count)
    pieces = [text[at : at + length] for at in range(0, len(text), length)]
    head = f"of{len(pieces)}/{digest}/"
    return [f"ur:bytes/{number}{head}{piece}".upper() for number, piece in enumerate(pieces, 1)]


@dataclass(frozen=True, slots=True)
class _LegacyPart:
    index: int
    count: int
    digest: str
    text: str = field(repr=False)


class LegacyUrFormat(Format[_LegacyPart, Ur]):
    """The pieces of one UR of version 1."""

    def __init__(self) -> None:
        self._pieces = Pieces(1, 0)
        self._digest = ""

    @override
    def parse(self, text: str, raw: bytes) -> Frame[_LegacyPart]:
        if len(text) > MAX_SYMBOL_CHARACTERS or not text.isascii():
            raise LegacyUrPartError("not ASCII, or longer than a QR symbol holds")
        match = _FORM.fullmatch(text.lower())
        if match is None:
            raise LegacyUrPartError("not a UR of version 1, or not of type bytes")
        if match[1] is None:  # a message in one piece: nothing but its text names it
            return Frame((1, match[4]), _LegacyPart(0, 1, "", match[4]))
        number, count = int(match[1]), int(match[2])
        if number > count or count > MAX_LEGACY_PIECES:
            raise LegacyUrPartError("a number beyond the last")
        return Frame((count, match[3]), _LegacyPart(number - 1, count, match[3], match[4]))

    @override
    def begin(self, part: _LegacyPart) -> None:
        self._digest, self._pieces = part.digest, Pieces(part.count, MAX_LEGACY_CHARACTERS)

    @override
    def take(self, part: _LegacyPart) -> bool:
        return self._pieces.add(part.index, part.text)

    @override
    def complete(self) -> Ur | None:
        pieces = self._pieces.joined()
        if pieces is None:
            return None
        cbor = decode_bc32_untrusted("".join(pieces))
        if self._digest and encode_bc32(hashlib.sha256(cbor).digest()) != self._digest:
            raise LegacyUrPartError("the digest of the message is wrong")
        return ur_from_message_untrusted("bytes", cbor)

    @override
    def size(self) -> tuple[int, int, int]:
        return self._pieces.rank, self._pieces.count, 0


class LegacyUrReader(FrameReader[_LegacyPart, Ur]):
    """Collects the pieces of one UR of version 1."""

    def __init__(self) -> None:
        super().__init__(LegacyUrFormat())
