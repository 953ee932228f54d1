"""The port that a developer's computer is connected to: jobs in, answers out. No I/O of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from typing import Any, Final

from primegap.device.errors import DeveloperPortError
from primegap.keyos.api.panel import AppJob

MAX_JOBS: Final = 4  # waiting or under way; each may hold a bundle
TAKE_TIMEOUT_S: Final = 10.0  # a device that runs takes a job at once; one that starts, soon
ANSWER_TIMEOUT_S: Final = 600.0  # the person reads, compares, decides


class DeveloperPort:
    """Jobs of a developer's computer and what the device says to them."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: deque[AppJob] = deque()
        self._came = asyncio.Event()
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._taken: dict[int, asyncio.Event] = {}

    async def ask(self, kind: str, data: bytes) -> dict[str, Any]:
        """Give the device a job and return its answer.

        Raises:
            DeveloperPortError: the device does not take or does not answer it.
        """
        if len(self._answers) >= MAX_JOBS:
            raise DeveloperPortError("the device has other jobs to do")
        number = next(self._numbers)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        taken = asyncio.Event()
        self._answers[number], self._taken[number] = answer, taken
        job = AppJob(number, kind, data)
        self._waiting.append(job)
        self._came.set()
        try:
            await asyncio.wait_for(taken.wait(), TAKE_TIMEOUT_S)
            text = await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise DeveloperPortError("the device does not answer") from None
        finally:
            del self._answers[number], self._taken[number]
            if job in self._waiting:
                self._waiting.remove(job)
        found: dict[str, Any] = json.loads(text)
        return found

    async def next_job(self) -> AppJob:
        """Return the next job, for the device."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        job = self._waiting.popleft()
        self._taken[job.number].set()
        return job

    def done(self, number: int, answer: str) -> None:
        """Note the device's answer to a job; one that nobody waits for any more is dropped."""
        waiting = self._answers.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
