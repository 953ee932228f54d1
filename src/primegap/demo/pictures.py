"""Pictures of QR codes as another screen would show them."""

from __future__ import annotations

from typing import Final

_MODULE_PX: Final = 8


def qr_picture(text: str, *, min_version: int = 1) -> bytes:
    """Return a PNG of a QR code with its quiet zone."""
    from primegap.airgap.drawing import qr_png
    from primegap.airgap.qr import qr_matrix

    return qr_png(qr_matrix(text, min_version=min_version), _MODULE_PX)


def read_picture(picture: bytes) -> str:
    """Return the text of the QR code in a picture, or an empty text."""
    from primegap.airgap.qr import scan_picture

    codes = scan_picture(picture)
    return codes[0].text if codes else ""
