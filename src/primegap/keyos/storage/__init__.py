"""State of a process at rest."""

from __future__ import annotations

from primegap.keyos.storage.sealed import SealedFile

__all__ = ["SealedFile"]
