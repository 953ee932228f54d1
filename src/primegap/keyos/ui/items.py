"""The closed set of items a screen is made of, as frozen data with checked limits."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from primegap.bitcoin.amounts import MAX_MONEY
from primegap.bitcoin.networks import Network
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.text import MAX_UNTRUSTED_CHARS, Label, check_label, check_text, shown

MAX_CHOICES: Final = 64
MAX_ID_CHARS: Final = 64
MAX_TEXT_CHARS: Final = 1000
MAX_LABEL_CHARS: Final = 60
MAX_DETAIL_CHARS: Final = 120
MAX_ADDRESS_CHARS: Final = 128  # the longest known today has 90 (BIP-173)
MAX_CODE_CHARS: Final = 128
MAX_ONE_TIME_CHARS: Final = 14  # ten digits in groups
MAX_WORDS: Final = 33  # SLIP-39 shares of 256 bits
MAX_WORD_CHARS: Final = 12
MAX_TYPED: Final = {"pin": 16, "words": 12, "dice": 256, "code": 20}
"""Characters a keypad takes: a PIN's length, a word's length, throws for 256 bits with a margin,
the code of a backup."""
MAX_QR_CHARS: Final = 2953  # version 40, level L, bytes
MAX_SPACER: Final = 240

_ID: Final = re.compile(r"[a-z0-9][a-z0-9._:-]*", re.ASCII)
_RESERVED_IDS: Final = ("page:", "key:")  # made by the layout
_ALPHANUMERIC: Final = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_DIGIT_GROUPS: Final = re.compile(r"[0-9]+(?: [0-9]+)*", re.ASCII)
_WORD: Final = re.compile(r"[a-z0-9]+", re.ASCII)


class TextStyle(enum.Enum):
    """How a paragraph is meant. The last three are boxes with a sign."""

    BODY = "body"
    MUTED = "muted"
    HEADING = "heading"
    WARNING = "warning"
    DANGER = "danger"
    SUCCESS = "success"


class Tone(enum.Enum):
    """What a colour says."""

    PLAIN = "plain"
    MUTED = "muted"
    ACCENT = "accent"
    SUCCESS = "success"
    WARNING = "warning"
    DANGER = "danger"


class KeypadPurpose(enum.Enum):
    """What is typed, and so which keys there are."""

    PIN = "pin"
    "Digits, shown as dots."
    WORDS = "words"
    "Small letters, shown as typed."
    DICE = "dice"
    "1 to 6, counted."
    CODE = "code"
    "Digits, shown as typed, in groups of four."


class QrLevel(enum.Enum):
    """Error correction of a QR symbol."""

    L = "L"
    M = "M"
    Q = "Q"
    H = "H"


IconName = Literal[
    "bluetooth",
    "bluetooth-off",
    "check",
    "coin",
    "cross",
    "key",
    "lock",
    "phone",
    "qr",
    "settings",
    "shield",
    "warning",
]
ICON_NAMES: Final[frozenset[str]] = frozenset(get_args(IconName))


def check_id(value: object) -> None:
    """Check an id; raise ScreenError."""
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS or not _ID.fullmatch(value):
        raise ScreenError("an id is not 1 to 64 of a-z, 0-9, dot, colon, dash, underscore")
    if value.startswith(_RESERVED_IDS):
        raise ScreenError("an id begins with a reserved word")


def check_kind(value: object, kind: type, what: str) -> None:
    """Check the type of a field; raise ScreenError."""
    # bool is an int; a number field must not take it.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ScreenError(f"{what} is not a {kind.__name__}")


def check_range(value: object, low: int, high: int, what: str) -> None:
    """Check a whole number, limits included; raise ScreenError."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ScreenError(f"{what} is not within {low} to {high}")


def check_tuple(value: object, kind: type, low: int, high: int, what: str) -> None:
    """Check type and number of the parts of a tuple; raise ScreenError."""
    if not isinstance(value, tuple) or not all(isinstance(part, kind) for part in value):
        raise ScreenError(f"{what} are not a tuple of {kind.__name__}")
    if not low <= len(value) <= high:
        raise ScreenError(f"{what} are not {low} to {high}")


def _check_fraction(value: object) -> None:
    # Minus zero would be an equal value with another encoding.
    if value is not None and (
        not isinstance(value, float) or not 0 <= value <= 1 or math.copysign(1, value) < 0
    ):
        raise ScreenError("a fraction is not a float within 0 to 1")


