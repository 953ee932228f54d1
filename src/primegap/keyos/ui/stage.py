"""What is on the display now, out of everything that wants to be: an ordered set of *asks*.

An ask is a screen that waits for the person to act. The one with the highest rank is on the
display: the lock screen above all, then confirmations in the order they came (a later request can
never slip in under the finger, U-5), then system flows, the foreground app, and the home screen.
While the device is locked or has no seed, apps, confirmations and home wait (U-8). Pure state; the
display loop in `display` carries it out.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.ui.input import UiAction
    from primegap.keyos.ui.screen import Screen


class Rank(enum.IntEnum):
    """Who comes first."""

    HOME = 1
    APP = 2
    SYSTEM = 3
    CONFIRM = 4
    LOCK = 5


_WHILE_LOCKED: Final = frozenset({Rank.SYSTEM, Rank.LOCK})


@dataclass(slots=True, eq=False)
class Ask:
    """A screen that waits."""

    number: int
    rank: Rank
    screen: Screen
    answer: asyncio.Future[UiAction]
    typed: list[str] = field(default_factory=list, repr=False)
    "Characters entered on the screen's keypad; shown as dots."
    typed_news: asyncio.Event = field(default_factory=asyncio.Event)
    "Set when they changed."


class Stage:
    """All waiting screens."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._asks: list[Ask] = []
        self._numbers = itertools.count(1)
        self._on_change = on_change
        self._locked = True

    @property
    def locked(self) -> bool:
        """Whether only the lock screen and the flows of the system may be seen."""
        return self._locked

    @locked.setter
    def locked(self, locked: bool) -> None:
        self._locked = locked
        self._on_change()

    def top(self) -> Ask | None:
        """Return the ask that belongs on the display."""
        waiting = [
            ask
            for ask in self._asks
            if not ask.answer.done() and (not self._locked or ask.rank in _WHILE_LOCKED)
        ]
        if not waiting:
            return None
        rank = max(ask.rank for ask in waiting)
        fitting = [ask for ask in waiting if ask.rank is rank]
        # Confirmations keep their order; of other screens the newest is the one meant.
        return fitting[0] if rank is Rank.CONFIRM else fitting[-1]

    def add(self, screen: Screen, rank: Rank) -> Ask:
        """Let a screen wait for the person."""
        answer: asyncio.Future[UiAction] = asyncio.get_running_loop().create_future()
        ask = Ask(next(self._numbers), rank, screen, answer)
        self._asks.append(ask)
        self._on_change()
        return ask

    def replace(self, ask: Ask, screen: Screen) -> None:
        """Show newer content for a waiting ask. Never used for a confirmation."""
        if ask.rank is Rank.CONFIRM:
            raise ValueError("the content of a confirmation does not change")
        ask.screen = screen
        self._on_change()

    def remove(self, ask: Ask) -> None:
        """Take a screen away."""
        if ask in self._asks:
            self._asks.remove(ask)
            self._on_change()

    async def ask(self, screen: Screen, rank: Rank) -> UiAction:
        """Show a screen when its turn comes and return what the person did.

        Raises:
            ScreenError: it cannot be drawn.
        """
        ask = self.add(screen, rank)
        try:
            return await ask.answer
        finally:
            self.remove(ask)
