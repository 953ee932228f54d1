"""Bytewords: bytes as four-letter words, with a CRC-32 (uniform-resources.md section 2)."""

from __future__ import annotations

import enum
import zlib
from typing import Final

from primegap.airgap.errors import BytewordsError
from primegap.airgap.ur.words import WORDS

CRC_BYTES: Final = 4

_PAIRS: Final = tuple(word[0] + word[3] for word in WORDS)
_BYTE_OF_PAIR: Final = {pair: value for value, pair in enumerate(_PAIRS)}
_BYTE_OF_WORD: Final = {word: value for value, word in enumerate(WORDS)}


class BytewordsStyle(enum.Enum):
    """How the words are written; the value is what stands between them."""

    STANDARD = " "
    URI = "-"
    MINIMAL = ""
    "First and last letter of each word only; the form inside a UR."


def encode_bytewords(body: bytes, style: BytewordsStyle = BytewordsStyle.MINIMAL) -> str:
    """Return `body` and its CRC-32 as lower-case words."""
    table = _PAIRS if style is BytewordsStyle.MINIMAL else WORDS
    data = body + zlib.crc32(body).to_bytes(CRC_BYTES, "big")
    return style.value.join([table[value] for value in data])


def decode_bytewords_untrusted(
    text: str,
    style: BytewordsStyle = BytewordsStyle.MINIMAL,
    *,
    allow_short_crc: bool = False,
) -> bytes:
    """Return the body of `text`, whose checksum was found right.

    Args:
        text: words in upper or lower case.
        style: how the words are written.
        allow_short_crc: also take a checksum of 3 or 2 bytes whose leading zero bytes were left
            out, as old Python ports write it.

    Raises:
        BytewordsError: unknown word, odd length, less than one byte and a checksum, or a checksum
            that does not match.
    """
    if not text.isascii():  # some other letters become a to z in lower case
        raise BytewordsError("not ASCII")
    text = text.lower()
    try:
        if style is BytewordsStyle.MINIMAL:
            data = bytes([_BYTE_OF_PAIR[text[at : at + 2]] for at in range(0, len(text), 2)])
        else:
            data = bytes([_BYTE_OF_WORD[word] for word in text.split(style.value)])
    except KeyError:
        raise BytewordsError("unknown word") from None
    widths = (CRC_BYTES, 3, 2) if allow_short_crc else (CRC_BYTES,)
    for width in widths:
        body, crc = data[:-width], data[-width:]
        # A short form exists only because of leading zeros, so its first byte is never zero.
        if (
            body
            and (width == CRC_BYTES or crc[0])
            and zlib.crc32(body) == int.from_bytes(crc, "big")
        ):
            return body
    raise BytewordsError("checksum")
