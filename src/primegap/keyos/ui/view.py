"""What changes while a screen stands: page, finger, what is typed; and the status bar."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.items import MAX_TYPED
from primegap.keyos.ui.text import check_text

MAX_CLOCK_CHARS: Final = 5  # 23:59


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewState:
    """How a screen is looked at. Never part of what is hashed."""

    page: int = 0
    "From 0."
    pressed: str | None = None
    "Id of the target under the finger."
    hold_fraction: float = 0.0
    "How far the pressed button has been held, 0 to 1."
    armed: bool = True
    "Whether the page has been visible for the minimum time; before, guarded buttons are dim (U-9)."
    typed_length: int = 0
    "Characters typed on the keypad."
    typed_text: str = field(default="", repr=False)
    "The characters themselves; only keypads for words and codes show them."
    phase: float = 0.0
    "Where a bar without a fraction is in its run, 0 to 1."

    def __post_init__(self) -> None:
        if not 0 <= self.hold_fraction <= 1 or not 0 <= self.phase <= 1:
            raise ScreenError("a fraction of a view is not within 0 to 1")
        if not 0 <= self.typed_length <= max(MAX_TYPED.values()) or self.page < 0:
            raise ScreenError("a number of a view is out of range")
        check_text(self.typed_text, limit=MAX_TYPED["code"], what="what is typed")


class BluetoothState(enum.Enum):
    """What the status bar says about the Bluetooth chip."""

    ABSENT = "absent"
    OFF = "off"
    ON = "on"
    CONNECTED = "connected"
    DISTRUSTED = "distrusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusBar:
    """What the system shows above every screen."""

    bluetooth: BluetoothState = BluetoothState.ABSENT
    air_gap: bool = False
    "Nothing can leave by radio or wire; shown in the place of the radio."
    locked: bool = False
    clock: str | None = None
    "Such as 14:05."
    battery_percent: int | None = None
    development: bool = False
    "Draws the banner of a development device over everything."
    simulator: bool = False
    "Nothing is isolated; the same banner says so (M-1)."
    developer_mode: bool = False
    "Developer mode is on; the same banner says so (A-9)."

    def __post_init__(self) -> None:
        if self.clock is not None:
            check_text(self.clock, limit=MAX_CLOCK_CHARS, what="the time of day")
        if self.battery_percent is not None and not 0 <= self.battery_percent <= 100:
            raise ScreenError("a battery is not within 0 to 100 percent")
