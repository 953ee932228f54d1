"""QR codes as pictures: SVG, PNG, animated PNG and GIF, a PDF to print, text for a terminal.

All are drawn from the modules of a symbol with the quiet zone that readers rely on.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Final

from primegap.airgap.density import QUIET_ZONE_MODULES
from primegap.airgap.errors import LocalAirgapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL.Image import Image

    from primegap.airgap.qr import QrMatrix

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY_1_BIT: Final = b"\x01\x00\x00\x00\x00"  # depth, colour type, compression, filter, interlace
_LIGHT_FROM_DARK: Final = bytes([255, 0]) + bytes(254)
_DPI: Final = 300
_A4_PX: Final = (2480, 3508)
_MARGIN_PX: Final = 118  # 1 cm, what every printer leaves
_TITLE_PX: Final = 120
_TEXT_PX: Final = 36
_PRINTED_MM: Final = 190
_MODULE_MM: Final = 0.5
MAX_SHEET_SYMBOLS: Final = 240
"Twenty pages of twelve; each page takes a megabyte while it is drawn."
_HALF_BLOCKS: Final = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}


def qr_svg(matrix: QrMatrix) -> str:
    """Return a symbol as an SVG picture, dark on white, that scales to any size."""
    side = matrix.size + 2 * QUIET_ZONE_MODULES
    path: list[str] = []
    for y, row in enumerate(matrix.rows):
        x = row.find(1)
        while x >= 0:
            end = row.find(0, x)
            end = matrix.size if end < 0 else end
            path.append(
                f"M{x + QUIET_ZONE_MODULES} {y + QUIET_ZONE_MODULES}h{end - x}v1h{x - end}z"
            )
            x = row.find(1, end)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" '
        f'shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}h-{side}z"/>'
        f'<path d="{"".join(path)}"/></svg>'
    )


def qr_png(matrix: QrMatrix, module_px: int) -> bytes:
    """Return a symbol as a PNG file whose modules are `module_px` pixels wide."""
    side = (matrix.size + 2 * QUIET_ZONE_MODULES) * module_px
    pixels = zlib.compress(_scanlines(matrix, module_px))
    return _file(_header(side), ((b"IDAT", pixels),))


def qr_animation(matrices: Sequence[QrMatrix], module_px: int, period_ms: int) -> bytes:
    """Return symbols of one size as an animated PNG that repeats for ever."""
    side = (matrices[0].size + 2 * QUIET_ZONE_MODULES) * module_px
    chunks = [(b"acTL", len(matrices).to_bytes(4) + bytes(4))]
    number = 0
    for index, matrix in enumerate(matrices):
        control = number.to_bytes(4) + side.to_bytes(4) * 2 + bytes(8)
        chunks.append((b"fcTL", control + period_ms.to_bytes(2) + (1000).to_bytes(2) + bytes(2)))
        pixels = zlib.compress(_scanlines(matrix, module_px))
        if index:
            chunks.append((b"fdAT", (number + 1).to_bytes(4) + pixels))
        else:
            chunks.append((b"IDAT", pixels))
        number += 2 if index else 1
    return _file(_header(side), chunks)


def qr_gif(matrices: Sequence[QrMatrix], module_px: int, period_ms: int) -> bytes:
    """Return symbols of one size as an animated GIF that repeats for ever.

    A GIF counts in hundredths of a second: `period_ms` is rounded to the nearest.
    """
    first, *rest = [_image(matrix, module_px) for matrix in matrices]
    out = io.BytesIO()
    first.save(
        out,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=max(2, round(period_ms / 10)) * 10,
        loop=0,
        optimize=False,
    )
    return out.getvalue()


def qr_sheet(matrices: Sequence[QrMatrix], captions: Sequence[str], title: str) -> bytes:
    """Return symbols as a PDF to print, A4, with a caption below each.

    Args:
        matrices: at most MAX_SHEET_SYMBOLS.
        captions: one for each, printable ASCII: what a reader shall know of it.
        title: printable ASCII, on every page.

    Raises:
        LocalAirgapError: too many symbols, or captions of another number.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not 1 <= len(matrices) <= MAX_SHEET_SYMBOLS or len(captions) != len(matrices):
        raise LocalAirgapError("no symbols, too many, or not a caption for each")
    columns, rows = _grid(max(matrix.size for matrix in matrices))
    cell_width, cell_height = (
        (_A4_PX[0] - 2 * _MARGIN_PX) // columns,
        (_A4_PX[1] - 2 * _MARGIN_PX - _TITLE_PX) // rows,
    )
    font = ImageFont.load_default(_TEXT_PX)
    pages: list[Image.Image] = []
    each = columns * rows
    for start in range(0, len(matrices), each):
        page = Image.new("1", _A4_PX, 1)
        draw = ImageDraw.Draw(page)
        number = f"{start // each + 1} / {-(-len(matrices) // each)}"
        draw.text((_MARGIN_PX, _MARGIN_PX), title, 0, font)
        draw.text((_A4_PX[0] - _MARGIN_PX, _MARGIN_PX), number, 0, font, anchor="ra")
        for place, matrix in enumerate(matrices[start : start + each]):
            modules = matrix.size + 2 * QUIET_ZONE_MODULES
            module_px = max(1, min(cell_width, cell_height - 2 * _TEXT_PX) // modules)
            symbol = _image(matrix, module_px)
            left = _MARGIN_PX + place % columns * cell_width + (cell_width - symbol.width) // 2
            top = _MARGIN_PX + _TITLE_PX + place // columns * cell_height
            page.paste(symbol, (left, top))
            middle = left + symbol.width // 2
            draw.text((middle, top + symbol.height), captions[start + place], 0, font, anchor="ma")
        pages.append(page)
    out = io.BytesIO()
    pages[0].save(out, "PDF", save_all=True, append_images=pages[1:], resolution=_DPI, title=title)
    return out.getvalue()


def _grid(modules: int) -> tuple[int, int]:
    """Return columns and rows: so many that a module is at least half a millimetre wide."""
    side_mm = (modules + 2 * QUIET_ZONE_MODULES) * _MODULE_MM
    for columns, rows in ((3, 4), (2, 3), (1, 2)):
        if side_mm <= _PRINTED_MM / columns:
            return columns, rows
    return 1, 1


def _image(matrix: QrMatrix, module_px: int) -> Image:
    from PIL import Image

    side = matrix.size + 2 * QUIET_ZONE_MODULES
    small = Image.new("1", (side, side), 1)
    bits = b"".join(matrix.rows).translate(_LIGHT_FROM_DARK)
    symbol = Image.frombytes("L", (matrix.size, matrix.size), bits).convert("1")
    small.paste(symbol, (QUIET_ZONE_MODULES, QUIET_ZONE_MODULES))
    return small.resize((side * module_px, side * module_px), Image.Resampling.NEAREST)


def qr_text(matrix: QrMatrix) -> str:
    """Return a symbol as lines of half blocks, for a terminal that writes light on dark."""
    side = matrix.size + 2 * QUIET_ZONE_MODULES
    margin = bytes(QUIET_ZONE_MODULES)
    rows = [bytes(side)] * QUIET_ZONE_MODULES
    rows += [margin + row + margin for row in matrix.rows]
    rows += [bytes(side)] * (QUIET_ZONE_MODULES + 1)
    return "\n".join(
        "".join(_HALF_BLOCKS[pair] for pair in zip(rows[y], rows[y + 1], strict=True))
        for y in range(0, side, 2)
    )


def _scanlines(matrix: QrMatrix, module_px: int) -> bytes:
    """Return rows of bits, 1 for white, each behind its filter byte."""
    margin = "1" * (QUIET_ZONE_MODULES * module_px)
    blank = _pack(margin * 2 + "1" * (matrix.size * module_px))
    lines = [blank] * (QUIET_ZONE_MODULES * module_px)
    for row in matrix.rows:
        bits = "".join(("0" if module else "1") * module_px for module in row)
        lines += [_pack(margin + bits + margin)] * module_px
    lines += [blank] * (QUIET_ZONE_MODULES * module_px)
    return b"".join(lines)


def _pack(bits: str) -> bytes:
    width = -(-len(bits) // 8)
    return b"\x00" + int(bits.ljust(width * 8, "0"), 2).to_bytes(width)


def _header(side: int) -> bytes:
    return side.to_bytes(4) * 2 + _GREY_1_BIT


def _file(header: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    return _SIGNATURE + b"".join(
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
        for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b""))
    )
