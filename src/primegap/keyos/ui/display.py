"""Carries the stage out: draws what belongs on the display, and judges touches on it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from primegap.keyos.api.panel import NextTouch, ShowFrame, Target, Touch
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui.canonical import encode_screen
from primegap.keyos.ui.input import ActionKind, TouchMachine, UiAction
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.render import render
from primegap.keyos.ui.screen import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.process import Process
    from primegap.keyos.ui.parts import Layout
    from primegap.keyos.ui.screen import Screen
    from primegap.keyos.ui.stage import Ask, Stage
    from primegap.keyos.ui.view import StatusBar, ViewState

HOLD_FRAME_S: Final = 0.08  # how often the picture moves while a button is held
RUN_FRAME_S: Final = 0.25  # and while a bar without an end runs
RUN_CYCLE_S: Final = 2.0


class Display:
    """One display with one touch panel."""

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
        self._touches = 0
        self.first_frame = asyncio.Event()

    def refresh(self) -> None:
        """Something that is shown changed."""
        self._dirty.set()

    async def draw(self) -> None:
        """Draw frames for as long as the process lives."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            ask = self._stage.top()
            screen = self._idle if ask is None else ask.screen
            self._shown = ask
            now_s = self._loop.time()
            placed = layout(screen)
            self._machine.show(placed, ask=0 if ask is None else ask.number, now_s=now_s)
            typed = "" if ask is None else "".join(ask.typed)
            self._machine.set_typed(len(typed))
            shows_letters = screen.keypad is not None and screen.keypad.purpose.value == "words"
            view = self._machine.view(
                now_s,
                typed_text=typed if shows_letters else "",
                phase=now_s % RUN_CYCLE_S / RUN_CYCLE_S,
            )
            await self._show(screen, placed, view)
            self._arm(screen, now_s)
            self.first_frame.set()

    async def _show(self, screen: Screen, placed: Layout, view: ViewState) -> None:
        frame = render(screen, view, self._status())
        self._number += 1
        page = placed.pages[view.page]
        development = self._process.development
        await self._process.call(
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
            )
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
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._act(self._machine.tick(now_s=self._loop.time()))
        self.refresh()

    async def watch_touches(self) -> None:
        """Take touches for as long as the process lives."""
        while True:
            touch = await self._process.call(NextTouch(), Touch)
            self._touches += 1
            now_s = self._loop.time()
            match touch.phase:
                case "down":
                    self._machine.down(touch.x, touch.y, now_s=now_s)
                case "move":
                    self._act(self._machine.move(touch.x, touch.y, now_s=now_s))
                case _:
                    self._act(self._machine.up(touch.x, touch.y, now_s=now_s))
            self.refresh()

    def _act(self, action: UiAction | None) -> None:
        """Give an action to the screen it was made on; never to one that came meanwhile."""
        ask = self._shown
        if action is None or ask is None or self._stage.top() is not ask:
            return
        match action.kind:
            case ActionKind.KEY:
                ask.typed.append(action.character)
            case ActionKind.DELETE:
                with contextlib.suppress(IndexError):
                    ask.typed.pop()
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
