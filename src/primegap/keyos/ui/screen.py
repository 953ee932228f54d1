"""A screen as data: what is shown, what is hashed and what is confirmed are this one value.

Frozen trees of a closed set of items. Constructors check every limit and raise ScreenError, because
apps describe their screens to the `ui` process by message. Nothing here measures or draws, so apps
can import it at no cost; `layout` may still refuse a valid screen that would not fit the display.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from primegap.bitcoin.networks import Network
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.items import (
    ITEM_TYPES,
    Address,
    Amount,
    Choice,
    ChoiceList,
    Code,
    Icon,
    IconName,
    Item,
    Keypad,
    KeypadPurpose,
    OneTimeCode,
    Progress,
    Qr,
    QrLevel,
    Row,
    Spacer,
    Text,
    TextStyle,
    Toggle,
    Tone,
    Words,
    check_id,
    check_kind,
    check_range,
    check_tuple,
    item_size,
)
from primegap.keyos.ui.text import Label, Untrusted, check_text, shown, untrusted

__all__ = [
    "Address",
    "Amount",
    "Banner",
    "Button",
    "ButtonStyle",
    "Choice",
    "ChoiceList",
    "Code",
    "Icon",
    "IconName",
    "Item",
    "Keypad",
    "KeypadPurpose",
    "Label",
    "Network",
    "OneTimeCode",
    "Progress",
    "Qr",
    "QrLevel",
    "Row",
    "Screen",
    "Spacer",
    "Text",
    "TextStyle",
    "Toggle",
    "Tone",
    "Untrusted",
    "Words",
    "shown",
    "untrusted",
]

MAX_ITEMS: Final = 64
MAX_BUTTONS: Final = 4  # more would leave no room for what they are about
MAX_SCREEN_CHARS: Final = 6000  # all texts together: twenty full pages; bounds a layout's work
MAX_TITLE_CHARS: Final = 64
MAX_BANNER_CHARS: Final = 60
MAX_BUTTON_CHARS: Final = 24
MAX_APP_NAME_CHARS: Final = 24  # keyos-model section 2.6
MIN_HOLD_MS: Final = 500  # shorter is a tap
MAX_HOLD_MS: Final = 10_000


class ButtonStyle(enum.Enum):
    """What a button is for. PRIMARY and DANGER commit: they stand on the last page only."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    DANGER = "danger"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Button:
    """A button at the bottom of the screen; pressing it answers with its id."""

    id: str
    label: str
    style: ButtonStyle = ButtonStyle.SECONDARY
    hold_ms: int = 0
    "How long it must be held; 0 for a tap."
    enabled: bool = True

    def __post_init__(self) -> None:
        check_id(self.id)
        check_text(self.label, limit=MAX_BUTTON_CHARS, what="the label of a button")
        if not self.label.strip():
            raise ScreenError("the label of a button is empty")
        check_kind(self.style, ButtonStyle, "the style of a button")
        if self.hold_ms != 0:
            check_range(self.hold_ms, MIN_HOLD_MS, MAX_HOLD_MS, "the time to hold a button")
        check_kind(self.hold_ms, int, "the time to hold a button")
        check_kind(self.enabled, bool, "the state of a button")

    @property
    def commits(self) -> bool:
        """Whether it may only stand where everything has been seen: on the last page."""
        return self.hold_ms > 0 or self.style in {ButtonStyle.PRIMARY, ButtonStyle.DANGER}


@dataclass(frozen=True, slots=True)
class Banner:
    """A line across the top of every page, such as the name of a test network."""

    text: str
    tone: Tone = Tone.WARNING

    def __post_init__(self) -> None:
        check_text(self.text, limit=MAX_BANNER_CHARS, what="a banner")
        if not self.text.strip():
            raise ScreenError("a banner is empty")
        check_kind(self.tone, Tone, "the tone of a banner")


@dataclass(frozen=True, slots=True)
class Screen:
    """Everything that stands on the display but the status bar."""

    id: str
    "Name for automation and tests; not shown."
    title: str
    items: tuple[Item, ...] = ()
    buttons: tuple[Button, ...] = ()
    app: str | None = None
    "Who shows it, named by the system and never by the app itself; None for the system."
    banner: Banner | None = None
    confirm: bool = False
    """A confirmation: exactly one button commits, at least one other leaves, and none counts
    before the last page has been visible for the minimum time (U-9)."""

    def __post_init__(self) -> None:
        check_id(self.id)
        check_text(self.title, limit=MAX_TITLE_CHARS, what="a title")
        if not self.title.strip():
            raise ScreenError("a title is empty")
        check_tuple(self.items, object, 0, MAX_ITEMS, "items")
        if not all(isinstance(item, ITEM_TYPES) for item in self.items):
            raise ScreenError("an item is of no known kind")
        check_tuple(self.buttons, Button, 0, MAX_BUTTONS, "buttons")
        if self.app is not None:
            check_text(self.app, limit=MAX_APP_NAME_CHARS, what="the name of an app")
            if not self.app.strip():
                raise ScreenError("the name of an app is empty")
        if self.banner is not None:
            check_kind(self.banner, Banner, "a banner")
        check_kind(self.confirm, bool, "the mark of a confirmation")
        self._check_whole()

    def _check_whole(self) -> None:
        ids = [button.id for button in self.buttons]
        keypads = 0
        for item in self.items:
            if isinstance(item, ChoiceList):
                ids += [choice.id for choice in item.choices]
            elif isinstance(item, Toggle | OneTimeCode):
                ids.append(item.id)
            keypads += isinstance(item, Keypad)
        if len(ids) != len(set(ids)):
            raise ScreenError("an id is used twice")
        if keypads > 1:
            raise ScreenError("a screen has more than one keypad")
        if sum(item_size(item) for item in self.items) > MAX_SCREEN_CHARS:
            raise ScreenError("a screen has too much text")
        if self.confirm:
            commits = [button.commits for button in self.buttons]
            if commits.count(True) != 1 or len(commits) < 2:
                raise ScreenError("a confirmation has not one button to commit and one to leave")
            if len(ids) != len(self.buttons) or keypads:
                raise ScreenError("a confirmation has something else to press than buttons")

    @property
    def secret(self) -> bool:
        """Whether it shows a secret; its pixels and texts are not kept after it was drawn."""
        return any(
            isinstance(item, Words)
            or (
                isinstance(item, Keypad)
                and item.purpose in {KeypadPurpose.WORDS, KeypadPurpose.CODE}
            )
            or (isinstance(item, ChoiceList | Qr) and item.secret)
            for item in self.items
        )

    @property
    def approval(self) -> Button | None:
        """The committing button of a confirmation; None for other screens."""
        if not self.confirm:
            return None
        return next(button for button in self.buttons if button.commits)

    @property
    def keypad(self) -> Keypad | None:
        """The keypad, if there is one."""
        return next((item for item in self.items if isinstance(item, Keypad)), None)
