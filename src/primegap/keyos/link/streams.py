"""Streams of the companion as the link process sees them: bytes that it carries and never reads.

Another process, which holds no key, asks for the streams and makes sense of them (L-10). A stream
waits here until the person has confirmed its companion.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import link
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.messages import Empty
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.frames import ResetCode

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.link.store import LinkStore
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process
    from primegap.quantumlink.aio.driver import LinkDriver
    from primegap.quantumlink.aio.streams import LinkStream

MAX_STREAMS: Final = 64
"""Streams that wait or are open; further ones are reset with 8. A session allows as many, so this
one counts only when the process that takes them does not leave what is over."""
MAX_CODE: Final = (1 << 64) - 1  # a reset code is a u64 (wire 11.2)
COMPANION_GONE: Final = "The companion is no longer there."


class OpenStream:
    """A stream of the companion, from its first bytes until it is left."""

    def __init__(self, stream: LinkStream, number: int, session: bytes | None) -> None:
        self.stream = stream
        self.number = number
        self.session = session
        "Transcript hash of the session it belongs to."
        self.instance = 0
        "The process that took it; 0 before one did."
        self.left = False
        "Nobody works on it any more."
        self.for_good = True
        self.gone = asyncio.Event()


class CompanionStreams:
    """Every stream that waits or is open."""

    def __init__(self, process: Process) -> None:
        self._driver: LinkDriver | None = None
        self._store: LinkStore | None = None
        self._open: dict[int, OpenStream] = {}
        self._waiting: deque[OpenStream] = deque()
        self._news = asyncio.Event()
        self._numbers = itertools.count(1)
        process.handle(link.GetIdentity, self._get_identity)
        process.handle(link.NextStream, self._next)
        process.handle(link.ReadStream, self._read)
        process.handle(link.WriteStream, self._write)
        process.handle(link.LeaveStream, self._leave)
        process.handle(link.WaitStream, self._wait)

    def serve(self, driver: LinkDriver, store: LinkStore) -> None:
        """Take streams of the companion from now on."""
        self._driver, self._store = driver, store
        driver.on_stream(self._take)
        self._news.set()

    def admitted(self) -> None:
        """Hand out what waits: the person has confirmed the companion."""
        self._news.set()

    def _take(self, stream: LinkStream) -> None:
        assert self._driver is not None
        if len(self._open) >= MAX_STREAMS:
            stream.reset(ResetCode.LIMIT)
            return
        opened = OpenStream(stream, next(self._numbers), self._driver.handshake_hash)
        self._open[opened.number] = opened
        self._waiting.append(opened)
        self._news.set()
        stream.writer.on_failure(lambda: self._failed(opened))

    def _failed(self, opened: OpenStream) -> None:
        """Note that nobody listens: told when the session ended or the companion reset the lane."""
        assert self._driver is not None
        if not opened.gone.is_set():
            same = self._driver.handshake_hash == opened.session
            opened.for_good = same or self._driver.peer is None
            opened.gone.set()
        if not opened.instance:
            self._forget(opened)

    def _forget(self, opened: OpenStream) -> None:
        opened.left = True
        opened.gone.set()
        self._open.pop(opened.number, None)

    def _end(self, opened: OpenStream, code: int) -> None:
        opened.stream.reset(code)
        self._forget(opened)

    async def _get_identity(self, caller: Caller, request: link.GetIdentity) -> Message:
        while self._store is None:
            await self._next_news()
        return link.DeviceIdentity(self._store.identity.name, bytes(self._store.identity.qid))

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _next(self, caller: Caller, request: link.NextStream) -> Message:
        for opened in list(self._open.values()):
            if opened.instance not in {0, caller.instance}:
                # Who took it has died with it. The companion asks again.
                self._end(opened, ResetCode.INTERNAL)
        while True:
            opened_now = self._first_admitted()
            if opened_now is not None:
                opened_now.instance = caller.instance
                assert self._store is not None
                stream = opened_now.stream
                return link.RemoteStream(
                    opened_now.number, stream.header, stream.peer.encode(), self._store.pairing
                )
            await self._next_news()

    def _first_admitted(self) -> OpenStream | None:
        """Return the first stream that waits, of the companion that the person confirmed."""
        if self._store is None or self._store.peer is None:
            return None
        while self._waiting:
            opened = self._waiting.popleft()
            if opened.left:
                continue
            if opened.stream.peer == self._store.peer:
                return opened
            self._end(opened, ResetCode.REFUSED)
        return None

    def _find(self, caller: Caller, number: int) -> OpenStream:
        """Return a stream that the calling process took."""
        opened = self._open.get(number)
        if opened is None or opened.instance != caller.instance:
            raise RequestError(Status.NOT_FOUND, COMPANION_GONE)
        return opened

    async def _read(self, caller: Caller, request: link.ReadStream) -> Message:
        opened = self._find(caller, request.stream)
        try:
            return link.StreamBytes(await opened.stream.reader.read())
        except QuantumLinkError:
            raise RequestError(Status.NOT_FOUND, COMPANION_GONE) from None

    async def _write(self, caller: Caller, request: link.WriteStream) -> Message:
        opened = self._find(caller, request.stream)
        try:
            await opened.stream.writer.write(request.data)
            if request.end:
                opened.stream.writer.finish()
        except QuantumLinkError:
            raise RequestError(Status.NOT_FOUND, COMPANION_GONE) from None
        return Empty()

    async def _leave(self, caller: Caller, request: link.LeaveStream) -> Message:
        opened = self._find(caller, request.stream)
        if not 0 <= request.code <= MAX_CODE:
            raise RequestError(Status.MALFORMED, "reset code")
        if request.code == ResetCode.DROPPED:
            opened.stream.drop()  # an end that was marked is not taken back
            self._forget(opened)
        else:
            self._end(opened, request.code)
        return Empty()

    async def _wait(self, caller: Caller, request: link.WaitStream) -> Message:
        opened = self._find(caller, request.stream)
        await opened.gone.wait()
        return link.StreamGone(opened.for_good)
