"""Receive credit of a stream, and the memory all streams share (session sections 6.1, 6.5)."""

from __future__ import annotations

from typing import Final


class ReceiveWindow:
    """How far the peer may send on one stream, and whether it should be told.

    Args:
        size: most bytes buffered; the initial window, which the peer knows from the handshake, or
            what we granted when we opened the stream.
    """

    __slots__ = ("_advertised", "_initial_size", "_size", "_told_at_s", "_told_consumed")

    def __init__(self, size: int) -> None:
        self._size = size
        self._initial_size = size
        self._advertised = size
        self._told_at_s: float | None = None  # when, and at which offset, the limit was last told
        self._told_consumed = 0

    @property
    def size(self) -> int:
        """Most bytes between the consumed offset and the end of what the peer may send."""
        return self._size

    @property
    def growth(self) -> int:
        """Bytes added since the start."""
        return self._size - self._initial_size

    def grow(self, growth: int) -> None:
        """Add bytes to the size, which never shrinks."""
        self._size += growth

    def allows(self, stop: int, consumed: int) -> bool:
        """Tell whether data up to the offset `stop` is within the credit."""
        return stop - consumed <= self._size

    def should_update(self, consumed: int, highest: int) -> bool:
        """Tell whether the peer should hear of its new limit.

        A quarter of the window is news enough; when the peer has used up half of what it knows of,
        any progress is. So credit never runs out for lack of news, and not every read costs a frame
        (session 11, #7).

        Args:
            consumed: offset of the next byte to be read.
            highest: offset behind the highest byte received.
        """
        size = self._size
        news = consumed + size - self._advertised
        return news > 0 and (news * 4 >= size or (self._advertised - highest) * 2 <= size)

    def wanted_growth(self, consumed: int, max_size: int, *, now_s: float, rtt_s: float) -> int:
        """Return by how much the window should grow before its limit is told (session 11, #6).

        When the application reads more than half a window per round trip, the window is what holds
        the peer back, and is doubled.

        Args:
            consumed: offset of the next byte to be read.
            max_size: largest window.
            now_s: time.
            rtt_s: round trip.
        """
        if self._told_at_s is None:
            return 0
        read = consumed - self._told_consumed
        is_short = 2 * read * rtt_s >= self._size * max(now_s - self._told_at_s, 0.0)
        return min(self._size, max_size - self._size) if is_short and read > 0 else 0

    def advertise(self, consumed: int, now_s: float) -> int:
        """Return the limit to be sent now, an absolute offset, and note that it was."""
        self._told_at_s, self._told_consumed = now_s, consumed
        self._advertised = max(self._advertised, consumed + self._size)
        return self._advertised


GROWTH_DIVISOR: Final = 4
"""A quarter of the memory may go to windows larger than the initial one. The rest stays for streams
to come, so a peer that asks for large windows cannot keep us from opening streams of our own."""


class MemoryBudget:
    """Bytes that the buffers of all streams of a session may take together.

    Every stream reserves its whole window, so credit once given can always be honoured.
    """

    __slots__ = ("_free", "_free_growth")

    def __init__(self, size: int) -> None:
        self._free = size
        self._free_growth = size // GROWTH_DIVISOR

    @property
    def free(self) -> int:
        """Bytes not reserved."""
        return self._free

    def reserve_growth(self, wanted: int) -> int:
        """Set aside up to `wanted` bytes for a larger window; return how many were."""
        granted = max(min(wanted, self._free, self._free_growth), 0)
        self._free -= granted
        self._free_growth -= granted
        return granted

    def reserve(self, size: int) -> bool:
        """Set bytes aside; False when there are not enough."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def release(self, window: ReceiveWindow) -> None:
        """Give back what a window had reserved."""
        self._free += window.size
        self._free_growth += window.growth
