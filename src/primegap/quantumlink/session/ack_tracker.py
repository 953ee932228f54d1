"""What we owe the peer in acknowledgements (session sections 4 and 5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from primegap.quantumlink.acks import AckRange, fit_ack_ranges
from primegap.quantumlink.session.ranges import RangeSet

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REPEATED_RANGES: Final = 8
"""Ranges told before that later ACKs repeat: a lost ACK then costs nothing as long as another
follows (session 11, #2). Eight ranges are 17 to 40 bytes, and span far more than one flight."""


ACK_EVERY_BYTES: Final = 16_384
"""Bytes received after which an ACK is due at once: half the smallest window of our own sender, so
a fast path never waits for a timer. Bluetooth takes 95 ms for them, so there the delay decides."""


REPEAT_INTERVAL_S: Final = 1.0
"""Least time between an ACK and its repetition for a duplicate (session 11, #2): by then an honest
sender would have given the record up. A duplicate proves nothing, anybody on the air can play it
again, and it must not make us transmit more than a packet a second."""


class AckChoice(NamedTuple):
    """Ranges for one ACK."""

    ranges: tuple[AckRange, ...]
    news: tuple[AckRange, ...]
    "Those that were not told before, as far as they are."


class AckTracker:
    """Collects the numbers of accepted records and turns them into ACK ranges.

    Args:
        range_limit: most ranges not told yet; beyond it the lowest are forgotten, and the peer
            sends what was in those records again.
        delay_s: longest time a record that asks for an acknowledgement waits for it.
    """

    __slots__ = (
        "_delay_s",
        "_due_s",
        "_fresh",
        "_range_limit",
        "_repeat_from_s",
        "_told",
        "_unanswered",
    )

    def __init__(self, range_limit: int, delay_s: float) -> None:
        self._range_limit = range_limit
        self._delay_s = delay_s
        self._fresh = RangeSet()  # never told, or told in a record that was lost
        self._told = RangeSet()
        self._due_s: float | None = None
        self._unanswered = 0  # bytes of records that asked for an ACK since the last one
        self._repeat_from_s = 0.0  # when a duplicate may first ask for an ACK again

    @property
    def due_s(self) -> float | None:
        """When an ACK must leave even if nothing else does; None when nothing asks for one."""
        return self._due_s

    @property
    def is_scheduled(self) -> bool:
        """True when an ACK may ride along with other frames."""
        return self._due_s is not None and bool(self._fresh.starts)

    def note(self, seq: int) -> None:
        """Remember that a record arrived."""
        fresh = self._fresh
        fresh.add(seq, seq + 1)
        if len(fresh.starts) > self._range_limit:
            self._bound_fresh()

    def schedule(self, now_s: float, size: int = 0) -> None:
        """Ask for an ACK within the delay; an earlier request stands.

        Args:
            now_s: time.
            size: bytes received; many of them are acknowledged at once.
        """
        self._unanswered += size
        due_s = now_s if self._unanswered >= ACK_EVERY_BYTES else now_s + self._delay_s
        if self._due_s is None or due_s < self._due_s:
            self._due_s = due_s

    def peek(self, budget: int) -> AckChoice | None:
        """Return the ranges the next ACK would hold, or None when there is no news or no room.

        When all the news fits, older ranges are repeated with what room is left. Otherwise only the
        highest news is chosen, and the rest follows in later records.

        Args:
            budget: most bytes of the ACK, kind byte not counted.
        """
        fresh = self._fresh
        if not fresh.starts:
            return None
        repeated = self._told.copy()
        for start, stop in zip(fresh.starts, fresh.stops, strict=True):
            repeated.add(start, stop)
        ranges = fit_ack_ranges(_descending(repeated), budget)
        if ranges and ranges[-1][0] <= fresh.starts[0]:
            return AckChoice(ranges, tuple(_descending(fresh)))
        news = fit_ack_ranges(_descending(fresh), budget)
        return AckChoice(news, news) if news else None

    def repeat(self, seq: int, now_s: float) -> None:
        """A record came again: tell its number once more, if the last ACK is long ago.

        Only a number that was told and whose ACK nobody has confirmed counts.
        """
        if seq not in self._told or now_s < self._repeat_from_s:
            return
        self._repeat_from_s = now_s + REPEAT_INTERVAL_S
        self._told.remove(seq, seq + 1)
        self._fresh.add(seq, seq + 1)
        self._bound_fresh()
        self.schedule(now_s)

    def commit(self, choice: AckChoice, now_s: float) -> None:
        """Count a choice as told; the request is met when no news is left."""
        self._repeat_from_s = now_s + REPEAT_INTERVAL_S
        fresh, told = self._fresh, self._told
        for low, high in choice.news:
            fresh.remove(low, high + 1)
            told.add(low, high + 1)
        while len(told.starts) > MAX_REPEATED_RANGES:
            told.pop_first()
        if not fresh.starts:
            self._due_s = None
            self._unanswered = 0

    def give_up(self) -> None:
        """Drop the request: not even an empty record has room for an ACK of these numbers."""
        self._due_s = None

    def restore(self, news: Iterable[AckRange], now_s: float) -> None:
        """Take back news whose record was lost; it is due at once (session section 5.4)."""
        restored = False
        for low, high in news:
            self._fresh.add(low, high + 1)
            restored = True
        if restored:
            self._bound_fresh()
            self._due_s = now_s

    def confirm(self, ranges: Iterable[AckRange]) -> None:
        """Stop repeating ranges: the record that carried them was acknowledged."""
        for low, high in ranges:
            self._told.remove(low, high + 1)

    def _bound_fresh(self) -> None:
        while len(self._fresh.starts) > self._range_limit:
            self._fresh.pop_first()


def _descending(ranges: RangeSet) -> list[AckRange]:
    pairs = [(start, stop - 1) for start, stop in zip(ranges.starts, ranges.stops, strict=True)]
    pairs.reverse()
    return pairs
