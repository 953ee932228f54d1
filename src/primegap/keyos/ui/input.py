"""The judge of touches: pure, with time as an argument.

A tap counts when the finger goes down and up on the same target. A button to hold counts when one
finger stays on it without a break; leaving it, a second touch, another page or another screen
starts over, and the finger must be lifted first. Guarded buttons count only after their page has
been visible for a minimum time, so that a screen that slips under a moving finger is never
confirmed (U-9).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui.parts import DELETE, KEY, NEXT_PAGE, TargetKind
from primegap.keyos.ui.view import ViewState

if TYPE_CHECKING:
    from primegap.keyos.ui.parts import Layout, Page, Target

MIN_DISPLAY_S: Final = 0.6  # longer than the reaction to something unexpected


class ActionKind(enum.Enum):
    """What the person did."""

    PRESS = "press"
    "Pressed a button, choice or switch, or held a button for its time."
    KEY = "key"
    "Typed a character."
    DELETE = "delete"
    "Took back the last character."
    PAGE = "page"
    "Turned a page; the machine already shows it."


@dataclass(frozen=True, slots=True)
class UiAction:
    """One thing the person did on the screen that was shown."""

    kind: ActionKind
    id: str
    "Of the target."
    character: str = ""
    "For a key."


@dataclass(frozen=True, slots=True)
class _Finger:
    """A finger on the display; without a target it does nothing until it is lifted."""

    target: Target | None
    down_s: float


class TouchMachine:
    """The fingers on one display. Feed it screens, touches and time; it returns actions."""

    def __init__(self, *, min_display_s: float = MIN_DISPLAY_S) -> None:
        self._min_display_s = min_display_s
        self._layout: Layout | None = None
        self._ask = 0
        self._page = 0
        self._shown_s = 0.0
        self._finger: _Finger | None = None
        self._typed = 0

    # -- what is shown --------------------------------------------------------------------------

    def show(self, layout: Layout, *, ask: int, now_s: float) -> None:
        """Note that a screen is on the display.

        Another ask starts over, even with an equal screen. New content of the same ask keeps the
        page, what is typed, and a tap under way on a target that is still there.

        Args:
            layout: the screen's.
            ask: number of the request that the screen belongs to.
            now_s: when it became visible, in seconds.
        """
        same_ask = self._layout is not None and ask == self._ask
        if same_ask and self._layout == layout:
            return
        self._layout, self._ask, self._shown_s = layout, ask, now_s
        self._page = min(self._page, len(layout.pages) - 1) if same_ask else 0
        self._typed = self._typed if same_ask else 0
        target = None if self._finger is None else self._finger.target
        keeps = target is not None and not target.guarded and target in self._targets()
        if not same_ask or not keeps:
            self.cancel()

    def set_typed(self, length: int) -> None:
        """Note how many characters are typed; some buttons need a number of them."""
        self._typed = length

    def cancel(self) -> None:
        """Forget the touch under way: focus was lost, the display went dark."""
        if self._finger is not None:
            self._finger = _Finger(None, self._finger.down_s)

    @property
    def page(self) -> int:
        """Page on the display, from 0."""
        return self._page

    def armed(self, now_s: float) -> bool:
        """Whether guarded buttons count."""
        return now_s >= self._shown_s + self._min_display_s

    def view(self, now_s: float, *, typed_text: str = "", phase: float = 0.0) -> ViewState:
        """Return how the screen is looked at, for the renderer."""
        target = None if self._finger is None else self._finger.target
        return ViewState(
            page=self._page,
            pressed=None if target is None else target.id,
            hold_fraction=self._hold_fraction(now_s),
            armed=self.armed(now_s),
            typed_length=self._typed,
            typed_text=typed_text,
            phase=phase,
        )

    def next_timeout_s(self, now_s: float) -> float | None:
        """Return when `tick` has something to do or the look changes by itself, or None."""
        times = []
        if self._finger is not None and self._finger.target is not None:
            target = self._finger.target
            if target.hold_ms:
                times.append(self._hold_start_s() + target.hold_ms / 1000)
        if not self.armed(now_s) and any(target.guarded for target in self._targets()):
            times.append(self._shown_s + self._min_display_s)
        return min(times, default=None)

    @property
    def holding(self) -> bool:
        """Whether a button is being held, so that the picture moves."""
        finger = self._finger
        return finger is not None and finger.target is not None and finger.target.hold_ms > 0

    # -- touches --------------------------------------------------------------------------------

    def down(self, x: int, y: int, *, now_s: float) -> None:
        """A finger touches the display."""
        if self._finger is not None:  # a second touch spoils the first
            self._finger = _Finger(None, now_s)
            return
        target = self._at(x, y)
        if target is not None and not self._usable(target):
            target = None
        # A tap that begins too early is none; a hold that begins too early starts counting later.
        if target is not None and target.guarded and not target.hold_ms and not self.armed(now_s):
            target = None
        self._finger = _Finger(target, now_s)

    def move(self, x: int, y: int, *, now_s: float) -> UiAction | None:
        """The finger moves; leaving its target ends the touch. Returns a hold that is complete."""
        held = self.tick(now_s=now_s)
        finger = self._finger
        if finger is not None and finger.target is not None and self._at(x, y) != finger.target:
            self._finger = _Finger(None, finger.down_s)
        return held

    def up(self, x: int, y: int, *, now_s: float) -> UiAction | None:
        """The finger leaves the display; returns what it did."""
        held = self.move(x, y, now_s=now_s)
        finger, self._finger = self._finger, None
        if held is not None or finger is None or finger.target is None or finger.target.hold_ms:
            return held
        return self._act(finger.target, now_s)

    def tick(self, *, now_s: float) -> UiAction | None:
        """Time passes; returns a hold that is complete. Call it at `next_timeout_s`."""
        finger = self._finger
        if finger is None or finger.target is None or not finger.target.hold_ms:
            return None
        target = finger.target
        if now_s < self._hold_start_s() + target.hold_ms / 1000:
            return None
        self._finger = _Finger(None, finger.down_s)  # nothing more before it is lifted
        return UiAction(ActionKind.PRESS, target.id)

    # -- inside ---------------------------------------------------------------------------------

    def _shown_page(self) -> Page | None:
        return None if self._layout is None else self._layout.pages[self._page]

    def _targets(self) -> tuple[Target, ...]:
        page = self._shown_page()
        return () if page is None else page.targets

    def _at(self, x: int, y: int) -> Target | None:
        page = self._shown_page()
        return None if page is None else page.target_at(x, y)

    def _usable(self, target: Target) -> bool:
        if not target.enabled or self._typed < target.min_typed:
            return False
        keypad = None if self._layout is None else self._layout.screen.keypad
        if target.kind is not TargetKind.KEY or keypad is None:
            return True
        return self._typed > 0 if target.id == DELETE else self._typed < keypad.limit

    def _hold_start_s(self) -> float:
        """Return when a hold began to count: with the finger, but not before the minimum time."""
        down_s = 0.0 if self._finger is None else self._finger.down_s
        return max(down_s, self._shown_s + self._min_display_s)

    def _hold_fraction(self, now_s: float) -> float:
        finger = self._finger
        if finger is None or finger.target is None or not finger.target.hold_ms:
            return 0.0
        held_s = now_s - self._hold_start_s()
        return min(max(held_s / (finger.target.hold_ms / 1000), 0.0), 1.0)

    def _act(self, target: Target, now_s: float) -> UiAction:
        if target.kind is TargetKind.PAGE:
            self._page += 1 if target.id == NEXT_PAGE else -1
            self._shown_s = now_s
            return UiAction(ActionKind.PAGE, target.id)
        if target.id == DELETE:
            self._typed -= 1
            return UiAction(ActionKind.DELETE, target.id)
        if target.kind is TargetKind.KEY:
            self._typed += 1
            return UiAction(ActionKind.KEY, target.id, target.id.removeprefix(KEY))
        return UiAction(ActionKind.PRESS, target.id)
