"""Bundles on disk, each under the SHA-256 of its bytes; whatever else lies there is removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError, read_file, remove_file, write_file

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

SUFFIX: Final = ".app"


class BundleStore:
    """The folder of bundles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError.from_os(f"cannot make {folder.name}", error) from error

    def write(self, sha256: bytes, data: bytes) -> None:
        """Store a bundle; it means nothing until the registry names it."""
        write_file(self._folder / (sha256.hex() + SUFFIX), data)

    def read(self, sha256: bytes) -> bytes | None:
        """Return a stored bundle, not verified; None when there is none."""
        return read_file(self._folder / (sha256.hex() + SUFFIX))

    def keep_only(self, hashes: Collection[bytes]) -> None:
        """Remove every other file, what an interrupted installation left among them."""
        names = {sha256.hex() + SUFFIX for sha256 in hashes}
        try:
            found = os.listdir(self._folder)
        except OSError as error:
            raise StorageError.from_os("cannot read the folder of apps", error) from error
        for name in found:
            if name not in names:
                remove_file(self._folder / name)
