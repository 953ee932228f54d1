"""Receive credit of a stream, and the memory all streams share (session sections 6.1, 6.5)."""

from __future__ import annotations


class ReceiveWindow:
    """How far the peer may send on one stream, and whether it should be told.

    Args:
        size: most bytes buffered; the initial window, which the peer knows from the handshake, or
            what we granted when we opened the stream.
    """

    __slots__ = ("_advertised", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._advertised = size

    @property
    def size(self) -> int:
        """Most bytes between the consumed offset and the end of what the peer may send."""
        return self._size

    def grow(self, size: int) -> None:
        """Raise the size; it never shrinks."""
        self._size = max(self._size, size)

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
        news = consumed + self._size - self._advertised
        if news <= 0:
            return False
        return news * 4 >= self._size or (self._advertised - highest) * 2 <= self._size

    def advertise(self, consumed: int) -> int:
        """Return the limit to be sent now, an absolute offset, and note that it was."""
        self._advertised = max(self._advertised, consumed + self._size)
        return self._advertised


class MemoryBudget:
    """Bytes that the buffers of all streams of a session may take together.

    Every stream reserves its whole window, so credit once given can always be honoured.
    """

    __slots__ = ("_free",)

    def __init__(self, size: int) -> None:
        self._free = size

    @property
    def free(self) -> int:
        """Bytes not reserved."""
        return self._free

    def reserve(self, size: int) -> bool:
        """Set bytes aside; False when there are not enough."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def release(self, size: int) -> None:
        """Give reserved bytes back."""
        self._free += size
