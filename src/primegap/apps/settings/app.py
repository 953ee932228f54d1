"""The settings app: one menu for the person, one message for other apps.

It changes nothing itself: every switch is a request to the process that owns it, and whatever opens
a key, a PIN or the pairing of a companion stays with the trusted screen.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from primegap.apps.settings import screens
from primegap.apps.settings.store import Clock
from primegap.files import StorageError
from primegap.keyos.api import core, permissions, security
from primegap.keyos.api.settings import DeviceTime, GetTime
from primegap.keyos.client import (
    AppScreen,
    KeyosError,
    Process,
    RequestError,
    SealedFile,
    app_seed,
    load_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.ui.screen import Screen

TICK_S: Final = 1.0
RETRY_S: Final = 0.5


class SettingsApp:
    """The menu, and the clock that other apps may read."""

    def __init__(self, process: Process, clock: Clock) -> None:
        self._process = process
        self._clock = clock
        self._screen = AppScreen(process)
        process.handle(GetTime, self._tell_time)

    async def _tell_time(self, caller: Caller, request: GetTime) -> Message:
        return DeviceTime(self._now_ms(), self._clock.offset_minutes)

    def _now_ms(self) -> int:
        return self._clock.now_ms(time.time())

    # -- the person -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the person for as long as the process lives."""
        while True:
            await self._screen.opened()
            try:
                await self._menu()
            except KeyosError as error:
                self._process.log(f"settings: {error}")
                await asyncio.sleep(RETRY_S)
            finally:
                await self._screen.close()

    async def _menu(self) -> None:
        while True:
            info = await self._process.call(core.GetSystemInfo(), core.SystemInfo)
            clock = screens.local_time(self._now_ms(), self._clock.offset_minutes)[:-3]
            choice = await self._screen.present(screens.menu(info, clock))
            try:
                match choice:
                    case screens.BLUETOOTH:
                        await self._process.call(
                            core.SetSwitch(screens.BLUETOOTH, not screens.bluetooth(info).chosen)
                        )
                    case screens.TIME:
                        await self._set_time()
                    case screens.GRANTS:
                        await self._grants()
                    case screens.ABOUT:
                        await self._about()
                    case _:
                        return
            except (RequestError, StorageError) as error:
                detail = error.detail if isinstance(error, RequestError) else ""
                await self._screen.present(screens.problem(detail or error.hint))

    async def _about(self) -> None:
        info = await self._process.call(core.GetSystemInfo(), core.SystemInfo)
        state = await self._process.call(security.GetState(), security.SecurityState)
        development = self._process.development
        await self._screen.present(screens.about(state.fingerprint, info, development=development))

    async def _set_time(self) -> None:
        """Show the running clock until the person leaves it."""
        clock = self._clock
        while True:
            choice = await self._live(screens.set_time)
            if choice == screens.SET:
                await self._set_clock()
            elif choice == screens.ZONE:
                chosen = await self._screen.present(screens.choose_zone(clock.offset_minutes))
                offset = screens.chosen_offset(chosen)
                if offset is not None:
                    clock.offset_minutes = offset
                    clock.save()
            else:
                return

    async def _set_clock(self) -> None:
        while True:
            choice = await self._live(screens.set_clock)
            if choice in screens.SHIFTS:
                self._clock.shift(screens.SHIFTS[choice][1])
            elif choice == screens.SYSTEM_CLOCK:
                self._clock.correction_s = 0
            else:
                return
            self._clock.save()

    async def _live(self, draw: Callable[[int, int, int], Screen]) -> str:
        """Show a screen with the running clock until something on it is pressed."""

        async def now() -> Screen:
            clock = self._clock
            return draw(self._now_ms(), clock.offset_minutes, clock.correction_s)

        return await self._screen.present_live(now, TICK_S)

    async def _grants(self) -> None:
        """List what was granted; take one back at a time."""
        while True:
            listed = await self._process.call(permissions.ListGrants(), permissions.GrantList)
            choice = await self._screen.present(screens.grants(listed.grants))
            if not choice.startswith(screens.GRANT):
                return
            grant = listed.grants[int(choice.removeprefix(screens.GRANT))]
            if await self._screen.present(screens.one_grant(grant)) == screens.REVOKE:
                await self._process.call(permissions.RevokeGrant(grant.app_id, grant.subgroup))


async def main(process: Process) -> None:
    """Entry of the settings app."""
    file = SealedFile(process.data, "clock", await app_seed(process))
    clock = await load_state(file, Clock.load, log=process.log)
    app = SettingsApp(process, clock)
    process.serve()
    await app.run()
