"""Waiting after the transport refused a record, instead of offering it at once (11, #13)."""

from __future__ import annotations

from typing import Final

from primegap.quantumlink.session.rtt import is_due

FIRST_WAIT_S: Final = 0.010
MAX_WAIT_S: Final = 1.0


class WriteBackoff:
    """Doubles the wait with every refusal in a row; a record that is taken ends it."""

    __slots__ = ("_wait_s", "retry_at_s")

    def __init__(self) -> None:
        self._wait_s = FIRST_WAIT_S
        self.retry_at_s: float | None = None
        "When the transport is offered something again; None when it is not avoided."

    def is_waiting(self, now_s: float) -> bool:
        """Tell whether nothing should be offered now."""
        return self.retry_at_s is not None and not is_due(self.retry_at_s, now_s)

    def postpone(self, deadline_s: float | None) -> float | None:
        """Return a deadline, moved behind the wait."""
        if deadline_s is None or self.retry_at_s is None:
            return deadline_s
        return max(deadline_s, self.retry_at_s)

    def fail(self, now_s: float) -> None:
        """A record was refused."""
        if self.is_waiting(now_s):
            return  # others of the same burst
        self.retry_at_s = now_s + self._wait_s
        self._wait_s = min(2 * self._wait_s, MAX_WAIT_S)

    def succeed(self) -> None:
        """A record was taken."""
        self._wait_s = FIRST_WAIT_S
        self.retry_at_s = None

    def end_if_due(self, now_s: float) -> None:
        """Offer again when the wait is over."""
        if is_due(self.retry_at_s, now_s):
            self.retry_at_s = None
