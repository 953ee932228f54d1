"""Vector drawings on a grid of 24, drawn eight times as large and reduced. Imports Pillow."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRID: Final = 24
_OVERSAMPLE: Final = 8
_STROKE: Final = 1.8

Point = tuple[float, float]


class Pen:
    """Draws on a grid of 24 with round ends."""

    def __init__(self, side: int, stroke: float) -> None:
        self.image = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / GRID
        self._stroke = stroke

    def _px(self, value: float) -> float:
        return value * self._unit

    def dot(self, x: float, y: float, radius: float, *, ink: int = 255) -> None:
        """Draw a filled circle."""
        box = [self._px(v) for v in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.ellipse(box, fill=ink)

    def path(self, points: Sequence[Point], *, closed: bool = False, stroke: float = 0) -> None:
        """Draw connected lines with round joints."""
        half = (stroke or self._stroke) / 2
        ends = [*points, points[0]] if closed else list(points)
        for (x0, y0), (x1, y1) in itertools.pairwise(ends):
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            dx, dy = (y1 - y0) / length * half, (x0 - x1) / length * half
            corners = [(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy)]
            corners.append((x0 - dx, y0 - dy))
            self._draw.polygon([(self._px(x), self._px(y)) for x, y in corners], fill=255)
        for x, y in ends:
            self.dot(x, y, half)

    def area(self, points: Sequence[Point], *, ink: int = 255) -> None:
        """Fill a polygon."""
        self._draw.polygon([(self._px(x), self._px(y)) for x, y in points], fill=ink)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        radius: float,
        *,
        filled: bool = False,
    ) -> None:
        """Draw a rounded box."""
        edge = self._px(self._stroke)
        half = 0 if filled else self._stroke / 2
        place = [self._px(v) for v in (left - half, top - half, right + half, bottom + half)]
        self._draw.rounded_rectangle(
            place,
            self._px(radius + half),
            fill=255 if filled else None,
            outline=None if filled else 255,
            width=round(edge),
        )

    def arc(self, x: float, y: float, radius: float, start: float, end: float) -> None:
        """Draw a part of a circle, clockwise in degrees from the right."""
        steps = max(int(abs(end - start) / 6), 2)
        angles = [math.radians(start + (end - start) * n / steps) for n in range(steps + 1)]
        self.path([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles])

    def ring(self, x: float, y: float, radius: float) -> None:
        """Draw a circle."""
        half = self._stroke / 2
        box = [
            self._px(v)
            for v in (x - radius - half, y - radius - half, x + radius + half, y + radius + half)
        ]
        self._draw.ellipse(box, outline=255, width=round(self._px(self._stroke)))


def _curve(start: Point, bend: Point, end: Point) -> list[Point]:
    """Return points of a quadratic curve."""
    points = []
    for n in range(17):
        t = n / 16
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        x = a * start[0] + b * bend[0] + c * end[0]
        points.append((x, a * start[1] + b * bend[1] + c * end[1]))
    return points


def _lock(pen: Pen) -> None:
    pen.box(5, 10.5, 19, 20.5, 2.2)
    pen.path([(8, 10.5), (8, 7.5)])
    pen.path([(16, 10.5), (16, 7.5)])
    pen.arc(12, 7.5, 4, 180, 360)
    pen.dot(12, 15.5, 1.5)


_SHIELD: Final = [
    (12.0, 2.8),
    *_curve((12.0, 2.8), (15.5, 5.3), (19.6, 5.6)),
    *_curve((19.6, 5.6), (20.6, 16.6), (12.0, 21.2)),
    *_curve((12.0, 21.2), (3.4, 16.6), (4.4, 5.6)),
    *_curve((4.4, 5.6), (8.5, 5.3), (12.0, 2.8)),
]


def _shield(pen: Pen) -> None:
    pen.path(_SHIELD, closed=True)
    pen.path([(8.2, 12.0), (11.0, 14.8), (16.0, 9.4)])


def _shield_full(pen: Pen) -> None:
    pen.area(_SHIELD)


def _check(pen: Pen) -> None:
    pen.path([(4.5, 12.8), (9.8, 18), (19.5, 6.8)], stroke=_STROKE * 1.25)


def _cross(pen: Pen) -> None:
    pen.path([(6, 6), (18, 18)], stroke=_STROKE * 1.25)
    pen.path([(18, 6), (6, 18)], stroke=_STROKE * 1.25)


def _bluetooth(pen: Pen) -> None:
    pen.path([(6.5, 7.2), (17.2, 16.4), (12, 21.2), (12, 2.8), (17.2, 7.6), (6.5, 16.8)])


def _bluetooth_off(pen: Pen) -> None:
    pen.path([(12, 9.4), (12, 2.8), (17.2, 7.6), (14.2, 10.2)])
    pen.path([(6.5, 16.8), (12, 12), (12, 21.2), (16.4, 17.1)])
    pen.path([(4, 4), (20, 20)])


def _key(pen: Pen) -> None:
    pen.ring(7.6, 16.4, 4.2)
    pen.path([(10.7, 13.3), (20, 4)])
    pen.path([(16.2, 7.8), (18.8, 10.4)])
    pen.path([(13.2, 10.8), (15.2, 12.8)])


def _coin(pen: Pen) -> None:
    pen.ring(12, 12, 9)
    pen.path([(9.6, 8), (9.6, 16)])
    pen.path([(9.6, 8), (12.6, 8)])
    pen.arc(12.6, 9.9, 1.9, -90, 90)
    pen.path([(9.6, 11.8), (13, 11.8)])
    pen.arc(13, 13.9, 2.1, -90, 90)
    pen.path([(9.6, 16), (13, 16)])
    pen.path([(11.2, 6.2), (11.2, 8)])
    pen.path([(11.2, 16), (11.2, 17.8)])


def _qr(pen: Pen) -> None:
    for x, y in ((3.8, 3.8), (14.2, 3.8), (3.8, 14.2)):
        pen.box(x, y, x + 6, y + 6, 1)
        pen.box(x + 2.1, y + 2.1, x + 3.9, y + 3.9, 0.4, filled=True)
    for x, y in ((13.6, 13.6), (18.4, 13.6), (16, 16), (13.6, 18.4), (18.4, 18.4)):
        pen.box(x, y, x + 2.2, y + 2.2, 0.4, filled=True)


def _phone(pen: Pen) -> None:
    pen.box(7, 3, 17, 21, 2.4)
    pen.path([(10.6, 18), (13.4, 18)])


def _settings(pen: Pen) -> None:
    for y, x in ((6.5, 15.0), (12.0, 8.5), (17.5, 13.5)):
        pen.path([(4, y), (20, y)])
        pen.dot(x, y, 3.4, ink=0)
        pen.ring(x, y, 2.1)


def _warning(pen: Pen) -> None:
    pen.path([(12, 4), (21, 19.6), (3, 19.6)], closed=True)
    pen.path([(12, 9.8), (12, 13.8)])
    pen.dot(12, 16.8, 1.15)


def _app(pen: Pen) -> None:
    for x in (4.6, 13.6):
        for y in (4.6, 13.6):
            pen.box(x, y, x + 5.8, y + 5.8, 1.4)


def _chevron(pen: Pen) -> None:
    pen.path([(9, 5.5), (15.5, 12), (9, 18.5)])


def _chevron_left(pen: Pen) -> None:
    pen.path([(15, 5.5), (8.5, 12), (15, 18.5)])


def _delete(pen: Pen) -> None:
    pen.path([(8.4, 5.6), (21, 5.6), (21, 18.4), (8.4, 18.4), (2.6, 12)], closed=True)
    pen.path([(11.6, 9.2), (17.2, 14.8)])
    pen.path([(17.2, 9.2), (11.6, 14.8)])


_DRAWINGS: Final[dict[str, Callable[[Pen], None]]] = {
    "app": _app,
    "bluetooth": _bluetooth,
    "bluetooth-off": _bluetooth_off,
    "check": _check,
    "chevron": _chevron,
    "chevron-left": _chevron_left,
    "coin": _coin,
    "cross": _cross,
    "delete": _delete,
    "key": _key,
    "lock": _lock,
    "phone": _phone,
    "qr": _qr,
    "settings": _settings,
    "shield": _shield,
    "shield-full": _shield_full,
    "warning": _warning,
}


@functools.lru_cache(maxsize=64)
def icon_mask(name: str, side: int) -> Image.Image:
    """Return an icon as a mask of `side` pixels."""
    # Large drawings get relatively finer lines.
    pen = Pen(side * _OVERSAMPLE, _STROKE if side < 48 else 1.5)
    _DRAWINGS[name](pen)
    return pen.image.reduce(_OVERSAMPLE)


@functools.lru_cache(maxsize=32)
def disc_mask(diameter: int) -> Image.Image:
    """Return a filled circle as a mask."""
    pen = Pen(diameter * _OVERSAMPLE, 1)
    pen.dot(GRID / 2, GRID / 2, GRID / 2)
    return pen.image.reduce(_OVERSAMPLE)


RING_STEPS: Final = 120  # a ring moves by three degrees
_RING_WIDTH: Final = 0.14  # of its diameter


@functools.lru_cache(maxsize=2 * RING_STEPS)
def ring_mask(diameter: int, steps: int) -> Image.Image:
    """Return a ring as a mask, of which `steps` of RING_STEPS are left, clockwise from the top."""
    side = diameter * _OVERSAMPLE
    mask = Image.new("L", (side, side), 0)
    if steps > 0:
        gone = 360 * (RING_STEPS - steps) / RING_STEPS
        box = (0, 0, side - 1, side - 1)
        width = round(side * _RING_WIDTH)
        ImageDraw.Draw(mask).arc(box, -90 + gone, 270, fill=255, width=width)
    return mask.reduce(_OVERSAMPLE)
