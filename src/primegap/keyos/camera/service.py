"""The camera process: takes a picture only while somebody waits for a code."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from primegap.keyos.api.camera import Code, NextCode
from primegap.keyos.api.panel import NextPicture, Picture, PictureRead
from primegap.keyos.errors import KeyosError, RequestError, Status

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process


class Camera:
    """One picture at a time; the first code in it is the answer (the newest waiter gets it)."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._looking = asyncio.Lock()

    async def next_code(self, caller: Caller, request: NextCode) -> Message:
        """Answer with the text of the next QR code that comes before the camera."""
        from primegap.airgap import QrError
        from primegap.airgap.qr import scan_picture

        if self._looking.locked():
            raise RequestError(Status.BUSY, "the camera is in use")
        async with self._looking:
            while True:
                picture = await self._process.call(NextPicture(), Picture)
                try:
                    codes = scan_picture(picture.image, quick=True)
                except QrError:
                    await self._tell(picture.number, "unreadable")
                    continue
                if codes:
                    await self._tell(picture.number, "read")
                    return Code(codes[0].text, codes[0].raw)
                await self._tell(picture.number, "nothing")

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
