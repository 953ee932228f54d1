"""Pictures of QR codes as another screen would show them."""

from __future__ import annotations

import io

from PIL import Image

QUIET = 4
MODULE_PX = 8


def qr_picture(text: str, *, min_version: int = 1) -> bytes:
    """Return a PNG of a QR code with its quiet zone."""
    from primegap.airgap.qr import qr_matrix

    matrix = qr_matrix(text, min_version=min_version)
    side = matrix.size + 2 * QUIET
    image = Image.new("L", (side, side), 255)
    for y, row in enumerate(matrix.rows):
        for x, dark in enumerate(row):
            if dark:
                image.putpixel((x + QUIET, y + QUIET), 0)
    out = io.BytesIO()
    scaled = image.resize((side * MODULE_PX, side * MODULE_PX), Image.Resampling.NEAREST)
    scaled.save(out, "PNG")
    return out.getvalue()


def read_picture(picture: bytes) -> str:
    """Return the text of the QR code in a picture, or an empty text."""
    from primegap.airgap.qr import scan_picture

    codes = scan_picture(picture)
    return codes[0].text if codes else ""
