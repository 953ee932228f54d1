"""The one renderer: a screen, how it is looked at and the status bar, to pixels. Imports Pillow.

It draws what the layout placed and decides nothing about content. Pixels of texts are kept between
frames, except of screens that show a secret.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from primegap.keyos.ui import theme
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.fonts import BLEED, OVERSAMPLE, features, font, width
from primegap.keyos.ui.icons import RING_STEPS, disc_mask, icon_mask, ring_mask
from primegap.keyos.ui.layout import app_name_face, layout
from primegap.keyos.ui.parts import (
    BarPart,
    BoxPart,
    ButtonPart,
    EntryPart,
    IconPart,
    PagerPart,
    Part,
    QrPart,
    Rect,
    RingPart,
    SwitchPart,
    TextPart,
)
from primegap.keyos.ui.screen import ButtonStyle, KeypadPurpose
from primegap.keyos.ui.theme import HEIGHT, MARGIN, STATUS_HEIGHT, WIDTH, Face, Ink
from primegap.keyos.ui.view import BluetoothState

if TYPE_CHECKING:
    from primegap.keyos.ui.screen import Screen
    from primegap.keyos.ui.view import StatusBar, ViewState

DEVELOPMENT_TEXT: Final = "DEVELOPMENT DEVICE – automation on"
SIMULATOR_TEXT: Final = "SIMULATOR · NOT ISOLATED · TEST SEED"
DEVELOPER_MODE_TEXT: Final = "DEVELOPER MODE"
SYSTEM_NAME: Final = "System"

_RUNNER: Final = 0.3  # length of the piece that runs along a bar


@dataclass(frozen=True, slots=True)
class Frame:
    """Pixels of the display."""

    width: int
    height: int
    rgb: bytes = field(repr=False)
    "Row by row, three bytes a pixel."


def render(screen: Screen, state: ViewState, status: StatusBar) -> Frame:
    """Draw a screen.

    Raises:
        LayoutError: the screen does not fit the display.
        ScreenError: it has no such page.
    """
    placed = layout(screen)
    if state.page >= len(placed.pages):
        raise ScreenError("the screen has no such page")
    canvas = _Canvas(state, keep=not screen.secret)
    for element in placed.pages[state.page].elements:
        for part in element.parts:
            canvas.part(part)
    _status_bar(canvas, screen.app, status)
    return Frame(WIDTH, HEIGHT, canvas.image.tobytes())


def frame_to_png(frame: Frame) -> bytes:
    """Return a frame as a PNG file."""
    image = Image.frombytes("RGB", (frame.width, frame.height), frame.rgb)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _text_mask(text: str, face: Face, across: int) -> Image.Image:
    size = ((across + 2 * BLEED) * OVERSAMPLE, (face.line + 2 * BLEED) * OVERSAMPLE)
    mask = Image.new("L", size, 0)
    at = (BLEED * OVERSAMPLE, (face.baseline + BLEED) * OVERSAMPLE)
    ImageDraw.Draw(mask).text(
        at, text, fill=255, font=font(face), anchor="ls", features=features(face)
    )
    return mask.reduce(OVERSAMPLE)


_kept_text_mask = functools.lru_cache(maxsize=512)(_text_mask)  # a few MB


class _Canvas:
    """A picture being drawn."""

    def __init__(self, state: ViewState, *, keep: bool) -> None:
        self.image = Image.new("RGB", (WIDTH, HEIGHT), Ink.BACKGROUND.value)
        self._draw = ImageDraw.Draw(self.image)
        self._state = state
        self._mask = _kept_text_mask if keep else _text_mask

    def part(self, part: Part) -> None:
        """Draw one part."""
        match part:
            case TextPart():
                self.text(part, part.ink)
            case BoxPart():
                self._box(part)
            case IconPart():
                self.icon(part.rect, part.name, part.ink)
            case QrPart():
                self._qr(part)
            case BarPart():
                self._bar(part)
            case RingPart():
                self._ring(part)
            case SwitchPart():
                self._switch(part)
            case EntryPart():
                self._entry(part)
            case ButtonPart():
                self._button(part)
            case PagerPart():
                self._pager(part)

    # -- primitives -----------------------------------------------------------------------------

    def text(self, part: TextPart, ink: Ink) -> None:
        """Draw a line of text."""
        mask = self._mask(part.text, part.face, part.rect.width)
        self.image.paste(ink.value, (part.rect.left - BLEED, part.rect.top - BLEED), mask)
        if part.untrusted:
            y = part.rect.top + part.face.baseline + 5
            for x in range(part.rect.left, part.rect.right - 1, 5):
                self.fill(Rect.of(x, y, 2, 2), Ink.WARNING)

    def fill(self, rect: Rect, ink: Ink) -> None:
        """Fill a rectangle with sharp corners."""
        if rect.width > 0 and rect.height > 0:
            box = (rect.left, rect.top, rect.right - 1, rect.bottom - 1)
            self._draw.rectangle(box, fill=ink.value)

    def rounded(self, rect: Rect, radius: int, ink: Ink) -> None:
        """Fill a rectangle with round, smooth corners."""
        radius = min(radius, rect.width // 2, rect.height // 2)
        if radius <= 0:
            self.fill(rect, ink)
            return
        self.fill(Rect(rect.left + radius, rect.top, rect.right - radius, rect.bottom), ink)
        self.fill(Rect(rect.left, rect.top + radius, rect.right, rect.bottom - radius), ink)
        disc = disc_mask(2 * radius)
        for right in (False, True):
            for bottom in (False, True):
                source = (
                    radius if right else 0,
                    radius if bottom else 0,
                    2 * radius if right else radius,
                    2 * radius if bottom else radius,
                )
                x = rect.right - radius if right else rect.left
                y = rect.bottom - radius if bottom else rect.top
                self.image.paste(ink.value, (x, y), disc.crop(source))

    def icon(self, rect: Rect, name: str, ink: Ink) -> None:
        """Draw an icon."""
        self.image.paste(ink.value, (rect.left, rect.top), icon_mask(name, rect.width))

    def disc(self, x: int, y: int, radius: int, ink: Ink) -> None:
        """Draw a dot around a point."""
        self.image.paste(ink.value, (x - radius, y - radius), disc_mask(2 * radius))

    # -- parts ----------------------------------------------------------------------------------

    def _box(self, part: BoxPart) -> None:
        fill = part.fill
        if part.target is not None and part.target == self._state.pressed:
            fill = Ink.RAISED
        if part.border is None:
            self.rounded(part.rect, part.radius, fill)
            return
        self.rounded(part.rect, part.radius, part.border)
        self.rounded(part.rect.inset(2), part.radius - 2, fill)

    def _qr(self, part: QrPart) -> None:
        self.rounded(part.rect, min(theme.RADIUS, 2 * part.scale), Ink.PAPER)
        size = len(part.rows)
        grey = b"".join(part.rows).translate(_MODULE_GREYS)
        symbol = Image.frombytes("L", (size, size), grey)
        side = size * part.scale
        symbol = symbol.resize((side, side), Image.Resampling.NEAREST)
        margin = (part.rect.width - side) // 2
        self.image.paste(symbol.convert("RGB"), (part.rect.left + margin, part.rect.top + margin))

    def _bar(self, part: BarPart) -> None:
        rect, radius = part.rect, part.rect.height // 2
        self.rounded(rect, radius, Ink.RAISED)
        if part.fraction is None:
            length = round(rect.width * _RUNNER)
            left = rect.left + round((rect.width - length) * self._state.phase)
            self.rounded(Rect.of(left, rect.top, length, rect.height), radius, Ink.ACCENT)
        elif part.fraction > 0:
            length = max(round(rect.width * part.fraction), rect.height)
            self.rounded(Rect.of(rect.left, rect.top, length, rect.height), radius, Ink.ACCENT)

    def _ring(self, part: RingPart) -> None:
        place = (part.rect.left, part.rect.top)
        steps = round(part.remaining * RING_STEPS)
        self.image.paste(Ink.BORDER.value, place, ring_mask(part.rect.width, RING_STEPS))
        self.image.paste(part.ink.value, place, ring_mask(part.rect.width, steps))

    def _switch(self, part: SwitchPart) -> None:
        rect, radius = part.rect, part.rect.height // 2
        self.rounded(rect, radius, Ink.ACCENT if part.on else Ink.BORDER)
        x = rect.right - radius if part.on else rect.left + radius
        self.disc(x, rect.top + radius, radius - 4, Ink.ON_ACCENT if part.on else Ink.MUTED)

    def _entry(self, part: EntryPart) -> None:
        state = self._state
        if part.keypad.purpose is KeypadPurpose.PIN:
            self._dots(part, state.typed_length)
            return
        if part.keypad.purpose is KeypadPurpose.DICE:
            count = state.typed_length
            text = f"{count} throw" if count == 1 else f"{count} throws"
            face, ink = theme.HEADING, Ink.TEXT if count else Ink.FAINT
        elif part.keypad.purpose is KeypadPurpose.CODE:
            typed = state.typed_text
            text = " ".join(typed[at : at + 4] for at in range(0, len(typed), 4))
            face, ink = theme.HEADING, Ink.TEXT
        else:
            text, face, ink = state.typed_text, theme.ENTRY, Ink.TEXT
        across = width(text, face)
        x = part.rect.left + (part.rect.width - across) // 2
        y = part.rect.top + (part.rect.height - face.line) // 2
        self.text(TextPart(Rect.of(x, y, across, face.line), text, face, ink), ink)

    def _dots(self, part: EntryPart, typed: int) -> None:
        places = max(typed, part.keypad.min_length)
        pitch = min(32, part.rect.width // (places + 1))
        x = part.rect.left + (part.rect.width - pitch * (places - 1)) // 2
        y = part.rect.top + part.rect.height // 2
        for number in range(places):
            ink, radius = (Ink.ACCENT, 9) if number < typed else (Ink.BORDER, 6)
            self.disc(x + number * pitch, y, radius, ink)

    def _button(self, part: ButtonPart) -> None:
        state, target = self._state, part.target
        usable = (
            target.enabled
            and state.typed_length >= target.min_typed
            and (state.armed or not target.guarded)
        )
        pressed = usable and state.pressed == target.id
        if not usable:
            self._face(part, Ink.SURFACE, None, Ink.FAINT)
        elif target.hold_ms:
            quiet, loud = _HOLD_LOOKS[part.style]
            self._face(part, *quiet)
            if pressed and state.hold_fraction > 0:
                # The button fills from the left; text under the filling changes its colour.
                behind = self.image
                self.image = behind.copy()
                self._draw = ImageDraw.Draw(self.image)
                self._face(part, *loud)
                rect = part.rect
                edge = rect.left + round(rect.width * state.hold_fraction)
                filled = self.image.crop((rect.left, rect.top, edge, rect.bottom))
                self.image, self._draw = behind, ImageDraw.Draw(behind)
                self.image.paste(filled, (rect.left, rect.top))
        else:
            still, down, ink = _BUTTON_LOOKS[part.style]
            self._face(part, down if pressed else still, None, ink)

    def _face(self, part: ButtonPart, fill: Ink, border: Ink | None, ink: Ink) -> None:
        self._box(BoxPart(part.rect, fill, theme.RADIUS, border=border))
        for text in part.lines:
            self.text(text, ink)

    def _pager(self, part: PagerPart) -> None:
        pitch = min(20, part.rect.width // part.pages)
        radius = 4 if pitch >= 12 else 2
        x = part.rect.left + (part.rect.width - pitch * (part.pages - 1)) // 2
        y = part.rect.top + part.rect.height // 2
        for number in range(part.pages):
            ink = Ink.ACCENT if number == part.page else Ink.BORDER
            self.disc(x + number * pitch, y, radius, ink)


_MODULE_GREYS: Final = b"\xff\x00" + bytes(254)
_BUTTON_LOOKS: Final = {
    ButtonStyle.PRIMARY: (Ink.ACCENT, Ink.ACCENT_PRESSED, Ink.ON_ACCENT),
    ButtonStyle.SECONDARY: (Ink.RAISED, Ink.BORDER, Ink.TEXT),
    ButtonStyle.DANGER: (Ink.DANGER_STRONG, Ink.DANGER_PRESSED, Ink.ON_DANGER),
    ButtonStyle.QUIET: (Ink.BACKGROUND, Ink.SURFACE, Ink.MUTED),
}
"Fill, fill under the finger, text."
_HOLD_SAFE: Final = (
    (Ink.ACCENT_SURFACE, Ink.ACCENT, Ink.ACCENT),
    (Ink.ACCENT, None, Ink.ON_ACCENT),
)
_HOLD_LOOKS: Final = {
    ButtonStyle.PRIMARY: _HOLD_SAFE,
    ButtonStyle.SECONDARY: _HOLD_SAFE,
    ButtonStyle.QUIET: _HOLD_SAFE,
    ButtonStyle.DANGER: (
        (Ink.DANGER_SURFACE, Ink.DANGER_STRONG, Ink.DANGER),
        (Ink.DANGER_STRONG, None, Ink.ON_DANGER),
    ),
}
"Fill, border and text before and after it was held."

AIR_GAP_TEXT: Final = "Air gap"
_STATUS_ICON: Final = 22
_BLUETOOTH_LOOKS: Final = {
    BluetoothState.OFF: ("bluetooth-off", Ink.FAINT),
    BluetoothState.ON: ("bluetooth", Ink.MUTED),
    BluetoothState.CONNECTED: ("bluetooth", Ink.ACCENT),
    BluetoothState.DISTRUSTED: ("bluetooth-off", Ink.DANGER),
}


def _status_bar(canvas: _Canvas, app: str | None, status: StatusBar) -> None:
    """Draw who shows the screen, the state of the device, and the development banner on top."""
    middle = STATUS_HEIGHT // 2
    banner = _banner(status)
    if banner:
        band = Rect.of(0, 0, WIDTH, theme.DEVELOPMENT_HEIGHT)
        canvas.fill(band, Ink.WARNING)
        across = width(banner, theme.DEVELOPMENT)
        rect = Rect.of((WIDTH - across) // 2, 0, across, theme.DEVELOPMENT.line)
        canvas.text(TextPart(rect, banner, theme.DEVELOPMENT, Ink.PRINT), Ink.PRINT)
        middle = (STATUS_HEIGHT + theme.DEVELOPMENT_HEIGHT) // 2
    icon_top = middle - _STATUS_ICON // 2
    # The system's own screens carry the shield: an app cannot show it here.
    sign = Rect.of(MARGIN, icon_top, _STATUS_ICON, _STATUS_ICON)
    canvas.icon(sign, "app" if app else "shield-full", Ink.MUTED if app else Ink.ACCENT)
    name = app or SYSTEM_NAME
    face = app_name_face(name)
    _status_text(canvas, name, face, Ink.TEXT if app else Ink.MUTED, MARGIN + 32, middle)
    x = WIDTH - MARGIN
    if status.battery_percent is not None:
        x -= 32
        _battery(canvas, Rect.of(x, middle - 8, 32, 16), status.battery_percent)
        x -= 12
    if status.clock:
        x -= width(status.clock, theme.STATUS)
        _status_text(canvas, status.clock, theme.STATUS, Ink.MUTED, x, middle)
        x -= 12
    if status.air_gap:
        x = _air_gap(canvas, x, middle) - 8
    elif status.bluetooth in _BLUETOOTH_LOOKS:
        icon, ink = _BLUETOOTH_LOOKS[status.bluetooth]
        x -= _STATUS_ICON
        canvas.icon(Rect.of(x, icon_top, _STATUS_ICON, _STATUS_ICON), icon, ink)
        x -= 8
    if status.locked:
        x -= _STATUS_ICON
        canvas.icon(Rect.of(x, icon_top, _STATUS_ICON, _STATUS_ICON), "lock", Ink.MUTED)


def _air_gap(canvas: _Canvas, right: int, middle: int) -> int:
    """Draw the sign of the air gap, which no app can draw here; return where it begins."""
    across = width(AIR_GAP_TEXT, theme.STATUS) + 20
    rect = Rect.of(right - across, middle - 13, across, 26)
    canvas.rounded(rect, 13, Ink.ACCENT)
    canvas.rounded(rect.inset(1), 12, Ink.ACCENT_SURFACE)
    _status_text(canvas, AIR_GAP_TEXT, theme.STATUS, Ink.ACCENT, rect.left + 10, middle)
    return rect.left


def _banner(status: StatusBar) -> str:
    parts = []
    if status.simulator:
        parts.append(SIMULATOR_TEXT)
    elif status.development:
        parts.append(DEVELOPMENT_TEXT)
    if status.developer_mode:
        parts.append(DEVELOPER_MODE_TEXT)
    return " · ".join(parts)


def _status_text(canvas: _Canvas, text: str, face: Face, ink: Ink, x: int, middle: int) -> None:
    rect = Rect.of(x, middle - face.line // 2, width(text, face), face.line)
    canvas.text(TextPart(rect, text, face, ink), ink)


def _battery(canvas: _Canvas, rect: Rect, percent: int) -> None:
    body = Rect(rect.left, rect.top, rect.right - 4, rect.bottom)
    canvas.rounded(body, 4, Ink.MUTED)
    canvas.rounded(body.inset(2), 3, Ink.BACKGROUND)
    canvas.fill(Rect(rect.right - 3, rect.top + 5, rect.right, rect.bottom - 5), Ink.MUTED)
    charge = body.inset(4)
    length = round(charge.width * percent / 100)
    ink = Ink.MUTED if percent > 20 else Ink.DANGER
    canvas.fill(Rect.of(charge.left, charge.top, length, charge.height), ink)
