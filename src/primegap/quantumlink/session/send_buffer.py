"""Outgoing bytes of one lane until they are acknowledged (session sections 6.7 to 6.9)."""

from __future__ import annotations

from typing import Final

from primegap.quantumlink.session.ranges import RangeSet

MAX_ACKNOWLEDGED_PIECES: Final = 512
"""Pieces acknowledged behind a gap beyond which nothing new is sent. An honest peer leaves a gap
per lost record, at most some dozens; a hostile one could grant credit byte by byte and
acknowledge every other byte, and each piece costs us a hundred bytes to remember."""


class SendBuffer:
    """Holds what was written until it is acknowledged; knows what to send next.

    Bytes go through never sent → in flight → acknowledged, and from in flight to lost and back.
    Only the contiguous acknowledged prefix leaves the buffer.

    Args:
        size: most bytes held, at least 1.
    """

    __slots__ = (
        "_acked",
        "_base",
        "_data",
        "_fin_acked",
        "_fin_due",
        "_final",
        "_lost",
        "_next",
        "_size",
    )

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()
        self._base = 0  # offset of data[0]: everything below is acknowledged
        self._next = 0  # offset of the first byte never sent
        self._acked = RangeSet()  # acknowledged above the base
        self._lost = RangeSet()
        self._final: int | None = None
        self._fin_due = False  # the FIN is unsent or lost
        self._fin_acked = False

    @property
    def capacity(self) -> int:
        """Bytes that `write` would accept now."""
        return max(self._size - len(self._data), 0) if self._final is None else 0

    @property
    def size(self) -> int:
        """Most bytes held."""
        return self._size

    @property
    def is_all_sent(self) -> bool:
        """True when nothing waits to be sent: what is held is on its way."""
        return self._next == self._base + len(self._data) and not self._lost.starts

    def grow(self, growth: int) -> None:
        """Hold more bytes from now on."""
        self._size += growth

    @property
    def end(self) -> int:
        """Offset behind the last byte written."""
        return self._base + len(self._data)

    @property
    def is_finished(self) -> bool:
        """True once `finish` was called."""
        return self._final is not None

    @property
    def is_acknowledged(self) -> bool:
        """True when the FIN and every byte in front of it were acknowledged.

        The reference reports a lane as finished with the FIN alone (session 11, #8).
        """
        return self._fin_acked and self._base == self._final

    def write(self, data: bytes) -> int:
        """Append as much of `data` as fits and return that number of bytes."""
        accepted = min(len(data), self.capacity)
        self._data += data if accepted == len(data) else memoryview(data)[:accepted]
        return accepted

    def finish(self) -> None:
        """Mark the end of the lane at the current end; nothing can be written any more."""
        if self._final is None:
            self._final = self.end
            self._fin_due = True

    def next_offset(self, credit: int) -> int | None:
        """Return the offset at which the next chunk would start, or None when nothing may go.

        Args:
            credit: offset the peer allows us to send up to, exclusive.
        """
        if self._lost.starts:
            return self._lost.starts[0]  # was within the credit when first sent
        end = self._base + len(self._data)
        if self._next < end:
            may_go = self._next < credit and len(self._acked.starts) < MAX_ACKNOWLEDGED_PIECES
            return self._next if may_go else None
        if self._fin_due and end <= credit:
            return end
        return None

    def take(self, room: int, credit: int, start: int) -> tuple[int, bool] | None:
        """Choose the next chunk and count it as in flight.

        The lowest lost range goes first, and is extended with new bytes when they follow directly;
        then new bytes; the FIN rides along with the last byte, or goes alone when only it is left.

        Args:
            room: most payload bytes, at least 0.
            credit: offset the peer allows us to send up to, exclusive.
            start: the `next_offset` of this moment, where the chunk starts.

        Returns:
            The offset behind it and whether the FIN rides along, or None when there is no room.
        """
        base = self._base
        reach = min(base + len(self._data), credit)
        lost = self._lost
        if lost.starts:
            lost_stop = lost.stops[0]
            reach = max(reach, lost_stop) if lost_stop == self._next else lost_stop
        stop = min(start + room, reach)
        fin = self._fin_due and stop == self._final
        if stop == start and not fin:
            return None
        if lost.starts:
            lost.remove(start, stop)
        self._next = max(self._next, stop)
        if fin:
            self._fin_due = False
        return stop, fin

    def copy_behind(self, head: bytes, start: int, stop: int) -> bytes:
        """Return `head` with the bytes from `start` to `stop`, which are held, behind it."""
        with memoryview(self._data) as data:
            return b"".join((head, data[start - self._base : stop - self._base]))

    def acknowledge(self, start: int, stop: int, *, fin: bool) -> None:
        """Credit a chunk that arrived; a range known as lost is not sent again."""
        if fin:
            self._fin_acked = True
            self._fin_due = False
        base, acked = self._base, self._acked
        start = max(start, base)
        if start >= stop:
            return
        if self._lost.starts:
            self._lost.remove(start, stop)
        if start > base:
            acked.add(start, stop)
            return
        while acked.starts and acked.starts[0] <= stop:
            stop = max(stop, acked.pop_first()[1])
        del self._data[: stop - base]
        self._base = stop

    def lose(self, start: int, stop: int, *, fin: bool) -> None:
        """Mark a chunk for sending again, except what was acknowledged meanwhile."""
        if fin and not self._fin_acked:
            self._fin_due = True
        for low, high in self._acked.gaps(max(start, self._base), stop):
            self._lost.add(low, high)

    def discard(self) -> None:
        """Drop everything: the lane was reset."""
        self._base = self._next = self.end
        self._data.clear()
        self._acked.clear()
        self._lost.clear()
        self._fin_due = False
