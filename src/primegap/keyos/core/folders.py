"""Erasing what an app kept: its folder is its own making, down to the modes of its directories."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def erase_tree(folder: Path) -> None:
    """Erase a folder and all that is in it, if it is there; links are removed, not followed.

    Raises:
        OSError: something could not be removed.
    """
    if not os.path.lexists(folder):
        return
    os.chmod(folder, 0o700)
    # An app may have taken its own right to look into a directory away.
    for place, folders, _ in os.walk(folder, topdown=True, followlinks=False):
        for name in folders:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(folder)
