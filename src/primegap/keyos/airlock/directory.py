"""Directory records of FAT: short names, long names, and where they stand. Pure.

A file has one record of 32 bytes with a short name (8.3), and before it, when the name does not fit
that form, records that carry the name in UTF-16, last piece first, tied to the short name by a
checksum (Microsoft, "FAT: General Overview of On-Disk Format", sections 6 and 7).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECORD_BYTES: Final = 32
VOLUME: Final = 0x08
FOLDER: Final = 0x10
ARCHIVE: Final = 0x20
LONG: Final = 0x0F
FREE: Final = 0xE5
LAST_LONG: Final = 0x40
MAX_LONG_RECORDS: Final = 20
MAX_NAME_CHARS: Final = 255
_DATE: Final = 0x0021  # 1980-01-01: the device has no clock that a card should trust
_SHORT: Final = struct.Struct("<11sBBBHHHHHHHI")
_CHARS: Final = 13
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder as its records say."""

    name: str
    folder: bool
    cluster: int
    "First one; 0 for an empty file."
    size: int
    places: tuple[int, ...]
    "Where its records are, in bytes from the start of the volume; the short one last."
    short: bytes


def parse_entries_untrusted(records: Iterable[tuple[int, bytes]]) -> Iterator[Entry]:
    """Yield what a directory holds, from its records and their places; skip what is no entry."""
    pieces: list[bytes] = []
    places: list[int] = []
    checksum = -1
    for place, record in records:
        if record[0] == 0:
            return
        if record[0] == FREE:
            pieces, places = [], []
            continue
        if record[11] & 0x3F == LONG:
            if record[0] & LAST_LONG:
                pieces, places, checksum = [], [], record[13]
            if record[13] == checksum and len(pieces) < MAX_LONG_RECORDS:
                pieces.insert(0, record[1:11] + record[14:26] + record[28:32])
                places.append(place)
            continue
        name, attributes, _, _, _, _, _, high, _, _, low, size = _SHORT.unpack(record)
        if not attributes & VOLUME:
            whole = bool(pieces) and checksum == short_checksum(name)
            long = _long_name(pieces) if whole else ""
            shown = long or _short_name(name)
            if shown not in (".", ".."):
                yield Entry(
                    shown,
                    bool(attributes & FOLDER),
                    high << 16 | low,
                    size,
                    (*places, place) if whole else (place,),
                    name,
                )
        pieces, places = [], []


def find_orphans(records: Iterable[tuple[int, bytes]]) -> list[int]:
    """Return the places of long records that belong to no short one: a cut left them."""
    found: list[int] = []
    waiting: list[int] = []
    checksum = -1
    for place, record in records:
        if record[0] == 0:
            break
        if record[0] != FREE and record[11] & 0x3F == LONG:
            if record[0] & LAST_LONG:
                found += waiting
                waiting, checksum = [], record[13]
            waiting.append(place)
            continue
        if record[0] == FREE or checksum != short_checksum(record[:11]):
            found += waiting
        waiting = []
    return found + waiting


def _long_name(pieces: list[bytes]) -> str:
    text = b"".join(pieces).decode("utf-16-le", errors="replace")
    return text.split("\0", 1)[0].rstrip("\uffff")


def _short_name(name: bytes) -> str:
    base = name[:8].decode("cp437").rstrip()
    extension = name[8:].decode("cp437").rstrip()
    return f"{base}.{extension}" if extension else base


def short_checksum(name: bytes) -> int:
    """Return the checksum by which long records belong to a short name."""
    value = 0
    for byte in name:
        value = ((value & 1) << 7 | value >> 1) + byte & 0xFF
    return value


def make_short(name: str, taken: Iterable[bytes]) -> bytes:
    """Return a short name for a long one, different from those that are taken."""
    base, dot, extension = name.rpartition(".")
    if not dot:
        base, extension = name, ""
    plain = "".join(c for c in base.upper() if c in _PLAIN) or "FILE"
    tail = "".join(c for c in extension.upper() if c in _PLAIN)[:3].ljust(3).encode()
    used = set(taken)
    exact = plain[:8].ljust(8).encode() + tail
    if name == _short_name(exact) and exact not in used:
        return exact
    number = 1
    while True:
        suffix = f"~{number}"
        short = (plain[: 8 - len(suffix)] + suffix).ljust(8).encode() + tail
        if short not in used:
            return short
        number += 1


def make_records(name: str, short: bytes, *, folder: bool, cluster: int, size: int) -> list[bytes]:
    """Return the records of an entry in the order in which they stand, the short one last."""
    records = []
    if name != _short_name(short):
        units = name.encode("utf-16-le")
        count = -(-len(units) // (2 * _CHARS))
        if len(units) % (2 * _CHARS):
            units = (units + b"\0\0").ljust(count * 2 * _CHARS, b"\xff")
        for number in range(count, 0, -1):
            piece = units[(number - 1) * 2 * _CHARS : number * 2 * _CHARS]
            order = number | (LAST_LONG if number == count else 0)
            records.append(
                bytes((order,))
                + piece[:10]
                + bytes((LONG, 0, short_checksum(short)))
                + piece[10:22]
                + b"\0\0"
                + piece[22:]
            )
    records.append(short_record(short, folder=folder, cluster=cluster, size=size))
    return records


def short_record(short: bytes, *, folder: bool, cluster: int, size: int) -> bytes:
    """Return the record with the short name, the first cluster and the size."""
    return _SHORT.pack(
        short,
        FOLDER if folder else ARCHIVE,
        0,
        0,
        0,
        _DATE,
        _DATE,
        cluster >> 16,
        0,
        _DATE,
        cluster & 0xFFFF,
        size,
    )
