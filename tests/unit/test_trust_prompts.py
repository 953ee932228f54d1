"""First-use prompts on a whole device: asked, remembered, taken back in the settings, forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.trust_bench import Bench, bench, quick_hand, quick_pin
from tests.unit.test_apps_service import HELLO, ROLE, developer_on, install, tile

from primegap.keyos.api import security
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.process import Process

__all__ = ["quick_hand", "quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")
DENIED = "denied"


class Guest:
    """An installed app that asks for its secret whenever the test says so."""

    def __init__(self) -> None:
        self.process: asyncio.Future[Process] = asyncio.get_running_loop().create_future()

    async def run(self, process: Process) -> None:
        process.serve()
        if self.process.done():
            self.process = asyncio.get_running_loop().create_future()
        self.process.set_result(process)
        await asyncio.Event().wait()

    def ask(self) -> asyncio.Task[str]:
        """Ask for the app's secret; its hex, or why not."""
        return asyncio.create_task(self._ask())

    async def _ask(self) -> str:
        process = await self.process
        try:
            return (await process.call(security.GetAppSeed(), security.AppSeed)).seed.hex()
        except RequestError as error:
            assert error.status is Status.DENIED
            return DENIED


def device(folder: Path, guest: Guest) -> Any:
    return bench(folder, entries={ROLE: guest.run})


async def started(one: Bench) -> None:
    await tile(one, f"app:{ROLE}")
    async with asyncio.timeout(20):
        while ROLE not in one.running:
            await asyncio.sleep(0.01)


async def restarted(one: Bench, guest: Guest) -> None:
    guest.process = asyncio.get_running_loop().create_future()
    one.kill(ROLE)
    async with asyncio.timeout(20):
        while ROLE in one.running:
            await asyncio.sleep(0.01)
    await started(one)


@pytest.mark.guarantee("R-3", "R-6", "P-9", tried="a prompt answered every way, and taken back")
async def test_a_secret_is_asked_about_remembered_taken_back_and_forgotten(tmp_path: Path) -> None:
    guest = Guest()
    async with device(tmp_path, guest) as one:
        await one.set_up()
        await developer_on(one)
        await install(one, HELLO, "accept-publisher", "install-app")
        await started(one)

        # Not now: refused, and not asked about again while the app runs.
        asked = guest.ask()
        screen = await one.wait("ask-permission")
        assert screen["app"] is None  # the system's own screen
        assert "Hello" in str(screen["items"])
        await one.press("not-now")
        assert await asked == DENIED
        for _ in range(20):
            assert await guest.ask() == DENIED
        assert one.shown()["id"] != "ask-permission"

        # Started again it may ask; what is held is allowed, for good.
        await restarted(one, guest)
        asked = guest.ask()
        await one.wait("ask-permission")
        assert not asked.done()
        await one.press("always")
        secret = await asked
        assert len(secret) == 64
        assert await guest.ask() == secret

        # A killed broker changes nothing that was stored.
        one.kill("permissions")
        async with asyncio.timeout(20):
            while (again := await guest.ask()) == DENIED:
                await asyncio.sleep(0.05)
        assert again == secret

        # Taken back in the settings: the very next message is asked about.
        await tile(one, "app:settings")
        await one.press("grants", "grant:0")
        await one.wait("one-grant")
        await one.press("revoke")
        await one.wait("grants")
        await one.press("back", "back")
        asked = guest.ask()
        await one.wait("ask-permission")
        await one.press("never")
        assert await asked == DENIED
        await restarted(one, guest)
        assert await guest.ask() == DENIED


@pytest.mark.guarantee("R-4", tried="the broker killed under its question")
async def test_a_prompt_that_is_lost_is_a_denial_and_a_locked_device_shows_none(
    tmp_path: Path,
) -> None:
    guest = Guest()
    async with device(tmp_path, guest) as one:
        await one.set_up()
        await developer_on(one)
        await install(one, HELLO, "accept-publisher", "install-app")
        await started(one)
        asked = guest.ask()
        await one.wait("ask-permission")
        one.kill("permissions")
        assert await asked == DENIED
        await one.wait("home")
