"""Replay window: which record numbers of a session were accepted before (session section 4)."""

from __future__ import annotations


class ReplayWindow:
    """Remembers the last `size` record numbers up to the highest accepted one.

    A number is a replay when it was accepted before, or lies below `highest - (size - 1)`. Forward
    jumps are unlimited; memory is `size` bits.
    """

    __slots__ = ("_highest", "_mask", "_run_start", "_seen", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._highest = -1
        # Numbers mostly come in order: those from here to the highest were all accepted, and only
        # when the run ends is it written into the bits.
        self._run_start = 0
        self._seen = 0  # bit i stands for the number `run_start - 1 - i`

    def is_replay(self, seq: int) -> bool:
        """Tell whether a record with this number must be dropped."""
        if seq > self._highest:
            return False
        if seq >= self._run_start or self._highest - seq >= self._size:
            return True
        return bool(self._seen >> (self._run_start - 1 - seq) & 1)

    def accept(self, seq: int) -> None:
        """Note the number of a record that was authenticated and is no replay."""
        advance = seq - self._highest
        if advance == 1:
            self._highest = seq
            return
        self._end_run()
        if advance <= 0:
            self._seen |= 1 << -advance
        elif advance >= self._size:
            # Not shifted: a jump may be 2^64 wide, and the shift would build that many bits.
            self._seen = 1
        else:
            self._seen = (self._seen << advance | 1) & self._mask
        self._highest = max(self._highest, seq)
        self._run_start = self._highest + 1

    def _end_run(self) -> None:
        """Write the run into the bits; the number of bit 0 is the highest then."""
        length = self._highest + 1 - self._run_start
        if length >= self._size:
            self._seen = self._mask
        elif length:
            self._seen = (self._seen << length | (1 << length) - 1) & self._mask
        self._run_start = self._highest + 1
