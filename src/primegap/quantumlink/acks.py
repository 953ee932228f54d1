"""ACK ranges: which record numbers arrived (wire section 12).

Ranges are pairs `(low, high)`, both inclusive, from high to low, with at least one missing number
between neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.codec import MAX_U64, Reader, put_varint, varint_size
from primegap.quantumlink.errors import (
    AckRangesError,
    EmptyAckError,
    InvalidRangeError,
    InvertedRangeError,
    NotCanonicalError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

AckRange = tuple[int, int]
"One inclusive range, `(low, high)`."

_MAX_RANGE_SIZE: Final = 20
"Most bytes of a range: two varints of 64 bits."
_MAX_COUNT_SIZE: Final = 5


class AckBuilder:
    """Collects ranges, from high to low, as long as their encoding fits a budget (wire 12).

    Args:
        budget: most bytes the fields may take, kind byte not included; None for no bound.
    """

    __slots__ = ("_budget", "_ranges", "_sizes")

    def __init__(self, budget: int | None = None) -> None:
        self._budget = budget
        self._ranges: list[AckRange] = []
        self._sizes = 0  # bytes of everything except the block count

    def add(self, low: int, high: int) -> bool:
        """Add the next lower range; False when it does not fit and was left out.

        Raises:
            AckRangesError: inverted, not below the previous range, or beyond 64 bits.
        """
        if low > high:
            raise InvertedRangeError("a range starts above its end")
        if low < 0 or high > MAX_U64:
            raise AckRangesError("record numbers are 0 to 2^64 - 1")
        if not self._ranges:
            growth = varint_size(high) + varint_size(high - low)
        else:
            previous_low = self._ranges[-1][0]
            if high + 1 >= previous_low:
                raise NotCanonicalError("ranges must descend and leave a gap")
            growth = varint_size(previous_low - high - 2) + varint_size(high - low)
        # With this range the block count equals the number of ranges held before it.
        total = self._sizes + growth + varint_size(len(self._ranges))
        if self._budget is not None and total > self._budget:
            return False
        self._sizes += growth
        self._ranges.append((low, high))
        return True

    @property
    def ranges(self) -> tuple[AckRange, ...]:
        """The ranges that were accepted so far, descending."""
        return tuple(self._ranges)

    def encode(self) -> bytes:
        """Encode the fields of the ACK, without the kind byte.

        Raises:
            EmptyAckError: no range was accepted.
        """
        if not self._ranges:
            raise EmptyAckError("an ACK needs a range")
        low, high = self._ranges[0]
        parts = [put_varint(high), put_varint(len(self._ranges) - 1), put_varint(high - low)]
        previous_low = low
        for low, high in self._ranges[1:]:
            parts += (put_varint(previous_low - high - 2), put_varint(high - low))
            previous_low = low
        return b"".join(parts)


def encode_ack_fields(ranges: Sequence[AckRange]) -> bytes:
    """Encode the fields of an ACK, without the kind byte.

    Raises:
        AckRangesError: the ranges are not one or more, each in order, descending with gaps.
    """
    if len(ranges) == 1:  # nearly always
        low, high = ranges[0]
        if 0 <= low <= high <= MAX_U64:
            return put_varint(high) + b"\0" + put_varint(high - low)
    builder = AckBuilder()
    for low, high in ranges:
        builder.add(low, high)
    return builder.encode()


def fit_ack_ranges(ranges: Sequence[AckRange], budget: int) -> tuple[AckRange, ...]:
    """Return the longest leading part of `ranges` whose ACK fields fit `budget` bytes.

    The kind byte is not part of the budget. The result is empty when not even the first fits.
    """
    if len(ranges) * _MAX_RANGE_SIZE + _MAX_COUNT_SIZE <= budget:
        return tuple(ranges)
    builder = AckBuilder(budget)
    for low, high in ranges:
        if not builder.add(low, high):
            break
    return builder.ranges


def parse_ack_fields_untrusted(reader: Reader) -> tuple[AckRange, ...]:
    """Read the fields of an ACK behind its kind byte.

    All fields are read before the ranges are tested, so a cut ACK reports where it was cut. Memory
    follows the bytes present (at least two per range), never the announced count.

    Raises:
        UnexpectedEofError, InvalidVarintError: the fields do not decode.
        InvalidRangeError: a range would reach below zero.
    """
    largest = reader.varint(64)
    count = reader.varint(32)
    first = reader.varint(64)
    blocks: list[tuple[int, int]] = []
    for _ in range(count):
        gap = reader.varint(64)
        blocks.append((gap, reader.varint(64)))
    low, high = largest - first, largest
    if low < 0:
        raise InvalidRangeError("the first range is longer than its largest number")
    ranges = [(low, high)]
    for gap, length in blocks:
        # Python integers do not wrap: a step beyond 64 bits shows up as a negative number too.
        high = low - gap - 2
        low = high - length
        if low < 0:
            raise InvalidRangeError("a range reaches below zero")
        ranges.append((low, high))
    return tuple(ranges)
