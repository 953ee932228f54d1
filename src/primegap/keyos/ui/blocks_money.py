"""Blocks of what must be compared exactly: amounts, addresses, codes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.amounts import Satoshi, format_btc, format_sats
from primegap.keyos.ui import theme
from primegap.keyos.ui.blocks import (
    RIGHT,
    ROW_PADDING,
    Block,
    Built,
    Piece,
    card,
    line,
    line_centred,
    line_right,
    text_pieces,
)
from primegap.keyos.ui.fonts import measure, width
from primegap.keyos.ui.parts import BoxPart, Part, Rect
from primegap.keyos.ui.text import Untrusted, shown, wrap
from primegap.keyos.ui.theme import CONTENT, MARGIN, PADDING, Face, Ink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.ui.screen import Address, Amount, Code

GROUP: Final = 4
COLUMNS: Final = 4
_ROOM: Final = CONTENT - 2 * PADDING
_COLUMN: Final = _ROOM // COLUMNS
_DIGIT_GAP: Final = 8  # between groups of digits of a large amount
_UNIT_GAP: Final = 12


def amount_texts(item: Amount) -> tuple[str, str, str]:
    """Return an amount's number in bitcoin, its unit, and the amount in satoshis, as shown."""
    sat = Satoshi(item.sat)
    return format_btc(sat, unit=""), item.network.currency, format_sats(sat)


def amount_block(item: Amount) -> Block:
    """An amount in large digits, or as a row."""
    return _large_amount(item) if item.emphasised else _small_amount(item)


def _digit_groups(number: str) -> list[list[tuple[str, Ink]]]:
    """Return the groups of a number, each as (text, colour) pieces; leading zeros are faint."""
    significant = next((at for at, char in enumerate(number) if char in "123456789"), 0)
    groups = []
    at = 0
    for group in number.split(" "):
        zeros = min(max(significant - at, 0), len(group))
        pieces = ((group[:zeros], Ink.FAINT), (group[zeros:], Ink.TEXT))
        groups.append([piece for piece in pieces if piece[0]])
        at += len(group) + 1
    return groups


def _large_amount(item: Amount) -> Block:
    number, unit, sats = amount_texts(item)
    groups = _digit_groups(number)

    def across(face: Face) -> list[int]:
        return [sum(width(text, face) for text, _ in group) for group in groups]

    unit_width = width(unit, theme.UNIT)
    fixed = _DIGIT_GAP * (len(groups) - 1) + _UNIT_GAP + unit_width
    fitting = (face for face in theme.AMOUNTS if sum(across(face)) + fixed <= CONTENT)
    face = next(fitting, theme.AMOUNTS[-1])
    # Place groups and unit from the left; what does not fit moves down as a whole.
    x, row_count = 0, 1
    places: list[tuple[int, int]] = []
    for size, gap in [*((size, _DIGIT_GAP) for size in across(face)), (unit_width, 0)]:
        if x + size > CONTENT:
            x, row_count = 0, row_count + 1
        last_digits = len(places) == len(groups) - 1
        places.append((x, row_count - 1))
        x += size + (_UNIT_GAP if last_digits else gap)
    pill = item.network.value.capitalize() if item.network.is_test else ""
    pill_width = width(pill, theme.BANNER) + 24 if pill else 0
    labels = text_pieces(item.label, theme.LABEL, Ink.MUTED, room=CONTENT - pill_width - theme.GAP)
    label_height = sum(piece.height for piece in labels)

    def build(y: int) -> Built:
        parts: list[Part] = []
        if pill:
            rect = Rect.of(RIGHT - pill_width, y, pill_width, theme.LABEL.line)
            parts.append(BoxPart(rect, Ink.WARNING_SURFACE, 14))
            parts.append(line_centred(pill, theme.BANNER, Ink.WARNING, rect, y + 2))
        top = y
        for piece in labels:
            parts += piece.build(top).parts
            top += piece.height
        top += 4
        for group, (left, row) in zip(groups, places, strict=False):
            x = MARGIN + left
            for text, ink in group:
                parts.append(line(text, face, ink, x, top + row * face.line))
                x = parts[-1].rect.right
        left, row = places[-1]
        # The unit stands on the baseline of the digits.
        unit_top = top + row * face.line + face.baseline - theme.UNIT.baseline
        parts.append(line(unit, theme.UNIT, Ink.MUTED, MARGIN + left, unit_top))
        parts.append(line(sats, theme.SATS, Ink.MUTED, MARGIN, top + row_count * face.line + 4))
        return Built(parts, [])

    height = label_height + 4 + row_count * face.line + 4 + theme.SATS.line
    return Block((Piece(height, build),), gap=theme.WIDE_GAP)


