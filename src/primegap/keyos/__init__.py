"""The operating model: isolated processes that talk only through `core` (keyos-model)."""

from __future__ import annotations
