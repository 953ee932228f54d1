"""7-Zip archives of one small encrypted file, as backups on a card are (airgap.md section 14).

Pure. Written are archives of one stored file under AES-256-CBC, which every 7-Zip reads. Read are
those too, and what people make of them with 7-Zip itself: compressed with LZMA or LZMA2, with
compressed or encrypted lists. Whatever the archive says is bounded before it is done.

The format knows no integrity but a CRC-32 under the encryption: a changed archive is nearly always
noticed, and a wrong code cannot be told from damage.
"""

from __future__ import annotations

import hashlib
import lzma
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import ArchiveCodeError, ArchiveError, LocalAirgapError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ARCHIVE_BYTES: Final = 256 << 10
"A backup has some 3 kB."
MAX_CONTENT_BYTES: Final = 64 << 10
"Of the file inside and of the list, once they are decompressed."
MAX_ROUNDS_POWER: Final = 20
"Rounds of the hash that makes the key, as a power of two: 7-Zip takes 19, a third of a second."
ROUNDS_POWER: Final = 13
"What the reference device writes."
MAX_NAME_CHARACTERS: Final = 255
MAX_CODERS: Final = 3
MAX_CODE_CHARACTERS: Final = 128

_SIGNATURE: Final = b"7z\xbc\xaf\x27\x1c"
_START: Final = struct.Struct("<6sBBIQQI")
_END, _HEADER, _MAIN, _FILES, _PACK, _UNPACK = 0x00, 0x01, 0x04, 0x05, 0x06, 0x07
_SUBSTREAMS, _SIZE, _CRC, _FOLDER, _CODER_SIZES = 0x08, 0x09, 0x0A, 0x0B, 0x0C
_STREAMS_IN_FOLDER, _EMPTY_STREAM, _NAMES, _ENCODED = 0x0D, 0x0E, 0x11, 0x17
_AES: Final = bytes.fromhex("06f10701")
_COPY: Final = b"\x00"
_LZMA: Final = bytes.fromhex("030101")
_LZMA2: Final = b"\x21"
_BLOCK: Final = 16
_HASH_BATCH: Final = 1024


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """The one file of an archive."""

    name: str
    "Untrusted."
    content: bytes = field(repr=False)


def archive_key(code: str, salt: bytes, power: int) -> bytes:
    """Return the 32-byte key of a code: SHA-256 over 2**power rounds."""
    digest = hashlib.sha256()
    prefix = salt + code.encode("utf-16-le")
    for start in range(0, 1 << power, _HASH_BATCH):
        numbers = range(start, min(start + _HASH_BATCH, 1 << power))
        digest.update(b"".join([prefix + number.to_bytes(8, "little") for number in numbers]))
    return digest.digest()


# -- writing --------------------------------------------------------------------------------------


def write_archive(name: str, content: bytes, code: str, *, rng: Callable[[int], bytes]) -> bytes:
    """Return an archive of one file that opens with `code`.

    Raises:
        LocalAirgapError: an empty or too large file, or an empty code.
    """
    if not 0 < len(content) <= MAX_CONTENT_BYTES or not 0 < len(code) <= MAX_CODE_CHARACTERS:
        raise LocalAirgapError("an archive holds one small file under a code")
    salt, start = rng(_BLOCK), rng(_BLOCK)
    key = archive_key(code, salt, ROUNDS_POWER)
    packed = _aes(key, start, content + bytes(-len(content) % _BLOCK), encrypt=True)
    properties = bytes((0xC0 | ROUNDS_POWER, 0xFF)) + salt + start
    folder = bytes((1, 0x20 | len(_AES))) + _AES + bytes((len(properties),)) + properties
    names = b"\0" + name.encode("utf-16-le") + b"\0\0"
    header = b"".join(
        (
            bytes((_HEADER, _MAIN)),
            bytes((_PACK, 0, 1, _SIZE)) + _number(len(packed)) + bytes((_END,)),
            bytes((_UNPACK, _FOLDER, 1, 0)) + folder,
            bytes((_CODER_SIZES,)) + _number(len(content)),
            # Here and not beside the folder: only here 7-Zip compares it.
            bytes((_END, _SUBSTREAMS, _CRC, 1)) + zlib.crc32(content).to_bytes(4, "little"),
            bytes((_END, _END)),
            bytes((_FILES, 1, _NAMES)) + _number(len(names)) + names,
            bytes((_END, _END)),
        )
    )
    tail = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return _SIGNATURE + b"\0\x04" + struct.pack("<I", zlib.crc32(tail)) + tail + packed + header


