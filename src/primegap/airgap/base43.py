"""Base43: bytes in the alphabet of QR's alphanumeric mode (uniform-resources.md section 13).

Big-endian base conversion; each leading zero byte is one leading `0`. Pure.
"""

from __future__ import annotations

from typing import Final

from primegap.airgap.errors import Base43Error
from primegap.airgap.limits import MAX_SYMBOL_CHARACTERS

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$*+-./:"

_BASE: Final = len(ALPHABET)
_DIGIT_OF: Final = {character: value for value, character in enumerate(ALPHABET)}


def encode_base43(data: bytes) -> str:
    """Return `data` in base43; for the content of one symbol, since time grows with the square."""
    digits: list[str] = []
    number = int.from_bytes(data, "big")
    while number:
        number, digit = divmod(number, _BASE)
        digits.append(ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return ALPHABET[0] * zeros + "".join(reversed(digits))


def decode_base43_untrusted(text: str) -> bytes:
    """Return the bytes of `text`, at most what one symbol holds.

    Raises:
        Base43Error: a character outside the alphabet, or too long.
    """
    if len(text) > MAX_SYMBOL_CHARACTERS:
        raise Base43Error("longer than a QR symbol holds")
    number = 0
    for character in text:
        digit = _DIGIT_OF.get(character)
        if digit is None:
            raise Base43Error("a character that is not in the alphabet")
        number = number * _BASE + digit
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
