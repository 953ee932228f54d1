"""Pixels: what the layout placed is visible, symbols can be read, states look different."""

from __future__ import annotations

import io

import pytest
import zxingcpp
from PIL import Image

from primegap.bitcoin.networks import Network
from primegap.keyos.ui import theme
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.icons import icon_mask
from primegap.keyos.ui.items import ICON_NAMES
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.parts import QrPart, Rect
from primegap.keyos.ui.render import Frame, frame_to_png, render
from primegap.keyos.ui.screen import (
    Address,
    Amount,
    Banner,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Code,
    Icon,
    Item,
    Keypad,
    KeypadPurpose,
    Progress,
    Qr,
    QrLevel,
    Row,
    Screen,
    Text,
    TextStyle,
    Toggle,
    Tone,
    Words,
    untrusted,
)
from primegap.keyos.ui.theme import Ink
from primegap.keyos.ui.view import BluetoothState, StatusBar, ViewState

HOLD = Button("hold", "Hold to sign", ButtonStyle.PRIMARY, hold_ms=1000)
NO = Button("no", "Reject")
VIEW = ViewState()
STATUS = StatusBar()
PLAIN = Screen("plain", "Title", (Text("Some text."),), (NO, HOLD))


def picture(screen: Screen, view: ViewState = VIEW, status: StatusBar = STATUS) -> Image.Image:
    """Draw a screen."""
    frame = render(screen, view, status)
    return Image.frombytes("RGB", (frame.width, frame.height), frame.rgb)


def crop(image: Image.Image, rect: Rect) -> Image.Image:
    """Return the pixels of a rectangle."""
    return image.crop((rect.left, rect.top, rect.right, rect.bottom))


def rect_of(screen: Screen, name: str) -> Rect:
    """Return where a target of the first page is."""
    target = layout(screen).pages[0].target(name)
    assert target is not None
    return target.rect


SHOWING: list[tuple[Item, ...]] = [
    (Icon("shield"), Text("Words below a picture."), Text("Muted words.", TextStyle.MUTED)),
    (Text("Head", TextStyle.HEADING), *(Text("Box", style) for style in list(TextStyle)[3:])),
    (Row("Label", "value"), Row("Label", untrusted("v" * 60)), Row("a", "b", Tone.DANGER)),
    (Amount("Send", 1_234_567, Network.REGTEST, emphasised=True), Amount("Fee", 9, Network.SIGNET)),
    (Address("To", "bc1p" + "q" * 58), Code("Compare", "7F3A 91C2 0B44 E8D5")),
    (Words(("abandon", "ability", "zoo") * 4),),
    (Text("Note"), Keypad(KeypadPurpose.PIN)),
    (Keypad(KeypadPurpose.WORDS),),
    (Toggle("t", "Bluetooth", on=True, detail="on"), ChoiceList((Choice("c", "Choice", "more"),))),
    (ChoiceList((Choice("c", "Tile", "more", icon="coin"), Choice("d", "Other")), tiles=True),),
    (Progress("Half", 0.5), Progress("Running", None)),
    (Qr("HELLO WORLD", "caption"),),
]


@pytest.mark.parametrize("items", SHOWING, ids=lambda items: type(items[0]).__name__)
def test_every_text_of_the_layout_is_visible_in_its_colour(items: tuple[Item, ...]) -> None:
    screen = Screen("a", "A title", items, (NO,), banner=Banner("Regtest"))
    for number, page in enumerate(layout(screen).pages):
        image = picture(screen, ViewState(page=number))
        for part in (part for element in page.elements for part in element.texts()):
            colours = crop(image, part.rect).getcolors(1 << 16)
            nearest = min(
                sum(abs(a - b) for a, b in zip(colour, part.ink.value, strict=True))
                for _, colour in colours or []
                if isinstance(colour, tuple)
            )
            assert nearest <= 60, part.text  # thin strokes do not reach the full colour


@pytest.mark.parametrize("level", QrLevel)
@pytest.mark.parametrize("size", [1, 40, 200, 700])
def test_a_symbol_is_read_from_the_picture(size: int, level: QrLevel) -> None:
    text = ("UR:CRYPTO-PSBT/1-9/LPADASCFADAXCYWENBPL" * 40)[:size]
    (code,) = zxingcpp.read_barcodes(
        picture(Screen("a", "b", (Qr(text, "Scan me", level),), (NO,)))
    )
    assert code.text == text


def test_a_symbol_has_whole_modules_in_black_and_white_and_a_quiet_zone() -> None:
    screen = Screen("a", "b", (Qr("HELLO WORLD" * 9),), (NO,))
    (part,) = [
        p for e in layout(screen).pages[0].elements for p in e.parts if isinstance(p, QrPart)
    ]
    image = crop(picture(screen), part.rect).convert("L")
    margin = 4 * part.scale
    inner = image.crop((margin, margin, image.width - margin, image.height - margin))
    assert {colour for _, colour in inner.getcolors() or []} == {0, 255}
    for y, row in enumerate(part.rows):
        for x, dark in enumerate(row):
            at = (x * part.scale, y * part.scale)
            module = inner.crop((*at, at[0] + part.scale, at[1] + part.scale))
            assert module.getextrema() == ((0, 0) if dark else (255, 255))
    half = image.width // 2
    for box in ((half, 0, half + 1, margin), (0, half, margin, half + 1)):
        assert image.crop(box).getextrema() == (255, 255)


# -- states ----------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_pixels() -> None:
    assert render(PLAIN, VIEW, STATUS) == render(PLAIN, VIEW, STATUS)
    secret = Screen("a", "b", (Words(("zoo",) * 12),))
    assert render(secret, VIEW, STATUS) == render(secret, VIEW, STATUS)


