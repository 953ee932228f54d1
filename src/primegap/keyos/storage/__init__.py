"""State of a process at rest."""

from __future__ import annotations

from primegap.keyos.storage.sealed import SealedFile, UnreadableError
from primegap.keyos.storage.state import load_state

__all__ = ["SealedFile", "UnreadableError", "load_state"]
