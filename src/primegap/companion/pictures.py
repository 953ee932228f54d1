"""QR codes as pictures: SVG for a page, PNG for files, animated PNG, text for a terminal.

All are drawn from the modules of a symbol with the quiet zone that readers rely on.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from primegap.airgap import QUIET_ZONE_MODULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from primegap.airgap.qr import QrMatrix

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY_1_BIT: Final = b"\x01\x00\x00\x00\x00"  # depth, colour type, compression, filter, interlace
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
