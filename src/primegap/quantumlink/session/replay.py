"""Replay window: which record numbers of a session were accepted before (session section 4)."""

from __future__ import annotations


class ReplayWindow:
    """Remembers the last `size` record numbers up to the highest accepted one.

    A number is a replay when it was accepted before, or lies below `highest - (size - 1)`. Forward
    jumps are unlimited; memory is `size` bits.
    """

    __slots__ = ("_highest", "_mask", "_seen")

    def __init__(self, size: int) -> None:
        self._highest = -1
        self._seen = 0  # bit i stands for the number `highest - i`
        self._mask = (1 << size) - 1

    def is_replay(self, seq: int) -> bool:
        """Tell whether a record with this number must be dropped."""
        age = self._highest - seq
        if age < 0:
            return False
        return age >= self._mask.bit_length() or bool(self._seen >> age & 1)

    def accept(self, seq: int) -> None:
        """Note the number of a record that was authenticated and is no replay."""
        advance = seq - self._highest
        if advance <= 0:
            self._seen |= 1 << -advance
        elif advance >= self._mask.bit_length():
            # Not shifted: a jump may be 2^64 wide, and the shift would build that many bits.
            self._seen = 1
            self._highest = seq
        else:
            self._seen = (self._seen << advance | 1) & self._mask
            self._highest = seq
