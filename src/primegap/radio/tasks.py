"""Ending tasks that wait inside bumble."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_PATIENCE_S: Final = 0.05


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are over; their results and errors are dropped.

    A cancellation that meets `asyncio.wait_for` at the moment its future completes is lost (before
    Python 3.12), and bumble waits like that for every answer of a controller. So it is repeated.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # marks it as seen
