"""SeedQR: the entropy of a BIP-39 seed as a QR symbol (uniform-resources.md section 12).

The standard form holds the word numbers as four digits each, the compact form the bare entropy.
The words themselves are not needed here, so no word list is; the checksum is. Pure.

Everything here is a secret: nothing is logged, and no error says what was read.
"""

from __future__ import annotations

import hashlib
from typing import Final

from primegap.airgap.errors import LocalAirgapError, SeedQrError

ENTROPY_BYTES: Final = (16, 32)
"Of 12 and 24 words; other lengths have no SeedQR."

_BITS: Final = 11
_WORDS: Final = 1 << _BITS
_DIGITS: Final = 4


def _words_of(entropy_bytes: int) -> int:
    return entropy_bytes * 3 // 4


def _checked(entropy: bytes) -> int:
    """Return entropy and checksum as one number."""
    bits = len(entropy) // 4
    checksum = hashlib.sha256(entropy).digest()[0] >> (8 - bits)
    return int.from_bytes(entropy, "big") << bits | checksum


def encode_seedqr(entropy: bytes) -> str:
    """Return the digits of the standard form: 48 or 96.

    Args:
        entropy: 16 or 32 bytes.

    Raises:
        LocalAirgapError: another length.
    """
    if len(entropy) not in ENTROPY_BYTES:
        raise LocalAirgapError("only seeds of 12 and 24 words have a SeedQR")
    number = _checked(entropy)
    count = _words_of(len(entropy))
    shifts = range(_BITS * (count - 1), -1, -_BITS)
    return "".join([f"{number >> shift & (_WORDS - 1):04d}" for shift in shifts])


def is_seedqr_text(text: str) -> bool:
    """Tell whether `text` has the form of a standard SeedQR: 48 or 96 digits."""
    lengths = {_DIGITS * _words_of(size) for size in ENTROPY_BYTES}
    return len(text) in lengths and text.isascii() and text.isdigit()


def decode_seedqr_untrusted(text: str) -> bytes:
    """Return the entropy (16 or 32 bytes) in the digits of the standard form.

    Raises:
        SeedQrError: not that form, a number of no word, or a wrong checksum.
    """
    if not is_seedqr_text(text):
        raise SeedQrError("not 48 or 96 digits")
    number = 0
    for at in range(0, len(text), _DIGITS):
        index = int(text[at : at + _DIGITS])
        if index >= _WORDS:
            raise SeedQrError("a number of no word")
        number = number << _BITS | index
    entropy_bytes = len(text) // _DIGITS * 4 // 3
    entropy = (number >> entropy_bytes // 4).to_bytes(entropy_bytes, "big")
    if _checked(entropy) != number:
        raise SeedQrError("wrong checksum")
    return entropy


def decode_compact_seedqr_untrusted(raw: bytes) -> bytes:
    """Return the entropy (16 or 32 bytes) in the raw bytes of a compact SeedQR.

    Any 16 or 32 bytes are a seed, so call it only where a person chose to load one, and with the
    bytes as they stand in the symbol, never with text made from them.

    Raises:
        SeedQrError: another length.
    """
    if len(raw) not in ENTROPY_BYTES:
        raise SeedQrError("not 16 or 32 bytes")
    return bytes(raw)
