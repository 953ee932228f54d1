"""What the companion asks, read in a process that holds no key and no secret (L-10)."""

from __future__ import annotations
