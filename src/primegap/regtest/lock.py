"""One process at a time in a data directory."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from primegap.regtest.errors import DataDirLockedError, DataDirUnusableError

if TYPE_CHECKING:
    from pathlib import Path

LOCK_NAME: Final = "lock"
_MAX_PID_DIGITS: Final = 20


class DataDirLock:
    """Holds a directory for this process; the kernel lets go of it when the process ends."""

    def __init__(self, data_dir: Path) -> None:
        """Make the directory if needed (for its owner only) and take it.

        Raises:
            DataDirLockedError: another process has it; the message names the process.
            DataDirUnusableError: it cannot be made or written.
        """
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirUnusableError(f"cannot write in {data_dir}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._fd, _MAX_PID_DIGITS).decode(errors="replace").strip()
            os.close(self._fd)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise DataDirLockedError(f"{data_dir} is in use by {who}") from error
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # the number is only for the message above; the lock itself is held

    def release(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)
