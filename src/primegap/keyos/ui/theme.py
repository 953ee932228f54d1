"""The look of the device: one grid of 8 pixels, one accent, two type families. Numbers only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

WIDTH: Final = 480
HEIGHT: Final = 800
"Pixels of the display, portrait."
MARGIN: Final = 24
CONTENT: Final = WIDTH - 2 * MARGIN
"Width of the column everything stands in."
GAP: Final = 16
"Between paragraphs."
WIDE_GAP: Final = 24
"Around what a screen is about: amounts, addresses, codes."
STATUS_HEIGHT: Final = 56
"Status bar. The development banner takes its upper part, so layouts are the same with and without."
DEVELOPMENT_HEIGHT: Final = 24
BUTTON_HEIGHT: Final = 72
BUTTON_GAP: Final = 12
PAGER_HEIGHT: Final = 48
PAGER_GAP: Final = 8
"Above and below it."
RADIUS: Final = 16
SMALL_RADIUS: Final = 12
PADDING: Final = 16
"Inside boxes."


class Ink(enum.Enum):
    """A colour by its role, as red, green and blue."""

    BACKGROUND = (14, 17, 22)
    SURFACE = (26, 31, 39)
    RAISED = (38, 45, 56)
    BORDER = (56, 65, 79)
    TEXT = (238, 241, 245)
    MUTED = (158, 168, 181)
    FAINT = (112, 122, 136)
    ACCENT = (94, 214, 184)
    ACCENT_PRESSED = (64, 172, 145)
    ACCENT_SURFACE = (18, 44, 42)
    ON_ACCENT = (6, 30, 25)
    WARNING = (244, 190, 92)
    WARNING_SURFACE = (50, 40, 20)
    DANGER = (255, 128, 120)
    DANGER_STRONG = (226, 84, 78)
    DANGER_PRESSED = (190, 62, 58)
    DANGER_SURFACE = (56, 26, 28)
    ON_DANGER = (34, 4, 4)
    PAPER = (255, 255, 255)
    PRINT = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Face:
    """A font at one size: family, size and line height in pixels, weight."""

    family: Literal["sans", "mono"]
    size: int
    weight: int
    line: int
    tabular: bool = False
    "Digits of one width."

    @property
    def baseline(self) -> int:
        """Distance of the baseline from the top of a line, which centres capitals in it."""
        return round((self.line + 0.727 * self.size) / 2)


TITLE: Final = Face("sans", 32, 700, 40)
TITLE_SMALL: Final = Face("sans", 26, 700, 32)
HEADING: Final = Face("sans", 26, 600, 32)
BODY: Final = Face("sans", 22, 400, 32)
VALUE: Final = Face("sans", 22, 500, 32)
LABEL: Final = Face("sans", 20, 500, 28)
SATS: Final = Face("sans", 22, 400, 28, tabular=True)
AMOUNTS: Final = tuple(Face("sans", size, 700, 56, tabular=True) for size in (52, 48, 44, 40))
"Sizes an emphasised amount is tried in."
UNIT: Final = Face("sans", 26, 600, 32)
SMALL_AMOUNT: Final = Face("sans", 24, 600, 32, tabular=True)
ADDRESS: Final = Face("mono", 32, 400, 40)
ADDRESS_STRONG: Final = Face("mono", 32, 700, 40)
CODE: Final = Face("mono", 34, 700, 48)
ONE_TIME: Final = Face("sans", 42, 600, 52, tabular=True)
WORD: Final = Face("sans", 26, 600, 40)
WORD_SMALL: Final = Face("sans", 24, 600, 36)
WORD_NUMBER: Final = Face("sans", 18, 500, 36, tabular=True)
ENTRY: Final = Face("mono", 32, 500, 40)
KEY: Final = Face("sans", 32, 500, 40)
LETTER_KEY: Final = Face("sans", 26, 500, 40)
CHOICE: Final = Face("sans", 24, 600, 32)
DETAIL: Final = Face("sans", 20, 400, 28)
BUTTON: Final = Face("sans", 24, 600, 32)
BUTTON_SMALL: Final = Face("sans", 20, 600, 26)
BANNER: Final = Face("sans", 18, 600, 24)
STATUS: Final = Face("sans", 18, 600, 24, tabular=True)
STATUS_SMALL: Final = Face("sans", 14, 600, 24, tabular=True)
PAGER: Final = Face("sans", 18, 500, 24, tabular=True)
DEVELOPMENT: Final = Face("sans", 15, 700, 24)
