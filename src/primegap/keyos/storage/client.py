"""A file of an app at `os/storage`, for the app's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.api import security, storage
from primegap.keyos.errors import RequestError, Status

if TYPE_CHECKING:
    from primegap.keyos.process import Process

__all__ = ["AppFile"]

_WAITS: Final = Status.LOCKED


class AppFile:
    """One file by name, read and written as a whole. Both wait while the device is locked."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name

    async def read(self) -> bytes | None:
        """Return the content, or None when there is no file.

        Raises:
            RequestError: FAILED when it was damaged or the medium cannot be read.
        """
        while True:
            try:
                reply = await self._process.call(storage.ReadFile(self._name), storage.FileContent)
            except RequestError as error:
                if error.status is Status.NOT_FOUND:
                    return None
                await self._wait_or_raise(error)
            else:
                return reply.data

    async def write(self, data: bytes) -> None:
        """Replace the content in one step.

        Raises:
            RequestError: TOO_LARGE when the app's quota is used up, FAILED when the medium is full.
        """
        while True:
            try:
                await self._process.call(storage.WriteFile(self._name, data))
            except RequestError as error:
                await self._wait_or_raise(error)
            else:
                return

    async def remove(self) -> None:
        """Remove the file, if it is there."""
        while True:
            try:
                await self._process.call(storage.RemoveFile(self._name))
            except RequestError as error:
                await self._wait_or_raise(error)
            else:
                return

    async def _wait_or_raise(self, error: RequestError) -> None:
        if error.status is not _WAITS:
            raise error
        await self._process.call(security.WaitUnlocked())
