"""FAT16 and FAT32 without a mount: a card as bytes, read with suspicion and written with care.

Whatever the card says is checked before it is used: geometry, cluster numbers, chains. Writes are
ordered so that a power cut at any of them leaves a card that everybody can read: content and chain
of a file first, then the one record that names them, then what it replaces is given back. What a
cut may leave are clusters that nothing names; `recover` gives them back.
"""

from __future__ import annotations

import os
import struct
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Final

from primegap.keyos.airlock.directory import (
    FREE,
    MAX_NAME_CHARS,
    RECORD_BYTES,
    Entry,
    find_orphans,
    make_records,
    make_short,
    parse_entries_untrusted,
    short_record,
)
from primegap.keyos.airlock.errors import (
    CardDamagedError,
    CardError,
    CardFullError,
    CardNameError,
    CardNotFoundError,
)
from primegap.keyos.airlock.volume import SECTOR, read_geometry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_FILE_BYTES: Final = 8 << 20  # read or written at once: the largest app
MAX_ENTRIES: Final = 4096  # of one folder that are looked at
MAX_DEPTH: Final = 8
MAX_FOLDERS: Final = 4096  # looked at when lost clusters are searched
FORBIDDEN: Final = frozenset('"*/:<>?\\|') | frozenset(map(chr, range(32))) | {"\x7f"}
_UNKNOWN: Final = 0xFFFFFFFF


