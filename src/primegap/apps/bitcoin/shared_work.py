"""Questions to the person that several calls wait for and that are asked once.

A link that breaks under a question does not take the question from the screen, and the companion
asks again when the link is back: it joins, and the person is asked once. A question for which
nobody waits any more goes away, so that nobody is left with the questions of a companion that is
gone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")

PATIENCE_S: Final = 300.0
"For how long a question waits for a companion that lost its link: as long as a person may read."


@dataclass(slots=True, eq=False)
class _Work:
    task: asyncio.Task[Any]
    waiters: int = 0
    decided: bool = False
    timer: asyncio.TimerHandle | None = None


class SharedWork:
    """Work under way, by what it is about."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Work] = {}

    async def do(self, about: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, or wait for the same work that is under way; return or raise what it does.

        Who stops waiting does not stop the work at once: see `drop_forsaken`. Other work that is
        forsaken is dropped: whoever asks has come back, and would have asked for it.
        """
        shared = self._under_way.get(about)
        if shared is None:
            self.drop_forsaken()
            shared = _Work(asyncio.ensure_future(_as_coroutine(work)))
            self._under_way[about] = shared
            shared.task.add_done_callback(lambda task: self._ended(about, task))
        if shared.timer is not None:
            shared.timer.cancel()
        shared.waiters += 1
        try:
            result: T = await asyncio.shield(shared.task)
            return result
        finally:
            shared.waiters -= 1
            if not shared.waiters and not shared.task.done():
                loop = asyncio.get_running_loop()
                shared.timer = loop.call_later(PATIENCE_S, self._drop, shared)

    def decided(self, about: Hashable) -> None:
        """Say that the person has agreed: the work now goes on to its end, whoever waits."""
        shared = self._under_way.get(about)
        if shared is not None:
            shared.decided = True

    def drop_forsaken(self) -> None:
        """End the work that nobody waits for; questions of it leave the screen."""
        for shared in list(self._under_way.values()):
            self._drop(shared)

    def _drop(self, shared: _Work) -> None:
        if not shared.waiters and not shared.decided:
            shared.task.cancel()

    def _ended(self, about: Hashable, task: asyncio.Task[Any]) -> None:
        shared = self._under_way.pop(about)
        if shared.timer is not None:
            shared.timer.cancel()
        if not task.cancelled():
            task.exception()  # whoever waited may be gone


async def _as_coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
