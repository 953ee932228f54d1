"""BBQr: numbered pieces in base32 or hex, deflated where that helps.

As in uniform-resources.md section 11. There is no fountain: a reader must see every piece. Pure.
"""

from __future__ import annotations

import base64
import binascii
import enum
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from primegap.airgap.capacity import MAX_QR_VERSION, alphanumeric_capacity
from primegap.airgap.errors import BbqrError, LocalAirgapError, TooLargeForQrError
from primegap.airgap.limits import (
    MAX_INFLATED_BYTES,
    MAX_SERIES_CHARACTERS,
    MAX_SYMBOL_CHARACTERS,
)
from primegap.airgap.reader import Format, Frame, FrameReader, Pieces

HEADER_CHARACTERS: Final = 8
MAX_PIECES: Final = 1295
"What two base-36 digits count."
FILE_TYPES: Final = {
    "P": "PSBT",
    "T": "transaction",
    "J": "JSON",
    "C": "CBOR",
    "U": "text",
    "B": "binary",
    "X": "executable",
    "R": "key teleport, from the receiver",
    "S": "key teleport, from the sender",
    "E": "key teleport, PSBT",
}
"Letter of a file type, and what it is."
DEFAULT_VERSION: Final = 27
"Largest QR version used unless told otherwise: 2,132 characters, which telephones read well."

_MAGIC: Final = "B$"
_DIGITS: Final = string.digits + string.ascii_uppercase
_ALPHABET: Final = frozenset(_DIGITS)
_WINDOW_BITS: Final = 10  # a small device keeps 1 KiB to inflate
_MAX_WINDOW_BITS: Final = 15


class BbqrEncoding(enum.Enum):
    """How the bytes stand in the text."""

    HEX = "H"
    BASE32 = "2"
    DEFLATE = "Z"
    "Raw deflate, then base32."


# Characters of a piece must decode to whole bytes.
_CHARACTERS_STEP: Final = {BbqrEncoding.HEX: 2, BbqrEncoding.BASE32: 8, BbqrEncoding.DEFLATE: 8}


@dataclass(frozen=True, slots=True)
class Bbqr:
    """A whole message."""

    file_type: str
    "A key of FILE_TYPES."
    data: bytes = field(repr=False)
    encoding: BbqrEncoding = BbqrEncoding.BASE32
    "How it stood in the symbols; an answer may use the same."


def is_bbqr_text(text: str) -> bool:
    """Tell whether `text` claims to be BBQr."""
    return text.startswith(_MAGIC)


