"""Base43: bytes in the alphabet of QR's alphanumeric mode (uniform-resources.md section 13).

Big-endian base conversion; each leading zero byte is one leading `0`. Pure.
"""

from __future__ import annotations

from typing import Final

from primegap.airgap.errors import Base43Error
from primegap.airgap.limits import MAX_SYMBOL_CHARACTERS
from primegap.positional import decode_digits, encode_digits

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$*+-./:"


def encode_base43(data: bytes) -> str:
    """Return `data` in base43; for the content of one symbol, since time grows with the square."""
    return encode_digits(data, ALPHABET)


def decode_base43_untrusted(text: str) -> bytes:
    """Return the bytes of `text`, at most what one symbol holds.

    Raises:
        Base43Error: a character outside the alphabet, or too long.
    """
    if len(text) > MAX_SYMBOL_CHARACTERS:
        raise Base43Error("longer than a QR symbol holds")
    data = decode_digits(text, ALPHABET)
    if data is None:
        raise Base43Error("a character that is not in the alphabet")
    return data
