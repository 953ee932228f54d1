"""The authenticator: a list of codes that renews itself, accounts that come by QR code.

It asks the settings app for the time over a channel between the two apps, and keeps its secrets in
its own folder, sealed under its own app seed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from primegap.apps.authenticator import screens
from primegap.apps.authenticator.otp import OtpKind, parse_uri_untrusted
from primegap.apps.authenticator.store import Accounts
from primegap.files import StorageError
from primegap.keyos.api.settings import DeviceTime, GetTime
from primegap.keyos.client import (
    AppScreen,
    KeyosError,
    Process,
    SealedFile,
    app_seed,
    load_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.apps.authenticator.otp import Account
    from primegap.keyos.ui.screen import Screen

TICK_S: Final = 1.0
ASK_TIME_S: Final = 15.0  # the person may set the clock meanwhile
RETRY_S: Final = 0.5


class Authenticator:
    """One list, and what hangs on it."""

    def __init__(self, process: Process, accounts: Accounts) -> None:
        self._process = process
        self._accounts = accounts
        self._screen = AppScreen(process)
        self._ahead_ms = 0.0
        "The device's time, less this process's own clock."
        self._asked_s = float("-inf")

    # -- time -----------------------------------------------------------------------------------

    async def _now_ms(self) -> int:
        """Return the device's time; the settings app is asked now and then."""
        own_s = asyncio.get_running_loop().time()
        if own_s - self._asked_s >= ASK_TIME_S:
            told = await self._process.call(GetTime(), DeviceTime)
            own_s = asyncio.get_running_loop().time()
            self._ahead_ms = told.unix_ms - own_s * 1000
            self._asked_s = own_s
        return round(own_s * 1000 + self._ahead_ms)

    # -- the person -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the person for as long as the process lives."""
        with contextlib.suppress(KeyosError):
            await self._now_ms()  # opens the channel before anybody waits for it
        while True:
            await self._screen.opened()
            try:
                await self._list()
            except KeyosError as error:
                self._process.log(f"authenticator: {error}")
                await asyncio.sleep(RETRY_S)
            finally:
                await self._screen.close()

    async def _list(self) -> None:
        while True:
            choice = await self._live(self._codes)
            try:
                if choice == screens.ADD:
                    await self._add()
                elif choice.startswith(screens.ACCOUNT):
                    number = int(choice.removeprefix(screens.ACCOUNT))
                    await self._open(self._accounts.accounts[number])
                else:
                    return
            except (KeyosError, StorageError) as error:
                await self._screen.present(screens.problem(error.hint))

    def _codes(self, now_ms: int) -> Screen:
        return screens.codes(self._accounts.accounts, now_ms)

    async def _live(self, draw: Callable[[int], Screen]) -> str:
        """Show a screen that follows the time until something on it is pressed."""

        async def now() -> Screen:
            return draw(await self._now_ms())

        return await self._screen.present_live(now, TICK_S)

    async def _add(self) -> None:
        text = await self._screen.scan(screens.scanning())
        if text is None:
            return
        account, counter = parse_uri_untrusted(text)
        if await self._screen.present(screens.keep(account)) == screens.KEEP:
            self._accounts.add(account, counter)

    async def _open(self, account: Account) -> None:
        code = ""
        while True:
            if account.kind is OtpKind.TOTP:
                choice = await self._live(lambda now_ms: screens.account(account, now_ms))
            else:
                choice = await self._screen.present(screens.account(account, 0, code))
            if choice == screens.NEXT:
                code = self._accounts.next_code(account)
            elif choice == screens.DELETE:
                if await self._screen.confirm(screens.confirm_delete(account)):
                    self._accounts.remove(account)
                    return
            elif choice != f"{screens.ACCOUNT}0":
                return


async def main(process: Process) -> None:
    """Entry of the authenticator."""
    file = SealedFile(process.data, "accounts", await app_seed(process))
    accounts = await load_state(file, Accounts.load, log=process.log)
    process.serve()
    await Authenticator(process, accounts).run()
