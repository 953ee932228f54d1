"""From an item of a screen to blocks: pieces of fixed height that a page takes whole.

A block function turns one kind of item into a Block; those of texts are here, others beside. A
piece knows how to build its parts once its place on the page is known. Text wraps; nothing is ever
cut.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui import theme
from primegap.keyos.ui.fonts import measure, width
from primegap.keyos.ui.parts import (
    BoxPart,
    IconPart,
    Part,
    Rect,
    Target,
    TextPart,
)
from primegap.keyos.ui.screen import (
    Row,
    Text,
    TextStyle,
    Tone,
)
from primegap.keyos.ui.text import Label, Untrusted, shown, wrap
from primegap.keyos.ui.theme import CONTENT, MARGIN, PADDING, Face, Ink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RIGHT: Final = MARGIN + CONTENT
ROW_PADDING: Final = 12

TONE_INKS: Final = {
    Tone.PLAIN: Ink.TEXT,
    Tone.MUTED: Ink.MUTED,
    Tone.ACCENT: Ink.ACCENT,
    Tone.SUCCESS: Ink.ACCENT,
    Tone.WARNING: Ink.WARNING,
    Tone.DANGER: Ink.DANGER,
}
TONE_SURFACES: Final = {
    Tone.PLAIN: Ink.SURFACE,
    Tone.MUTED: Ink.SURFACE,
    Tone.ACCENT: Ink.ACCENT_SURFACE,
    Tone.SUCCESS: Ink.ACCENT_SURFACE,
    Tone.WARNING: Ink.WARNING_SURFACE,
    Tone.DANGER: Ink.DANGER_SURFACE,
}


@dataclass(slots=True)
class Built:
    """What a piece puts on the page."""

    parts: list[Part]
    targets: list[Target]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a block that stays in one place."""

    height: int
    build: Callable[[int], Built]
    "Takes the y of its top."
    glued: bool = False
    "Stays on the page of the piece after it."


@dataclass(frozen=True, slots=True)
class Block:
    """One item, as pieces."""

    pieces: tuple[Piece, ...]
    gap: int = theme.GAP
    "Wanted distance to neighbours."
    between: int = 0
    "Distance between its pieces."
    padding: int = 0
    "Above and below its pieces, inside its box."
    box: Callable[[Rect], list[Part]] | None = None
    joins: bool = False
    "Stands close to another of the kind, with a line between."
    fills: bool = False
    "Takes the space that is left on the page, above its pieces."
    leads: bool = False
    "Stays with the block after it."
    spacer: bool = False
    item: int | None = None

    @property
    def height(self) -> int:
        """Height of the whole block."""
        return self.height_of(self.pieces)

    def height_of(self, pieces: Sequence[Piece]) -> int:
        """Height of the block with only these of its pieces."""
        inner = sum(piece.height for piece in pieces) + self.between * max(len(pieces) - 1, 0)
        return inner + 2 * self.padding

    def groups(self) -> list[tuple[Piece, ...]]:
        """Return the pieces in groups that must stay together."""
        groups: list[tuple[Piece, ...]] = []
        group: list[Piece] = []
        for piece in self.pieces:
            group.append(piece)
            if not piece.glued:
                groups.append(tuple(group))
                group = []
        return groups


def lines_of(label: Label, face: Face, room: int) -> list[str]:
    """Return a label's lines in a face, each at most `room` pixels wide."""
    return wrap(shown(label), room, functools.partial(measure, face=face))


def line(text: str, face: Face, ink: Ink, x: int, y: int, *, untrusted: bool = False) -> TextPart:
    """Return a line of text with its left top corner at a place."""
    rect = Rect.of(x, y, width(text, face), face.line)
    return TextPart(rect, text, face, ink, untrusted=untrusted)


def line_right(
    text: str, face: Face, ink: Ink, right: int, y: int, *, untrusted: bool = False
) -> TextPart:
    """Return a line of text that ends at `right`."""
    return line(text, face, ink, right - width(text, face), y, untrusted=untrusted)


