"""The developer's door: what a connected computer may ask for while developer mode is on (A-9).

It stands for a USB port. Whoever is behind it is not trusted: it may offer a bundle, ask for the
list of installed apps and ask for one to be removed. Nothing is read of what it sends while
developer mode is off or the device is locked, and nothing changes without the person.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from primegap.files import StorageError
from primegap.keyos.api import panel
from primegap.keyos.app_manager.errors import (
    AppError,
    DeveloperModeOffError,
    LockedError,
    NotInstalledError,
)
from primegap.keyos.bundle import BundleError
from primegap.keyos.errors import KeyosError, RequestError

if TYPE_CHECKING:
    from primegap.keyos.app_manager.registry import InstalledApp, Registry
    from primegap.keyos.app_manager.service import AppManager
    from primegap.keyos.process import Process

RETRY_S: Final = 0.5
MAX_JOBS: Final = 4  # under way at once: one asks the person, the others are answered at once


class Door:
    """Carries out jobs from the developer's computer."""

    def __init__(self, process: Process, manager: AppManager) -> None:
        self._process = process
        self._manager = manager
        self._room = asyncio.Semaphore(MAX_JOBS)

    async def run(self) -> None:
        """Take jobs for as long as the process lives."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._room.acquire()
                try:
                    job = await self._process.call(panel.NextAppJob(), panel.AppJob)
                except KeyosError:
                    self._room.release()
                    await asyncio.sleep(RETRY_S)  # the panel starts anew
                    continue
                tasks.create_task(self._carry_out(job))

    async def _carry_out(self, job: panel.AppJob) -> None:
        try:
            answer = await self._do(job)
        except (AppError, BundleError, StorageError) as error:
            answer = {"error": error.code, "message": str(error), "hint": error.hint}
        except RequestError as error:
            answer = {
                "error": error.code,
                "message": str(error),
                "hint": error.detail or error.hint,
            }
        finally:
            self._room.release()
        try:
            await self._process.call(panel.AppJobDone(job.number, json.dumps(answer)))
        except KeyosError as error:
            self._process.log(f"nobody takes the answer to a developer's job: {error}")

    async def _do(self, job: panel.AppJob) -> dict[str, Any]:
        manager = self._manager
        if not manager.ready:
            raise LockedError("the device was not unlocked yet")
        if not manager.registry.developer:
            raise DeveloperModeOffError("developer mode is off")
        await manager.need_unlocked()
        match job.kind:
            case panel.LIST:
                return {"apps": [_plain(app) for app in manager.registry.apps.values()]}
            case panel.INSTALL:
                return {"installed": _plain(await manager.install(job.data))}
            case panel.REMOVE:
                app = _find(manager.registry, job.data)
                await manager.remove(app.app_id)
                return {"removed": _plain(app)}
            case _:
                raise NotInstalledError("there is no such job")


def _find(registry: Registry, identifier: bytes) -> InstalledApp:
    wanted = identifier.decode(errors="replace")
    for app in registry.apps.values():
        if wanted in (app.identifier, app.app_id.hex()):
            return app
    raise NotInstalledError("no such app")


def _plain(app: InstalledApp) -> dict[str, Any]:
    return {
        "identifier": app.identifier,
        "name": app.name,
        "version": app.version,
        "app_id": app.app_id.hex(),
        "publisher": app.publisher,
        "fingerprint": app.fingerprint.hex(),
        "sha256": app.sha256.hex(),
    }
