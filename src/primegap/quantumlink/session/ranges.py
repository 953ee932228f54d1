"""Sets of integers kept as disjoint ranges: record numbers, byte offsets, stream ordinals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Range = tuple[int, int]
"Half-open: the first number and the one behind the last."


class RangeSet:
    """Disjoint, non-touching, half-open ranges in ascending order.

    `len()` is the number of ranges, which is also what memory grows with; whoever lets a peer add
    ranges bounds it. `starts` and `stops` are for looking at only: they tell without a call whether
    there is a range, which is asked several times for each record.
    """

    __slots__ = ("starts", "stops")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Range]:
        return zip(self.starts, self.stops, strict=True)

    def __reversed__(self) -> Iterator[Range]:
        return zip(reversed(self.starts), reversed(self.stops), strict=True)

    def __contains__(self, value: int) -> bool:
        index = bisect_right(self.starts, value) - 1
        return index >= 0 and value < self.stops[index]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

    @property
    def first(self) -> Range:
        """The lowest range; the set must not be empty."""
        return self.starts[0], self.stops[0]

    @property
    def last(self) -> Range:
        """The highest range; the set must not be empty."""
        return self.starts[-1], self.stops[-1]

    def add(self, start: int, stop: int) -> None:
        """Add all numbers from `start` up to, not including, `stop`; touching ranges join."""
        if start >= stop:
            return
        starts, stops = self.starts, self.stops
        if not starts or start > stops[-1]:  # the usual cases: behind everything
            starts.append(start)
            stops.append(stop)
            return
        if start == stops[-1]:
            stops[-1] = stop
            return
        low = bisect_left(stops, start)  # the first range that touches or follows
        high = bisect_right(starts, stop)  # behind the last range that touches
        if low < high:
            start = min(start, starts[low])
            stop = max(stop, stops[high - 1])
        starts[low:high] = [start]
        stops[low:high] = [stop]

    def remove(self, start: int, stop: int) -> None:
        """Remove all numbers from `start` up to, not including, `stop`; a range may split."""
        starts, stops = self.starts, self.stops
        if not starts:
            return
        low = bisect_right(stops, start)  # the first range with a number at or above start
        high = bisect_left(starts, stop)  # behind the last range with a number below stop
        if start >= stop or low >= high:
            return
        keptstarts: list[int] = []
        keptstops: list[int] = []
        if starts[low] < start:
            keptstarts.append(starts[low])
            keptstops.append(start)
        if stops[high - 1] > stop:
            keptstarts.append(stop)
            keptstops.append(stops[high - 1])
        starts[low:high] = keptstarts
        stops[low:high] = keptstops

    def gaps(self, start: int, stop: int) -> list[Range]:
        """Return the parts of `[start, stop)` that are not in the set, ascending."""
        found: list[Range] = []
        index = bisect_right(self.stops, start)
        while start < stop and index < len(self.starts) and self.starts[index] < stop:
            if start < self.starts[index]:
                found.append((start, self.starts[index]))
            start = self.stops[index]
            index += 1
        if start < stop:
            found.append((start, stop))
        return found

    def pop_first(self) -> Range:
        """Remove and return the lowest range; the set must not be empty."""
        return self.starts.pop(0), self.stops.pop(0)

    def join_first_two(self) -> None:
        """Add the numbers between the two lowest ranges, of which there must be two."""
        del self.starts[1], self.stops[0]

    def clear(self) -> None:
        """Remove everything."""
        self.starts.clear()
        self.stops.clear()

    def copy(self) -> RangeSet:
        """Return an independent copy."""
        twin = RangeSet()
        twin.starts = self.starts.copy()
        twin.stops = self.stops.copy()
        return twin
