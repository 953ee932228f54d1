"""What is installed, on disk: the sealed registry and the bundles it names, changed in one write.

Cut off anywhere, the next start finds the old state or the new one, whole; files that neither needs
are removed (A-4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.app_manager.registry import InstalledApp, Registry
from primegap.keyos.app_manager.store import BundleStore
from primegap.keyos.storage import SealedFile, load_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE: Final = "registry"
FOLDER: Final = "bundles"


class Shelf:
    """The state of the app manager."""

    def __init__(self, folder: Path, app_seed: bytes, *, log: Callable[[str], None]) -> None:
        self._file = SealedFile(folder, FILE, app_seed)
        self._store = BundleStore(folder / FOLDER)
        self._log = log
        self.registry = Registry()
        "What is stored; changed by `commit` only."

    async def load(self) -> None:
        """Read what is stored, or begin anew; remove what an interruption left."""
        self.registry = await load_state(self._file, _read, log=self._log)
        self._tidy()

    def commit(self, registry: Registry) -> None:
        """Make a registry the one that holds.

        Raises:
            StorageError: it cannot be stored; the old one holds.
        """
        self._file.write(registry.encode())
        self.registry = registry
        self._tidy()

    def install(self, app: InstalledApp, certificate: bytes, data: bytes) -> None:
        """Store an app's bundle and name it; before the second of these nothing is installed.

        Raises:
            StorageError: it cannot be stored; the old state holds.
        """
        self._store.write(app.sha256, data)
        self.commit(self.registry.with_app(app, certificate))

    def bundle(self, app: InstalledApp) -> bytes | None:
        """Return the stored bundle of an app, read once and not verified; None when it is gone.

        Raises:
            StorageError: it cannot be read.
        """
        return self._store.read(app.sha256)

    def _tidy(self) -> None:
        try:
            self._store.keep_only([app.sha256 for app in self.registry.apps.values()])
        except StorageError as error:  # they are tried again at the next change
            self._log(str(error))


def _read(file: SealedFile) -> Registry:
    stored = file.read()
    return Registry() if stored is None else Registry.decode(stored)
