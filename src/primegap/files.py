"""Atomic files: the complete old content or the complete new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES: Final = 8 << 20  # no state file of ours comes near that


class StorageError(Exception):
    """A state file cannot be read or written."""

    code: ClassVar[str] = "storage-failed"
    "Stable public code."
    hint: ClassVar[str] = (
        "The storage cannot be used: check free space and permissions of the data directory."
    )

    @classmethod
    def from_os(cls, what: str, error: OSError) -> StorageError:
        """Return the error for a failed system call, with what a person can do about it."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFullError(f"{what}: no space left")
        return cls(f"{what}: {os.strerror(error.errno or 0)}")


class StorageFullError(StorageError):
    """The file system or its quota is full; the old content is intact."""

    code = "storage-full"
    hint = "The disk is full. Nothing was changed. Free some space and try again."


def read_file(path: Path) -> bytes | None:
    """Return the content of a file, or None when there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.from_os(f"cannot read {path.name}", error) from error
    if len(data) > MAX_FILE_BYTES:
        raise StorageError(f"{path.name} is larger than any file of the device")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Replace a file's content in one step: new file, fsync, rename, fsync of the directory."""
    temporary = path.with_name(path.name + ".new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError.from_os(f"cannot write {path.name}", error) from error


def remove_file(path: Path, *, overwrite: bool = False) -> None:
    """Remove a file if it is there; with `overwrite` its bytes are first replaced by zeros.

    Overwriting is best effort: a copy-on-write or flash file system may keep the old blocks.
    """
    try:
        if overwrite:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, bytes(os.fstat(fd).st_size))
                os.fsync(fd)
            finally:
                os.close(fd)
        path.unlink()
        _sync_directory(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError.from_os(f"cannot remove {path.name}", error) from error


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
