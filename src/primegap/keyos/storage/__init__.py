"""Files of a process, written so that a kill at any instruction loses nothing."""

from __future__ import annotations

from primegap.keyos.storage.files import StorageError, read_file, remove_file, write_file
from primegap.keyos.storage.sealed import SealedFile

__all__ = ["SealedFile", "StorageError", "read_file", "remove_file", "write_file"]
