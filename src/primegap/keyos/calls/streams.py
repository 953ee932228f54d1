"""Streams of the companion in the process that reads them: the link process carries their bytes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import link
from primegap.keyos.errors import KeyosError
from primegap.quantumlink import NATIVE, PeerBundle
from primegap.quantumlink.aio.errors import SessionEndedError
from primegap.quantumlink.frames import ResetCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.messages import Request
    from primegap.keyos.process import Process

RETRY_S: Final = 0.2  # the link restarts


class CarriedStream:
    """A `ByteStream`, its reader and its writer, over messages to the link process.

    What is said without waiting (an end, a reset) keeps its order behind what was written.
    """

    def __init__(self, process: Process, opened: link.RemoteStream) -> None:
        self.stream_id = opened.stream
        self.header = opened.header
        self.peer = PeerBundle.parse_untrusted(opened.peer, NATIVE)
        self.pairing = opened.pairing
        self.gone_for_good = True
        "Whether nobody will ask again; known once the lane to the peer has failed."
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._failed = False
        self._left = False
        self._callbacks: list[Callable[[], None]] = []
        self._orders: set[asyncio.Task[None]] = set()
        self._order_of = asyncio.Lock()
        self._watch = self._loop.create_task(self._wait_gone())

    @property
    def reader(self) -> CarriedStream:
        """The lane from the peer."""
        return self

    @property
    def writer(self) -> CarriedStream:
        """The lane to the peer."""
        return self

    async def _wait_gone(self) -> None:
        try:
            gone = await self._process.call(link.WaitStream(self.stream_id), link.StreamGone)
            self.gone_for_good = gone.for_good
        except KeyosError:  # the link restarts, and the companion comes back
            self.gone_for_good = False
        self._failed = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    async def read(self) -> bytes:
        """Return the next bytes; see `ByteReader.read`."""
        try:
            request = link.ReadStream(self.stream_id)
            return (await self._process.call(request, link.StreamBytes)).data
        except KeyosError:
            raise SessionEndedError("the stream is gone") from None

    async def write(self, data: bytes) -> None:
        """Queue all of `data`; see `ByteWriter.write`."""
        await self._write(data, end=False)

    async def write_last(self, data: bytes) -> None:
        """Queue all of `data` and mark the end behind it, as one."""
        await self._write(data, end=True)

    async def _write(self, data: bytes, *, end: bool) -> None:
        try:
            for start in range(0, max(len(data), 1), link.MAX_DATA_BYTES):
                piece = data[start : start + link.MAX_DATA_BYTES]
                last = start + len(piece) == len(data)
                await self._process.call(link.WriteStream(self.stream_id, piece, end=end and last))
        except KeyosError:
            raise SessionEndedError("the stream is gone") from None

    def finish(self) -> None:
        """Mark the end behind what was written."""
        self._order(link.WriteStream(self.stream_id, b"", end=True))

    async def wait_finished(self) -> None:
        """Wait until what was ordered has been done."""
        await asyncio.gather(*self._orders, return_exceptions=True)

    def reset(self, reset_code: int) -> None:
        """End both lanes, as far as they are not over."""
        self._leave(reset_code)

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the lane to the peer fails; at once if it has."""
        if self._failed:
            callback()
        else:
            self._callbacks.append(callback)

    def drop(self) -> None:
        """Be done with the stream: an end that was marked stands, all else is taken back."""
        self._callbacks.clear()
        self._leave(ResetCode.DROPPED)

    def _leave(self, code: int) -> None:
        if not self._left:
            self._left = True
            self._order(link.LeaveStream(self.stream_id, code))

    def _order(self, request: Request) -> None:
        task = self._loop.create_task(self._send(request))
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    async def _send(self, request: Request) -> None:
        async with self._order_of:  # first come, first served
            with contextlib.suppress(KeyosError):
                await self._process.call(request)


class CarriedStreams:
    """Hands out the streams that the link process carries; a `StreamSource`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._handler: Callable[[CarriedStream], None] = CarriedStream.drop

    def on_stream(self, handler: Callable[[CarriedStream], None]) -> None:
        """Set who takes them."""
        self._handler = handler

    async def run(self) -> None:
        """Take streams for as long as the process lives."""
        while True:
            try:
                opened = await self._process.call(link.NextStream(), link.RemoteStream)
            except KeyosError:
                await asyncio.sleep(RETRY_S)
                continue
            self._handler(CarriedStream(self._process, opened))
