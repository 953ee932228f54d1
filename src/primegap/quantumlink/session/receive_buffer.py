"""Incoming bytes of one lane, put back in order (session sections 6.4 and 6.5)."""

from __future__ import annotations

from typing import Final

from primegap.quantumlink.session.errors import ProtocolViolationError
from primegap.quantumlink.session.ranges import RangeSet

MAX_PIECES: Final = 512
"""Most separate pieces held behind a gap. An honest sender leaves one gap per lost record; a
hostile one could leave a gap behind every byte, and each costs us a hundred bytes to remember."""


class ReceiveBuffer:
    """Reassembles a lane; the caller checks the credit, this class the final offset.

    The bytes from the consumed offset on lie in one buffer, zeros in the gaps. What was received
    first stays: overlaps are not compared. A piece that comes while nothing else is held is kept as
    it is: whoever reads everything as it comes gets it without a copy.
    """

    __slots__ = ("_data", "_final", "_pieces", "_readable_stop", "_whole", "consumed")

    def __init__(self) -> None:
        self._whole = b""  # all that is held, if anything; the buffer below is empty then
        self._data = bytearray()
        self.consumed = 0
        "Offset of the next byte to be read; for looking at only."
        self._readable_stop = 0  # everything below was received
        self._pieces = RangeSet()  # received above the first gap
        self._final: int | None = None

    @property
    def readable(self) -> int:
        """Contiguous bytes that can be read now."""
        return self._readable_stop - self.consumed

    @property
    def highest(self) -> int:
        """Offset behind the highest byte received."""
        return self.consumed + (len(self._whole) or len(self._data))

    @property
    def has_end(self) -> bool:
        """True when the final offset is known; no more credit will be needed."""
        return self._final is not None

    @property
    def is_complete(self) -> bool:
        """True when all bytes up to the FIN are here or were read."""
        return self._readable_stop == self._final

    @property
    def is_drained(self) -> bool:
        """True when all bytes up to the FIN were read."""
        return self.consumed == self._final

    @property
    def is_too_fragmented(self) -> bool:
        """True when the peer left more than `MAX_PIECES` gaps."""
        return len(self._pieces.starts) > MAX_PIECES

    def insert(self, offset: int, payload: bytes, *, fin: bool) -> None:
        """Add a piece of the lane.

        Raises:
            ProtocolViolationError: the piece contradicts the final offset (session 6.4, 4 and 5).
        """
        stop = offset + len(payload)
        if fin or self._final is not None:
            self._check_final(stop, fin=fin)
        if offset == self._readable_stop and not self._pieces.starts:  # the usual case: in order
            if self._whole or self._data:
                self._unfold()
                self._data += payload
            else:
                self._whole = payload
            self._readable_stop = stop
            return
        self._unfold()
        start = max(offset, self._readable_stop)
        if start >= stop:
            return
        if stop > self.highest:
            self._data += bytes(stop - self.highest)
        for low, high in self._pieces.gaps(start, stop):
            self._data[low - self.consumed : high - self.consumed] = payload[
                low - offset : high - offset
            ]
        self._pieces.add(start, stop)
        if self._pieces.first[0] == self._readable_stop:
            self._readable_stop = self._pieces.pop_first()[1]

    def _check_final(self, stop: int, *, fin: bool) -> None:
        if self._final is not None:
            if stop > self._final or (fin and stop != self._final):
                raise ProtocolViolationError("data contradicts the final offset of its lane")
        else:
            if stop < self.highest:
                raise ProtocolViolationError("the final offset lies below data received before")
            self._final = stop

    def read(self, max_bytes: int) -> bytes:
        """Consume and return up to `max_bytes` contiguous bytes."""
        size = min(max_bytes, self._readable_stop - self.consumed)
        if size and size == len(self._whole):
            taken, self._whole = self._whole, b""
        else:
            self._unfold()
            with memoryview(self._data) as data:
                taken = bytes(data[:size])
            del self._data[:size]
        self.consumed += size
        return taken

    def discard(self) -> None:
        """Drop what is buffered; the consumed offset stays (session section 6.10)."""
        self._whole = b""
        self._data.clear()
        self._pieces.clear()
        self._readable_stop = self.consumed

    def _unfold(self) -> None:
        """Put what is held whole into the buffer."""
        if self._whole:
            self._data += self._whole
            self._whole = b""
