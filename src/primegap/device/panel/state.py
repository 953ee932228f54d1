"""What is on the display, who waits for touches and pictures. No I/O of its own."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

from primegap.keyos.api.panel import Picture, ShowFrame, Shown, Target, Touch

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TOUCHES: Final = 256  # touches not yet taken by the screen; older ones are dropped
MAX_PICTURE_BYTES: Final = 2 << 20
TAKE_TIMEOUT_S: Final = 1.0  # a scanning device takes a picture at once
READ_TIMEOUT_S: Final = 5.0
MAX_WATCHERS: Final = 16  # pages and automation sockets that follow the display


class PanelState:
    """The hardware's registers."""

    def __init__(self) -> None:
        self.frame: ShowFrame | None = None
        self.changed = asyncio.Condition()
        self._touches: deque[Touch] = deque(maxlen=MAX_TOUCHES)
        self._touch_ready = asyncio.Event()
        self._picture: Picture | None = None
        self._picture_ready = asyncio.Event()
        self._picture_number = 0
        self._picture_verdict: asyncio.Future[str] | None = None
        self.touches = 0
        "Touch events taken by the screen so far."
        self._png: tuple[int, bytes] = (-1, b"")

    async def show(self, frame: ShowFrame) -> Shown:
        """Put a frame on the display and wake whoever watches."""
        async with self.changed:
            self.frame = frame
            when_s = time.monotonic()
            self.changed.notify_all()
        return Shown(self.touches + len(self._touches), when_s)

    async def wait_for(self, ready: Callable[[ShowFrame], bool], timeout_s: float) -> ShowFrame:
        """Return the first frame for which `ready` is true; raise TimeoutError."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: self.frame is not None and ready(self.frame))
            assert self.frame is not None
            return self.frame

    async def next_frame(self, number: int) -> ShowFrame:
        """Return the present frame as soon as it is not the one with this number."""
        async with self.changed:
            await self.changed.wait_for(
                lambda: self.frame is not None and self.frame.number != number
            )
            assert self.frame is not None
            return self.frame

    def png(self) -> bytes:
        """Return the display as PNG; encoded once a frame."""
        frame = self.frame
        if frame is None:
            return b""
        if self._png[0] != frame.number:
            self._png = (frame.number, encode_png(frame.width, frame.height, frame.rgb))
        return self._png[1]

    def target(self, name: str) -> Target | None:
        """Return the touch target with this id on the present frame."""
        if self.frame is None:
            return None
        return next((target for target in self.frame.targets if target.id == name), None)

    def touch(self, phase: str, x: int, y: int) -> None:
        """Queue a touch for the screen, with what it was made on and when."""
        frame = 0 if self.frame is None else self.frame.number
        self._touches.append(Touch(phase, x, y, frame, time.monotonic()))
        self._touch_ready.set()

    @property
    def all_taken(self) -> bool:
        """Whether no touch waits for the screen."""
        return not self._touches

    async def next_touch(self) -> Touch:
        """Return the oldest touch not yet taken."""
        while not self._touches:
            self._touch_ready.clear()
            await self._touch_ready.wait()
        self.touches += 1
        return self._touches.popleft()

    async def hold_up_picture(self, image: bytes) -> str:
        """Hold a picture in front of the camera; return what came of it.

        `idle`: the device did not scan within a moment.
        """
        if len(image) > MAX_PICTURE_BYTES:
            return "unreadable"
        self._picture_number += 1
        verdict: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._picture_verdict = verdict
        self._picture = Picture(self._picture_number, image)
        self._picture_ready.set()
        try:
            done, _ = await asyncio.wait({verdict}, timeout=TAKE_TIMEOUT_S)
            if not done and self._is_taken():
                await asyncio.wait({verdict}, timeout=READ_TIMEOUT_S)
            return verdict.result() if verdict.done() else "idle"
        finally:
            if self._picture_verdict is verdict:
                self._picture, self._picture_verdict = None, None

    def _is_taken(self) -> bool:
        """Whether the camera has the picture and is at work."""
        return self._picture is None

    async def next_picture(self) -> Picture:
        """Return the next picture, for the camera."""
        while self._picture is None:
            self._picture_ready.clear()
            await self._picture_ready.wait()
        picture, self._picture = self._picture, None
        return picture

    def picture_read(self, number: int, verdict: str) -> None:
        """Note the camera's verdict on the picture that is held up."""
        waiting = self._picture_verdict
        if number == self._picture_number and waiting is not None and not waiting.done():
            waiting.set_result(verdict)


def encode_png(width: int, height: int, rgb: bytes) -> bytes:
    """Return a PNG of 8-bit RGB pixels (row filter 0, fast compression)."""
    stride = width * 3
    rows = b"".join(b"\x00" + rgb[y * stride : (y + 1) * stride] for y in range(height))
    header = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    )
