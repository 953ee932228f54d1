"""Round-trip estimate and retransmission time-out (session section 5.3)."""

from __future__ import annotations

from typing import Final

MIN_RTO_S: Final = 0.010
MAX_RTO_S: Final = 30.0
"Bounds of the time-out, fixed by session section 2.4."

CLOCK_GRANULARITY_S: Final = 1e-6
"""A timer counts as due this much early: event loops may wake a driver one tick of their clock
before the time it asked for, and sums of floats are not exact."""


def is_due(deadline_s: float | None, now_s: float) -> bool:
    """Tell whether a deadline is reached; None is never."""
    return deadline_s is not None and deadline_s <= now_s + CLOCK_GRANULARITY_S


class RttEstimator:
    """Smoothed round trip and the time-out derived from it.

    Args:
        initial_rto_s: time-out until the first sample.
    """

    __slots__ = ("_latest_s", "_rto_s", "_smoothed_s", "_variation_s")

    def __init__(self, initial_rto_s: float) -> None:
        self._smoothed_s: float | None = None
        self._latest_s = 0.0
        self._variation_s = 0.0
        self._rto_s = _clamp(initial_rto_s)

    @property
    def rto_s(self) -> float:
        """Time after which an unacknowledged record counts as lost."""
        return self._rto_s

    @property
    def smoothed_s(self) -> float | None:
        """Smoothed round trip, None before the first sample."""
        return self._smoothed_s

    @property
    def longest_s(self) -> float | None:
        """The longer of the smoothed and the latest round trip, None before the first sample."""
        return None if self._smoothed_s is None else max(self._smoothed_s, self._latest_s)

    def sample(self, rtt_s: float) -> None:
        """Take a measured round trip; this also ends any back-off."""
        self._latest_s = rtt_s = max(rtt_s, 0.0)
        if self._smoothed_s is None:
            self._smoothed_s = rtt_s
            self._variation_s = rtt_s / 2
        else:
            self._variation_s = (3 * self._variation_s + abs(self._smoothed_s - rtt_s)) / 4
            self._smoothed_s = (7 * self._smoothed_s + rtt_s) / 8
        self._rto_s = _clamp(self._smoothed_s + 4 * self._variation_s)

    def back_off(self) -> None:
        """Double the time-out after a loss."""
        self._rto_s = _clamp(2 * self._rto_s)


def _clamp(rto_s: float) -> float:
    return min(max(rto_s, MIN_RTO_S), MAX_RTO_S)
