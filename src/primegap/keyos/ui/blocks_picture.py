"""Blocks of what is looked at: illustrations, progress, QR symbols, empty space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.ui import theme
from primegap.keyos.ui.blocks import (
    RIGHT,
    TONE_INKS,
    TONE_SURFACES,
    Block,
    Built,
    Piece,
    line,
    line_centred,
    line_right,
    lines_of,
    text_pieces,
)
from primegap.keyos.ui.errors import LayoutError
from primegap.keyos.ui.parts import BarPart, BoxPart, IconPart, Part, QrPart, Rect
from primegap.keyos.ui.text import Untrusted, shown
from primegap.keyos.ui.theme import CONTENT, MARGIN, Ink

if TYPE_CHECKING:
    from primegap.keyos.ui.screen import Icon, Progress, Qr, Spacer

MIN_QR_SCALE: Final = 2  # below, a camera cannot tell the modules apart
COMFORTABLE_QR_SCALE: Final = 5
QUIET_MODULES: Final = 4  # ISO/IEC 18004: light margin around a symbol
MAX_QR_SIDE: Final = theme.WIDTH - 16
_HERO: Final = 128
_HERO_ICON: Final = 64


def icon_block(item: Icon) -> Block:
    """An illustration in a circle, in the middle."""

    def build(y: int) -> Built:
        circle = Rect.of((theme.WIDTH - _HERO) // 2, y, _HERO, _HERO)
        return Built(
            [
                BoxPart(circle, TONE_SURFACES[item.tone], _HERO // 2),
                IconPart(circle.inset((_HERO - _HERO_ICON) // 2), item.name, TONE_INKS[item.tone]),
            ],
            [],
        )

    return Block((Piece(_HERO, build),), gap=theme.WIDE_GAP)


def progress_block(item: Progress, *, centred: bool) -> Block:
    """A label over a bar."""
    percent = None if item.fraction is None else f"{int(item.fraction * 100)} %"
    room = CONTENT - (80 if percent else 0)
    *upper, last = lines_of(item.label, theme.BODY, room)
    marked = isinstance(item.label, Untrusted)
    height = theme.BODY.line * (len(upper) + 1) + 12 + 12

    def build(y: int) -> Built:
        parts: list[Part] = []
        for text in (*upper, last):
            if centred and percent is None:
                area = Rect.of(MARGIN, y, CONTENT, 1)
                parts.append(line_centred(text, theme.BODY, Ink.MUTED, area, y, untrusted=marked))
            elif text:
                parts.append(line(text, theme.BODY, Ink.MUTED, MARGIN, y, untrusted=marked))
            y += theme.BODY.line
        if percent:
            parts.append(line_right(percent, theme.VALUE, Ink.TEXT, RIGHT, y - theme.BODY.line))
        parts.append(BarPart(Rect.of(MARGIN, y + 12, CONTENT, 12), item.fraction))
        return Built(parts, [])

    return Block((Piece(height, build),), gap=theme.WIDE_GAP)


def qr_block(item: Qr, page_height: int, beside: int) -> Block:
    """A symbol with whole pixels a module, and its caption.

    As large as the page allows; smaller, down to a comfortable size, when it then shares one page
    with everything else.

    Args:
        item: the symbol.
        page_height: pixels of a page.
        beside: pixels of a page that everything else takes.
    """
    from primegap.airgap.errors import AirgapError
    from primegap.airgap.qr import ErrorCorrection, qr_matrix

    caption = (
        text_pieces(item.caption, theme.BODY, Ink.MUTED, centred=True)
        if shown(item.caption)
        else []
    )
    below = sum(piece.height for piece in caption) + (12 if caption else 0)
    try:
        matrix = qr_matrix(
            item.text,
            error_correction=ErrorCorrection(item.level.value),
            min_version=item.min_version,
        )
    except AirgapError as error:
        raise LayoutError("the content does not fit a QR symbol") from error
    modules = matrix.size + 2 * QUIET_MODULES
    scale = min(MAX_QR_SIDE, page_height - below) // modules
    shared = (page_height - below - beside) // modules
    if shared >= COMFORTABLE_QR_SCALE:
        scale = min(scale, shared)
    if scale < MIN_QR_SCALE:
        raise LayoutError("a QR symbol would be too fine for a camera")
    side = scale * modules

    def build(y: int) -> Built:
        rect = Rect.of((theme.WIDTH - side) // 2, y, side, side)
        built = Built([QrPart(rect, matrix.rows, scale)], [])
        top = y + side + 12
        for piece in caption:
            built.parts += piece.build(top).parts
            top += piece.height
        return built

    return Block((Piece(side + below, build),), gap=theme.WIDE_GAP)


def spacer_block(item: Spacer) -> Block:
    """Empty space."""
    height = item.height or 0
    piece = Piece(height, lambda _y: Built([], []))
    return Block((piece,), gap=0, fills=item.height is None, spacer=True)