def _check_icon(value: object) -> None:
    if not isinstance(value, str) or value not in ICON_NAMES:
        raise ScreenError("there is no such icon")


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; line feeds make further ones."""

    text: Label
    style: TextStyle = TextStyle.BODY

    def __post_init__(self) -> None:
        check_label(self.text, limit=MAX_TEXT_CHARS, what="a text", lines=True)
        check_kind(self.style, TextStyle, "the style of a text")
        if not shown(self.text):
            raise ScreenError("a text is empty")


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its value."""

    label: Label
    value: Label
    tone: Tone = Tone.PLAIN
    "Of the value."

    def __post_init__(self) -> None:
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of a row")
        check_label(self.value, limit=MAX_UNTRUSTED_CHARS, what="the value of a row")
        check_kind(self.tone, Tone, "the tone of a row")


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount, exact in bitcoin and in satoshis."""

    label: Label
    sat: int
    "0 to 21 million bitcoin, in satoshis."
    network: Network
    emphasised: bool = False
    "The amount that the screen is about."

    def __post_init__(self) -> None:
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of an amount")
        check_range(self.sat, 0, MAX_MONEY, "an amount")
        check_kind(self.network, Network, "the network of an amount")
        check_kind(self.emphasised, bool, "the emphasis of an amount")


@dataclass(frozen=True, slots=True)
class Address:
    """An address, all of it, in groups of four; the first and the last group stand out."""

    label: Label
    text: str
    "1 to 128 letters and digits."

    def __post_init__(self) -> None:
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of an address")
        check_text(self.text, limit=MAX_ADDRESS_CHARS, what="an address")
        if not _ALPHANUMERIC.fullmatch(self.text):
            raise ScreenError("an address has other characters than letters and digits")


@dataclass(frozen=True, slots=True)
class Code:
    """A short code to compare with another screen; spaces part its groups, else every four."""

    label: Label
    text: str

    def __post_init__(self) -> None:
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of a code")
        check_text(self.text, limit=MAX_CODE_CHARS, what="a code")
        if not self.text.isascii() or not self.text.strip() or self.text != self.text.strip():
            raise ScreenError("a code is empty, not ASCII or begins or ends with a space")


@dataclass(frozen=True, slots=True)
class Words:
    """Secret words, numbered. Only the system's own screens have them (U-11)."""

    words: tuple[str, ...] = field(repr=False)
    first: int = 1
    "Number of the first word."

    def __post_init__(self) -> None:
        check_tuple(self.words, str, 1, MAX_WORDS, "words")
        check_range(self.first, 1, MAX_WORDS, "the number of a word")
        if not all(len(word) <= MAX_WORD_CHARS and _WORD.fullmatch(word) for word in self.words):
            raise ScreenError("a word is not 1 to 12 small letters or digits")


@dataclass(frozen=True, slots=True)
class Keypad:
    """Keys `key:0` … and `key:delete`. Only the system's own screens have them (U-12).

    What is typed never becomes part of the screen. A committing button can be pressed only when
    `min_length` characters are typed.
    """

    purpose: KeypadPurpose
    max_length: int | None = None
    "None: as many as the purpose allows."
    min_length: int = 1

    def __post_init__(self) -> None:
        check_kind(self.purpose, KeypadPurpose, "the purpose of a keypad")
        limit = MAX_TYPED[self.purpose.value]
        if self.max_length is not None:
            check_range(self.max_length, 1, limit, "the largest length of an entry")
        check_range(self.min_length, 0, self.limit, "the smallest length of an entry")

    @property
    def limit(self) -> int:
        """Largest number of characters."""
        return MAX_TYPED[self.purpose.value] if self.max_length is None else self.max_length


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a list; pressing it answers with its id."""

    id: str
    label: Label = field(repr=False)  # may be a word of a seed in a quiz
    detail: Label = ""
    selected: bool = False
    icon: IconName | None = None

    def __post_init__(self) -> None:
        check_id(self.id)
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of a choice")
        check_label(self.detail, limit=MAX_DETAIL_CHARS, what="the detail of a choice")
        check_kind(self.selected, bool, "the selection of a choice")
        if self.icon is not None:
            _check_icon(self.icon)
        if not shown(self.label):
            raise ScreenError("the label of a choice is empty")


@dataclass(frozen=True, slots=True)
class ChoiceList:
    """Choices, one a line, or as tiles two a line."""

    choices: tuple[Choice, ...]
    tiles: bool = False
    secret: bool = False
    "Whether the labels are secret."

    def __post_init__(self) -> None:
        check_tuple(self.choices, Choice, 1, MAX_CHOICES, "choices")
        check_kind(self.tiles, bool, "the form of a list")
        check_kind(self.secret, bool, "the secrecy of a list")


@dataclass(frozen=True, slots=True)
class Qr:
    """A QR symbol with a caption."""

    text: str = field(repr=False)
    "1 to 2953 ASCII characters; those of the alphanumeric mode give smaller symbols."
    caption: Label = ""
    level: QrLevel = QrLevel.L
    min_version: int = 1
    "For an animation: the largest version so far, so that its frames keep one size."
    secret: bool = False

    def __post_init__(self) -> None:
        check_text(self.text, limit=MAX_QR_CHARS, what="the content of a symbol")
        if not self.text or not self.text.isascii():
            raise ScreenError("the content of a symbol is empty or not ASCII")
        check_label(self.caption, limit=MAX_DETAIL_CHARS, what="the caption of a symbol")
        check_kind(self.level, QrLevel, "the error correction of a symbol")
        check_range(self.min_version, 1, 40, "the version of a symbol")
        check_kind(self.secret, bool, "the secrecy of a symbol")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is; without a fraction, that it goes on."""

    label: Label
    fraction: float | None
    "0 to 1."

    def __post_init__(self) -> None:
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of a progress")
        _check_fraction(self.fraction)


