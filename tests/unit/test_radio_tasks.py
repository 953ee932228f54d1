"""Tasks are ended even when a cancellation is lost on the way."""

from __future__ import annotations

import asyncio

from primegap.radio.tasks import end_tasks


async def stubborn(losses: int) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            losses -= 1
            if losses < 0:
                raise


async def failing() -> None:
    raise ValueError


async def test_a_lost_cancellation_is_repeated() -> None:
    tasks = [asyncio.create_task(stubborn(losses)) for losses in (0, 1, 3)]
    await asyncio.sleep(0)
    await end_tasks(*tasks)
    assert all(task.cancelled() for task in tasks)


async def test_finished_and_failed_tasks_are_dropped() -> None:
    tasks = [asyncio.create_task(failing()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.wait(tasks)
    await end_tasks(*tasks)
    await end_tasks()
