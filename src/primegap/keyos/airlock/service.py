"""The process of the microSD card: the only one that reads and writes it.

The card is a file in this process's folder, `card.img`, with a FAT file system that every computer
reads (`mtools`, a loop mount); on a board it is the block device of the slot. It is opened for each
message and closed again, so a card that was exchanged meanwhile is simply the card that is there.
A person may lend it to a computer: until it is taken back, nothing here opens it (F-8).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, TypeVar

from primegap.files import StorageError, remove_file, write_file
from primegap.keyos.airlock.errors import (
    CardDamagedError,
    CardError,
    CardFullError,
    CardNameError,
    CardNotFoundError,
)
from primegap.keyos.airlock.fat import Card
from primegap.keyos.airlock.volume import format_card
from primegap.keyos.api import airlock as api
from primegap.keyos.api import security
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Trust
from primegap.keyos.messages import Empty, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process

T = TypeVar("T")

IMAGE: Final = "card.img"
IMAGE_BYTES: Final = 16 << 20  # the largest file that a service may write
MAX_FILE_BYTES: Final = 960 << 10  # with its envelope it stays within a message of 1 MiB
MAX_LISTED: Final = 512
LENT: Final = "lent"  # there while a computer has the card
LENT_HINT: Final = "A computer has the card. Take it back on this device first."
_STATUS: Final = {
    CardNotFoundError: Status.NOT_FOUND,
    CardNameError: Status.MALFORMED,
    CardFullError: Status.TOO_LARGE,
}


class AirlockService:
    """Answers apps that were granted the card; one message after another."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._path = process.data / IMAGE
        self._in_use = asyncio.Lock()
        self._lent = process.data / LENT
        self._recovered = False
        process.handle(api.LendCard, self._lend)
        process.handle(api.GetCard, self._state)
        process.handle(api.ListFolder, self._list)
        process.handle(api.ReadCardFile, self._read)
        process.handle(api.ReadBundle, self._read_bundle)
        process.handle(api.WriteCardFile, self._write)
        process.handle(api.RemoveCardFile, self._remove)
        process.handle(api.MakeFolder, self._make_folder)

    def prepare(self) -> None:
        """Make an empty card at the first start: complete, or not at all.

        Raises:
            StorageError: it cannot be made.
        """
        new = self._path.with_suffix(".new")
        try:
            if self._path.exists():
                return
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                format_card(fd, IMAGE_BYTES, number=int.from_bytes(os.urandom(4), "big"))
            finally:
                os.close(fd)
            new.replace(self._path)
        except OSError as error:
            raise StorageError.from_os("cannot make a card", error) from error

    # -- requests -------------------------------------------------------------------------------

    async def _state(self, caller: Caller, request: api.GetCard) -> Message:
        try:
            free, total = await self._with_card(caller, lambda c: (c.free_bytes(), c.total_bytes()))
        except RequestError as error:
            lent = self._lent.exists()
            return api.CardState(usable=False, trouble=error.detail, free=0, total=0, lent=lent)
        return api.CardState(usable=True, trouble="", free=free, total=total, lent=False)

    async def _lend(self, caller: Caller, request: api.LendCard) -> Message:
        """Change who has the card, when nothing of the device is at work on it."""
        await self._process.call(security.WaitUnlocked())
        async with self._in_use:
            try:
                if request.lent:
                    await asyncio.to_thread(write_file, self._lent, b"")
                else:
                    await asyncio.to_thread(remove_file, self._lent)
            except StorageError as error:
                raise RequestError(Status.FAILED, error.hint) from error
            self._recovered = False  # the computer may have left something half done
        return Empty()

    async def _list(self, caller: Caller, request: api.ListFolder) -> Message:
        found = await self._with_card(caller, lambda card: card.entries(request.path))
        listed = tuple(api.CardEntry(e.name, e.folder, e.size) for e in found[:MAX_LISTED])
        return api.FolderContent(listed, more=len(found) > MAX_LISTED)

    async def _read(self, caller: Caller, request: api.ReadCardFile) -> Message:
        data = await self._with_card(caller, lambda card: card.read(request.path))
        if len(data) > MAX_FILE_BYTES:
            raise RequestError(Status.TOO_LARGE, "the file is too large")
        return api.CardFile(data)

    async def _read_bundle(self, caller: Caller, request: api.ReadBundle) -> Message:
        return api.CardFile(await self._with_card(caller, lambda card: card.read(request.path)))

    async def _write(self, caller: Caller, request: api.WriteCardFile) -> Message:
        if len(request.data) > MAX_FILE_BYTES:
            raise RequestError(Status.TOO_LARGE, "the file is too large")
        await self._with_card(caller, lambda card: card.write(request.path, request.data))
        return Empty()

    async def _remove(self, caller: Caller, request: api.RemoveCardFile) -> Message:
        await self._with_card(caller, lambda card: card.remove(request.path, shred=request.shred))
        return Empty()

    async def _make_folder(self, caller: Caller, request: api.MakeFolder) -> Message:
        await self._with_card(caller, lambda card: card.make_folder(request.path))
        return Empty()

    async def _with_card(self, caller: Caller, act: Callable[[Card], T]) -> T:
        if caller.trust is not Trust.SYSTEM:  # a new device restores its seed from a card
            await self._process.call(security.WaitUnlocked())
        async with self._in_use:
            if self._lent.exists():
                raise RequestError(Status.DENIED, LENT_HINT)
            try:
                return await asyncio.to_thread(self._act, act)
            except CardError as error:
                status = _STATUS.get(type(error), Status.FAILED)
                raise RequestError(status, error.hint) from error
            except OSError as error:
                hint = StorageError.from_os("card", error).hint
                raise RequestError(Status.FAILED, hint) from error

    def _act(self, act: Callable[[Card], T]) -> T:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise CardNotFoundError("no card") from None
        try:
            card = Card(fd)
            if not self._recovered:
                card.recover()
                self._recovered = True
            return act(card)
        except CardDamagedError:
            self._recovered = False
            raise
        finally:
            os.close(fd)


async def main(process: Process) -> None:
    """Entry of the card's process."""
    service = AirlockService(process)
    try:
        await asyncio.to_thread(service.prepare)
    except StorageError as error:
        process.log(str(error))
    process.serve()
    await process.wait()