@dataclass(frozen=True, slots=True)
class Toggle:
    """A switch; pressing it answers with its id."""

    id: str
    label: Label
    on: bool
    detail: Label = ""

    def __post_init__(self) -> None:
        check_id(self.id)
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of a switch")
        check_kind(self.on, bool, "the state of a switch")
        check_label(self.detail, limit=MAX_DETAIL_CHARS, what="the detail of a switch")
        if not shown(self.label):
            raise ScreenError("the label of a switch is empty")


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """A code to type elsewhere, large, with a ring of the time it is still good for.

    Pressing it answers with its id.
    """

    id: str
    label: Label
    "Where the code is for."
    detail: Label
    "The account there; may be empty."
    code: str
    "Digits, parted by spaces; empty while none is made."
    remaining: float | None
    "Fraction of its time that is left, 0 to 1; None for a code without a time."

    def __post_init__(self) -> None:
        check_id(self.id)
        check_label(self.label, limit=MAX_LABEL_CHARS, what="the label of a code")
        check_label(self.detail, limit=MAX_DETAIL_CHARS, what="the detail of a code")
        check_text(self.code, limit=MAX_ONE_TIME_CHARS, what="a one-time code")
        if self.code and not _DIGIT_GROUPS.fullmatch(self.code):
            raise ScreenError("a one-time code is not groups of digits")
        if not shown(self.label):
            raise ScreenError("the label of a code is empty")
        _check_fraction(self.remaining)


@dataclass(frozen=True, slots=True)
class Icon:
    """An illustration. As the first item of a one-page screen it stands above a centred title."""

    name: IconName
    tone: Tone = Tone.ACCENT

    def __post_init__(self) -> None:
        _check_icon(self.name)
        check_kind(self.tone, Tone, "the tone of an icon")


@dataclass(frozen=True, slots=True)
class Spacer:
    """Empty space."""

    height: int | None = 16
    "A multiple of 8, 8 to 240; None takes what is left on the page."

    def __post_init__(self) -> None:
        if self.height is None:
            return
        check_range(self.height, 8, MAX_SPACER, "the height of a spacer")
        if self.height % 8:
            raise ScreenError("the height of a spacer is not a multiple of 8")


Item = (
    Text
    | Row
    | Amount
    | Address
    | Code
    | Words
    | Keypad
    | ChoiceList
    | Qr
    | Progress
    | Toggle
    | OneTimeCode
    | Icon
    | Spacer
)
ITEM_TYPES: Final = get_args(Item)


_CHOICE_SIZE: Final = 32  # what a choice counts at least, so that their number is limited too


def item_size(item: Item) -> int:
    """Return about how many characters an item takes, for the limit of a screen."""
    match item:
        case Text():
            return len(shown(item.text))
        case Row():
            return len(shown(item.label)) + len(shown(item.value))
        case ChoiceList():
            sizes = [len(shown(c.label)) + len(shown(c.detail)) for c in item.choices]
            return sum(max(size, _CHOICE_SIZE) for size in sizes)
        case OneTimeCode():
            return max(len(shown(item.label)) + len(shown(item.detail)), _CHOICE_SIZE)
        case Qr():
            return len(item.text) + len(shown(item.caption))
        case _:
            return MAX_CODE_CHARS
