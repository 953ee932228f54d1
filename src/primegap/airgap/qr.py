"""QR symbols: drawn as grids of modules, read from grey images, picture files and animations.

The edge of the room: zxing-cpp does both, Pillow opens picture files. Both load on first use, or
with `preload`. Importing zxing-cpp takes some 10 ms, Pillow some 50.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import io
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import (
    LocalAirgapError,
    PictureTooLargeError,
    QrError,
    TooLargeForQrError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from PIL.ImageFile import ImageFile

MAX_QR_VERSION: Final = 40
MAX_CODES: Final = 16
"Codes reported for one image; a screen or a sheet held before a camera shows a few."
MAX_IMAGE_PIXELS: Final = 1 << 22
"Pixels searched for codes; noise of this size takes about 40 ms."
MAX_PICTURE_BYTES: Final = 8 << 20
"Size of a picture file, what a telephone's camera writes."
MAX_PICTURE_SIDE: Final = 8192
MAX_PICTURE_PIXELS: Final = 1 << 24
"Pixels of a picture file, what a telephone's camera takes; decoding takes 4 to 16 bytes for each."
MAX_ANIMATION_BYTES: Final = 64 << 20
"Size of an animated file: some minutes of symbols."
MAX_FRAMES: Final = 4096
"Pictures of an animated file; at 20 ms each that is more than a minute of work."
MAX_JPEG_SCANS: Final = 64
"Ordinary progressive files have about ten. Each costs a pass over all pixels and few bytes."

_BASE_MODULES: Final = 17
_MODULES_PER_VERSION: Final = 4
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
_GIF_SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_JPEG_SCAN: Final = b"\xff\xda"  # never occurs inside coded pixels
# 0 is dark in zxing-cpp's picture of a symbol; anything else is light.
_DARK_FROM_GREY: Final = bytes([1]) + bytes(255)


class ErrorCorrection(enum.Enum):
    """Share of a symbol that may be unreadable: 7, 15, 25 or 30 %."""

    L = "L"
    M = "M"
    Q = "Q"
    H = "H"


@dataclass(frozen=True, slots=True)
class QrMatrix:
    """The modules of a symbol, without the quiet zone."""

    size: int
    "Modules on each side, 21 to 177."
    rows: tuple[bytes, ...] = field(repr=False)
    "From the top, a byte for each module from the left: 1 dark, 0 light."

    @property
    def version(self) -> int:
        """Version of the symbol, 1 to 40."""
        return (self.size - _BASE_MODULES) // _MODULES_PER_VERSION


@dataclass(frozen=True, slots=True)
class ScannedCode:
    """A code found in an image."""

    text: str = field(repr=False)
    "Content as text; bytes that are no text are guessed at, so binary formats look at `raw`."
    raw: bytes = field(repr=False)
    "Content as it stands in the symbol."


def preload() -> None:
    """Import the native libraries now, so that the first symbol or picture does not wait."""
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin  # noqa: F401
    import zxingcpp  # noqa: F401


def qr_matrix(
    content: str | bytes,
    *,
    error_correction: ErrorCorrection = ErrorCorrection.L,
    min_version: int = 1,
) -> QrMatrix:
    """Return the smallest symbol for `content`, of at least version `min_version`.

    Digits and upper-case text take the numeric and alphanumeric modes by themselves. Other text
    stands as UTF-8, bytes as they are; neither is announced by an ECI, which many readers refuse.

    Args:
        content: what the symbol holds, not empty.
        error_correction: exactly this level.
        min_version: 1 to 40. For an animation, pass the largest version so far, so that no frame
            is drawn smaller than one before it.

    Raises:
        TooLargeForQrError: more than version 40 holds.
        LocalAirgapError: empty content, or `min_version` is out of range.
    """
    import zxingcpp

    if not content or not 1 <= min_version <= MAX_QR_VERSION:
        raise LocalAirgapError("empty content or version out of range")
    options: dict[str, str | int] = {"ec_level": error_correction.value}
    if isinstance(content, str) and not content.isascii():
        content = content.encode()
    if isinstance(content, bytes):
        options["eci"] = "Unknown"  # leaves the ECI out
    for version in (min_version, None):
        if version is not None:
            options["version"] = version
        else:
            del options["version"]
        try:
            symbol = zxingcpp.create_barcode(
                content, zxingcpp.BarcodeFormat.QRCodeModel2, **options
            )
        except ValueError:  # too long for that version
            continue
        image = symbol.to_image(scale=1, add_quiet_zones=False)
        size: int = image.shape[0]
        modules = memoryview(image).tobytes().translate(_DARK_FROM_GREY)
        return QrMatrix(
            size, tuple([modules[at : at + size] for at in range(0, size * size, size)])
        )
    raise TooLargeForQrError("more than a symbol holds")


def scan_image(
    grey: bytes | bytearray | memoryview, width: int, height: int, *, quick: bool = False
) -> list[ScannedCode]:
    """Return the QR codes in a grey image, at most MAX_CODES.

    Codes may be turned, tilted, and light on dark.

    Args:
        grey: a byte for each pixel, 0 black to 255 white, row by row from the top.
        width: pixels in a row.
        height: number of rows; at most MAX_IMAGE_PIXELS in all.
        quick: be content with what one threshold for the whole image shows, if that is anything:
            ten times as fast, for the pictures of an animation. Of several codes in uneven light
            some may then be missed.

    Raises:
        LocalAirgapError: `grey` has not width x height bytes, or too many.
    """
    import zxingcpp

    pixels = memoryview(grey).cast("B")
    if width < 1 or height < 1 or len(pixels) != width * height or len(pixels) > MAX_IMAGE_PIXELS:
        raise LocalAirgapError("not an image of that size, or too large")
    search = functools.partial(
        zxingcpp.read_barcodes,
        pixels.cast("B", (height, width)),
        formats=zxingcpp.BarcodeFormat.QRCodeModel2,
        text_mode=zxingcpp.TextMode.Plain,
    )
    found = []
    if quick:
        binarizer = zxingcpp.Binarizer.GlobalHistogram
        found = search(try_rotate=False, try_downscale=False, try_invert=False, binarizer=binarizer)
    found = found or search()
    return [ScannedCode(code.text, code.bytes) for code in found[:MAX_CODES]]


def scan_picture(picture: bytes, *, quick: bool = False) -> list[ScannedCode]:
    """Return the QR codes in a PNG, JPEG or GIF file, at most MAX_CODES.

    Of a file with several pictures the first is looked at. Transparent parts count as white.
    Pictures of more than MAX_IMAGE_PIXELS are searched at half their size. `quick` is that of
    `scan_image`.

    Raises:
        PictureTooLargeError: more bytes, rows, columns or pixels than are looked at.
        QrError: not such a file, or a damaged one.
    """
    with contextlib.closing(_pictures(picture, MAX_PICTURE_BYTES)) as pictures:
        grey, width, height = next(pictures)
    return scan_image(grey, width, height, quick=quick)


def scan_animation(picture: bytes) -> Iterator[list[ScannedCode]]:
    """Yield the QR codes of each picture of a GIF, PNG or JPEG file, animated or not.

    At most MAX_FRAMES pictures are looked at. A file that is damaged further on ends there with an
    error; what was read before stays read.

    Raises:
        PictureTooLargeError: more bytes, rows, columns or pixels than are looked at.
        QrError: not such a file, or a damaged one.
    """
    pictures = _pictures(picture, MAX_ANIMATION_BYTES)
    for grey, width, height in itertools.islice(pictures, MAX_FRAMES):
        yield scan_image(grey, width, height, quick=True)


def _pictures(file: bytes, most_bytes: int) -> Generator[tuple[bytes, int, int]]:
    """Yield grey pixels, width and height of each picture in a file; there is at least one."""
    if len(file) > most_bytes:
        raise PictureTooLargeError("too many bytes")
    try:
        with _open_picture(file) as image:
            for number in itertools.count():
                if number:
                    try:
                        image.seek(number)
                    except EOFError:
                        return
                width, height = image.size
                if max(width, height) > MAX_PICTURE_SIDE or width * height > MAX_PICTURE_PIXELS:
                    raise PictureTooLargeError("too many pixels")
                yield _grey_pixels(image)
    except QrError:
        raise
    except Exception as error:
        # The decoders document no set of errors for malformed files: besides OSError, SyntaxError
        # and ValueError, even assertions and warnings about side information come out of them.
        raise QrError("malformed picture") from error


def _open_picture(picture: bytes) -> ImageFile:
    """Read the head of a picture file; its decoder is chosen here, not by Pillow's registry."""
    if picture.startswith(_PNG_SIGNATURE):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(io.BytesIO(picture))
    if picture.startswith(_GIF_SIGNATURES):
        from PIL.GifImagePlugin import GifImageFile

        return GifImageFile(io.BytesIO(picture))
    if picture.startswith(_JPEG_SIGNATURE):
        from PIL.JpegImagePlugin import JpegImageFile

        if picture.count(_JPEG_SCAN) > MAX_JPEG_SCANS:
            raise PictureTooLargeError("too many passes")
        return JpegImageFile(io.BytesIO(picture))
    raise QrError("neither PNG nor JPEG nor GIF")


def _grey_pixels(image: ImageFile) -> tuple[bytes, int, int]:
    """Decode a picture whose size was checked; return grey pixels, width and height."""
    from PIL import Image

    width, height = image.size
    halve = width * height > MAX_IMAGE_PIXELS
    # JPEG only: decode the brightness alone, at half size where that is enough.
    image.draft("L", (width // 2, height // 2) if halve else image.size)
    grey: Image.Image
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        grey = Image.new("L", image.size, 255)
        grey.paste(coloured.convert("L"), mask=coloured.getchannel("A"))
    else:
        grey = image.convert("L")
    while grey.width * grey.height > MAX_IMAGE_PIXELS:
        grey = grey.reduce(2)
    return grey.tobytes(), grey.width, grey.height
