"""What every flow can do: ask the person, call services, read the state of lock and link."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from primegap.keyos.api import apps, camera, core, link, security
from primegap.keyos.errors import KeyosError, RequestError
from primegap.keyos.ui import screens
from primegap.keyos.ui.preferences import Preferences
from primegap.keyos.ui.stage import Rank
from primegap.keyos.ui.text import SHOWABLE, untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from primegap.keyos.process import Process
    from primegap.keyos.ui.screen import Screen
    from primegap.keyos.ui.stage import Ask, Stage
    from primegap.keyos.ui.text import Label

NO_LINK = link.LinkState(0, "off", False, "", False, "", False)
NO_APPS = apps.AppList(-1, False, ())
UNKNOWN = security.SecurityState(False, False, 10, "", 0)


@dataclass(slots=True)
class Context:
    """Shared by the flows of one ui process."""

    process: Process
    stage: Stage
    refresh: Callable[[], None]
    "Draw again: something in the status bar changed."
    preferences: Preferences = field(default_factory=Preferences)
    network: str = "mainnet"
    core_model: bool = False
    "Without radio, companion and installed apps: they are not even started."
    lock: security.SecurityState = UNKNOWN
    link: link.LinkState = NO_LINK
    apps: apps.AppList = NO_APPS
    system: core.SystemInfo | None = None
    "What core said last: processes and switches."
    idle_news: asyncio.Event = field(default_factory=asyncio.Event)
    "Set when the time until the device locks itself was changed."
    link_news: asyncio.Event = field(default_factory=asyncio.Event)
    lock_news: asyncio.Event = field(default_factory=asyncio.Event)
    locking: bool = False
    "The person or the clock locks: no earlier news opens the screen again."
    _lock_task: asyncio.Task[None] | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def note_lock(self, state: security.SecurityState) -> None:
        """Take over the state of the lock; only an unlocked device shows apps and confirmations."""
        if self.locking and state.unlocked:
            return
        self.lock = state
        self.stage.locked = not state.unlocked
        self.lock_news.set()
        self.lock_news = asyncio.Event()

    async def read_lock(self) -> security.SecurityState:
        """Ask for the state of the lock, and take it over."""
        state = await self.process.call(security.GetState(), security.SecurityState)
        self.note_lock(state)
        return state

    def lock_lost(self) -> None:
        """The process that held the seed is gone, and with it the seed: locked (X-2)."""
        self.note_lock(dataclasses.replace(self.lock, unlocked=False, fingerprint=""))

    async def lock_device(self) -> None:
        """Lock: nothing more is shown from here on, whatever becomes of the flow that asks."""
        if self._lock_task is None or self._lock_task.done():
            self._lock_task = asyncio.ensure_future(self._lock())
        await asyncio.shield(self._lock_task)

    async def _lock(self) -> None:
        self.locking = True
        try:
            self.lock_lost()
            with contextlib.suppress(KeyosError):
                await self.process.call(security.Logout(), security.SecurityState)
            # Answered by the process that takes its place.
            await self.read_lock()
        finally:
            self.locking = False

    async def erase_device(self) -> None:
        """Destroy the seed; whatever becomes of the flow that asks."""
        erasing = asyncio.ensure_future(self._erase())
        self._tasks.add(erasing)
        erasing.add_done_callback(self._tasks.discard)
        await asyncio.shield(erasing)

    async def _erase(self) -> None:
        self.note_lock(await self.process.call(security.Erase(), security.SecurityState))
        # Apps and link hold keys and addresses of the seed that is gone.
        await self.process.call(core.RestartApps())

    async def while_unlocked(self, flow: Coroutine[None, None, None]) -> None:
        """Run a flow until it ends or the device is locked: none goes on behind the lock screen."""
        running = asyncio.ensure_future(flow)
        try:
            while self.lock.unlocked and not running.done():
                news = asyncio.ensure_future(self.lock_news.wait())
                await asyncio.wait({running, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.wait({running})

    def switch(self, name: str) -> core.SwitchInfo:
        """Return a switch of the device as it was last seen."""
        known = () if self.system is None else self.system.switches
        absent = core.SwitchInfo(name, present=False, chosen=False, on=False)
        return next((switch for switch in known if switch.name == name), absent)

    @property
    def air_gap(self) -> bool:
        """Whether nothing can leave by radio or wire."""
        return self.system is not None and self.system.air_gap

    async def read_system(self) -> core.SystemInfo:
        """Ask core for the state of processes and switches."""
        self.system = await self.process.call(core.GetSystemInfo(), core.SystemInfo)
        self.refresh()
        return self.system

    def link_changed(self) -> None:
        """Wake who waits for news of the link or of what is installed."""
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

    @contextlib.contextmanager
    def working(self, text: str, rank: Rank = Rank.SYSTEM) -> Iterator[None]:
        """Show that something takes a moment, for as long as the block runs."""
        ask = self.stage.add(screens.working(text), rank)
        try:
            yield
        finally:
            self.stage.remove(ask)

    async def scan(self, screen: Screen) -> camera.Code | None:
        """Show a screen while the camera looks; return the first code, or None when left.

        Raises:
            KeyosError: the camera is off or gone.
        """
        leaving = asyncio.ensure_future(self.press(screen))
        seeing = asyncio.ensure_future(self.process.call(camera.NextCode(), camera.Code))
        try:
            await asyncio.wait((leaving, seeing), return_when=asyncio.FIRST_COMPLETED)
            return seeing.result() if seeing.done() else None
        finally:
            leaving.cancel()
            seeing.cancel()

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


def tries_left(state: security.SecurityState) -> str:
    """Return how often a wrong PIN may still be entered, as a sentence."""
    left = state.attempts_left
    return f"{left} {'try' if left == 1 else 'tries'} left."


def vault_reason(error: KeyosError) -> str:
    """Return the sentence to show for a failed request to `os/security`, whose words are ours."""
    text = error.detail if isinstance(error, RequestError) else ""
    return text if text and SHOWABLE.issuperset(text) else error.hint
