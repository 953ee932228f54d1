"""The automatic finger: that it ends, whatever the screen does."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from primegap.device.panel import automation
from primegap.device.panel.automation import Automation

SETTLE_S = 0.05


class NewsAtTheEnd:
    """A screen without targets, whose one new frame comes just as the finger stops waiting."""

    def __init__(self) -> None:
        self.frame = SimpleNamespace(number=1, targets=(), touches=0)

    async def wait_for(self, ready: Any, timeout_s: float) -> None:
        del ready, timeout_s
        loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] = loop.create_future()
        loop.call_at(loop.time() + SETTLE_S - 0.0005, self._news.set_result, None)

    async def next_frame(self, number: int) -> None:
        del number
        if self._news.done():
            await asyncio.Event().wait()
        await self._news


async def test_a_frame_at_the_last_moment_does_not_keep_the_finger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(automation, "SETTLE_S", SETTLE_S)
    monkeypatch.setattr(automation, "QUIET_S", 10 * SETTLE_S)
    finger = Automation(cast("Any", NewsAtTheEnd()))
    for _ in range(20):
        settling = asyncio.create_task(finger._settle())
        _, pending = await asyncio.wait({settling}, timeout=5)
        for task in pending:
            task.cancel()
        assert not pending