def encode_bbqr(
    data: bytes,
    file_type: str,
    *,
    encoding: BbqrEncoding = BbqrEncoding.DEFLATE,
    max_version: int = DEFAULT_VERSION,
) -> list[str]:
    """Return the texts of all symbols, of nearly equal length.

    The smallest number of symbols is taken that `max_version` allows. `DEFLATE` falls back to
    base32 where it would not be shorter.

    Args:
        data: the message, not empty.
        file_type: a key of FILE_TYPES.
        encoding: how the bytes are written.
        max_version: largest QR version, 5 to 40.

    Raises:
        TooLargeForQrError: more than 1295 symbols.
        LocalAirgapError: empty, an unknown type, or a version out of range.
    """
    if not data or file_type not in FILE_TYPES or not 5 <= max_version <= MAX_QR_VERSION:
        raise LocalAirgapError("empty, unknown file type, or version out of range")
    if encoding is BbqrEncoding.DEFLATE:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -_WINDOW_BITS)
        deflated = deflater.compress(data) + deflater.flush()
        if len(deflated) < len(data):
            data = deflated
        else:
            encoding = BbqrEncoding.BASE32
    body = data.hex().upper() if encoding is BbqrEncoding.HEX else _to_base32(data)
    step = _CHARACTERS_STEP[encoding]
    room = (alphanumeric_capacity(max_version) - HEADER_CHARACTERS) // step * step
    count = -(-len(body) // room)
    if count > MAX_PIECES:
        raise TooLargeForQrError("more symbols than can be numbered")
    length = -(-len(body) // (count * step)) * step
    pieces = [body[at : at + length] for at in range(0, len(body), length)]
    head = f"{_MAGIC}{encoding.value}{file_type}{_to_base36(len(pieces))}"
    return [f"{head}{_to_base36(index)}{piece}" for index, piece in enumerate(pieces)]


@dataclass(frozen=True, slots=True)
class _BbqrPart:
    encoding: BbqrEncoding
    file_type: str
    count: int
    index: int
    body: str = field(repr=False)


class BbqrFormat(Format[_BbqrPart, Bbqr]):
    """The symbols of one message."""

    def __init__(self) -> None:
        self._pieces = Pieces(1, 0)
        self._encoding = BbqrEncoding.BASE32
        self._file_type = ""

    @override
    def parse(self, text: str, raw: bytes) -> Frame[_BbqrPart]:
        part = _parse_part_untrusted(text)
        return Frame((part.encoding, part.file_type, part.count), part)

    @override
    def begin(self, part: _BbqrPart) -> None:
        self._encoding, self._file_type = part.encoding, part.file_type
        self._pieces = Pieces(part.count, MAX_SERIES_CHARACTERS)

    @override
    def take(self, part: _BbqrPart) -> bool:
        return self._pieces.add(part.index, part.body)

    @override
    def complete(self) -> Bbqr | None:
        pieces = self._pieces.joined()
        if pieces is None:
            return None
        length = len(pieces[0])
        if any(len(piece) != length for piece in pieces[:-1]) or len(pieces[-1]) > length:
            raise BbqrError("pieces of different lengths")
        if len(pieces) > 1 and length % _CHARACTERS_STEP[self._encoding]:
            raise BbqrError("a piece is not whole bytes")
        data = _decode_body("".join(pieces), self._encoding)
        return Bbqr(self._file_type, data, self._encoding)

    @override
    def size(self) -> tuple[int, int, int]:
        return self._pieces.rank, self._pieces.count, 0


class BbqrReader(FrameReader[_BbqrPart, Bbqr]):
    """Collects the symbols of one message."""

    def __init__(self) -> None:
        super().__init__(BbqrFormat())


def _parse_part_untrusted(text: str) -> _BbqrPart:
    if len(text) > MAX_SYMBOL_CHARACTERS or len(text) <= HEADER_CHARACTERS:
        raise BbqrError("no body, or longer than a QR symbol holds")
    if not is_bbqr_text(text) or not _ALPHABET.issuperset(text[2:]):
        raise BbqrError("not the form of BBQr")
    try:
        encoding = BbqrEncoding(text[2])
    except ValueError:
        raise BbqrError("unknown encoding") from None
    file_type, count, index = text[3], int(text[4:6], 36), int(text[6:8], 36)
    if file_type not in FILE_TYPES or not index < count <= MAX_PIECES:
        raise BbqrError("unknown type, or a number beyond the last")
    return _BbqrPart(encoding, file_type, count, index, text[HEADER_CHARACTERS:])


def _decode_body(body: str, encoding: BbqrEncoding) -> bytes:
    try:
        if encoding is BbqrEncoding.HEX:
            return binascii.unhexlify(body)
        padded = body + "=" * (-len(body) % 8)
        data = base64.b32decode(padded)
    except ValueError:
        raise BbqrError("not whole bytes") from None
    if _to_base32(data) != body:
        raise BbqrError("bits behind the last byte")
    return _inflate(data) if encoding is BbqrEncoding.DEFLATE else data


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-_MAX_WINDOW_BITS)
    try:
        inflated = inflater.decompress(data, MAX_INFLATED_BYTES)
    except zlib.error:
        raise BbqrError("damaged compression") from None
    if not inflater.eof or inflater.unused_data:
        raise BbqrError("too large, or the compressed data do not end where they should")
    return inflated


def _to_base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def _to_base36(number: int) -> str:
    return _DIGITS[number // 36] + _DIGITS[number % 36]
