"""The camera process: takes a picture only while somebody waits for a code."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from primegap.keyos.api.camera import Code, NextCode
from primegap.keyos.api.panel import NextPicture, Picture, PictureRead
from primegap.keyos.api.ui import Foreground, IsForeground
from primegap.keyos.errors import KeyosError, RequestError, Status
from primegap.keyos.frame import Trust

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process


class Camera:
    """One picture at a time; the first code in it is the answer to the app in front (U-3).

    An app that the person has left gets nothing that is held up for another one, and cannot keep
    the camera from it.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._looking = asyncio.Lock()
        self._looker: tuple[bytes, asyncio.Task[None] | None] = (b"", None)
        "App that waits for a code, and its request."
        self._asking: set[bytes] = set()
        "Apps about which the screen is being asked: once each, or floods would keep others out."

    async def next_code(self, caller: Caller, request: NextCode) -> Message:
        """Answer with the text of the next QR code that comes before the camera."""
        from primegap.airgap import QrError
        from primegap.airgap.qr import scan_picture

        await self._must_be_in_front(caller)
        if self._looking.locked():
            app_id, task = self._looker
            if app_id == caller.app_id or task is None:
                raise RequestError(Status.BUSY, "the camera is in use")
            task.cancel()  # the person has left that app
        async with self._looking:
            self._looker = caller.app_id, asyncio.current_task()
            while True:
                picture = await self._process.call(NextPicture(), Picture)
                try:
                    codes = scan_picture(picture.image, quick=True)
                except QrError:
                    await self._tell(picture.number, "unreadable")
                    continue
                if codes:
                    try:
                        await self._must_be_in_front(caller)
                    except KeyosError:
                        await self._tell(picture.number, "nothing")
                        raise
                    await self._tell(picture.number, "read")
                    return Code(codes[0].text, codes[0].raw)
                await self._tell(picture.number, "nothing")

    async def _must_be_in_front(self, caller: Caller) -> None:
        if caller.trust is Trust.SYSTEM:  # the screen itself looks, for a seed or a server
            return
        if caller.app_id in self._asking:
            raise RequestError(Status.BUSY, "the app asks already")
        self._asking.add(caller.app_id)
        try:
            front = await self._process.call(IsForeground(caller.app_id), Foreground)
        finally:
            self._asking.discard(caller.app_id)
        if not front.yes:
            raise RequestError(Status.DENIED, "the app is not in front of the person")

    async def _tell(self, number: int, verdict: str) -> None:
        with contextlib.suppress(KeyosError):
            await self._process.call(PictureRead(number, verdict))


async def main(process: Process) -> None:
    """Entry of the camera process."""
    camera = Camera(process)
    process.handle(NextCode, camera.next_code)
    process.serve()
    await asyncio.sleep(1)
    from primegap.airgap.qr import preload

    preload()  # a person with a picture does not wait for it
    await process.wait()