def _number(value: int) -> bytes:
    """Return a number as 7-Zip writes it: the first byte tells how many follow."""
    for extra in range(8):
        if value < 1 << 7 * (extra + 1):
            first = (0xFF00 >> extra & 0xFF) | value >> 8 * extra
            return bytes((first,)) + (value & (1 << 8 * extra) - 1).to_bytes(extra, "little")
    return b"\xff" + value.to_bytes(8, "little")


def _aes(key: bytes, start: bytes, data: bytes, *, encrypt: bool) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    cipher = Cipher(AES(key), CBC(start))
    worker = cipher.encryptor() if encrypt else cipher.decryptor()
    return worker.update(data) + worker.finalize()


# -- reading --------------------------------------------------------------------------------------


def read_archive_untrusted(archive: bytes, code: str) -> ArchivedFile:
    """Return the one file of an archive.

    Raises:
        ArchiveError: not an archive of one small file, or damaged.
        ArchiveCodeError: it does not open with this code; damage can look the same.
    """
    if len(archive) > MAX_ARCHIVE_BYTES or not 0 < len(code) <= MAX_CODE_CHARACTERS:
        raise ArchiveError("too large, or no code")
    if len(archive) < _START.size or not archive.startswith(_SIGNATURE):
        raise ArchiveError("not an archive")
    _, major, _, crc, offset, size, header_crc = _START.unpack_from(archive)
    begin = _START.size + offset
    header = archive[begin : begin + size]
    if major or zlib.crc32(archive[12 : _START.size]) != crc or len(header) != size or not size:
        raise ArchiveError("the head is damaged")
    if zlib.crc32(header) != header_crc:
        raise ArchiveError("the list is damaged")
    reader = _Reader(header)
    kind = reader.byte()
    if kind == _ENCODED:
        reader = _Reader(_unpack(archive, reader.streams(), code))
        kind = reader.byte()
    if kind != _HEADER:
        raise ArchiveError("no list of files")
    reader.expect(_MAIN)
    streams = reader.streams()
    name = reader.files()
    return ArchivedFile(name, _unpack(archive, streams, code))


@dataclass(slots=True)
class _Coder:
    method: bytes
    properties: bytes
    unpacked: int = 0


@dataclass(slots=True)
class _Streams:
    place: int
    size: int
    coders: list[_Coder]
    "From the packed bytes to the content."
    crc: int | None


