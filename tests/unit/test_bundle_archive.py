"""The archive of an app: one form, and everything else refused (A-3)."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from primegap.keyos.bundle import ArchiveError, BuildError, pack, unpack_untrusted
from primegap.keyos.bundle.archive import (
    MAX_BUNDLE_BYTES,
    MAX_FILES,
    gunzip_stored_untrusted,
    gzip_stored,
)

FILES = {
    "manifest.json": b"{}",
    "manifest.mldsa65": b"signature",
    "code/a.py": b"a = 1\n" * 100,
    "code/b.py": b"",
    "publisher.der": bytes(600),
}


def tar_of(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in entries:
            info, data = entry if isinstance(entry, tuple) else (entry, b"")
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def plain(name: str, data: bytes = b"{}") -> tuple[tarfile.TarInfo, bytes]:
    """A file as our own writer puts it, so that nothing but its name can be wrong."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    return info, data


def special(kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo("code/x")
    info.type = kind
    info.linkname = link
    return info


def rebuilt(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    """The same entries one after another, padded and ended as our writer does it."""
    body = bytearray()
    for entry in entries:
        one = tar_of(entry)
        size = entry[0].size if isinstance(entry, tuple) else 0
        body += one[: 512 + size + -size % 512]
    return gzip_stored(bytes(body) + bytes(1024))


def test_what_is_packed_comes_out_in_the_order_of_the_archive() -> None:
    packed = pack(dict(reversed(FILES.items())))
    assert list(unpack_untrusted(packed).items()) == list(FILES.items())
    assert packed == pack(FILES)


def test_other_tools_read_it(tmp_path: Path) -> None:
    packed = pack(FILES)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == list(FILES)
        assert all(m.isreg() and m.mode == 0o644 and m.uid == m.mtime == 0 for m in members)
        for name, data in FILES.items():
            file = tar.extractfile(name)
            assert file is not None
            assert file.read() == data
    assert gzip.decompress(packed) == gunzip_stored_untrusted(packed)


def test_the_kit_of_this_test_makes_archives_that_are_accepted() -> None:
    assert unpack_untrusted(rebuilt(plain("manifest.json"), plain("code/a.py"))) == {
        "manifest.json": b"{}",
        "code/a.py": b"{}",
    }


NAMES = [
    "/etc/passwd",
    "../evil",
    "code/../../evil",
    "code/./a.py",
    "code//a.py",
    "./code/a.py",
    "code/.hidden",
    "code/a.",
    "code/a b",
    "code/a\\b",
    "code/C:evil",
    "code/PROGRA~1",
    "code/caf\u00e9.py",
    "code/cafe\u0301.py",
    "code/a\u202etxt.py",
    "code/a\nb",
    "-rf",
    "/".join("abcdefghi"),
    "code/" + "x" * 96,
    "code/",
]


@pytest.mark.guarantee(
    "A-3", "F-2", tried="names with traversal, roots, aliases, control characters"
)
@pytest.mark.parametrize("name", NAMES)
def test_names_that_could_lead_elsewhere_have_no_spelling(name: str) -> None:
    with pytest.raises(ArchiveError):
        unpack_untrusted(rebuilt(plain("manifest.json"), plain(name)))
    with pytest.raises(BuildError):
        pack({**FILES, name: b""})


@pytest.mark.guarantee("A-3", tried="links, devices, fifos, folders in an archive")
@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (special(tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (special(tarfile.LNKTYPE, "manifest.json"), "hard link"),
        (special(tarfile.CHRTYPE), "device"),
        (special(tarfile.BLKTYPE), "device"),
        (special(tarfile.FIFOTYPE), "pipe"),
        (special(tarfile.DIRTYPE), "directory"),
        (special(tarfile.XHDTYPE), "extended header"),
        (special(tarfile.XGLTYPE), "extended header"),
        (special(tarfile.GNUTYPE_LONGNAME), "long name"),
        (special(tarfile.GNUTYPE_SPARSE), "sparse"),
        (special(tarfile.CONTTYPE), "one form"),
        (special(b"\0"), "one form"),
    ],
)
def test_anything_but_a_plain_file_is_refused(entry: tarfile.TarInfo, what: str) -> None:
    with pytest.raises(ArchiveError, match=what):
        unpack_untrusted(rebuilt(plain("manifest.json"), entry))


def changed_header(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    info, data = plain("code/a.py")
    change(info)
    return rebuilt(plain("manifest.json"), (info, data))


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", 0o4755), ("mode", 0o600), ("uid", 1), ("gid", 1), ("mtime", 1), ("uname", "root")],
)
def test_owners_modes_and_times_are_not_accepted(field: str, value: object) -> None:
    with pytest.raises(ArchiveError):
        unpack_untrusted(changed_header(lambda info: setattr(info, field, value)))


@pytest.mark.guarantee("A-3", tried="double names, other cases, other orders")
@pytest.mark.parametrize(
    "entries",
    [
        [],
        [plain("code/a.py")],
        [plain("code/a.py"), plain("manifest.json")],
        [plain("manifest.json"), plain("manifest.json")],
        [plain("manifest.json"), plain("code/b.py"), plain("code/a.py")],
        [plain("manifest.json"), plain("code/a.py"), plain("manifest.mldsa65")],
        [plain("manifest.json"), plain("code/a.py"), plain("code/a.py")],
        [plain("manifest.json"), plain("code/A.py"), plain("code/a.py")],
        [plain("manifest.json"), plain("CODE/a.py"), plain("code/a.py")],
        [plain("manifest.json"), plain("MANIFEST.JSON")],
        [plain("manifest.json"), plain("code"), plain("code/a.py")],
        [plain("manifest.json"), plain("Code"), plain("code/a.py")],
        [plain("Manifest.json"), plain("code/a.py")],
    ],
    ids=range(13),
)
def test_order_and_double_names(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(ArchiveError):
        unpack_untrusted(rebuilt(*entries))


@pytest.mark.guarantee("A-3", tried="too many files, too large ones")
def test_too_much_of_something() -> None:
    many = {f"code/f{number}.py": b"" for number in range(MAX_FILES)}
    with pytest.raises(BuildError):
        pack({"manifest.json": b"", **many})
    with pytest.raises(ArchiveError):
        unpack_untrusted(rebuilt(plain("manifest.json"), *(plain(name) for name in sorted(many))))
    with pytest.raises(BuildError):
        pack({"manifest.json": bytes(MAX_BUNDLE_BYTES)})
    with pytest.raises(ArchiveError):
        unpack_untrusted(bytes(MAX_BUNDLE_BYTES + 1))
    with pytest.raises(BuildError):
        pack({"code/a.py": b""})


@pytest.mark.guarantee("A-3", "H-6", tried="size bombs")
def test_size_bombs_do_not_unpack() -> None:
    bomb = gzip.compress(bytes(200 << 20), 9, mtime=0)
    assert len(bomb) < 1 << 20
    with pytest.raises(ArchiveError):
        unpack_untrusted(bomb)
    head = bytes.fromhex("1f8b08000000000000ff")
    with pytest.raises(ArchiveError, match="compressed"):
        unpack_untrusted(head + bomb[10:])
    # a size in a tar header that promises more than there is
    tar = bytearray(gunzip_stored_untrusted(pack(FILES)))
    tar[124:135] = b"77777777777"
    with pytest.raises(ArchiveError):
        unpack_untrusted(gzip_stored(bytes(tar)))


PACKED = pack(FILES)
TAR = gunzip_stored_untrusted(PACKED)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PACKED[:9],
        PACKED[:12],
        PACKED[:-1],
        PACKED + b"\0",
        PACKED + PACKED,
        gzip.compress(TAR, 9, mtime=0),
        gzip.compress(TAR, 0, mtime=0),
        gzip.compress(TAR, 0),
        TAR,
        zlib.compress(TAR, 0),
        gzip_stored(TAR[:-512]),
        gzip_stored(TAR + bytes(512)),
        gzip_stored(TAR[:-1024]),
        gzip_stored(TAR[:700]),
        gzip_stored(TAR[:513]),
        gzip_stored(b""),
        # a name flag and a name, as gzip(1) writes it
        PACKED[:3] + b"\x08" + PACKED[4:10] + b"name\0" + PACKED[10:],
        # the same content in other pieces
        PACKED[:10] + struct.pack("<BHH", 0, 0, 0xFFFF) + PACKED[10:],
        PACKED[:10]
        + struct.pack("<BHH", 0, 100, 100 ^ 0xFFFF)
        + TAR[:100]
        + struct.pack("<BHH", 1, len(TAR) - 100, (len(TAR) - 100) ^ 0xFFFF)
        + TAR[100:]
        + PACKED[-8:],
    ],
    ids=range(20),
)
def test_other_forms_of_the_same_are_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        unpack_untrusted(data)


@pytest.mark.guarantee("A-3", tried="every bit of an archive flipped, checksums mended")
def test_every_flipped_bit_is_refused_even_with_the_checksum_made_right() -> None:
    for bit in range(len(PACKED) * 8):
        changed = bytearray(PACKED)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ArchiveError):
            unpack_untrusted(bytes(changed))
    inside: set[int] = set()
    start = 512
    for data in FILES.values():
        inside |= set(range(start, start + len(data)))
        start += len(data) + -len(data) % 512 + 512
    for at in range(len(TAR)):
        if at in inside:
            continue
        changed = bytearray(TAR)
        changed[at] ^= 1 << at % 8
        with pytest.raises(ArchiveError):
            unpack_untrusted(gzip_stored(bytes(changed)))


def test_large_archives_are_cut_into_stored_pieces_that_gzip_reads() -> None:
    files = {"manifest.json": b"{}", "code/large.bin": os.urandom(300_000)}
    packed = pack(files)
    assert unpack_untrusted(packed) == files
    assert gzip.decompress(packed) == gunzip_stored_untrusted(packed)
    exact = gzip_stored(bytes(0xFFFF * 2))
    assert gzip.decompress(exact) == bytes(0xFFFF * 2) == gunzip_stored_untrusted(exact)
