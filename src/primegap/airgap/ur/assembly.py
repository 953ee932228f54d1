"""Putting a message together by Gaussian elimination (uniform-resources.md section 7.2).

Every part is an equation over GF(2): which fragments, and their XOR. The message is complete with
the first set of parts that determines it, which is earlier than by the usual step-wise reduction.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from primegap.airgap.errors import CorruptSetError
from primegap.airgap.ur.fragments import choose_fragments

if TYPE_CHECKING:
    from primegap.airgap.ur.part import Part


class Assembly:
    """The equations collected for one message.

    Memory stays below twice the message: one row for each fragment at most.
    """

    def __init__(self, first: Part) -> None:
        self.seq_len, self.message_bytes, self._checksum, self._length = first.message_key
        # By the highest fragment of each: bit mask of the fragments, and the XOR of their data.
        self._rows: dict[int, tuple[int, int]] = {}

    @property
    def rank(self) -> int:
        """Number of independent parts so far; the message is complete at N."""
        return len(self._rows)

    @property
    def is_complete(self) -> bool:
        """Whether the message is determined."""
        return len(self._rows) == self.seq_len

    def add(self, part: Part) -> bool:
        """Take a part of this message in; return whether it told anything new.

        Raises:
            CorruptSetError: it contradicts the parts before it, so one of them is wrong.
        """
        mask = 0
        for index in choose_fragments(part.seq_num, self.seq_len, self._checksum):
            mask |= 1 << index
        data = int.from_bytes(part.data, "big")
        while mask:
            highest = mask.bit_length() - 1
            row = self._rows.get(highest)
            if row is None:
                self._rows[highest] = (mask, data)
                return True
            mask ^= row[0]
            data ^= row[1]
        if data:
            raise CorruptSetError("a part contradicts the others")
        return False

    def message(self) -> bytes:
        """Return the message of a complete assembly.

        Raises:
            CorruptSetError: checksum or padding are wrong.
        """
        fragments: list[int] = []
        for index in range(self.seq_len):  # a row holds its own fragment and lower ones only
            mask, data = self._rows[index]
            mask ^= 1 << index
            while mask:
                lowest = mask & -mask
                data ^= fragments[lowest.bit_length() - 1]
                mask ^= lowest
            fragments.append(data)
        joined = b"".join([fragment.to_bytes(self._length, "big") for fragment in fragments])
        message, padding = joined[: self.message_bytes], joined[self.message_bytes :]
        if zlib.crc32(message) != self._checksum:
            raise CorruptSetError("the checksum of the message is wrong")
        if any(padding):
            raise CorruptSetError("the padding is not zero")
        return message
