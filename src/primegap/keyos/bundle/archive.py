"""The container of an app: a gzip tar in exactly one form (keyos-model, section 4.4; ADR bundles).

Any gzip and any tar program reads it. The reader here accepts nothing but what the writer here
makes: for a list of files there is one archive, byte for byte, on every machine. So links, devices,
paths that lead elsewhere and headers with two meanings are not refused one by one: they have no
spelling. The deflate stream is *stored*, not compressed: what unpacks is never larger than what
came, and no decompressor looks at a stranger's bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, Final

from primegap.keyos.bundle.errors import ArchiveError, BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BUNDLE_BYTES: Final = 8 << 20
"""The original allows 64 MiB for machine code; source text and pictures need far less, and a device
holds a bundle in memory several times while it checks it."""
MAX_FILES: Final = 512
MAX_NAME_BYTES: Final = 100  # the name field of a tar header
MAX_DEPTH: Final = 8
MANIFEST: Final = "manifest.json"
"First entry: cosign2 header and JSON."
SIGNATURE: Final = "manifest.mldsa65"
"Second entry of a signed bundle: the post-quantum signature of the first."

_BLOCK: Final = 512
_STORED_BYTES: Final = 0xFFFF
_GZIP_HEAD: Final = bytes.fromhex("1f8b08000000000000ff")  # no name, no time, unknown system
_PART: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?", re.ASCII)
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory entry",
    b"6": "a pipe",
    b"x": "an extended header",
    b"g": "an extended header",
    b"L": "a long name",
    b"K": "a long name",
    b"S": "a sparse file",
}


def check_name(name: str) -> None:
    """Return if a file may have this name; raise ArchiveError.

    Names are relative paths of plain ASCII letters, digits, `_`, `-` and `.`; no part begins or
    ends with a dot. So there is no way up or out, nothing hidden, and nothing that two file systems
    or two alphabets could spell differently.
    """
    parts = name.split("/")
    if len(name) > MAX_NAME_BYTES or len(parts) > MAX_DEPTH:
        raise ArchiveError("a file name is too long or too deep")
    if not all(_PART.fullmatch(part) for part in parts):
        raise ArchiveError("a file name is absolute, leads elsewhere or has other characters")


def _check_names(names: list[str]) -> None:
    """No two names may mean one file, in whatever case, and no file may be a folder."""
    folded = [name.lower() for name in names]
    if len(set(folded)) != len(folded):
        raise ArchiveError("two files have the same name")
    folders = {
        "/".join(parts[:depth])
        for parts in (name.split("/") for name in folded)
        for depth in range(1, len(parts))
    }
    if folders & set(folded):
        raise ArchiveError("a name is both a file and a folder")


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of these files: manifest first, its signature second, the rest sorted.

    Raises:
        BuildError: a name is not allowed, or there is too much of something.
    """
    try:
        for name in files:
            check_name(name)
        _check_names(list(files))
    except ArchiveError as error:
        raise BuildError(str(error)) from error
    if len(files) > MAX_FILES:
        raise BuildError(f"an app has at most {MAX_FILES} files")
    if MANIFEST not in files:
        raise BuildError("no manifest")
    tar = bytearray()
    for name in sorted(files, key=_order):
        data = files[name]
        tar += _tar_header(name, len(data))
        tar += data
        tar += bytes(-len(data) % _BLOCK)
    tar += bytes(2 * _BLOCK)
    packed = gzip_stored(bytes(tar))
    if len(packed) > MAX_BUNDLE_BYTES:
        raise BuildError(f"an app has at most {MAX_BUNDLE_BYTES >> 20} MiB")
    return packed


def unpack_untrusted(data: bytes) -> dict[str, bytes]:
    """Return the files of an archive in its own order; raise only ArchiveError."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise ArchiveError("the file is larger than an app may be")
    tar = gunzip_stored_untrusted(data)
    files: dict[str, bytes] = {}
    at = 0
    while tar[at : at + _BLOCK] != bytes(_BLOCK):
        name, size = _read_tar_header(tar[at : at + _BLOCK])
        at += _BLOCK
        content = tar[at : at + size]
        padding = tar[at + size : at + size + -size % _BLOCK]
        if len(content) != size or padding != bytes(-size % _BLOCK):
            raise ArchiveError("a file is cut off or badly padded")
        if name in files or len(files) == MAX_FILES:
            raise ArchiveError("a file comes twice, or there are too many")
        files[name] = content
        at += size + len(padding)
    if tar[at:] != bytes(2 * _BLOCK):
        raise ArchiveError("the archive does not end where it must")
    names = list(files)
    _check_names(names)
    if not names or names[0] != MANIFEST or names != sorted(names, key=_order):
        raise ArchiveError("the manifest is not first, or the files are not in order")
    return files


def _order(name: str) -> tuple[bool, bool, str]:
    return name != MANIFEST, name != SIGNATURE, name


def _tar_header(name: str, size: int) -> bytes:
    """Return the ustar header of a plain file that everybody may read: no owner, no time."""
    fields = struct.pack(
        "100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x",
        name.encode("ascii"),
        b"0000644",
        b"0000000",
        b"0000000",
        b"%011o" % size,
        b"00000000000",
        b" " * 8,
        b"0",
        b"",
        b"ustar",
        b"00",
        *(b"",) * 5,
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _read_tar_header(header: bytes) -> tuple[str, int]:
    """Return name and size; the header must be the very one that this writer makes for them."""
    if len(header) != _BLOCK:
        raise ArchiveError("the archive is cut off")
    if header[156:157] in _KINDS:
        raise ArchiveError(f"the archive holds {_KINDS[header[156:157]]}")
    try:
        name = header[:100].rstrip(b"\0").decode("ascii")
        size = int(header[124:135], 8)
    except ValueError as error:
        raise ArchiveError("a file has a malformed name or size") from error
    check_name(name)
    if not 0 <= size <= MAX_BUNDLE_BYTES or _tar_header(name, size) != header:
        raise ArchiveError("a file is not described in the one form that is accepted")
    return name, size


def gzip_stored(data: bytes) -> bytes:
    """Return a gzip file whose content is stored as it is, cut the one way that is accepted."""
    blocks = [data[at : at + _STORED_BYTES] for at in range(0, len(data), _STORED_BYTES)]
    out = bytearray(_GZIP_HEAD)
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        out += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    return bytes(out) + struct.pack("<II", zlib.crc32(data), len(data))


def gunzip_stored_untrusted(data: bytes) -> bytes:
    """Return the content of a file that `gzip_stored` made; raise only ArchiveError."""
    if not data.startswith(_GZIP_HEAD):
        raise ArchiveError("not a gzip file in the form that is accepted")
    out = bytearray()
    at = len(_GZIP_HEAD)
    while True:
        if at + 5 > len(data):
            raise ArchiveError("the file is cut off")
        last, size, inverse = struct.unpack_from("<BHH", data, at)
        at += 5
        if last > 1 or size ^ inverse != 0xFFFF or at + size > len(data):
            raise ArchiveError("the file is compressed or damaged")
        if size != _STORED_BYTES and (not last or size == 0):
            raise ArchiveError("the file is cut into other pieces than it must be")
        out += data[at : at + size]
        at += size
        if last:
            break
    if data[at:] != struct.pack("<II", zlib.crc32(out), len(out)):
        raise ArchiveError("the checksum does not fit")
    return bytes(out)
