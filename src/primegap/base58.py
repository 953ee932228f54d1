"""Base58 with a checksum, as in addresses, extended keys and private keys (BIP-13, BIP-32).

Pure. A decoder that fails says nothing but that it failed: each room has its own error.
"""

from __future__ import annotations

import hashlib
from typing import Final

from primegap.positional import decode_digits, encode_digits

CHECKSUM_BYTES: Final = 4
MAX_CHARACTERS: Final = 128
"Extended keys, the longest in use, have 111; time grows with the square."

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:CHECKSUM_BYTES]


def encode_base58check(payload: bytes) -> str:
    """Return `payload` and its checksum as text."""
    return encode_digits(payload + _checksum(payload), _ALPHABET)


def decode_base58check(text: str) -> bytes | None:
    """Return the payload of `text`, or None when it is not base58 with a right checksum."""
    data = decode_digits(text, _ALPHABET) if len(text) <= MAX_CHARACTERS else None
    if data is None or len(data) <= CHECKSUM_BYTES:
        return None
    payload, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    return payload if checksum == _checksum(payload) else None
