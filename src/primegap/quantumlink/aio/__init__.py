"""The asyncio shell around the pure link: drivers, calls, ports."""

from __future__ import annotations
