"""The storage process: files of apps. It asks for an app's key for each message and keeps none."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

from primegap.files import StorageError
from primegap.keyos.api import security
from primegap.keyos.api import storage as api
from primegap.keyos.errors import ChannelClosedError, RequestError, Status
from primegap.keyos.messages import Empty, Message
from primegap.keyos.storage.appdata import (
    MAX_FILES,
    QUOTA_BYTES,
    AppFiles,
    FileNameError,
    QuotaError,
    entries,
    erase_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process

T = TypeVar("T")

APP_ID_BYTES: Final = 16
MAX_APPS: Final = 64  # folders that are looked at for system information


class StorageService:
    """State: nothing but which apps have a message under way."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._locks: defaultdict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)
        process.handle(api.ReadFile, self._read)
        process.handle(api.WriteFile, self._write)
        process.handle(api.RemoveFile, self._remove)
        process.handle(api.ListFiles, self._list)
        process.handle(api.EraseApp, self._erase)
        process.handle(api.GetUsage, self._usage)

    # -- files of the caller --------------------------------------------------------------------

    async def _read(self, caller: Caller, request: api.ReadFile) -> Message:
        data = await self._with_files(caller, lambda files: files.read(request.name))
        if data is None:
            raise RequestError(Status.NOT_FOUND, "no such file")
        return api.FileContent(data)

    async def _write(self, caller: Caller, request: api.WriteFile) -> Message:
        await self._with_files(caller, lambda files: files.write(request.name, request.data))
        return Empty()

    async def _remove(self, caller: Caller, request: api.RemoveFile) -> Message:
        await self._with_files(caller, lambda files: files.remove(request.name))
        return Empty()

    async def _list(self, caller: Caller, request: api.ListFiles) -> Message:
        found = await self._with_files(caller, AppFiles.list)
        infos = tuple(api.FileInfo(name, size) for name, size in found)
        return api.FileList(infos, sum(info.size for info in infos), QUOTA_BYTES)

    async def _with_files(self, caller: Caller, act: Callable[[AppFiles], T]) -> T:
        """Act on the caller's files, one message of an app after another."""
        async with self._locks[caller.app_id]:
            key = await self._key(caller.app_id)
            lives = self._process.data / key.tag.hex()
            files = AppFiles(lives / caller.app_id.hex(), key.key, rng=os.urandom)
            try:
                await asyncio.to_thread(self._forget_other_lives, lives)
                return await asyncio.to_thread(act, files)
            except FileNameError as error:
                raise RequestError(Status.MALFORMED, error.hint) from error
            except QuotaError as error:
                raise RequestError(Status.TOO_LARGE, error.hint) from error
            except StorageError as error:
                raise RequestError(Status.FAILED, error.hint) from error

    async def _key(self, app_id: bytes) -> security.StorageKey:
        try:
            return await self._process.call(security.GetStorageKey(app_id), security.StorageKey)
        except ChannelClosedError:
            raise RequestError(Status.LOCKED, "the device is locked") from None

    def _forget_other_lives(self, present: Path) -> None:
        """Remove what belongs to a seed that was erased: nothing can open it any more."""
        for folder in self._process.data.iterdir():
            if folder != present:
                erase_folder(folder)

    # -- for the system -------------------------------------------------------------------------

    async def _erase(self, caller: Caller, request: api.EraseApp) -> Message:
        if len(request.app_id) != APP_ID_BYTES:
            raise RequestError(Status.MALFORMED, "app id")
        async with self._locks[request.app_id]:
            try:
                for life in self._process.data.iterdir():
                    await asyncio.to_thread(erase_folder, life / request.app_id.hex())
            except StorageError as error:
                raise RequestError(Status.FAILED, error.hint) from error
        return Empty()

    async def _usage(self, caller: Caller, request: api.GetUsage) -> Message:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Message:
        apps = []
        for folder in sorted(self._process.data.glob("*/*"))[:MAX_APPS]:
            try:
                app_id = bytes.fromhex(folder.name)
                sizes = [size for _, size in entries(folder)][:MAX_FILES]
            except (ValueError, StorageError):
                continue
            apps.append(api.AppUsage(app_id, sum(sizes), len(sizes)))
        return api.Usage(tuple(apps), QUOTA_BYTES)


async def main(process: Process) -> None:
    """Entry of the storage process."""
    StorageService(process)
    process.serve()
    await process.wait()
