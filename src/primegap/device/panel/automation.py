"""The automatic finger: reads the screen as data and touches it, as a person would.

There is no shortcut: a press becomes a touch at the middle of the target, held as long as the
target asks for; the trusted screen judges it like any other touch.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import cbor2

from primegap.device.errors import AutomationError

if TYPE_CHECKING:
    from primegap.device.panel.state import PanelState
    from primegap.keyos.api.panel import ShowFrame, Target

HOLD_MARGIN_S: Final = 0.15
GUARD_S: Final = 0.65  # a little more than the trusted screen asks for
TAP_S: Final = 0.02
SETTLE_S: Final = 1.5  # how long a press waits for the screen to react before it answers
QUIET_S: Final = 0.06  # without a new frame: the screen has reacted
PRESS_WAIT_S: Final = 10.0  # how long a target may take to be shown, unless told otherwise
MAX_TYPED: Final = 64


class Automation:
    """What the automation API can do to one panel."""

    def __init__(self, state: PanelState) -> None:
        self._state = state
        self._finger = asyncio.Lock()

    def screen(self) -> dict[str, Any]:
        """Return the present screen as data."""
        frame = self._frame()
        tree = cbor2.loads(frame.tree)
        return {
            "frame": frame.number,
            "page": frame.page,
            "pages": frame.pages,
            "screen": _plain(tree),
            "targets": [
                {
                    "id": target.id,
                    "label": target.label,
                    "rect": [target.left, target.top, target.right, target.bottom],
                    "hold_ms": target.hold_ms,
                    "guarded": target.guarded,
                }
                for target in frame.targets
            ],
        }

    def _frame(self) -> ShowFrame:
        if self._state.frame is None:
            raise AutomationError("the display is still dark")
        return self._state.frame

    async def wait(self, *, screen: str | None, target: str | None, timeout_s: float) -> None:
        """Wait until a screen with this id, or a target with this id, is on the display."""
        if screen is None and target is None:
            raise AutomationError("say which screen or target to wait for")

        def ready(frame: ShowFrame) -> bool:
            fits = screen is None or screen_id(frame) == screen
            return fits and (target is None or any(t.id == target for t in frame.targets))

        await self._state.wait_for(ready, timeout_s)

    async def press(self, name: str, *, timeout_s: float = PRESS_WAIT_S) -> None:
        """Press a target by its id as soon as it is on the screen, holding it if it asks for that.

        Raises AutomationError if it does not appear within `timeout_s`.
        """
        async with self._finger:
            await self._press(name, timeout_s)

    async def type(self, text: str, *, timeout_s: float = PRESS_WAIT_S) -> None:
        """Press the keys of the keypad one after another; `timeout_s` is for each of them."""
        if not 0 < len(text) <= MAX_TYPED:
            raise AutomationError(f"type 1 to {MAX_TYPED} characters")
        async with self._finger:
            for character in text:
                await self._press(f"key:{character}", timeout_s)

    async def _press(self, name: str, timeout_s: float) -> None:
        target = await self._find(name, timeout_s)
        x, y = (target.left + target.right) // 2, (target.top + target.bottom) // 2
        if target.guarded and not target.hold_ms:
            await asyncio.sleep(GUARD_S)
        self._state.touch("down", x, y)
        await asyncio.sleep(_held_s(target))
        self._state.touch("up", x, y)
        await self._settle()

    async def _find(self, name: str, timeout_s: float) -> Target:
        """Return a target as soon as it is shown: a device at work shows none for a while."""
        with contextlib.suppress(TimeoutError):
            await self.wait(screen=None, target=name, timeout_s=timeout_s)
        target = self._state.target(name)
        if target is None:
            shown = ", ".join(t.id for t in self._frame().targets)
            raise AutomationError(f"no target {name!r} on the screen; there are: {shown or 'none'}")
        return target

    async def _settle(self) -> None:
        """Wait until the screen has judged all touches, can be touched again and stands still."""
        with contextlib.suppress(TimeoutError):  # one that moves all the time is the answer, too
            async with asyncio.timeout(SETTLE_S):
                await self._state.wait_for(self._judged, SETTLE_S)
                while True:
                    number = self._frame().number
                    try:
                        # `asyncio.wait_for` may take the end of both times for the inner one's.
                        async with asyncio.timeout(QUIET_S):
                            await self._state.next_frame(number)
                    except TimeoutError:
                        if self._frame().targets:
                            return

    def _judged(self, frame: ShowFrame) -> bool:
        return self._state.all_taken and frame.touches >= self._state.touches


def screen_id(frame: ShowFrame) -> str:
    """Return the id in a frame's screen tree."""
    tree = cbor2.loads(frame.tree)
    value = tree.get("id") if isinstance(tree, dict) else None
    return value if isinstance(value, str) else ""


def _held_s(target: Target) -> float:
    if not target.hold_ms:
        return TAP_S
    return target.hold_ms / 1000 + HOLD_MARGIN_S + (GUARD_S if target.guarded else 0)


def _plain(value: Any) -> Any:
    """Make CBOR values fit JSON: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
