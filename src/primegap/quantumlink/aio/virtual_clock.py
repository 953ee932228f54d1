"""An event loop whose clock jumps: waiting takes no time. For tests of programs that use a link.

    result = run_virtual(scenario())

`asyncio.sleep`, time-outs and the timers of a `LinkDriver` all run on this clock, so half a minute
of silence passes in a millisecond and every run takes the same steps.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, TypeVar

from primegap.quantumlink.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Coroutine

ResultT = TypeVar("ResultT")


class _JumpingSelector(selectors.DefaultSelector):
    """Finds out what would be waited for, and lets the clock jump there instead."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise LocalError("every task waits for something that will never happen")
        self.now_s += max(timeout, 0.0)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock that starts at 0; it never waits for a real socket."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._jumping.now_s


def run_virtual(scenario: Coroutine[object, object, ResultT]) -> ResultT:
    """Run a coroutine to its end on a virtual clock.

    Raises:
        LocalError: it waits for something that will never happen.
    """
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(scenario)
