"""Bitcoin's serialisation: CompactSize counts and a strict cursor over untrusted bytes."""

from __future__ import annotations

import hashlib
from typing import Final

from primegap.bitcoin.errors import TransactionFormatError

_LONG_COUNTS: Final = {0xFD: (2, 0xFD), 0xFE: (4, 0x1_0000), 0xFF: (8, 0x1_0000_0000)}
"CompactSize: first byte to (size of what follows, least value that needs it)."


def sha256d(data: bytes) -> bytes:
    """Return the double SHA-256, 32 bytes in internal byte order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def encode_count(value: int) -> bytes:
    """Encode a CompactSize count, 0 to 2**64 - 1, in its shortest form."""
    if value < 0xFD:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFF_FFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def encode_bytes(value: bytes) -> bytes:
    """Encode a byte string with its CompactSize length in front."""
    return encode_count(len(value)) + value


class Cursor:
    """Reads forward through untrusted bytes; every method raises only TransactionFormatError."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._end = len(data)
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self.position

    def take(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        start = self.position
        if size > self._end - start:
            raise TransactionFormatError("ends inside a field")
        self.position = start + size
        return self._data[start : self.position]

    def number(self, size: int) -> int:
        """Read an unsigned little-endian number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def count(self) -> int:
        """Read a CompactSize count in its shortest form."""
        first = self.number(1)
        long_form = _LONG_COUNTS.get(first)
        if long_form is None:
            return first
        size, least = long_form
        value = self.number(size)
        if value < least:
            raise TransactionFormatError("a count is not in its shortest form")
        return value

    def count_of(self, smallest_bytes: int) -> int:
        """Read a count of items, refused at once when they could not fit into what is left."""
        count = self.count()
        if count * smallest_bytes > self.left:
            raise TransactionFormatError("a count exceeds what is left")
        return count

    def bytes_(self) -> bytes:
        """Read a byte string with its CompactSize length in front."""
        return self.take(self.count())

    def finish(self) -> None:
        """Raise unless everything was read."""
        if self.left:
            raise TransactionFormatError("bytes follow the end")
