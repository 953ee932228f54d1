"""What a layout is made of: rectangles with something to draw, and places to touch. Pure data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui.theme import SMALL_RADIUS, Ink

if TYPE_CHECKING:
    from primegap.keyos.ui.screen import ButtonStyle, IconName, Keypad, Screen
    from primegap.keyos.ui.theme import Face


NEXT_PAGE: Final = "page:next"
PREVIOUS_PAGE: Final = "page:prev"
KEY: Final = "key:"
"Ids of keys are this and the character."
DELETE: Final = "key:delete"


@dataclass(frozen=True, slots=True)
class Rect:
    """Whole pixels: left and top within, right and bottom just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, left: int, top: int, width: int, height: int) -> Rect:
        """Return the rectangle of this size at this place."""
        return cls(left, top, left + width, top + height)

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top

    def contains(self, x: int, y: int) -> bool:
        """Whether a pixel is inside."""
        return self.left <= x < self.right and self.top <= y < self.bottom

    def holds(self, other: Rect) -> bool:
        """Whether another rectangle is wholly inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def overlaps(self, other: Rect) -> bool:
        """Whether any pixel is in both."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def inset(self, pixels: int) -> Rect:
        """Return it smaller by this much on every side."""
        return Rect(
            self.left + pixels, self.top + pixels, self.right - pixels, self.bottom - pixels
        )


class TargetKind(enum.Enum):
    """What a place on the screen does when it is touched."""

    BUTTON = "button"
    CHOICE = "choice"
    TOGGLE = "toggle"
    KEY = "key"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Target:
    """A place on the screen that reacts to touch."""

    id: str
    rect: Rect
    kind: TargetKind
    label: str = field(repr=False)
    hold_ms: int = 0
    guarded: bool = False
    "Counts only after the page was visible for the minimum time (U-9)."
    enabled: bool = True
    min_typed: int = 0
    "Works only when this many characters are typed on the keypad."


@dataclass(frozen=True, slots=True)
class TextPart:
    """One line of text, or a piece of one, exactly as wide as its rectangle."""

    rect: Rect
    text: str = field(repr=False)
    face: Face
    ink: Ink
    untrusted: bool = False
    "Marked with a dotted line below."


@dataclass(frozen=True, slots=True)
class BoxPart:
    """A rounded box."""

    rect: Rect
    fill: Ink
    radius: int = SMALL_RADIUS
    border: Ink | None = None
    target: str | None = None
    "Pressing this target makes it brighter."


@dataclass(frozen=True, slots=True)
class IconPart:
    """A vector drawing in a square."""

    rect: Rect
    name: IconName | str
    ink: Ink


@dataclass(frozen=True, slots=True)
class QrPart:
    """A QR symbol on white paper, with its quiet zone."""

    rect: Rect
    rows: tuple[bytes, ...] = field(repr=False)
    "A byte a module, 1 dark."
    scale: int
    "Pixels a module."


@dataclass(frozen=True, slots=True)
class BarPart:
    """A bar filled to a fraction; without one, a piece of it runs along."""

    rect: Rect
    fraction: float | None


@dataclass(frozen=True, slots=True)
class RingPart:
    """A ring of which a fraction is left, clockwise from the top."""

    rect: Rect
    remaining: float
    ink: Ink


@dataclass(frozen=True, slots=True)
class SwitchPart:
    """A switch."""

    rect: Rect
    on: bool


@dataclass(frozen=True, slots=True)
class EntryPart:
    """Where a keypad shows what is typed; its content comes with the view."""

    rect: Rect
    keypad: Keypad


@dataclass(frozen=True, slots=True)
class ButtonPart:
    """The box of a button; its look depends on the view."""

    rect: Rect
    style: ButtonStyle
    target: Target
    lines: tuple[TextPart, ...]


@dataclass(frozen=True, slots=True)
class PagerPart:
    """Dots, one a page."""

    rect: Rect
    page: int
    pages: int


Part = (
    TextPart
    | BoxPart
    | IconPart
    | QrPart
    | BarPart
    | RingPart
    | SwitchPart
    | EntryPart
    | ButtonPart
    | PagerPart
)


@dataclass(frozen=True, slots=True)
class Element:
    """Something that stands on a page by itself; elements never overlap."""

    rect: Rect
    parts: tuple[Part, ...]
    item: int | None = None
    "Index of the screen's item it belongs to; None for title, banner, pager and buttons."

    def texts(self) -> list[TextPart]:
        """Return its texts in reading order."""
        found = []
        for part in self.parts:
            if isinstance(part, TextPart):
                found.append(part)
            elif isinstance(part, ButtonPart):
                found += part.lines
        return found


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a screen."""

    elements: tuple[Element, ...]
    targets: tuple[Target, ...]

    def target_at(self, x: int, y: int) -> Target | None:
        """Return the target at a pixel."""
        return next((target for target in self.targets if target.rect.contains(x, y)), None)

    def target(self, name: str) -> Target | None:
        """Return the target with an id."""
        return next((target for target in self.targets if target.id == name), None)

    def text(self) -> str:
        """Return everything written on the page, a line for each piece of text."""
        return "\n".join(part.text for element in self.elements for part in element.texts())


@dataclass(frozen=True, slots=True)
class Layout:
    """A screen's pages, each with everything at its place."""

    screen: Screen
    pages: tuple[Page, ...]