def test_a_held_button_fills_from_the_left() -> None:
    rect = rect_of(PLAIN, "hold")
    y = rect.top + 8
    for percent in (25, 50, 75):
        view = ViewState(pressed="hold", hold_fraction=percent / 100)
        image = picture(PLAIN, view)
        row = [image.getpixel((x, y)) for x in range(rect.left + 20, rect.right - 20)]
        filled = [pixel == Ink.ACCENT.value for pixel in row]
        assert filled == sorted(filled, reverse=True)
        assert abs(sum(filled) + 20 - rect.width * percent // 100) <= 1


def test_a_guarded_button_is_dim_until_it_counts() -> None:
    rect = rect_of(PLAIN, "hold")
    dim = picture(PLAIN, ViewState(armed=False, pressed="hold", hold_fraction=0.5))
    ready = picture(PLAIN)
    assert crop(dim, rect).tobytes() != crop(ready, rect).tobytes()
    assert dim.getpixel((rect.left + 30, rect.top + 8)) == Ink.SURFACE.value
    assert crop(dim, rect_of(PLAIN, "no")).tobytes() == crop(ready, rect_of(PLAIN, "no")).tobytes()


def test_a_pressed_target_looks_pressed_and_nothing_else_changes() -> None:
    still, pressed = picture(PLAIN), picture(PLAIN, ViewState(pressed="no"))
    rect = rect_of(PLAIN, "no")
    assert crop(still, rect).tobytes() != crop(pressed, rect).tobytes()
    pressed.paste(crop(still, rect), (rect.left, rect.top))
    assert pressed.tobytes() == still.tobytes()


def test_a_pin_is_shown_as_dots_and_never_as_digits() -> None:
    screen = Screen("a", "b", (Keypad(KeypadPurpose.PIN, min_length=6),), (NO,))
    view = ViewState(typed_length=4, typed_text="zoo")
    assert picture(screen, view).tobytes() == picture(screen, ViewState(typed_length=4)).tobytes()
    counts = {picture(screen, ViewState(typed_length=n)).tobytes() for n in range(17)}
    assert len(counts) == 17


def test_a_word_is_shown_as_it_is_typed() -> None:
    screen = Screen("a", "b", (Keypad(KeypadPurpose.WORDS),), (NO,))
    words = {
        picture(screen, ViewState(typed_length=3, typed_text=w)).tobytes() for w in ("zoo", "cat")
    }
    assert len(words) == 2


def test_a_running_bar_runs() -> None:
    screen = Screen("a", "b", (Progress("One moment", None),))
    assert len({picture(screen, ViewState(phase=n / 4)).tobytes() for n in range(5)}) == 5


def test_a_page_that_is_not_there_is_refused() -> None:
    with pytest.raises(ScreenError):
        render(PLAIN, ViewState(page=1), STATUS)


# -- status bar ------------------------------------------------------------------------------------


def test_the_status_bar_shows_every_state() -> None:
    bars = [
        *(StatusBar(bluetooth=state) for state in BluetoothState),
        StatusBar(locked=True),
        StatusBar(clock="14:05"),
        StatusBar(battery_percent=80),
        StatusBar(battery_percent=10),
        StatusBar(development=True),
    ]
    assert len({picture(PLAIN, status=bar).tobytes() for bar in bars}) == len(bars)


def test_the_system_is_told_from_an_app_of_its_name() -> None:
    app = Screen("plain", "Title", PLAIN.items, PLAIN.buttons, app="System")
    strip = Rect(0, 0, theme.WIDTH, theme.STATUS_HEIGHT)
    assert crop(picture(app), strip).tobytes() != crop(picture(PLAIN), strip).tobytes()


def test_the_development_banner_lies_over_everything_and_moves_nothing() -> None:
    full = StatusBar(
        bluetooth=BluetoothState.CONNECTED,
        locked=True,
        clock="14:05",
        battery_percent=50,
        development=True,
    )
    image = picture(PLAIN, status=full)
    strip = crop(image, Rect(0, 0, theme.WIDTH, theme.DEVELOPMENT_HEIGHT))
    colours = {c: n for n, c in strip.getcolors(1 << 16) or []}
    assert colours[Ink.WARNING.value] > strip.width * strip.height / 2
    below = Rect(0, theme.STATUS_HEIGHT, theme.WIDTH, theme.HEIGHT)
    assert crop(image, below).tobytes() == crop(picture(PLAIN), below).tobytes()


# -- files and drawings ----------------------------------------------------------------------------


def test_a_frame_as_png_has_the_same_pixels() -> None:
    frame = render(PLAIN, VIEW, STATUS)
    assert isinstance(frame, Frame)
    assert (frame.width, frame.height, len(frame.rgb)) == (480, 800, 480 * 800 * 3)
    image = Image.open(io.BytesIO(frame_to_png(frame)))
    assert image.format == "PNG"
    assert image.convert("RGB").tobytes() == frame.rgb


@pytest.mark.parametrize("name", sorted(ICON_NAMES))
@pytest.mark.parametrize("side", [22, 36, 64])
def test_every_icon_is_drawn_inside_its_square(name: str, side: int) -> None:
    box = icon_mask(name, side).getbbox()
    assert box is not None
    assert min(box[:2]) >= 1
    assert max(box[2:]) <= side - 1


def test_no_two_icons_look_alike() -> None:
    assert len({icon_mask(name, 36).tobytes() for name in ICON_NAMES}) == len(ICON_NAMES)
