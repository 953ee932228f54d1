"""The form of a FAT volume: where its parts are, read with suspicion, and an empty one made."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.airlock.directory import RECORD_BYTES
from primegap.keyos.airlock.errors import CardDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable

SECTOR: Final = 512
MAX_FAT_BYTES: Final = 32 << 20  # of a card of 128 GB in usual form
_MIN_FAT16: Final = 4085
_MIN_FAT32: Final = 65525
_PARTITION_TYPES: Final = frozenset({0x04, 0x06, 0x0B, 0x0C, 0x0E})
_FSINFO_LEAD: Final = 0x41615252


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where things are on a card, in bytes from its start, and how many there are."""

    cluster_bytes: int
    fat_start: int
    fat_bytes: int
    fats: int
    root_start: int
    "FAT16: where the root directory is."
    root_bytes: int
    data_start: int
    clusters: int
    root_cluster: int
    "FAT32; 0 for FAT16."
    info: int
    "FAT32: where the count of free clusters is; 0 for none."


def read_geometry(read: Callable[[int, int], bytes]) -> Geometry:
    """Return where things are on a card.

    Args:
        read: takes a place and a size; raises CardDamagedError when not all of it is there.

    Raises:
        CardDamagedError: it is not FAT16 or FAT32, or contradicts itself.
    """
    start = 0
    sector = read(0, SECTOR)
    if not _is_boot(sector) and sector[510:512] == b"\x55\xaa":
        kind, first = sector[450], int.from_bytes(sector[454:458], "little")
        if kind in _PARTITION_TYPES and first:
            start = first * SECTOR
            sector = read(start, SECTOR)
    if not _is_boot(sector):
        raise CardDamagedError("not a FAT volume")
    per_cluster, reserved, fats, root_entries, total16, _, fat16 = struct.unpack_from(
        "<BHBHHBH", sector, 13
    )
    total = total16 or int.from_bytes(sector[32:36], "little")
    fat_sectors = fat16 or int.from_bytes(sector[36:40], "little")
    root_sectors = -(-root_entries * RECORD_BYTES // SECTOR)
    data = reserved + fats * fat_sectors + root_sectors
    fat_bytes = fat_sectors * SECTOR
    if not reserved or not fat_sectors or data >= total or fat_bytes > MAX_FAT_BYTES:
        raise CardDamagedError("the volume contradicts itself")
    clusters = (total - data) // per_cluster
    wide = clusters >= _MIN_FAT32
    if clusters < _MIN_FAT16 or (wide and root_entries) or (not wide and not root_entries):
        raise CardDamagedError("not FAT16 or FAT32")
    read(start + total * SECTOR - 1, 1)  # the card is as large as it says
    info = 0
    if wide:
        place = int.from_bytes(sector[48:50], "little")
        if 0 < place < reserved:
            lead = read(start + place * SECTOR, 4)
            if int.from_bytes(lead, "little") == _FSINFO_LEAD:
                info = start + place * SECTOR
    return Geometry(
        cluster_bytes=per_cluster * SECTOR,
        fat_start=start + reserved * SECTOR,
        fat_bytes=fat_bytes,
        fats=fats,
        root_start=start + (reserved + fats * fat_sectors) * SECTOR,
        root_bytes=root_sectors * SECTOR,
        data_start=start + data * SECTOR,
        clusters=clusters,
        root_cluster=int.from_bytes(sector[44:48], "little") if wide else 0,
        info=info,
    )


def _is_boot(sector: bytes) -> bool:
    """Whether a sector begins a volume with sectors of 512 bytes and one or two tables."""
    per_cluster = sector[13]
    return (
        sector[510:512] == b"\x55\xaa"
        and int.from_bytes(sector[11:13], "little") == SECTOR
        and per_cluster > 0
        and per_cluster & (per_cluster - 1) == 0
        and sector[16] in (1, 2)
        and sector[21] >= 0xF0
    )


def format_card(fd: int, size: int, *, label: str = "PRIMEGAP", number: int = 0) -> None:
    """Make an empty FAT16 card of `size` bytes, 8 MiB to 512 MiB.

    Args:
        fd: descriptor of a file of zeros, or of one that may be overwritten.
        size: a multiple of 512.
        label: up to 11 capital letters.
        number: serial number, 32 bits.
    """
    sectors = size // SECTOR
    per_cluster = 4
    while sectors // per_cluster >= _MIN_FAT32 - 1024:
        per_cluster *= 2
    root_entries, reserved, fats = 512, 4, 2
    fat_sectors = -(-(sectors // per_cluster + 2) * 2 // SECTOR)
    boot = bytearray(SECTOR)
    boot[:13] = b"\xeb\x3c\x90PRIMEGAP" + struct.pack("<H", SECTOR)
    total16 = sectors if sectors < 0x10000 else 0
    struct.pack_into(
        "<BHBHHBHHHII", boot, 13, per_cluster, reserved, fats, root_entries, total16, 0xF8,
        fat_sectors, 32, 64, 0, 0 if total16 else sectors,
    )  # fmt: skip
    struct.pack_into("<BBBI11s8s", boot, 36, 0x80, 0, 0x29, number, _label(label), b"FAT16   ")
    boot[510:] = b"\x55\xaa"
    os.ftruncate(fd, 0)
    os.ftruncate(fd, size)
    for copy in range(fats):
        place = (reserved + copy * fat_sectors) * SECTOR
        os.pwrite(fd, b"\xf8\xff\xff\xff", place)
    root = (reserved + fats * fat_sectors) * SECTOR
    os.pwrite(fd, (_label(label) + b"\x08").ljust(RECORD_BYTES, b"\0"), root)
    os.pwrite(fd, boot, 0)  # last: before it, this is no card
    os.fsync(fd)


def _label(text: str) -> bytes:
    return text.upper().encode("ascii")[:11].ljust(11)