def _small_amount(item: Amount) -> Block:
    number, unit, sats = amount_texts(item)
    amount = f"{number} {unit}"
    label = shown(item.label)
    marked = isinstance(item.label, Untrusted)
    across = width(label, theme.BODY) + theme.GAP + width(amount, theme.SMALL_AMOUNT)
    if across <= CONTENT:

        def build(y: int) -> Built:
            top = y + ROW_PADDING
            parts: list[Part] = [
                line_right(amount, theme.SMALL_AMOUNT, Ink.TEXT, RIGHT, top),
                line_right(sats, theme.DETAIL, Ink.MUTED, RIGHT, top + theme.SMALL_AMOUNT.line),
            ]
            if label:
                parts.insert(0, line(label, theme.BODY, Ink.MUTED, MARGIN, top, untrusted=marked))
            return Built(parts, [])

        height = theme.SMALL_AMOUNT.line + theme.DETAIL.line + 2 * ROW_PADDING
        return Block((Piece(height, build),), joins=True)
    pieces = [
        *text_pieces(item.label, theme.BODY, Ink.MUTED, glued=True),
        *text_pieces(amount, theme.SMALL_AMOUNT, Ink.TEXT, glued=True),
        *text_pieces(sats, theme.DETAIL, Ink.MUTED),
    ]
    return Block(tuple(pieces), padding=ROW_PADDING, joins=True)


def groups_of(text: str) -> list[str]:
    """Return a text in groups of four characters."""
    return [text[at : at + GROUP] for at in range(0, len(text), GROUP)]


def address_block(item: Address) -> Block:
    """All of an address in groups of four on a grid of four; the ends stand out."""
    groups = groups_of(item.text)
    last = len(groups) - 1
    # The first column stands at the left edge of the box's room, the last one at its right edge.
    pitch = (_ROOM - width("0" * GROUP, theme.ADDRESS)) // (COLUMNS - 1)

    def build(y: int, first: int) -> Built:
        parts: list[Part] = []
        for at in range(first, min(first + COLUMNS, len(groups))):
            x = MARGIN + PADDING + (at - first) * pitch
            strong = at in {0, last}
            face = theme.ADDRESS_STRONG if strong else theme.ADDRESS
            ink = Ink.ACCENT if strong else Ink.TEXT
            parts.append(line(groups[at], face, ink, x, y + 2))
        return Built(parts, [])

    rows = [
        Piece(44, functools.partial(build, first=first)) for first in range(0, len(groups), COLUMNS)
    ]
    return _card(item.label, rows)


def code_block(item: Code) -> Block:
    """A code in large letters, in groups."""
    groups = item.text.split() if " " in item.text else groups_of(item.text)
    if max(map(len, groups)) <= GROUP:
        columns = min(COLUMNS, len(groups))
        left = MARGIN + PADDING + (COLUMNS - columns) * _COLUMN // 2
        lines = [groups[at : at + columns] for at in range(0, len(groups), columns)]

        def build(y: int, words: Sequence[str]) -> Built:
            cells = [
                (word, Rect.of(left + at * _COLUMN, y, _COLUMN, 1)) for at, word in enumerate(words)
            ]
            return Built(
                [line_centred(word, theme.CODE, Ink.TEXT, cell, y) for word, cell in cells], []
            )

        rows = [Piece(theme.CODE.line, functools.partial(build, words=words)) for words in lines]
    else:
        rows = []
        for text in wrap(" ".join(groups), _ROOM, functools.partial(measure, face=theme.CODE)):
            rows += text_pieces(
                text, theme.CODE, Ink.TEXT, x=MARGIN + PADDING, room=_ROOM, centred=True
            )
    return _card(item.label, rows)


def _card(label: str | Untrusted, rows: list[Piece]) -> Block:
    """Rows under a label in a box."""
    heads = text_pieces(label, theme.LABEL, Ink.MUTED, x=MARGIN + PADDING, room=_ROOM, glued=True)
    pieces = [*heads, *rows] if shown(label) else rows
    return Block(tuple(pieces), gap=theme.WIDE_GAP, between=4, padding=PADDING, box=card)
