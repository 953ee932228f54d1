"""Base58 with a checksum, as in addresses, extended keys and private keys (BIP-13, BIP-32).

Pure. A decoder that fails says nothing but that it failed: each room has its own error.
"""

from __future__ import annotations

import hashlib
from typing import Final

CHECKSUM_BYTES: Final = 4
MAX_CHARACTERS: Final = 128
"Extended keys, the longest in use, have 111; time grows with the square."

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE: Final = len(_ALPHABET)
_DIGIT_OF: Final = {character: value for value, character in enumerate(_ALPHABET)}


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:CHECKSUM_BYTES]


def encode_base58check(payload: bytes) -> str:
    """Return `payload` and its checksum as text."""
    data = payload + _checksum(payload)
    digits: list[str] = []
    number = int.from_bytes(data, "big")
    while number:
        number, digit = divmod(number, _BASE)
        digits.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _ALPHABET[0] * zeros + "".join(reversed(digits))


def decode_base58check(text: str) -> bytes | None:
    """Return the payload of `text`, or None when it is not base58 with a right checksum."""
    if len(text) > MAX_CHARACTERS:
        return None
    number = 0
    for character in text:
        digit = _DIGIT_OF.get(character)
        if digit is None:
            return None
        number = number * _BASE + digit
    zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    return payload if len(data) > CHECKSUM_BYTES and checksum == _checksum(payload) else None
