"""The bottom of a page: buttons, and on a screen of several pages the way through them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from primegap.keyos.ui import theme
from primegap.keyos.ui.blocks import line, line_centred
from primegap.keyos.ui.errors import LayoutError
from primegap.keyos.ui.fonts import measure, width
from primegap.keyos.ui.parts import (
    NEXT_PAGE,
    PREVIOUS_PAGE,
    BoxPart,
    ButtonPart,
    Element,
    IconPart,
    Page,
    PagerPart,
    Rect,
    Target,
    TargetKind,
)
from primegap.keyos.ui.screen import ButtonStyle
from primegap.keyos.ui.text import wrap
from primegap.keyos.ui.theme import CONTENT, HEIGHT, MARGIN, WIDTH, Ink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.ui.screen import Screen

_BOTTOM: Final = HEIGHT - MARGIN
_HALF: Final = (CONTENT - theme.BUTTON_GAP) // 2
_BUTTON_PADDING: Final = 16

_NOWHERE: Final = Rect(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Spec:
    """A button to place: one of the screen's or the one to the next page."""

    target: Target
    style: ButtonStyle
    commits: bool


def button_specs(screen: Screen, *, guarded: bool) -> list[Spec]:
    """Return the screen's buttons; `guarded` guards all that commit, not only those to hold."""
    keypad = screen.keypad
    specs = []
    for button in screen.buttons:
        target = Target(
            button.id,
            _NOWHERE,
            TargetKind.BUTTON,
            button.label,
            hold_ms=button.hold_ms,
            guarded=button.hold_ms > 0
            or button.style is ButtonStyle.DANGER
            or (guarded and button.commits),
            enabled=button.enabled,
            min_typed=keypad.min_length if keypad is not None and button.commits else 0,
        )
        specs.append(Spec(target, button.style, button.commits))
    return specs


def early_rows(rows: Sequence[Sequence[Spec]]) -> list[list[Spec]]:
    """Return the buttons of a page that is not the last: `Next` in the place of what commits.

    A second tap at the place of `Next` so meets what commits on the last page, which counts only
    after the minimum time, and never what leaves.
    """
    target = Target(NEXT_PAGE, _NOWHERE, TargetKind.PAGE, "Next")
    following = Spec(target, ButtonStyle.PRIMARY, commits=True)
    early: list[list[Spec]] = []
    placed = False
    for row in rows:
        kept = []
        for spec in row:
            if not spec.commits:
                kept.append(spec)
            elif not placed:
                kept.append(following)
                placed = True
        if kept:
            early.append(kept)
    return early if placed else [[following], *early]


def _fits_half(spec: Spec) -> bool:
    room = _HALF - 2 * _BUTTON_PADDING
    return not spec.target.hold_ms and width(spec.target.label, theme.BUTTON) <= room


def button_rows(specs: Sequence[Spec]) -> list[list[Spec]]:
    """Return rows of one or two buttons from the top; what commits stands above or at the right."""
    ordered = sorted(specs, key=lambda spec: not spec.commits)
    if len(ordered) == 2 and all(map(_fits_half, ordered)):
        return [sorted(specs, key=lambda spec: spec.commits)]
    rows: list[list[Spec]] = []
    for spec in ordered:
        above = rows[-1] if rows else []
        small = len(ordered) > 2 and len(above) == 1 and not spec.commits and not above[0].commits
        if small and _fits_half(spec) and _fits_half(above[0]):
            above.append(spec)
        else:
            rows.append([spec])
    return rows


def button_top(rows: Sequence[Sequence[Spec]]) -> int:
    """Return the y of the top of the buttons, the bottom of everything else."""
    if not rows:
        return _BOTTOM
    height = theme.BUTTON_HEIGHT + theme.BUTTON_GAP
    return _BOTTOM - len(rows) * height + theme.BUTTON_GAP


def button_elements(rows: Sequence[Sequence[Spec]]) -> list[Element]:
    """Return the buttons at their places at the bottom of the display."""
    elements = []
    y = button_top(rows)
    for row in rows:
        across = CONTENT if len(row) == 1 else _HALF
        for number, spec in enumerate(row):
            left = MARGIN + number * (across + theme.BUTTON_GAP)
            rect = Rect.of(left, y, across, theme.BUTTON_HEIGHT)
            elements.append(Element(rect, (_button(spec, rect),)))
        y += theme.BUTTON_HEIGHT + theme.BUTTON_GAP
    return elements


_BUTTON_INKS: Final = {
    ButtonStyle.PRIMARY: Ink.ON_ACCENT,
    ButtonStyle.SECONDARY: Ink.TEXT,
    ButtonStyle.DANGER: Ink.ON_DANGER,
    ButtonStyle.QUIET: Ink.MUTED,
}


def _button(spec: Spec, rect: Rect) -> ButtonPart:
    room = rect.width - 2 * _BUTTON_PADDING
    label = spec.target.label
    face = theme.BUTTON
    if width(label, face) > room:
        face = theme.BUTTON_SMALL
    texts = wrap(label, room, functools.partial(measure, face=face))
    if face.line * len(texts) > rect.height:
        raise LayoutError("the label of a button does not fit")
    top = rect.top + (rect.height - face.line * len(texts)) // 2
    ink = _BUTTON_INKS[spec.style]
    lines = tuple(
        line_centred(text, face, ink, rect, top + number * face.line)
        for number, text in enumerate(texts)
    )
    return ButtonPart(rect, spec.style, replace(spec.target, rect=rect), lines)


_BACK: Final = 88
_DOT_ROOM: Final = 160


def with_pager(page: Page, number: int, count: int, bottom: int) -> Page:
    """Return the page with its number, and the way back, above `bottom`."""
    y = bottom - theme.PAGER_GAP - theme.PAGER_HEIGHT
    text = f"{number + 1} of {count}"
    across = width(text, theme.PAGER)
    top = y + (theme.PAGER_HEIGHT - theme.PAGER.line) // 2
    label = line(text, theme.PAGER, Ink.MUTED, MARGIN + CONTENT - across, top)
    dots = Rect.of((WIDTH - _DOT_ROOM) // 2, y, _DOT_ROOM, theme.PAGER_HEIGHT)
    elements = [
        Element(Rect(label.rect.left, y, label.rect.right, y + theme.PAGER_HEIGHT), (label,)),
        Element(dots, (PagerPart(dots, number, count),)),
    ]
    targets = list(page.targets)
    if number:
        rect = Rect.of(MARGIN, y, _BACK, theme.PAGER_HEIGHT)
        icon = Rect.of(rect.left + (_BACK - 24) // 2, y + (theme.PAGER_HEIGHT - 24) // 2, 24, 24)
        box = BoxPart(rect, Ink.SURFACE, theme.PAGER_HEIGHT // 2, target=PREVIOUS_PAGE)
        elements.append(Element(rect, (box, IconPart(icon, "chevron-left", Ink.TEXT))))
        targets.append(Target(PREVIOUS_PAGE, rect, TargetKind.PAGE, "Previous page"))
    return Page((*page.elements, *elements), tuple(targets))