def line_centred(
    text: str, face: Face, ink: Ink, rect: Rect, y: int, *, untrusted: bool = False
) -> TextPart:
    """Return a line of text in the middle of a rectangle's width."""
    x = rect.left + (rect.width - width(text, face)) // 2
    return line(text, face, ink, x, y, untrusted=untrusted)


def text_pieces(
    label: Label,
    face: Face,
    ink: Ink,
    *,
    x: int = MARGIN,
    room: int = CONTENT,
    centred: bool = False,
    glued: bool = False,
) -> list[Piece]:
    """Return a piece for each line of a label."""
    marked = isinstance(label, Untrusted)

    def piece(text: str) -> Piece:
        def build(y: int) -> Built:
            if centred:
                part = line_centred(text, face, ink, Rect.of(x, y, room, 1), y, untrusted=marked)
            else:
                part = line(text, face, ink, x, y, untrusted=marked)
            return Built([part] if text else [], [])

        return Piece(face.line, build, glued=glued)

    return [piece(text) for text in lines_of(label, face, room)]


_TEXT_LOOKS: Final = {
    TextStyle.BODY: (theme.BODY, Ink.TEXT),
    TextStyle.MUTED: (theme.BODY, Ink.MUTED),
    TextStyle.HEADING: (theme.HEADING, Ink.TEXT),
}
_CALLOUTS: Final = {
    TextStyle.WARNING: (Tone.WARNING, "warning"),
    TextStyle.DANGER: (Tone.DANGER, "warning"),
    TextStyle.SUCCESS: (Tone.SUCCESS, "check"),
}
_CALLOUT_ICON: Final = 28
_CALLOUT_X: Final = MARGIN + PADDING + _CALLOUT_ICON + 12


def text_block(item: Text, *, centred: bool) -> Block:
    """A paragraph, or a box with a sign."""
    if item.style in _TEXT_LOOKS:
        face, ink = _TEXT_LOOKS[item.style]
        pieces = text_pieces(item.text, face, ink, centred=centred)
        return Block(tuple(pieces), leads=item.style is TextStyle.HEADING)
    tone, icon = _CALLOUTS[item.style]

    def box(rect: Rect) -> list[Part]:
        sign = Rect.of(rect.left + PADDING, rect.top + PADDING + 2, _CALLOUT_ICON, _CALLOUT_ICON)
        return [
            BoxPart(rect, TONE_SURFACES[tone], theme.RADIUS),
            IconPart(sign, icon, TONE_INKS[tone]),
        ]

    pieces = text_pieces(
        item.text, theme.BODY, TONE_INKS[tone], x=_CALLOUT_X, room=RIGHT - PADDING - _CALLOUT_X
    )
    return Block(tuple(pieces), padding=PADDING, box=box)


def row_block(item: Row) -> Block:
    """A name and its value on one line, or below each other when they are long."""
    ink = TONE_INKS[item.tone]
    marks = isinstance(item.label, Untrusted), isinstance(item.value, Untrusted)
    label, value = shown(item.label), shown(item.value)
    if width(label, theme.BODY) + theme.GAP + width(value, theme.VALUE) <= CONTENT:

        def build(y: int) -> Built:
            top = y + ROW_PADDING
            name = line(label, theme.BODY, Ink.MUTED, MARGIN, top, untrusted=marks[0])
            text = line_right(value, theme.VALUE, ink, RIGHT, top, untrusted=marks[1])
            return Built([part for part in (name, text) if part.text], [])

        return Block((Piece(theme.BODY.line + 2 * ROW_PADDING, build),), joins=True)
    pieces = [
        *text_pieces(item.label, theme.BODY, Ink.MUTED, glued=True),
        *text_pieces(item.value, theme.VALUE, ink),
    ]
    return Block(tuple(pieces), padding=ROW_PADDING, joins=True)


def card(rect: Rect) -> list[Part]:
    """The box behind something to compare."""
    return [BoxPart(rect, Ink.SURFACE, theme.RADIUS)]
