"""Blocks of what is chosen from or numbered: lists, tiles, switches, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui import theme
from primegap.keyos.ui.blocks import (
    RIGHT,
    ROW_PADDING,
    Block,
    Built,
    Piece,
    line,
    line_right,
    lines_of,
)
from primegap.keyos.ui.errors import LayoutError
from primegap.keyos.ui.parts import (
    BoxPart,
    IconPart,
    Part,
    Rect,
    RingPart,
    SwitchPart,
    Target,
    TargetKind,
)
from primegap.keyos.ui.text import Label, Untrusted, shown
from primegap.keyos.ui.theme import CONTENT, MARGIN, PADDING, Face, Ink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from primegap.keyos.ui.screen import Choice, ChoiceList, OneTimeCode, Toggle, Words

CHOICE_GAP: Final = 12
CHEVRON: Final = 24


@dataclass(frozen=True, slots=True)
class _Entry:
    """A label over a detail, wrapped to lines."""

    lines: list[tuple[str, Face, Ink, bool]]
    "With the mark of text from outside."

    @classmethod
    def of(cls, label: Label, detail: Label, room: int) -> _Entry:
        parts = [(label, theme.CHOICE, Ink.TEXT)]
        if shown(detail):
            parts.append((detail, theme.DETAIL, Ink.MUTED))
        return cls(
            [
                (text, face, ink, isinstance(source, Untrusted))
                for source, face, ink in parts
                for text in lines_of(source, face, room)
            ]
        )

    @property
    def height(self) -> int:
        return sum(face.line for _, face, _, _ in self.lines)

    def build(self, x: int, top: int) -> list[Part]:
        parts: list[Part] = []
        for text, face, ink, marked in self.lines:
            parts.append(line(text, face, ink, x, top, untrusted=marked))
            top += face.line
        return parts


def _surface(target: str, *, selected: bool = False) -> Callable[[Rect], BoxPart]:
    border = Ink.ACCENT if selected else None
    return lambda rect: BoxPart(rect, Ink.SURFACE, theme.RADIUS, border=border, target=target)


def _entry_piece(
    target: Target,
    label: Label,
    detail: Label,
    *,
    icon: str | None,
    mark: Callable[[Rect], Part],
    mark_width: int,
    selected: bool = False,
) -> Piece:
    """A pressable line of a list: icon, label over detail, and a mark at the right."""
    x = MARGIN + 20 + (52 if icon else 0)
    room = RIGHT - 20 - mark_width - 12 - x
    entry = _Entry.of(label, detail, room)
    height = max(entry.height + 2 * ROW_PADDING, theme.BUTTON_HEIGHT)

    def build(y: int) -> Built:
        rect = Rect.of(MARGIN, y, CONTENT, height)
        parts: list[Part] = [_surface(target.id, selected=selected)(rect)]
        if icon:
            place = Rect.of(MARGIN + 20, y + (height - 36) // 2, 36, 36)
            parts.append(IconPart(place, icon, Ink.ACCENT))
        parts += entry.build(x, y + (height - entry.height) // 2)
        parts.append(mark(Rect.of(RIGHT - 20 - mark_width, y, mark_width, height)))
        return Built(parts, [_at(target, rect)])

    return Piece(height, build)


def _at(target: Target, rect: Rect) -> Target:
    return Target(target.id, rect, target.kind, target.label)


def _middle(rect: Rect, height: int) -> Rect:
    return Rect.of(rect.left, rect.top + (rect.height - height) // 2, rect.width, height)


def choices_block(item: ChoiceList) -> Block:
    """A list, or tiles two by two."""
    if item.tiles:
        pairs = [item.choices[at : at + 2] for at in range(0, len(item.choices), 2)]
        return Block(tuple(_tiles_piece(pair) for pair in pairs), between=theme.GAP)

    def mark(choice: Choice) -> Callable[[Rect], Part]:
        name, ink = ("check", Ink.ACCENT) if choice.selected else ("chevron", Ink.FAINT)
        return lambda rect: IconPart(_middle(rect, CHEVRON), name, ink)

    pieces = [
        _entry_piece(
            Target(choice.id, _NOWHERE, TargetKind.CHOICE, shown(choice.label)),
            choice.label,
            choice.detail,
            icon=choice.icon,
            mark=mark(choice),
            mark_width=CHEVRON,
            selected=choice.selected,
        )
        for choice in item.choices
    ]
    return Block(tuple(pieces), between=CHOICE_GAP)


_NOWHERE: Final = Rect(0, 0, 0, 0)
_TILE: Final = (CONTENT - theme.GAP) // 2
_TILE_ICON: Final = 40


def _tiles_piece(choices: Sequence[Choice]) -> Piece:
    """A row of one or two tiles of one height."""
    room = _TILE - 2 * PADDING - 4
    entries = [_Entry.of(choice.label, choice.detail, room) for choice in choices]
    height = 20 + _TILE_ICON + 16 + max(entry.height for entry in entries) + PADDING

    def build(y: int) -> Built:
        built = Built([], [])
        for number, (choice, entry) in enumerate(zip(choices, entries, strict=True)):
            rect = Rect.of(MARGIN + number * (_TILE + theme.GAP), y, _TILE, height)
            x, top = rect.left + 20, y + 20
            built.parts.append(_surface(choice.id, selected=choice.selected)(rect))
            icon = Rect.of(x, top, _TILE_ICON, _TILE_ICON)
            built.parts.append(IconPart(icon, choice.icon or "app", Ink.ACCENT))
            built.parts.extend(entry.build(x, top + _TILE_ICON + 16))
            target = Target(choice.id, rect, TargetKind.CHOICE, shown(choice.label))
            built.targets.append(target)
        return built

    return Piece(height, build)


_SWITCH: Final = (64, 36)


def toggle_block(item: Toggle) -> Block:
    """A switch with its name."""

    def mark(rect: Rect) -> Part:
        return SwitchPart(_middle(rect, _SWITCH[1]), item.on)

    piece = _entry_piece(
        Target(item.id, _NOWHERE, TargetKind.TOGGLE, shown(item.label)),
        item.label,
        item.detail,
        icon=None,
        mark=mark,
        mark_width=_SWITCH[0],
    )
    return Block((piece,))


_RING: Final = 40
_LAST_PART: Final = 1 / 6  # of the time: the ring and the code warn


def one_time_block(item: OneTimeCode) -> Block:
    """Where a code is for, the account, the code in large digits, and the ring of its time."""
    x, room = MARGIN + 20, RIGHT - 20 - MARGIN - 20
    entry = _Entry.of(item.label, item.detail, room)
    height = entry.height + 4 + theme.ONE_TIME.line + 2 * ROW_PADDING
    late = item.remaining is not None and item.remaining <= _LAST_PART
    ink = Ink.WARNING if late else Ink.ACCENT

    def build(y: int) -> Built:
        rect = Rect.of(MARGIN, y, CONTENT, height)
        top = y + ROW_PADDING
        parts = [_surface(item.id)(rect), *entry.build(x, top)]
        top += entry.height
        code = item.code or "– – –"
        parts.append(line(code, theme.ONE_TIME, ink if item.code else Ink.FAINT, x, top + 4))
        place = Rect.of(RIGHT - 20 - _RING, top + 4, _RING, theme.ONE_TIME.line)
        if item.remaining is not None:
            parts.append(RingPart(_middle(place, _RING), item.remaining, ink))
        else:
            parts.append(IconPart(_middle(_right(place, CHEVRON), CHEVRON), "chevron", Ink.FAINT))
        target = Target(item.id, rect, TargetKind.CHOICE, shown(item.label))
        return Built(parts, [target])

    return Block((Piece(height, build),), gap=CHOICE_GAP)


def _right(rect: Rect, width: int) -> Rect:
    return Rect.of(rect.right - width, rect.top, width, rect.height)


_WORDS_PORTION: Final = 12
_WORDS_TALL: Final = 8  # rows up to which words have wide lines


def words_block(item: Words, page_height: int, beside: int) -> Block:
    """Numbered words in two columns, read downwards.

    In portions of twelve or fewer when a page cannot hold all of them and everything else.

    Args:
        item: the words.
        page_height: pixels of a page.
        beside: pixels of a page that everything else takes.
    """
    portion = len(item.words)
    if portion > _WORDS_PORTION and _words_height(portion) + beside > page_height:
        portion = _WORDS_PORTION
    while _words_height(portion) > page_height and portion > 1:
        portion //= 2
    pieces = [
        _words_piece(item.words[at : at + portion], item.first + at)
        for at in range(0, len(item.words), portion)
    ]
    return Block(tuple(pieces), between=8)


def _words_pitch(rows: int) -> tuple[int, int, Face]:
    """Return (distance of rows, height of a cell, face) for a number of rows."""
    return (56, 48, theme.WORD) if rows <= _WORDS_TALL else (42, 38, theme.WORD_SMALL)


def _words_height(count: int) -> int:
    rows = -(-count // 2)
    pitch, cell, _ = _words_pitch(rows)
    return pitch * (rows - 1) + cell


def _words_piece(words: Sequence[str], first: int) -> Piece:
    rows = -(-len(words) // 2)
    pitch, height, face = _words_pitch(rows)

    def build(y: int) -> Built:
        parts: list[Part] = []
        for at, word in enumerate(words):
            column, row = divmod(at, rows)
            left, top = MARGIN + column * (_TILE + theme.GAP), y + row * pitch
            cell = Rect.of(left, top, _TILE, height)
            parts.append(BoxPart(cell, Ink.SURFACE))
            number_face = theme.WORD_NUMBER
            number_top = top + (height - number_face.line) // 2
            number = str(first + at)
            parts.append(line_right(number, number_face, Ink.MUTED, left + 40, number_top))
            word_top = top + (height - face.line) // 2
            parts.append(line(word, face, Ink.TEXT, left + 54, word_top))
            if parts[-1].rect.right > cell.right - 4:
                raise LayoutError("a word does not fit its cell")
        return Built(parts, [])

    return Piece(_words_height(len(words)), build)
