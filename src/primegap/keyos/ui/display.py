"""Carries the stage out: draws what belongs on the display, and judges touches on it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Final

from primegap.keyos.api.panel import NextTouch, ShowFrame, Shown, Target, Touch
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui.canonical import encode_screen
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.input import ActionKind, TouchMachine, UiAction
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.render import render
from primegap.keyos.ui.screen import Progress
from primegap.keyos.ui.view import ViewState

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.process import Process
    from primegap.keyos.ui.parts import Layout
    from primegap.keyos.ui.screen import Screen
    from primegap.keyos.ui.stage import Ask, Stage
    from primegap.keyos.ui.view import StatusBar

HOLD_FRAME_S: Final = 0.08  # how often the picture moves while a button is held
RUN_FRAME_S: Final = 0.25  # and while a bar without an end runs
RUN_CYCLE_S: Final = 2.0
NOWHERE: Final = (-1, -1)


class Display:
    """One display with one touch panel.

    Touches are judged by where and when they happened, not by when this process comes to look at
    them: a busy process would else take a tap for a hold, or a touch on what was there before for
    one on what is there now.
    """

    def __init__(
        self, process: Process, stage: Stage, status: Callable[[], StatusBar], idle: Screen
    ) -> None:
        self._process = process
        self._stage = stage
        self._status = status
        self._idle = idle
        self._machine = TouchMachine()
        self._loop = asyncio.get_running_loop()
        self._dirty = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._shown: Ask | None = None
        self._number = 0
        self._since = 0
        "Number of the first frame that showed what is on the display now."
        self._touches = 0
        self._judged_s = 0.0
        self.touched_s = self._loop.time()
        "When the person last touched the display."
        self.first_frame = asyncio.Event()

    def refresh(self) -> None:
        """Something that is shown changed."""
        self._dirty.set()

    def touched(self) -> None:
        """Note that somebody is there."""
        self.touched_s = self._loop.time()

    async def draw(self) -> None:
        """Draw frames for as long as the process lives."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            ask = self._stage.top()
            try:
                await self._draw(ask)
            except ScreenError as error:
                if ask is None:
                    raise
                # A screen that cannot be drawn is the fault of whoever asked for it.
                if not ask.answer.done():
                    ask.answer.set_exception(error)
                self._stage.remove(ask)

    async def _draw(self, ask: Ask | None) -> None:
        screen = self._idle if ask is None else ask.screen
        typed = [] if ask is None else ask.typed
        shows_letters = screen.keypad is not None and screen.keypad.purpose.value in {
            "words",
            "code",
        }
        letters = "".join(typed) if shows_letters else ""
        placed = layout(screen)
        drawn_s = self._loop.time()
        phase = drawn_s % RUN_CYCLE_S / RUN_CYCLE_S
        number = 0 if ask is None else ask.number
        if ask is self._shown and self.first_frame.is_set():
            self._machine.show(placed, ask=number, now_s=drawn_s)
            self._machine.set_typed(len(typed))
            view = self._machine.view(drawn_s, typed_text=letters, phase=phase)
            shown = await self._show(screen, placed, view)
            # Every touch before this frame must be known before a hold counts as complete.
            if self._touches >= shown.touches:
                self._act(self._machine.tick(now_s=drawn_s))
        else:
            view = ViewState(armed=False, typed_length=len(typed), typed_text=letters, phase=phase)
            since = self._number + 1
            shown = await self._show(screen, placed, view)
            # The minimum time begins when the screen can be seen.
            self._shown, self._since = ask, since
            self._machine.show(placed, ask=number, now_s=self._at(shown.when_s, drawn_s))
            self._machine.set_typed(len(typed))
            self.first_frame.set()
        self._arm(screen, self._loop.time())

    def _at(self, when_s: float, earliest_s: float) -> float:
        """Return a time of the panel's as far as it can be true."""
        now_s = self._loop.time()
        return min(max(when_s, earliest_s), now_s) if math.isfinite(when_s) else now_s

    async def _show(self, screen: Screen, placed: Layout, view: ViewState) -> Shown:
        frame = render(screen, view, self._status())
        self._number += 1
        page = placed.pages[view.page]
        development = self._process.development
        return await self._process.call(
            ShowFrame(
                number=self._number,
                width=frame.width,
                height=frame.height,
                rgb=frame.rgb,
                tree=encode_screen(screen) if development else b"",
                page=view.page,
                pages=len(placed.pages),
                targets=tuple(
                    Target(
                        id=target.id,
                        left=target.rect.left,
                        top=target.rect.top,
                        right=target.rect.right,
                        bottom=target.rect.bottom,
                        hold_ms=target.hold_ms,
                        guarded=target.guarded,
                        label=target.label,
                    )
                    for target in page.targets
                    if development
                ),
                touches=self._touches,
            ),
            Shown,
        )

    def _arm(self, screen: Screen, now_s: float) -> None:
        """Draw again when the picture moves by itself or a hold is complete."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._machine.next_timeout_s(now_s)
        if self._machine.holding:
            due = min(now_s + HOLD_FRAME_S, due if due is not None else now_s + HOLD_FRAME_S)
        elif any(isinstance(item, Progress) and item.fraction is None for item in screen.items):
            due = min(now_s + RUN_FRAME_S, due if due is not None else now_s + RUN_FRAME_S)
        if due is not None:
            self._timer = self._loop.call_at(due, self.refresh)

    async def watch_touches(self) -> None:
        """Take touches for as long as the process lives."""
        while True:
            touch = await self._process.call(NextTouch(), Touch)
            self._touches += 1
            self._judged_s = when_s = self._at(touch.when_s, self._judged_s)
            self.touched()
            # What was touched before the present screen could be seen is not on it.
            x, y = (touch.x, touch.y) if touch.frame >= self._since else NOWHERE
            match touch.phase:
                case "down":
                    self._machine.down(x, y, now_s=when_s)
                case "move":
                    self._act(self._machine.move(x, y, now_s=when_s))
                case _:
                    self._act(self._machine.up(x, y, now_s=when_s))
            self.refresh()

    def _act(self, action: UiAction | None) -> None:
        """Give an action to the screen it was made on; never to one that came meanwhile."""
        ask = self._shown
        if action is None or ask is None or self._stage.top() is not ask:
            return
        match action.kind:
            case ActionKind.KEY:
                ask.typed.append(action.character)
                ask.typed_news.set()
            case ActionKind.DELETE:
                with contextlib.suppress(IndexError):
                    ask.typed.pop()
                ask.typed_news.set()
            case ActionKind.PRESS:
                if not ask.answer.done():
                    ask.answer.set_result(action)
            case ActionKind.PAGE:
                pass


async def tell_first_screen(process: Process, display: Display) -> None:
    """Tell core when the first screen is on the display."""
    from primegap.keyos.api.core import FirstScreen

    await display.first_frame.wait()
    with contextlib.suppress(KeyosError):
        await process.call(FirstScreen())
