"""The page that shows the trusted screen of a device."""

from __future__ import annotations

from starlette.responses import HTMLResponse

from primegap.web.security import TEMPLATES


def device_page() -> HTMLResponse:
    """Return the page; it holds no state of the device, everything comes over the live socket."""
    return HTMLResponse((TEMPLATES / "device.html").read_text(encoding="utf-8"))
