"""The panel: display, touch and camera as hardware, reached from a browser on the loopback."""

from __future__ import annotations