class _Reader:
    """Reads the list of an archive; everything in it may be a lie."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ArchiveError("the list ends early")
        self._at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        first = self.byte()
        extra = 0
        while extra < 8 and first & 0x80 >> extra:
            extra += 1
        low = int.from_bytes(self.take(extra), "little")
        return low if extra == 8 else (first & (0x7F >> extra)) << 8 * extra | low

    def expect(self, *values: int) -> None:
        for value in values:
            if self.byte() != value:
                raise ArchiveError("more than one file, or a form that is not read")

    def _digest(self) -> int | None:
        """Read the checksum of one stream."""
        if not self.byte() and not self.byte() & 0x80:  # not all are defined: a bit for each
            return None
        return int.from_bytes(self.take(4), "little")

    def streams(self) -> _Streams:
        """Read what is packed where: one piece, one folder, one stream in it."""
        self.expect(_PACK)
        place = self.number()
        self.expect(1, _SIZE)
        size = self.number()
        self._crc_and_end(self.byte())
        self.expect(_UNPACK, _FOLDER, 1, 0)
        coders = self._coders()
        crc = self._crc_and_end(self.byte())
        kind = self.byte()
        if kind == _SUBSTREAMS:
            kind = self.byte()
            if kind == _STREAMS_IN_FOLDER:
                self.expect(1)
                kind = self.byte()
            has_own = kind == _CRC
            own = self._crc_and_end(kind)
            crc = own if has_own else crc
            kind = self.byte()
        self._end(kind)
        return _Streams(place, size, coders, crc)

    def _crc_and_end(self, kind: int) -> int | None:
        """Read the end of a part, which a checksum may stand before."""
        crc = None
        if kind == _CRC:
            crc = self._digest()
            kind = self.byte()
        self._end(kind)
        return crc

    def _end(self, kind: int) -> None:
        if kind != _END:
            raise ArchiveError("a form that is not read")

    def _coders(self) -> list[_Coder]:
        """Read how a stream is coded: a chain of coders with one way in and one way out."""
        count = self.number()
        if not 1 <= count <= MAX_CODERS:
            raise ArchiveError("too many coders")
        coders = []
        for _ in range(count):
            flags = self.byte()
            if flags & 0xD0:
                raise ArchiveError("a coder that is not read")
            method = self.take(flags & 0x0F)
            properties = self.take(self.number()) if flags & 0x20 else b""
            coders.append(_Coder(method, properties))
        follower = dict[int, int]()
        for _ in range(count - 1):  # the output of the second goes into the first
            into, out = self.number(), self.number()
            follower[out] = into
        self.expect(_CODER_SIZES)
        for coder in coders:
            coder.unpacked = self.number()
        chain: list[_Coder] = []
        entries = set(range(count)) - set(follower.values())
        at = entries.pop() if len(entries) == 1 else -1
        while 0 <= at < count and len(chain) < count:
            chain.append(coders[at])
            at = follower.get(at, -1)
        if len(chain) != count:
            raise ArchiveError("coders that do not hang together")
        return chain

    def files(self) -> str:
        """Read the list of the one file; return its name."""
        self.expect(_FILES, 1)
        name = ""
        while (kind := self.byte()) != _END:
            data = self.take(self.number())
            if kind == _NAMES:
                name = data[1:].decode("utf-16-le", "replace").partition("\0")[0]
            elif kind == _EMPTY_STREAM:
                raise ArchiveError("no file with a content")
        return name[:MAX_NAME_CHARACTERS]


def _unpack(archive: bytes, streams: _Streams, code: str) -> bytes:
    begin = _START.size + streams.place
    data = archive[begin : begin + streams.size]
    if len(data) != streams.size:
        raise ArchiveError("the file ends early")
    encrypted = any(coder.method == _AES for coder in streams.coders)
    try:
        for coder in streams.coders:
            data = _decode(coder, data, code)
    except lzma.LZMAError as error:
        failure = ArchiveCodeError if encrypted else ArchiveError
        raise failure("what is inside makes no sense") from error
    if streams.crc is None or zlib.crc32(data) != streams.crc:
        failure = ArchiveCodeError if encrypted else ArchiveError
        raise failure("the checksum is wrong")
    return data


def _decode(coder: _Coder, data: bytes, code: str) -> bytes:
    if coder.unpacked > MAX_CONTENT_BYTES:
        raise ArchiveError("the file inside is too large")
    if coder.method == _AES:
        data = _decrypt(coder.properties, data, code)
    elif coder.method == _LZMA2 and len(coder.properties) == 1:
        data = _inflate({"id": lzma.FILTER_LZMA2, "dict_size": MAX_CONTENT_BYTES}, coder, data)
    elif coder.method == _LZMA and len(coder.properties) == 5:
        first = coder.properties[0]
        lc, lp, pb = first % 9, first // 9 % 5, first // 45
        chosen = {"dict_size": MAX_CONTENT_BYTES, "lc": lc, "lp": lp, "pb": pb}
        data = _inflate({"id": lzma.FILTER_LZMA1, **chosen}, coder, data)
    elif coder.method != _COPY:
        raise ArchiveError("a method that is not read")
    if len(data) < coder.unpacked:
        raise ArchiveError("the file inside ends early")
    return data[: coder.unpacked]


def _inflate(chosen: dict[str, int], coder: _Coder, data: bytes) -> bytes:
    worker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen])
    return worker.decompress(data, max_length=coder.unpacked)


def _decrypt(properties: bytes, data: bytes, code: str) -> bytes:
    if len(properties) < 2 or len(data) % _BLOCK:
        raise ArchiveError("a form that is not read")
    first, second = properties[:2]
    power = first & 0x3F
    salt_size = (first >> 7 & 1) + (second >> 4)
    start_size = (first >> 6 & 1) + (second & 0x0F)
    if len(properties) != 2 + salt_size + start_size or power > MAX_ROUNDS_POWER:
        raise ArchiveError("a form that is not read")
    salt = properties[2 : 2 + salt_size]
    start = properties[2 + salt_size :].ljust(_BLOCK, b"\0")
    return _aes(archive_key(code, salt, power), start, data, encrypt=False)
