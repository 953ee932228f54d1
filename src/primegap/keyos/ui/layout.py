"""From a screen to its pages: every element at its place, every place to touch.

Deterministic, and complete: all text of the screen stands on some page, wholly inside the display,
and no two elements overlap. What cannot be placed so raises LayoutError; nothing is ever cut. On a
screen of several pages the committing buttons exist on the last page only, so that nobody can
confirm what was not shown (U-6).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui import theme
from primegap.keyos.ui.blocks import (
    TONE_INKS,
    TONE_SURFACES,
    Block,
    Piece,
    line_centred,
    row_block,
    text_block,
    text_pieces,
)
from primegap.keyos.ui.blocks_list import choices_block, one_time_block, toggle_block, words_block
from primegap.keyos.ui.blocks_money import address_block, amount_block, code_block
from primegap.keyos.ui.blocks_picture import icon_block, progress_block, qr_block, spacer_block
from primegap.keyos.ui.errors import LayoutError
from primegap.keyos.ui.fonts import measure, width
from primegap.keyos.ui.footer import (
    Spec,
    button_elements,
    button_rows,
    button_specs,
    button_top,
    early_rows,
    with_pager,
)
from primegap.keyos.ui.keypad import keypad_block
from primegap.keyos.ui.parts import (
    BoxPart,
    ButtonPart,
    Element,
    Layout,
    Page,
    Part,
    Rect,
    Target,
)
from primegap.keyos.ui.screen import (
    Address,
    Amount,
    ChoiceList,
    Code,
    Icon,
    Item,
    Keypad,
    OneTimeCode,
    Progress,
    Qr,
    Row,
    Screen,
    Spacer,
    Text,
    Toggle,
    Words,
)
from primegap.keyos.ui.text import wrap
from primegap.keyos.ui.theme import CONTENT, MARGIN, STATUS_HEIGHT, WIDTH, Ink

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PAGES: Final = 40  # more is not read by anybody; the limits of a screen allow about thirty
APP_NAME_ROOM: Final = 216
"Pixels the status bar has for the name of the app."

_TITLE_LINES: Final = 2  # of the large face; a longer title is set smaller


@dataclass(slots=True)
class _Placed:
    """Pieces of one block on one page, and the distance to what is above."""

    block: Block
    pieces: tuple[Piece, ...]
    gap: int


@functools.lru_cache(maxsize=1)
def layout(screen: Screen) -> Layout:
    """Return the pages of a screen. Only the last result is kept.

    Raises:
        LayoutError: something would not be wholly visible.
    """
    check_app_name(screen)
    header = _header(screen)
    top = header[-1].rect.bottom + theme.GAP
    rows = button_rows(button_specs(screen, guarded=screen.confirm))
    single = button_top(rows) - theme.GAP - top
    hero = _hero(screen, header, single, rows)
    if hero is not None:
        return Layout(screen, (hero,))
    fixed = _fixed_blocks(screen, centred=False)
    placed = _paginate(_blocks(screen, fixed, single), single)
    if len(placed) == 1:
        return Layout(screen, (_page(header, placed[0], top, single, rows),))
    rows = button_rows(button_specs(screen, guarded=True))
    early = early_rows(rows)
    above_buttons = min(button_top(rows), button_top(early))
    room = above_buttons - theme.PAGER_HEIGHT - 2 * theme.PAGER_GAP - top
    placed = _paginate(_blocks(screen, fixed, room), room)
    if len(placed) > MAX_PAGES:
        raise LayoutError("a screen has too many pages")
    pages = []
    for number, content in enumerate(placed):
        shown = rows if number == len(placed) - 1 else early
        page = _page(header, content, top, room, shown)
        pages.append(with_pager(page, number, len(placed), button_top(shown)))
    return Layout(screen, tuple(pages))


def app_name_face(name: str) -> theme.Face:
    """Return the face in which the status bar shows the name of an app, whole.

    Raises:
        LayoutError: it does not fit.
    """
    for face in (theme.STATUS, theme.STATUS_SMALL):
        if width(name, face) <= APP_NAME_ROOM:
            return face
    raise LayoutError("the name of the app does not fit the status bar")


def check_app_name(screen: Screen) -> None:
    """Check that the status bar can show who shows the screen."""
    if screen.app is not None:
        app_name_face(screen.app)


# -- blocks ----------------------------------------------------------------------------------------


def _block(item: Item, room: int, beside: int, *, centred: bool) -> Block:
    match item:
        case Text():
            return text_block(item, centred=centred)
        case Row():
            return row_block(item)
        case Amount():
            return amount_block(item)
        case Address():
            return address_block(item)
        case Code():
            return code_block(item)
        case Words():
            return words_block(item, room, beside)
        case Keypad():
            return keypad_block(item)
        case ChoiceList():
            return choices_block(item)
        case Progress():
            return progress_block(item, centred=centred)
        case Qr():
            return qr_block(item, room, beside)
        case Toggle():
            return toggle_block(item)
        case OneTimeCode():
            return one_time_block(item)
        case Icon():
            return icon_block(item)
        case Spacer():
            return spacer_block(item)


_ADAPTING: Final = (Qr, Words)  # items that make themselves fit beside the others


def _fixed_blocks(screen: Screen, *, centred: bool) -> dict[int, Block]:
    """Return the blocks that look the same on any page, by the number of their item."""
    return {
        number: _block(item, 0, 0, centred=centred)
        for number, item in enumerate(screen.items)
        if not isinstance(item, _ADAPTING)
    }


def _blocks(screen: Screen, fixed: dict[int, Block], room: int) -> list[Block]:
    """Return the blocks of all items, for pages of `room` pixels."""
    if room <= 0:
        raise LayoutError("title and buttons leave no room")
    blocks = dict(fixed)
    beside = sum(block.height + max(block.gap, theme.WIDE_GAP) for block in fixed.values())
    for number, item in enumerate(screen.items):
        if isinstance(item, _ADAPTING):
            blocks[number] = _block(item, room, beside, centred=False)
    return [replace(blocks[number], item=number) for number in range(len(blocks))]


def _gap(above: Block, below: Block) -> int:
    if above.joins and below.joins:
        return 0
    if above.leads or above.spacer or below.spacer:
        return 0 if above.spacer or below.spacer else 8
    return max(above.gap, below.gap)


def _paginate(blocks: Sequence[Block], room: int) -> list[list[_Placed]]:
    """Distribute blocks over pages of `room` pixels; whole blocks where they fit on a page."""
    pages: list[list[_Placed]] = [[]]
    used = 0
    for number, block in enumerate(blocks):
        page = pages[-1]
        gap = _gap(page[-1].block, block) if page else 0
        needed = block.height
        if block.leads and number + 1 < len(blocks):
            follower = blocks[number + 1]
            needed += _gap(block, follower) + follower.height_of(follower.groups()[0])
        if used + gap + needed > room and needed <= room and page:
            pages.append([])
            page, gap, used = pages[-1], 0, 0
        if block.spacer and not page and len(pages) > 1:
            continue  # space at the head of a page parts nothing
        if used + gap + block.height <= room:
            page.append(_Placed(block, block.pieces, gap))
            used += gap + block.height
        else:
            used = _split(block, pages, used, gap, room)
    return [page for page in pages if page] or [[]]


def _split(block: Block, pages: list[list[_Placed]], used: int, gap: int, room: int) -> int:
    """Place a block that is taller than a page piece by piece; return the height used."""
    here: _Placed | None = None
    for group in block.groups():
        longer = (*here.pieces, *group) if here else group
        if used + gap + block.height_of(longer) > room and (here or pages[-1]):
            used = 0
            pages.append([])
            here, gap, longer = None, 0, group
        if used + gap + block.height_of(longer) > room:
            raise LayoutError("a part of a screen is taller than a page")
        if here is None:
            here = _Placed(block, longer, gap)
            pages[-1].append(here)
        else:
            here.pieces = longer
    return used + gap + (block.height_of(here.pieces) if here else 0)


# -- pages -----------------------------------------------------------------------------------------


def _title_pieces(screen: Screen, *, centred: bool) -> list[Piece]:
    face = theme.TITLE
    if len(wrap(screen.title, CONTENT, functools.partial(measure, face=face))) > _TITLE_LINES:
        face = theme.TITLE_SMALL
    return text_pieces(screen.title, face, Ink.TEXT, centred=centred)


def _banner(screen: Screen) -> list[Element]:
    if screen.banner is None:
        return []
    tone = screen.banner.tone
    fit = functools.partial(measure, face=theme.BANNER)
    lines = wrap(screen.banner.text, CONTENT, fit)
    rect = Rect.of(0, STATUS_HEIGHT, WIDTH, 12 + theme.BANNER.line * len(lines))
    parts: list[Part] = [BoxPart(rect, TONE_SURFACES[tone], 0)]
    y = rect.top + 6
    for text in lines:
        parts.append(line_centred(text, theme.BANNER, TONE_INKS[tone], rect, y))
        y += theme.BANNER.line
    return [Element(rect, tuple(parts))]


def _stack(pieces: Sequence[Piece], y: int) -> Element:
    """Return pieces below each other as one element."""
    parts: list[Part] = []
    top = y
    for piece in pieces:
        parts += piece.build(top).parts
        top += piece.height
    return Element(Rect(MARGIN, y, MARGIN + CONTENT, top), tuple(parts))


def _header(screen: Screen) -> list[Element]:
    """Return banner and title."""
    banner = _banner(screen)
    y = banner[-1].rect.bottom + theme.GAP if banner else STATUS_HEIGHT + 8
    return [*banner, _stack(_title_pieces(screen, centred=False), y)]


def _content(placed: Sequence[_Placed], top: int, spare: int) -> tuple[list[Element], list[Target]]:
    """Return the elements of a page's blocks from `top`; fillers share the spare pixels."""
    fillers = sum(entry.block.fills for entry in placed)
    elements: list[Element] = []
    targets: list[Target] = []
    y = top
    above: Block | None = None
    for entry in placed:
        block = entry.block
        y += entry.gap
        if block.fills and fillers:
            share = spare // fillers
            y, spare, fillers = y + share, spare - share, fillers - 1
        height = block.height_of(entry.pieces)
        rect = Rect.of(MARGIN, y, CONTENT, height)
        parts: list[Part] = list(block.box(rect)) if block.box else []
        if above is not None and above.joins and block.joins:
            parts.append(BoxPart(Rect.of(MARGIN, y, CONTENT, 1), Ink.BORDER, 0))
        at = y + block.padding
        for piece in entry.pieces:
            built = piece.build(at)
            parts += built.parts
            targets += built.targets
            at += piece.height + block.between
        if parts:
            # A symbol may be wider than the column.
            left = min([rect.left, *(part.rect.left for part in parts)])
            right = max([rect.right, *(part.rect.right for part in parts)])
            box = Rect(left, rect.top, right, rect.bottom)
            elements.append(Element(box, tuple(parts), block.item))
        y += height
        above = block
    return elements, targets


