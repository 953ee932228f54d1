"""Work that several calls wait for and that is done once: a companion that asks again joins in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class SharedWork:
    """Work under way, by what it is about.

    A link that breaks under a question does not take the question from the screen, and the
    companion asks again when the link is back. Without this the person would be asked twice.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def do(self, about: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, or wait for the same work that is under way; return or raise what it does.

        Who stops waiting does not stop the work.
        """
        task: asyncio.Task[T] | None = self._under_way.get(about)
        if task is None:
            task = asyncio.ensure_future(_as_coroutine(work))
            self._under_way[about] = task
            task.add_done_callback(lambda done: self._ended(about, done))
        return await asyncio.shield(task)

    def _ended(self, about: Hashable, task: asyncio.Task[Any]) -> None:
        del self._under_way[about]
        if not task.cancelled():
            task.exception()  # whoever waited may be gone


async def _as_coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
