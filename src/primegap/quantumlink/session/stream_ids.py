"""Which stream ids belong to whom, and which were used before (session sections 6.2 and 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.session.ranges import RangeSet

if TYPE_CHECKING:
    from primegap.quantumlink.identity import Qid

MAX_ID_RANGES: Final = 256
"""Separate ranges of ids remembered, 16 kB. Ids normally come one after another, with gaps only
while records are out of order; beyond 256 gaps the lowest one is taken as used."""


class StreamIds:
    """Allocates our ids and remembers those of the peer.

    The side with the smaller QID (or an equal one) uses even ids, the other odd ones.
    """

    __slots__ = ("_next_ordinal", "_parity", "_seen")

    def __init__(self, own: Qid, remote: Qid) -> None:
        self._parity = 0 if own <= remote else 1
        self._next_ordinal = 0
        self._seen = RangeSet()

    def allocate(self) -> int:
        """Return the next id for a stream of ours."""
        stream_id = 2 * self._next_ordinal + self._parity
        self._next_ordinal += 1
        return stream_id

    def is_ours(self, stream_id: int) -> bool:
        """Tell whether an id has our parity."""
        return stream_id % 2 == self._parity

    def was_allocated(self, stream_id: int) -> bool:
        """Tell whether an id of our parity was used in this session."""
        return stream_id // 2 < self._next_ordinal

    def is_new(self, stream_id: int) -> bool:
        """Note an id of the peer; False when it was seen before."""
        ordinal = stream_id // 2
        if ordinal in self._seen:
            return False
        self._seen.add(ordinal, ordinal + 1)
        if len(self._seen) > MAX_ID_RANGES:
            self._seen.join_first_two()
        return True
