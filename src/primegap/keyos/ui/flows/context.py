"""What every flow can do: ask the person, call services, read the state of lock and link."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from primegap.keyos.api import link, security
from primegap.keyos.errors import KeyosError, RequestError
from primegap.keyos.ui import screens
from primegap.keyos.ui.stage import Rank
from primegap.keyos.ui.text import SHOWABLE, untrusted

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.process import Process
    from primegap.keyos.ui.screen import Screen
    from primegap.keyos.ui.stage import Ask, Stage
    from primegap.keyos.ui.text import Label

NO_LINK = link.LinkState(0, "off", False, "", False, "", False)
UNKNOWN = security.SecurityState(False, False, 10, "")


@dataclass(slots=True)
class Context:
    """Shared by the flows of one ui process."""

    process: Process
    stage: Stage
    refresh: Callable[[], None]
    "Draw again: something in the status bar changed."
    lock: security.SecurityState = UNKNOWN
    link: link.LinkState = NO_LINK
    radio_on: bool = False
    radio_present: bool = False
    link_news: asyncio.Event = field(default_factory=asyncio.Event)

    def note_lock(self, state: security.SecurityState) -> None:
        """Take over the state of the lock; only an unlocked device shows apps and confirmations."""
        self.lock = state
        self.stage.locked = not state.unlocked

    def link_changed(self) -> None:
        """Wake who waits for news of the link."""
        self.link_news.set()
        self.link_news = asyncio.Event()

    async def press(self, screen: Screen, rank: Rank = Rank.SYSTEM) -> str:
        """Show a screen and return the id of what was pressed."""
        return (await self.stage.ask(screen, rank)).id

    async def press_live(self, draw: Callable[[], Screen], rank: Rank) -> str:
        """Show a screen about the link, drawn again at each news of it, until it is pressed."""
        ask = self.stage.add(draw(), rank)
        following = asyncio.ensure_future(self._follow(ask, draw))
        try:
            return (await ask.answer).id
        finally:
            following.cancel()
            self.stage.remove(ask)

    async def _follow(self, ask: Ask, draw: Callable[[], Screen]) -> None:
        while True:
            await self.link_news.wait()
            self.stage.replace(ask, draw())

    async def tell(self, title: str, text: Label, *, good: bool = False) -> None:
        """Show a message until the person has read it."""
        await self.press(screens.message(title, text, good=good))

    async def enter(self, screen: Screen, rank: Rank = Rank.SYSTEM) -> str | None:
        """Show a screen with a keypad; return what was typed, or None when it was left."""
        ask = self.stage.add(screen, rank)
        try:
            action = await ask.answer
            return "".join(ask.typed) if action.id == screens.DONE else None
        finally:
            ask.typed.clear()
            self.stage.remove(ask)


def reason(error: KeyosError) -> Label:
    """Return the sentence to show for a failed request.

    What another process says is marked as its words: it may have been taken over by whoever sends
    to it.
    """
    if isinstance(error, RequestError) and error.detail:
        return untrusted(error.detail)
    return error.hint


def vault_reason(error: KeyosError) -> str:
    """Return the sentence to show for a failed request to `os/security`, whose words are ours."""
    text = error.detail if isinstance(error, RequestError) else ""
    return text if text and SHOWABLE.issuperset(text) else error.hint
