"""UR through real pictures: drawn, photographed badly, found and read again."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image, ImageFilter, ImageOps

from primegap.airgap import (
    DENSITIES,
    PSBT_UR_TYPES,
    QUIET_ZONE_MODULES,
    SCREEN_WIDTH_PX,
    Density,
    FrameVerdict,
    UrDecoder,
    UrEncoder,
    psbt_from_ur,
    psbt_to_ur,
)
from primegap.airgap.qr import QrMatrix, qr_matrix, scan_image, scan_picture

SCREEN = (SCREEN_WIDTH_PX, 800)


def screen(matrix: QrMatrix, module_px: int, *, inverted: bool = False) -> Image.Image:
    """The device's screen with a symbol in its middle."""
    image = Image.new("L", SCREEN, 255)
    side = (matrix.size, matrix.size)
    symbol = Image.frombytes("L", side, b"".join(matrix.rows)).point(lambda dark: 255 * (1 - dark))
    symbol = symbol.resize((matrix.size * module_px,) * 2, Image.Resampling.NEAREST)
    margin = (SCREEN_WIDTH_PX - symbol.width) // 2
    assert margin >= QUIET_ZONE_MODULES * module_px - module_px
    image.paste(symbol, (margin, 150))
    return image.point(lambda value: 255 - value) if inverted else image


def noisy(image: Image.Image, strength: float, seed: int) -> Image.Image:
    noise = Image.frombytes(
        "L", image.size, random.Random(seed).randbytes(image.width * image.height)
    )
    return Image.blend(image, noise, strength)


def tilted(image: Image.Image, right: float, down: float) -> Image.Image:
    """What a camera sees that does not look at the screen squarely.

    `right` and `down` are by how much the right and lower edges are farther away than the middle.
    """
    image = ImageOps.expand(image, 60, 90)
    x, y = image.width / 2, image.height / 2
    g, h = -right / x, -down / y
    k = 1 - g * x - h * y
    to_source = (
        *((1 + x * g) / k, x * h / k, (x * k - x) / k),
        *(y * g / k, (1 + y * h) / k, (y * k - y) / k),
        *(g / k, h / k),
    )
    bilinear = Image.Resampling.BILINEAR
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, to_source, bilinear, fillcolor=90
    )


def photographed(image: Image.Image, seed: int) -> Image.Image:
    """A picture taken by hand: another scale, turned, out of focus, uneven light, noise."""
    rnd = random.Random(seed)
    scale = rnd.uniform(0.9, 1.3)
    image = image.resize(
        (int(image.width * scale), int(image.height * scale)), Image.Resampling.BILINEAR
    )
    image = image.rotate(rnd.uniform(-12, 12), Image.Resampling.BILINEAR, expand=True, fillcolor=70)
    image = tilted(image, rnd.uniform(-0.1, 0.1), rnd.uniform(-0.1, 0.1))
    image = image.filter(ImageFilter.GaussianBlur(rnd.uniform(0.3, 1.0)))
    light = Image.linear_gradient("L").resize(image.size).point(lambda value: 60 + value // 4)
    image = Image.blend(image, light, 0.3)
    return noisy(image, 0.15, seed)


def file_of(image: Image.Image, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, form, compress_level=1)
    return out.getvalue()


def texts(image: Image.Image) -> list[str]:
    return [code.text for code in scan_image(image.tobytes(), image.width, image.height)]


@pytest.fixture(params=DENSITIES, ids=lambda density: density.name)
def density(request: pytest.FixtureRequest) -> Density:
    chosen: Density = request.param
    return chosen


@pytest.fixture
def part(density: Density) -> str:
    """A frame that is as full as this density allows."""
    psbt = b"psbt\xff" + random.Random(7).randbytes(density.max_fragment_bytes * 30 - 9)
    ur = psbt_to_ur(psbt)
    return UrEncoder(ur.ur_type, ur.cbor, density.max_fragment_bytes).next_part()


def shown(part: str, density: Density) -> Image.Image:
    return screen(qr_matrix(part, min_version=density.qr_version), density.module_px)


def test_the_screen_itself(density: Density, part: str) -> None:
    image = shown(part, density)
    assert texts(image) == [part]
    assert [code.text for code in scan_picture(file_of(image))] == [part]
    assert [code.text for code in scan_picture(file_of(image, "JPEG"))] == [part]


@pytest.mark.parametrize("angle", [0, 3, 45, 90, 137, 180, 270])
def test_turned(density: Density, part: str, angle: int) -> None:
    image = shown(part, density).rotate(angle, Image.Resampling.BILINEAR, expand=True, fillcolor=40)
    assert texts(image) == [part]


def test_light_on_dark(density: Density, part: str) -> None:
    matrix = qr_matrix(part)
    assert texts(screen(matrix, density.module_px, inverted=True)) == [part]


@pytest.mark.parametrize("radius", [1.0, 1.8])
def test_out_of_focus(density: Density, part: str, radius: float) -> None:
    blurred = shown(part, density).filter(ImageFilter.GaussianBlur(radius * density.module_px / 6))
    assert texts(blurred) == [part]


def test_noise(density: Density, part: str) -> None:
    assert texts(noisy(shown(part, density), 0.3, 1)) == [part]


@pytest.mark.parametrize(("right", "down"), [(0.15, 0.0), (-0.1, 0.1), (0.05, -0.2)])
def test_from_one_side(density: Density, part: str, right: float, down: float) -> None:
    assert texts(tilted(shown(part, density), right, down)) == [part]


def test_hand_held_pictures_are_mostly_read(density: Density, part: str) -> None:
    image = shown(part, density)
    read = [texts(photographed(image, seed)) == [part] for seed in range(10)]
    assert read.count(True) >= 9


def test_a_large_psbt_through_an_animation_of_which_a_third_is_lost() -> None:
    rnd = random.Random(30)
    psbt = b"psbt\xff" + rnd.randbytes(30_000 - 5)
    density = DENSITIES[3]
    ur = psbt_to_ur(psbt)
    encoder = UrEncoder(ur.ur_type, ur.cbor, density.max_fragment_bytes)
    decoder = UrDecoder(PSBT_UR_TYPES)
    drawn = seen = 0
    while decoder.result is None:
        matrix = qr_matrix(encoder.next_part(), min_version=density.qr_version)
        assert matrix.version == density.qr_version  # the drawn symbol never changes its size
        drawn += 1
        if rnd.random() < 0.3:
            continue
        for code in scan_picture(file_of(photographed(screen(matrix, density.module_px), drawn))):
            seen += 1
            assert decoder.receive(code.text) in {FrameVerdict.NEW, FrameVerdict.DUPLICATE}
    assert psbt_from_ur(decoder.result) == psbt
    assert seen < 1.3 * encoder.parts_count
    assert drawn < 2 * encoder.parts_count