class Card:
    """A FAT volume behind a descriptor of a file or a block device."""

    def __init__(self, fd: int) -> None:
        """Read the geometry and the table.

        Raises:
            CardDamagedError: it is not FAT16 or FAT32, or contradicts itself.
        """
        self._fd = fd
        self._size = os.lseek(fd, 0, os.SEEK_END)
        self._geometry = read_geometry(self.read_bytes)
        g = self._geometry
        self._wide = bool(g.root_cluster)
        self._table = array("I" if self._wide else "H")
        self._table.frombytes(self.read_bytes(g.fat_start, g.fat_bytes))
        if len(self._table) < g.clusters + 2:
            raise CardDamagedError("the table is too short")
        self._end = 0x0FFFFFF8 if self._wide else 0xFFF8
        self._mask = 0x0FFFFFFF if self._wide else 0xFFFF

    # -- bytes ----------------------------------------------------------------------------------

    def read_bytes(self, place: int, size: int) -> bytes:
        """Return bytes of the card; raise CardDamagedError when they are not all there."""
        if place < 0 or place + size > self._size:
            raise CardDamagedError("something is beyond the end")
        data = os.pread(self._fd, size, place)
        if len(data) != size:
            raise CardDamagedError("something cannot be read")
        return data

    def _write_bytes(self, place: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, place)
            view, place = view[done:], place + done

    def _sync(self) -> None:
        os.fsync(self._fd)

    # -- table ----------------------------------------------------------------------------------

    def _next(self, cluster: int) -> int:
        return self._table[cluster] & self._mask

    def _chain(self, first: int, *, limit: int) -> list[int]:
        """Return the clusters of a file or folder; `limit` is how many there may be."""
        chain: list[int] = []
        cluster = first
        while first and cluster < self._end:
            if not 2 <= cluster < self._geometry.clusters + 2 or len(chain) >= limit:
                raise CardDamagedError("a chain leads nowhere")
            chain.append(cluster)
            cluster = self._next(cluster)
        return chain

    def _free_clusters(self) -> Iterator[int]:
        return (c for c in range(2, self._geometry.clusters + 2) if not self._next(c))

    def _allocate(self, count: int) -> list[int]:
        found = list(islice(self._free_clusters(), count))
        if len(found) < count:
            raise CardFullError("no free cluster")
        return found

    def _link(self, chain: Sequence[int]) -> None:
        """Write a chain into every copy of the table."""
        for cluster, follower in zip(chain, [*chain[1:], self._mask], strict=True):
            self._set(cluster, follower)
        self._write_table(chain)

    def _set(self, cluster: int, value: int) -> None:
        kept = self._table[cluster] & ~self._mask if self._wide else 0
        self._table[cluster] = kept | value

    def _release(self, chain: Sequence[int]) -> None:
        for cluster in chain:
            self._set(cluster, 0)
        self._write_table(chain)

    def _write_table(self, clusters: Sequence[int]) -> None:
        """Write the sectors of the table in which these clusters are, the first copy first."""
        width = self._table.itemsize
        per = SECTOR // width
        g = self._geometry
        for copy in range(g.fats):
            for sector in sorted({cluster // per for cluster in clusters}):
                piece = self._table[sector * per : (sector + 1) * per].tobytes()
                self._write_bytes(g.fat_start + copy * g.fat_bytes + sector * SECTOR, piece)

    def _place(self, cluster: int) -> int:
        return self._geometry.data_start + (cluster - 2) * self._geometry.cluster_bytes

    def free_bytes(self) -> int:
        """Return how much room there is."""
        return sum(1 for _ in self._free_clusters()) * self._geometry.cluster_bytes

    def total_bytes(self) -> int:
        """Return how much room there would be on an empty card."""
        return self._geometry.clusters * self._geometry.cluster_bytes

    # -- folders --------------------------------------------------------------------------------

    def _regions(self, folder: int) -> list[tuple[int, int]]:
        """Return where a folder's records are, as places and sizes; folder 0 is the root."""
        g = self._geometry
        if not folder and not self._wide:
            return [(g.root_start, g.root_bytes)]
        return [(self._place(cluster), g.cluster_bytes) for cluster in self._folder_chain(folder)]

    def _folder_chain(self, folder: int) -> list[int]:
        """Return the clusters of a folder that has any: all but the root of FAT16."""
        g = self._geometry
        limit = MAX_ENTRIES * RECORD_BYTES // g.cluster_bytes + 1
        return self._chain(folder or g.root_cluster, limit=limit)

    def _records(self, folder: int) -> Iterator[tuple[int, bytes]]:
        left = MAX_ENTRIES
        for place, size in self._regions(folder):
            data = self.read_bytes(place, size)
            for offset in range(0, size, RECORD_BYTES):
                left -= 1
                if left < 0:
                    return
                yield place + offset, data[offset : offset + RECORD_BYTES]

    def _entries(self, folder: int) -> list[Entry]:
        return list(parse_entries_untrusted(self._records(folder)))

    def _find(self, folder: int, name: str) -> Entry | None:
        wanted = name.casefold()
        return next((e for e in self._entries(folder) if e.name.casefold() == wanted), None)

    def _folder(self, path: Sequence[str]) -> int:
        """Return the first cluster of a folder; 0 for the root."""
        cluster = 0
        for name in path:
            entry = self._find(cluster, name)
            if entry is None or not entry.folder:
                raise CardNotFoundError("no such folder")
            cluster = entry.cluster
        return cluster

    # -- what callers do ------------------------------------------------------------------------

    def entries(self, path: str) -> list[Entry]:
        """Return what is in a folder; the empty path is the root."""
        return self._entries(self._folder(split_path(path)))

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            CardNotFoundError, CardNameError, CardDamagedError; CardError: it is too large.
        """
        *folders, name = _parts(path)
        entry = self._find(self._folder(folders), name)
        if entry is None or entry.folder:
            raise CardNotFoundError("no such file")
        if entry.size > MAX_FILE_BYTES:
            raise CardError("the file is too large")
        size = self._geometry.cluster_bytes
        count = -(-entry.size // size)
        chain = self._chain(entry.cluster, limit=max(1, -(-MAX_FILE_BYTES // size)))
        if len(chain) < count:
            raise CardDamagedError("a file is shorter than its size")
        content = b"".join(self.read_bytes(self._place(cluster), size) for cluster in chain[:count])
        return content[: entry.size]

    def write(self, path: str, content: bytes) -> None:
        """Make or replace a file: at every moment the old one or the new one is there, whole."""
        if len(content) > MAX_FILE_BYTES:
            raise CardError("the file is too large")
        *folders, name = _parts(path)
        folder = self._folder(folders)
        entry = self._find(folder, name)
        if entry is not None and entry.folder:
            raise CardNameError("a folder has this name")
        size = self._geometry.cluster_bytes
        old = [] if entry is None else self._chain(entry.cluster, limit=self._geometry.clusters)
        chain = self._allocate(-(-len(content) // size))
        for number, cluster in enumerate(chain):
            piece = content[number * size : (number + 1) * size]
            self._write_bytes(self._place(cluster), piece.ljust(size, b"\0"))
        if chain:
            self._link(chain)
        first = chain[0] if chain else 0
        try:
            if entry is None:
                self._add(folder, name, folder_entry=False, cluster=first, size=len(content))
            else:
                self._sync()
                record = short_record(entry.short, folder=False, cluster=first, size=len(content))
                self._write_bytes(entry.places[-1], record)
                self._sync()
        except CardError:
            self._release(chain)
            raise
        self._release(old)
        self._count_free()

    def make_folder(self, path: str) -> None:
        """Make a folder, if it is not there."""
        *folders, name = _parts(path)
        parent = self._folder(folders)
        entry = self._find(parent, name)
        if entry is not None:
            if not entry.folder:
                raise CardNameError("a file has this name")
            return
        (cluster,) = self._allocate(1)
        dots = short_record(b".".ljust(11), folder=True, cluster=cluster, size=0)
        dots += short_record(b"..".ljust(11), folder=True, cluster=parent, size=0)
        self._write_bytes(self._place(cluster), dots.ljust(self._geometry.cluster_bytes, b"\0"))
        self._link([cluster])
        try:
            self._add(parent, name, folder_entry=True, cluster=cluster, size=0)
        except CardError:
            self._release([cluster])
            raise
        self._count_free()

    def remove(self, path: str, *, shred: bool = False) -> None:
        """Remove a file, or a folder that is empty.

        With `shred` the content becomes zeros and the name `x` first (airgap.md section 5.2).
        """
        *folders, name = _parts(path)
        entry = self._find(self._folder(folders), name)
        if entry is None:
            raise CardNotFoundError("no such file")
        if entry.folder and self._entries(entry.cluster):
            raise CardNameError("the folder is not empty")
        chain = self._chain(entry.cluster, limit=self._geometry.clusters)
        gone = bytes((FREE,))
        if shred and not entry.folder:
            for cluster in chain:
                self._write_bytes(self._place(cluster), bytes(self._geometry.cluster_bytes))
            self._sync()
            gone += b"x" * (RECORD_BYTES - 1)
        for place in reversed(entry.places):  # the short record first: then it is gone
            self._write_bytes(place, gone)
            if place == entry.places[-1]:
                self._sync()
        self._sync()
        self._release(chain)
        self._count_free()

    def recover(self) -> int:
        """Give back what a power cut left: clusters and records that belong to nothing.

        Returns:
            How many clusters there were. Nothing is changed when the card contradicts itself.
        """
        named: set[int] = set()
        orphans: list[int] = []
        waiting = [0]
        seen = 0
        while waiting:
            folder = waiting.pop()
            seen += 1
            if seen > MAX_FOLDERS:
                return 0
            if folder or self._wide:
                root = folder or self._geometry.root_cluster
                named.update(self._chain(root, limit=self._geometry.clusters))
            orphans += find_orphans(self._records(folder))
            for entry in self._entries(folder):
                chain = self._chain(entry.cluster, limit=self._geometry.clusters)
                if not named.isdisjoint(chain):
                    raise CardDamagedError("two files share a cluster")
                if entry.folder:
                    waiting.append(entry.cluster)
                else:
                    named.update(chain)
        bad = 0x0FFFFFF7 if self._wide else 0xFFF7
        lost = [
            cluster
            for cluster in range(2, self._geometry.clusters + 2)
            if self._next(cluster) not in (0, bad) and cluster not in named
        ]
        self._release(lost)
        for place in orphans:
            self._write_bytes(place, bytes((FREE,)))
        g = self._geometry
        first = self.read_bytes(g.fat_start, g.fat_bytes)
        for copy in range(1, g.fats):
            place = g.fat_start + copy * g.fat_bytes
            if self.read_bytes(place, g.fat_bytes) != first:
                self._write_bytes(place, first)
        self._count_free()
        self._sync()
        return len(lost)

    # -- inside ---------------------------------------------------------------------------------

    def _add(self, folder: int, name: str, *, folder_entry: bool, cluster: int, size: int) -> None:
        """Add an entry to a folder: its long records, then the short one that makes it count."""
        entries = self._entries(folder)
        short = make_short(name, (entry.short for entry in entries))
        records = make_records(name, short, folder=folder_entry, cluster=cluster, size=size)
        places = self._room(folder, len(records))
        self._sync()
        for place, record in zip(places, records, strict=True):
            if record is records[-1]:
                self._sync()
            self._write_bytes(place, record)
        self._sync()

    def _room(self, folder: int, count: int) -> list[int]:
        """Return places of free records that follow each other; a folder grows if it must."""
        run: list[int] = []
        for place, record in self._records(folder):
            run = [*run, place] if record[0] in (0, FREE) else []
            if len(run) == count:
                return run
        if not folder and not self._wide:
            raise CardFullError("the root directory is full")
        g = self._geometry
        chain = self._folder_chain(folder)
        if len(chain) >= MAX_ENTRIES * RECORD_BYTES // g.cluster_bytes:
            raise CardFullError("the folder is full")
        (cluster,) = self._allocate(1)
        self._write_bytes(self._place(cluster), bytes(g.cluster_bytes))
        self._link([cluster])
        self._sync()
        self._set(chain[-1], cluster)
        self._write_table([chain[-1]])
        return self._room(folder, count)

    def _count_free(self) -> None:
        """Tell other systems how much is free, where FAT32 has a place for it."""
        place = self._geometry.info
        if place:
            free = sum(1 for _ in self._free_clusters())
            self._write_bytes(place + 488, struct.pack("<II", free, _UNKNOWN))
        self._sync()


def split_path(path: str) -> list[str]:
    """Return the parts of a path; raise CardNameError unless each can be a name."""
    parts = path.split("/") if path else []
    if len(parts) > MAX_DEPTH:
        raise CardNameError("too many folders")
    for part in parts:
        if (
            not 1 <= len(part.encode("utf-16-le", errors="replace")) // 2 <= MAX_NAME_CHARS
            or part in (".", "..")
            or FORBIDDEN.intersection(part)
            or part != part.strip(" ")
            or part.endswith(".")
            or any(0xD800 <= ord(c) < 0xE000 for c in part)
        ):
            raise CardNameError("a name cannot be used")
    return parts


def _parts(path: str) -> list[str]:
    parts = split_path(path)
    if not parts:
        raise CardNameError("no name")
    return parts
