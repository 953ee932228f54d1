"""State at rest: files of apps at `os/storage`, sealed files of the system's own processes."""

from __future__ import annotations

from primegap.keyos.storage.client import AppFile
from primegap.keyos.storage.sealed import SealedFile, UnreadableError
from primegap.keyos.storage.state import load_state

__all__ = ["AppFile", "SealedFile", "UnreadableError", "load_state"]
