"""The files of one app on the medium: encrypted content under encrypted names, within a quota.

The name of a file never becomes part of a path: what stands on the medium is the hex form of the
name under AES-SIV, so there is nothing to traverse, to link or to fold (F-2, F-3), and a listing of
the medium tells neither names nor contents (F-6). Content is ChaCha20-Poly1305 with a fresh random
nonce for each write and the name as associated data, so files cannot be exchanged for each other.
An older version of a file can be put back by whoever can write to the medium.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import shutil
import stat
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError, read_file, remove_file, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_FILE_BYTES: Final = 960 << 10  # with its envelope it stays within a message of 1 MiB
QUOTA_BYTES: Final = 8 << 20  # of one app; a wallet's state is far below one MiB
MAX_FILES: Final = 256  # of one app; also bounds the work of one look
NAME: Final = re.compile(r"(?:no_backup/)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
MAGIC: Final = b"PGAF\x01"
_NONCE_BYTES: Final = 12
_OVERHEAD: Final = len(MAGIC) + _NONCE_BYTES + 16
_NEW: Final = ".new"


class FileNameError(StorageError):
    """A name is not one that an app's file may have."""

    code = "file-name"
    hint = "A file name has up to 64 letters, digits, dots, dashes or underscores."


class QuotaError(StorageError):
    """The file is too large, or the app has stored as much as it may; nothing was changed."""

    code = "storage-quota"
    hint = "The app has used up its storage."


class FileDamagedError(StorageError):
    """A file is not what was once written."""

    code = "file-damaged"
    hint = "A file of an app was damaged and cannot be read."


class AppFiles:
    """The files of one app. Every method reads the medium; nothing is remembered."""

    def __init__(self, folder: Path, key: bytes, *, rng: Callable[[int], bytes]) -> None:
        """Keep nothing but the two keys made from `key`, 32 bytes."""
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV, ChaCha20Poly1305

        self._folder = folder
        self._names = AESSIV(hmac.digest(key, b"primegap:file-names:v1", "sha512"))
        self._contents = ChaCha20Poly1305(hmac.digest(key, b"primegap:file-contents:v1", "sha256"))
        self._rng = rng

    def read(self, name: str) -> bytes | None:
        """Return the content, or None when there is no such file.

        Raises:
            FileNameError, FileDamagedError, StorageError.
        """
        data = read_file(self._path(name))
        if data is None:
            return None
        return self._open(name, data)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in one step.

        Raises:
            FileNameError, QuotaError, StorageError: nothing was changed.
        """
        path = self._path(name)
        if len(content) > MAX_FILE_BYTES:
            raise QuotaError("a file is too large")
        others = {
            entry.name: size for entry, size in entries(self._folder) if entry.name != path.name
        }
        if len(others) >= MAX_FILES or sum(others.values()) + len(content) > QUOTA_BYTES:
            raise QuotaError("the quota is used up")
        nonce = self._rng(_NONCE_BYTES)
        sealed = self._contents.encrypt(nonce, content, MAGIC + name.encode())
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.from_os("cannot make a folder", error) from error
        write_file(path, MAGIC + nonce + sealed)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        remove_file(self._path(name))

    def list(self) -> list[tuple[str, int]]:
        """Return names and sizes, by name."""
        from cryptography.exceptions import InvalidTag

        found = []
        for entry, size in entries(self._folder):
            with contextlib.suppress(ValueError, InvalidTag, UnicodeDecodeError):
                name = self._names.decrypt(bytes.fromhex(entry.name), None).decode()
                found.append((name, size))
        return sorted(found)

    def used(self) -> int:
        """Return how many bytes count towards the quota."""
        return sum(size for _, size in entries(self._folder))

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise FileNameError("not a file name")
        return self._folder / self._names.encrypt(name.encode(), None).hex()

    def _open(self, name: str, data: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        head = len(MAGIC) + _NONCE_BYTES
        try:
            if not data.startswith(MAGIC):
                raise FileDamagedError("not a file of an app")
            return self._contents.decrypt(
                data[len(MAGIC) : head], data[head:], MAGIC + name.encode()
            )
        except (InvalidTag, ValueError):
            raise FileDamagedError("a file was altered") from None


def entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], int]]:
    """Yield the files in an app's folder with the sizes of their contents; drop what a cut left."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.endswith(_NEW):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)
                elif stat.S_ISREG((status := entry.stat(follow_symlinks=False)).st_mode):
                    yield entry, max(0, status.st_size - _OVERHEAD)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError.from_os("cannot read a folder", error) from error


def erase_folder(folder: Path) -> None:
    """Remove a folder with all that is in it: at once out of sight, then file by file.

    Raises:
        StorageError: it is still there, or a part of it.
    """
    gone = folder.with_name(folder.name + _NEW)
    try:
        if folder.exists():
            if gone.exists():
                shutil.rmtree(gone)
            folder.replace(gone)
        if gone.exists():
            shutil.rmtree(gone)
    except OSError as error:
        raise StorageError.from_os("cannot remove a folder", error) from error
