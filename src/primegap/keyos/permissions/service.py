"""The permissions process: between core, which parks requests, and the trusted screen, which asks.

It is a process of its own so that neither the app manager, which reads foreign bundles, nor core,
which every app talks to, can write down that something was granted. Its file is keyed by its own
app seed: while the device is locked nothing can be looked up, and requests wait (R-2, R-7).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from primegap.files import StorageError
from primegap.keyos.api import core, permissions, security, ui
from primegap.keyos.errors import KeyosError, RequestError, Status
from primegap.keyos.messages import Empty
from primegap.keyos.permissions.book import Book, Choice
from primegap.keyos.storage import SealedFile, load_state

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process

FILE = "grants"


class PermissionService:
    """Decisions and the questions that lead to them, one question at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._book = Book()
        self._file: SealedFile | None = None
        self._ready = asyncio.Event()
        process.handle(permissions.ListGrants, self._list)
        process.handle(permissions.RevokeGrant, self._revoke)
        process.handle(permissions.ForgetApp, self._forget)

    async def run(self) -> None:
        """Read what is stored as soon as the device is unlocked, then answer core."""
        seed = await self._process.call(security.GetAppSeed(), security.AppSeed)
        self._file = SealedFile(self._process.data, FILE, seed.seed)
        self._book = await load_state(self._file, _load, log=self._process.log)
        self._ready.set()
        while True:
            request = await self._process.call(core.NextPermissionRequest(), core.PermissionRequest)
            await self._answer(request)

    async def _answer(self, request: core.PermissionRequest) -> None:
        app_id, instance, subgroup = request.app_id, request.instance, request.subgroup
        allowed = self._book.decided(app_id, instance, subgroup)
        if allowed is None:
            allowed = await self._ask(request)
        await self._process.call(core.AnswerPermissionRequest(request.number, allowed))

    async def _ask(self, request: core.PermissionRequest) -> bool:
        """Ask the person; whatever goes wrong is a no for now (R-4)."""
        try:
            answer = await self._process.call(
                ui.AskPermission(request.name, request.subgroup), ui.PermissionChoice
            )
            choice = Choice(answer.choice)
        except (KeyosError, ValueError):
            choice = Choice.NOT_NOW
        book = self._book
        if book.note(request.app_id, request.instance, request.subgroup, request.name, choice):
            try:
                self._store()
            except StorageError as error:  # it holds until the next start
                self._process.log(f"a decision is not stored: {error}")
        return choice is Choice.ALWAYS

    def _store(self) -> None:
        assert self._file is not None
        self._file.write(self._book.encode())

    # -- the settings and the app manager -------------------------------------------------------

    async def _list(self, caller: Caller, request: permissions.ListGrants) -> Message:
        await self._ready.wait()
        return permissions.GrantList(
            tuple(
                permissions.Grant(app_id, entry.name, subgroup, entry.allowed)
                for (app_id, subgroup), entry in sorted(self._book.entries.items())
            )
        )

    async def _revoke(self, caller: Caller, request: permissions.RevokeGrant) -> Message:
        await self._ready.wait()
        if not self._book.revoke(request.app_id, request.subgroup):
            raise RequestError(Status.NOT_FOUND, "there is no such decision")
        # Core first: the revocation is in effect even if it cannot be written down.
        await self._process.call(core.RevokePermission(request.app_id, request.subgroup))
        self._store_or_fail()
        return Empty()

    async def _forget(self, caller: Caller, request: permissions.ForgetApp) -> Message:
        await self._ready.wait()
        for subgroup in self._book.forget(request.app_id):
            await self._process.call(core.RevokePermission(request.app_id, subgroup))
        self._store_or_fail()
        return Empty()

    def _store_or_fail(self) -> None:
        try:
            self._store()
        except StorageError as error:
            raise RequestError(Status.FAILED, error.hint) from error


def _load(file: SealedFile) -> Book:
    stored = file.read()
    return Book() if stored is None else Book.decode(stored)


async def main(process: Process) -> None:
    """Entry of the permissions process."""
    service = PermissionService(process)
    process.serve()
    await service.run()
