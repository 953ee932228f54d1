"""The owner of seed and PIN: vault, derivations, one-use grants (keyos-model, section 6)."""

from __future__ import annotations
