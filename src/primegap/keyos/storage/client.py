"""A file of an app at `os/storage`, for the app's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from primegap.keyos.api import security, storage
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.messages import Empty, Message

if TYPE_CHECKING:
    from primegap.keyos.messages import Request
    from primegap.keyos.process import Process

__all__ = ["AppFile"]

R = TypeVar("R", bound=Message)


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
        try:
            reply = await self._call(storage.ReadFile(self._name), storage.FileContent)
        except RequestError as error:
            if error.status is Status.NOT_FOUND:
                return None
            raise
        return reply.data

    async def write(self, data: bytes) -> None:
        """Replace the content in one step.

        Raises:
            RequestError: TOO_LARGE when the app's quota is used up, FAILED when the medium is full.
        """
        await self._call(storage.WriteFile(self._name, data), Empty)

    async def remove(self) -> None:
        """Remove the file, if it is there."""
        await self._call(storage.RemoveFile(self._name), Empty)

    async def _call(self, request: Request, reply: type[R]) -> R:
        """Send a request as often as it finds the device locked."""
        while True:
            try:
                return await self._process.call(request, reply)
            except RequestError as error:
                if error.status is not Status.LOCKED:
                    raise
            await self._process.call(security.WaitUnlocked())
