"""The operating model of the device: isolated processes that talk only through `core` (keyos-model)."""

from __future__ import annotations
