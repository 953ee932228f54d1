"""The keypad as a block: where typed characters show, and the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.ui import theme
from primegap.keyos.ui.blocks import Block, Built, Piece, line_centred
from primegap.keyos.ui.parts import (
    DELETE,
    KEY,
    BoxPart,
    EntryPart,
    IconPart,
    Rect,
    Target,
    TargetKind,
)
from primegap.keyos.ui.screen import Keypad, KeypadPurpose
from primegap.keyos.ui.theme import CONTENT, MARGIN, WIDTH, Ink

if TYPE_CHECKING:
    from collections.abc import Sequence

_ERASE: Final = "\b"
_NONE: Final = " "

_ENTRY: Final = 64
_ENTRY_GAP: Final = 12

_ROWS: Final = {
    KeypadPurpose.PIN: ("123", "456", "789", " 0\b"),
    KeypadPurpose.CODE: ("123", "456", "789", " 0\b"),
    KeypadPurpose.DICE: ("123", "456", "\b"),
    KeypadPurpose.WORDS: ("qwertyuiop", "asdfghjkl", "zxcvbnm\b"),
}
# (key width, key height, gap)
_SIZES: Final = {
    KeypadPurpose.PIN: (136, 72, 12),
    KeypadPurpose.CODE: (136, 72, 12),
    KeypadPurpose.DICE: (136, 72, 12),
    KeypadPurpose.WORDS: (39, 72, 4),
}
_WIDE_DELETE: Final = 78


def _key_width(purpose: KeypadPurpose, key: str) -> int:
    if key == _ERASE and purpose is KeypadPurpose.WORDS:
        return _WIDE_DELETE
    if key == _ERASE and purpose is KeypadPurpose.DICE:
        return CONTENT
    return _SIZES[purpose][0]


def keypad_block(item: Keypad) -> Block:
    """A keypad at the bottom of the page, what is typed above it."""
    rows = _ROWS[item.purpose]
    _, height, gap = _SIZES[item.purpose]
    row_gap = max(gap, 8)
    face = theme.LETTER_KEY if item.purpose is KeypadPurpose.WORDS else theme.KEY

    def row(keys: Sequence[str], y: int, built: Built) -> None:
        widths = [_key_width(item.purpose, key) for key in keys]
        x = (WIDTH - sum(widths) - gap * (len(keys) - 1)) // 2
        for key, across in zip(keys, widths, strict=True):
            rect = Rect.of(x, y, across, height)
            x += across + gap
            if key == _NONE:
                continue
            name = DELETE if key == _ERASE else KEY + key
            built.parts.append(BoxPart(rect, Ink.SURFACE, theme.SMALL_RADIUS, target=name))
            if key == _ERASE:
                size = 32
                place = Rect.of(
                    rect.left + (across - size) // 2, y + (height - size) // 2, size, size
                )
                built.parts.append(IconPart(place, "delete", Ink.MUTED))
                label = "Delete"
            else:
                top = y + (height - face.line) // 2
                built.parts.append(line_centred(key, face, Ink.TEXT, rect, top))
                label = key
            built.targets.append(Target(name, rect, TargetKind.KEY, label))

    def build(y: int) -> Built:
        built = Built([EntryPart(Rect.of(MARGIN, y, CONTENT, _ENTRY), item)], [])
        y += _ENTRY + _ENTRY_GAP
        for keys in rows:
            row(keys, y, built)
            y += height + row_gap
        return built

    total = _ENTRY + _ENTRY_GAP + len(rows) * (height + row_gap) - row_gap
    return Block((Piece(total, build),), fills=True)
