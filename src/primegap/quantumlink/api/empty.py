"""The empty message, of every request that has nothing to say yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Empty:
    """No fields so far; encoded as an empty map, so that optional ones can be added (API 4.2)."""
