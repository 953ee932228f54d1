"""Built-in apps: a folder each, with its manifest."""

from __future__ import annotations
