"""How much an app may keep in its own folder (F-9, X-3): watched by core, as the kernel cannot.

The kernel limits the size of each file, the scratch space and the memory of an app, but has no
limit for a folder that works without privileges on every file system. So core looks once a second:
an app over its quota is stopped and stays so until its folder is smaller. Nothing is deleted. What
an app can write before it is seen is bounded by the speed of the disk; this quota is soft.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHECK_INTERVAL_S: Final = 1.0
MAX_FOLDER_BYTES: Final = 64 << 20  # a wallet's state is below one
MAX_FOLDER_ENTRIES: Final = 1024  # also bounds the work of one look


class Quotas:
    """The folders of apps and which of them are over quota."""

    def __init__(self, folders: Mapping[str, Path] | None = None) -> None:
        self.folders: dict[str, Path] = dict(folders or {})
        self.over: set[str] = set()
        "Roles that are over quota; changed by `check` only."

    def check(self) -> tuple[set[str], set[str]]:
        """Look at every folder; return the roles that went over quota and those that came back."""
        over = {role for role, folder in list(self.folders.items()) if is_over(folder)}
        went, came_back = over - self.over, self.over - over
        self.over = over
        return went, came_back


def is_over(folder: Path) -> bool:
    """Whether a folder holds too much, or something that core cannot look at."""
    size = entries = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if size > MAX_FOLDER_BYTES or entries > MAX_FOLDER_ENTRIES:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile, or not made yet
        except OSError:
            return True
    return False
