"""Characters the screen can show, text from outside made harmless, and line breaking.

The screen shows a closed set of characters, all of them drawn by its own fonts as one visible glyph
each. So nothing in a text can be invisible, reorder its neighbours, stack on them or look like a
missing glyph: bidirectional controls, zero-width and combining characters are simply not in the
set (U-10).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui.errors import ScreenError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNTRUSTED_CHARS: Final = 300  # about ten lines of the screen; names and notes are shorter
UNTRUSTED_CHARS: Final = 120  # default: what a person reads before deciding
REPLACEMENT: Final = "□"
"Stands for one or more characters that cannot be shown; never part of our own texts."
CUT: Final = "…"
"Ends a text from outside that was longer than allowed."
_INPUT_FACTOR: Final = (
    8  # characters looked at for each one kept: bounds the work on a hostile text
)

_RANGES: Final = (
    ("\u0020", "\u007e"),  # ASCII
    ("\u00a1", "\u00ac"),  # Latin-1 without the no-break space and the soft hyphen
    ("\u00ae", "\u0148"),
    ("\u014a", "\u017f"),  # Latin Extended-A without a deprecated letter the fonts lack
    ("\u0218", "\u021b"),  # Romanian
    ("\u0386", "\u0386"),  # Greek
    ("\u0388", "\u038a"),
    ("\u038c", "\u038c"),
    ("\u038e", "\u03a1"),
    ("\u03a3", "\u03ce"),
    ("\u0400", "\u045f"),  # Cyrillic
    ("\u0490", "\u0491"),
    ("\u1e9e", "\u1e9e"),  # capital sharp s
    ("\u2013", "\u2014"),
)
_SINGLE: Final = "‘’‚“”„•…‹›€₿←↑→↓−≈≤≥∞"
SHOWABLE: Final = frozenset(
    chr(code) for first, last in _RANGES for code in range(ord(first), ord(last) + 1)
) | frozenset(_SINGLE)
"Every character our own texts may contain."
_SPACES: Final = re.compile(" {2,}")
_REPLACED: Final = re.compile(f"{REPLACEMENT}{{2,}}")


def check_text(value: object, *, limit: int, what: str, lines: bool = False) -> None:
    """Check a text of our own: a string of 0 to `limit` showable characters.

    Args:
        value: the text.
        limit: largest number of characters.
        what: name of the text for the error.
        lines: whether line feeds are allowed.

    Raises:
        ScreenError: it is not.
    """
    if not isinstance(value, str):
        raise ScreenError(f"{what} is not a text")
    if len(value) > limit:
        raise ScreenError(f"{what} is longer than {limit} characters")
    if not SHOWABLE.issuperset(value.replace("\n", "") if lines else value):
        raise ScreenError(f"{what} has a character that cannot be shown")


def neutralise(raw: str, limit: int = UNTRUSTED_CHARS) -> str:
    """Return text from outside as it may be shown: at most `limit` visible characters.

    Whitespace becomes a space and runs of spaces become one; every other character that is not
    showable becomes REPLACEMENT, a run of them becomes one; a text that is too long ends in CUT.
    Applying it twice changes nothing.

    Raises:
        ScreenError: `limit` is not within 1 to MAX_UNTRUSTED_CHARS.
    """
    if not 1 <= limit <= MAX_UNTRUSTED_CHARS:
        raise ScreenError("the limit of an untrusted text is out of range")
    head = raw[: limit * _INPUT_FACTOR]
    shown = "".join(
        char if char in SHOWABLE else " " if char.isspace() else REPLACEMENT
        for char in unicodedata.normalize("NFC", head)
    )
    shown = _SPACES.sub(" ", _REPLACED.sub(REPLACEMENT, shown)).strip(" ")
    if len(shown) > limit or len(head) < len(raw):
        shown = shown[: limit - 1].rstrip(" ") + CUT
    return shown


@dataclass(frozen=True, slots=True)
class Untrusted:
    """A text that came from outside the device; shown quoted and underlined (U-10)."""

    text: str
    "Neutralised, up to MAX_UNTRUSTED_CHARS characters."

    def __post_init__(self) -> None:
        value: object = self.text
        if not isinstance(value, str):
            raise ScreenError("an untrusted text is not a text")
        object.__setattr__(self, "text", neutralise(value, MAX_UNTRUSTED_CHARS))


def untrusted(raw: str, limit: int = UNTRUSTED_CHARS) -> Untrusted:
    """Wrap text from outside, cut to `limit` characters."""
    return Untrusted(neutralise(raw, limit))


Label = str | Untrusted
"A text on the screen: our own, or one from outside."


def shown(label: Label) -> str:
    """Return the characters that stand on the screen for a label: text from outside is quoted."""
    return f"“{label.text}”" if isinstance(label, Untrusted) else label


def check_label(value: object, *, limit: int, what: str, lines: bool = False) -> None:
    """Check a label: our own text within `limit`, or an Untrusted one.

    Raises:
        ScreenError: it is neither.
    """
    if not isinstance(value, Untrusted):
        check_text(value, limit=limit, what=what, lines=lines)


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break a text into lines no wider than `width`; nothing is lost but spaces at the breaks.

    Lines break at spaces; a word that is wider than a line breaks wherever it must. A line feed
    always breaks. `measure` returns the width of a text.

    Raises:
        ScreenError: a single character is wider than `width`.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if measure(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            *full, line = _break_word(word, width, measure)
            lines += full
        lines.append(line)
    return lines


def _break_word(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Return the word in pieces that fit, each as long as possible."""
    pieces = []
    while measure(word) > width:
        low, high = 0, len(word) - 1  # word[:low] fits, word[: high + 1] does not
        while low < high:
            middle = (low + high + 1) // 2
            if measure(word[:middle]) <= width:
                low = middle
            else:
                high = middle - 1
        if low == 0:
            raise ScreenError("a character is wider than its line")
        pieces.append(word[:low])
        word = word[low:]
    return [*pieces, word]