def _height(placed: Sequence[_Placed]) -> int:
    return sum(entry.gap + entry.block.height_of(entry.pieces) for entry in placed)


def _page(
    header: Sequence[Element],
    placed: Sequence[_Placed],
    top: int,
    room: int,
    rows: Sequence[Sequence[Spec]],
) -> Page:
    elements, targets = _content(placed, top, room - _height(placed))
    buttons = button_elements(rows)
    targets += [
        part.target for element in buttons for part in element.parts if isinstance(part, ButtonPart)
    ]
    return Page((*header, *elements, *buttons), tuple(targets))


def _hero(
    screen: Screen, header: Sequence[Element], room: int, rows: Sequence[Sequence[Spec]]
) -> Page | None:
    """Return the one page of a screen that begins with an illustration, if one page is enough."""
    if not screen.items or not isinstance(screen.items[0], Icon) or screen.keypad is not None:
        return None
    banner = header[:-1]
    top = (banner[-1].rect.bottom if banner else STATUS_HEIGHT) + theme.GAP
    room += header[-1].rect.bottom + theme.GAP - top
    icon, *rest = _blocks(screen, _fixed_blocks(screen, centred=True), room)
    title = Block(tuple(_title_pieces(screen, centred=True)), gap=theme.WIDE_GAP)
    placed = _paginate([icon, title, *rest], room)
    if len(placed) > 1:
        return None
    spare = room - _height(placed[0])
    if not any(entry.block.fills for entry in placed[0]):
        top += spare * 2 // 5  # a little above the middle looks centred
        room -= spare * 2 // 5
    return _page(banner, placed[0], top, room, rows)
