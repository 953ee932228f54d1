"""What an app is written with: its screens, the camera, its secret, its files.

An app is a coroutine that takes a `Process`. It shows screens, which are data, and gets back what
the person pressed; core, the trusted screen and the other processes decide what it may do.

    async def main(process: Process) -> None:
        screen = AppScreen(process)
        process.serve()
        while True:
            await screen.opened()
            await screen.present(hello())
            await screen.close()

To call another app, or to answer one, use `process.call` and `process.handle` with a request whose
server begins with `app/`: the channel, its keys and signatures are made for you.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING

from primegap.keyos.api import camera, security, ui
from primegap.keyos.errors import ChannelClosedError, KeyosError, RequestError, Status
from primegap.keyos.messages import Empty, Message, Request
from primegap.keyos.process import Process
from primegap.keyos.storage import SealedFile, UnreadableError, load_state
from primegap.keyos.ui.canonical import encode_screen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from primegap.keyos.ui.screen import Screen

__all__ = [
    "AppScreen",
    "ChannelClosedError",
    "Empty",
    "KeyosError",
    "Message",
    "Process",
    "Request",
    "RequestError",
    "SealedFile",
    "Status",
    "UnreadableError",
    "app_seed",
    "load_state",
]


class AppScreen:
    """The app's place on the trusted screen."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def opened(self) -> None:
        """Wait until the person opens the app from the home screen."""
        await self._process.call(ui.WaitOpened())

    async def close(self) -> None:
        """Go back to the home screen."""
        with contextlib.suppress(KeyosError):
            await self._process.call(ui.Close())

    async def present(self, screen: Screen) -> str:
        """Show a screen; return the id of what was pressed, or nothing when the person left.

        Raises:
            RequestError: the app was not opened, the device is locked, or the screen is refused.
        """
        return (await self._process.call(ui.Present(encode_screen(screen)), ui.Pressed)).action

    async def update(self, screen: Screen) -> None:
        """Replace the content of the presented screen; who waits for it goes on waiting."""
        await self._process.call(ui.Update(encode_screen(screen)))

    async def confirm(self, screen: Screen) -> bool:
        """Ask the person to approve what a confirmation says, by holding its button."""
        data = encode_screen(screen)
        request = ui.Confirm(data, hashlib.sha256(data).digest(), opens=None)
        return (await self._process.call(request, ui.Decision)).approved

    @contextlib.asynccontextmanager
    async def presented(self, screen: Screen) -> AsyncIterator[asyncio.Future[str]]:
        """Show a screen for as long as the block runs; the future ends when it is pressed."""
        pressed = asyncio.ensure_future(self.present(screen))
        try:
            yield pressed
        finally:
            pressed.cancel()
            await asyncio.wait((pressed,))

    async def present_live(self, draw: Callable[[], Awaitable[Screen]], every_s: float) -> str:
        """Show a screen that is drawn again every so many seconds, until something is pressed."""
        async with self.presented(await draw()) as pressed:
            while True:
                await asyncio.wait((pressed,), timeout=every_s)
                if pressed.done():
                    return pressed.result()
                await self.update(await draw())

    async def scan(self, screen: Screen) -> str | None:
        """Show a screen while the camera looks; return the text of the first code it reads.

        Returns:
            The text, or None when the person pressed a button first.

        Raises:
            RequestError: the camera may not be used or is in use.
        """
        async with self.presented(screen) as pressed:
            seeing = asyncio.ensure_future(self._process.call(camera.NextCode(), camera.Code))
            try:
                await asyncio.wait((pressed, seeing), return_when=asyncio.FIRST_COMPLETED)
                return seeing.result().text if seeing.done() else None
            finally:
                seeing.cancel()


async def app_seed(process: Process) -> bytes:
    """Return the app's own 32-byte secret; waits until the device is unlocked.

    It is the same after every start, on every device with the same seed, and different for each
    app. Nobody can get from it to the seed or to another app's secret.
    """
    return (await process.call(security.GetAppSeed(), security.AppSeed)).seed
