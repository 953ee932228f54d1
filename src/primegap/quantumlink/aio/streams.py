"""Streams as a program uses them: awaitable lanes with back-pressure (session section 9.3).

`ByteReader`, `ByteWriter` and `ByteStream` are what the RPC layer needs; a `LinkStream` offers it
on top of an engine.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from primegap.quantumlink.aio.errors import LocalResetError, SessionEndedError, peer_reset_error
from primegap.quantumlink.errors import LocalError, QuantumLinkError
from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.session import (
    Halves,
    InboundFinished,
    MissingStreamError,
    NoSessionError,
    OutboundFinished,
    StreamReadable,
    StreamResetLocal,
    StreamResetReceived,
    StreamWritable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.quantumlink.identity import PeerBundle
    from primegap.quantumlink.session import LinkEngine

    StreamEvent = (
        StreamReadable
        | StreamWritable
        | InboundFinished
        | OutboundFinished
        | StreamResetReceived
        | StreamResetLocal
    )

READ_BYTES: Final = 65_536
"Most bytes of one read: a whole window."
WRITE_BYTES: Final = 65_536
"Bytes offered to the engine at once, so that a large value is not copied once per acknowledgement."


class ByteReader(Protocol):
    """The lane from the peer. Dropping it before its end resets it with code 1."""

    async def read(self) -> bytes:
        """Return the next bytes; empty at the clean end, then and from then on.

        Raises:
            PeerResetError: the peer reset the lane.
            LocalResetError: this side did.
            SessionEndedError: the session is over.
        """

    def reset(self, reset_code: int) -> None:
        """Refuse the rest of the lane. Nothing happens when it has ended already."""


class ByteWriter(Protocol):
    """The lane to the peer. Dropping it before `finish` resets it with code 1."""

    async def write(self, data: bytes) -> None:
        """Queue all of `data`; returns when the send buffer has taken the last byte.

        Raises:
            PeerResetError: the peer does not want the lane (any more).
            LocalResetError: this side reset it.
            SessionEndedError: the session is over.
            LocalError: behind `finish`.
        """

    def finish(self) -> None:
        """Mark the end behind what was written.

        Raises:
            PeerResetError, LocalResetError, SessionEndedError: as for `write`.
        """

    async def wait_finished(self) -> None:
        """Wait until the peer has everything up to the end.

        Raises:
            PeerResetError, LocalResetError, SessionEndedError: as for `write`.
        """

    def reset(self, reset_code: int) -> None:
        """Take back what has not arrived. Nothing happens when the lane is over."""

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the lane fails; at once if it has."""


class ByteStream(Protocol):
    """Two lanes and the header they were opened with."""

    @property
    def stream_id(self) -> int:
        """Number within the session."""

    @property
    def header(self) -> bytes:
        """What the opener sent first."""

    @property
    def peer(self) -> PeerBundle:
        """The other side."""

    @property
    def reader(self) -> ByteReader:
        """The lane from the peer."""

    @property
    def writer(self) -> ByteWriter:
        """The lane to the peer."""

    def reset(self, reset_code: int) -> None:
        """Reset both lanes, as far as they are not over."""

    def drop(self) -> None:
        """End what nobody needs any more: lanes that are neither over nor finished, with code 1."""


class StreamCore:
    """What driver and handles share about one stream.

    Args:
        engine: that runs the stream.
        settle: to be called after every call into the engine.
        forget: to be called when no event of the engine matters any more.
        stream_id, header, peer: see `ByteStream`.
    """

    __slots__ = (
        "_callbacks",
        "_drained",
        "_engine",
        "_finished",
        "_forget",
        "_in_failure",
        "_is_at_end",
        "_is_finished",
        "_loop",
        "_out_failure",
        "_readable",
        "_settle",
        "_writable",
        "header",
        "peer",
        "stream_id",
    )

    def __init__(
        self,
        engine: LinkEngine,
        settle: Callable[[], None],
        forget: Callable[[int], None],
        *,
        stream_id: int,
        header: bytes,
        peer: PeerBundle,
    ) -> None:
        self.stream_id = stream_id
        self.header = header
        self.peer = peer
        self._engine = engine
        self._settle = settle
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._in_failure: Callable[[], QuantumLinkError] | None = None
        self._out_failure: Callable[[], QuantumLinkError] | None = None
        self._is_at_end = False  # the reader was told of the end
        self._is_finished = False  # the writer has marked its end
        self._drained = False  # the peer has everything up to our end
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._finished: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def _inbound_is_over(self) -> bool:
        return self._is_at_end or self._in_failure is not None

    @property
    def _outbound_is_over(self) -> bool:
        return self._drained or self._out_failure is not None

    def _forget_if_over(self) -> None:
        if self._inbound_is_over and self._outbound_is_over:
            self._forget(self.stream_id)

    # --- the driver's side ------------------------------------------------------------------------

    def receive_event(self, event: StreamEvent) -> None:
        """Take an event of the engine."""
        match event:
            case StreamReadable() | InboundFinished():
                _wake(self._readable)
            case StreamWritable():
                _wake(self._writable)
            case OutboundFinished():
                self._drained = True
                _wake(self._finished)
            case StreamResetReceived(_, halves, code):
                self._fail(halves, lambda: peer_reset_error(code))
            case StreamResetLocal(_, halves, code):
                self._fail(halves, lambda: LocalResetError(code))
        self._forget_if_over()

    def end(self) -> None:
        """The session is over: every half that is not, fails."""
        self._fail(Halves.BOTH, lambda: SessionEndedError("the session ended"))

    def _fail(self, halves: Halves, failure: Callable[[], QuantumLinkError]) -> None:
        if Halves.READER in halves and not self._is_at_end and self._in_failure is None:
            self._in_failure = failure
            _wake(self._readable)
        if Halves.WRITER in halves and not self._drained and self._out_failure is None:
            self._out_failure = failure
            _wake(self._writable)
            _wake(self._finished)
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    # --- the program's side -----------------------------------------------------------------------

    async def read(self) -> bytes:
        """Return the next bytes; see `ByteReader.read`."""
        if self._readable is not None:
            raise LocalError("a lane is read by one task at a time")
        while True:
            if self._is_at_end:
                return b""
            if self._in_failure is not None:
                raise self._in_failure()
            try:
                state = self._engine.inbound_state(self.stream_id)
            except MissingStreamError:  # everything was read, and the engine forgot the stream
                self._reach_end()
                continue
            if state.readable_bytes:
                data = self._engine.read(self.stream_id, READ_BYTES)
                self._settle()
                return data
            if state.is_at_end:
                self._reach_end()
                continue
            self._readable = self._loop.create_future()
            try:
                await self._readable
            finally:
                self._readable = None

    def _reach_end(self) -> None:
        self._is_at_end = True
        self._forget_if_over()

    async def write(self, data: bytes) -> None:
        """Queue all of `data`; see `ByteWriter.write`."""
        if self._writable is not None:
            raise LocalError("a lane is written by one task at a time")
        start = 0
        while start < len(data):
            self._check_writer()
            taken = self._engine.write(self.stream_id, data[start : start + WRITE_BYTES])
            self._settle()
            start += taken
            if taken:
                continue
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None
        self._check_writer()

    def finish(self) -> None:
        """Mark the end; see `ByteWriter.finish`."""
        if self._out_failure is not None:
            raise self._out_failure()
        if not self._is_finished:
            self._is_finished = True
            self._engine.finish(self.stream_id)
            self._settle()

    def _check_writer(self) -> None:
        if self._out_failure is not None:
            raise self._out_failure()
        if self._is_finished:
            raise LocalError("a lane was written behind its end")

    async def wait_finished(self) -> None:
        """Wait for the acknowledgement of the end; see `ByteWriter.wait_finished`."""
        while not self._drained:
            if self._out_failure is not None:
                raise self._out_failure()
            if self._finished is None or self._finished.done():
                self._finished = self._loop.create_future()
            await asyncio.shield(self._finished)

    def reset(self, halves: Halves, reset_code: int) -> None:
        """Reset those of the halves that are not over."""
        if self._inbound_is_over:
            halves &= ~Halves.READER
        if self._outbound_is_over:
            halves &= ~Halves.WRITER
        if not halves:
            return
        try:
            self._engine.reset(self.stream_id, halves, reset_code)
        except (MissingStreamError, NoSessionError):
            return
        self._settle()

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Register a callback of the outbound lane; see `ByteWriter.on_failure`."""
        if self._out_failure is not None:
            callback()
        else:
            self._callbacks.append(callback)

    def drop(self, halves: Halves) -> None:
        """A handle went away. What it was needed for ends with code 1 (session 8.6)."""
        if self._is_finished:
            halves &= ~Halves.WRITER  # an end that was marked is not taken back
        self.reset(halves, ResetCode.DROPPED)

    def drop_soon(self, halves: Halves) -> None:
        """Do `drop` in the event loop; may be called by the garbage collector at any time."""
        over = self._inbound_is_over if halves is Halves.READER else self._outbound_is_over
        if not over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.drop, halves)


class LinkReader:
    """A `ByteReader` of a link."""

    __slots__ = ("__weakref__", "_core")

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        weakref.finalize(self, core.drop_soon, Halves.READER).atexit = False

    async def read(self) -> bytes:
        """Return the next bytes; see `ByteReader.read`."""
        return await self._core.read()

    def reset(self, reset_code: int) -> None:
        """Refuse the rest; see `ByteReader.reset`."""
        self._core.reset(Halves.READER, reset_code)


class LinkWriter:
    """A `ByteWriter` of a link."""

    __slots__ = ("__weakref__", "_core")

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        weakref.finalize(self, core.drop_soon, Halves.WRITER).atexit = False

    async def write(self, data: bytes) -> None:
        """Queue all of `data`; see `ByteWriter.write`."""
        await self._core.write(data)

    def finish(self) -> None:
        """Mark the end; see `ByteWriter.finish`."""
        self._core.finish()

    async def wait_finished(self) -> None:
        """Wait until the peer has everything; see `ByteWriter.wait_finished`."""
        await self._core.wait_finished()

    def reset(self, reset_code: int) -> None:
        """Take back what has not arrived; see `ByteWriter.reset`."""
        self._core.reset(Halves.WRITER, reset_code)

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the lane fails; see `ByteWriter.on_failure`."""
        self._core.on_failure(callback)


class LinkStream:
    """A `ByteStream` of a link."""

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        self.reader = LinkReader(core)
        self.writer = LinkWriter(core)

    @property
    def stream_id(self) -> int:
        """Number within the session."""
        return self._core.stream_id

    @property
    def header(self) -> bytes:
        """What the opener sent first."""
        return self._core.header

    @property
    def peer(self) -> PeerBundle:
        """The other side."""
        return self._core.peer

    def reset(self, reset_code: int) -> None:
        """Reset both lanes, as far as they are not over."""
        self._core.reset(Halves.BOTH, reset_code)

    def drop(self) -> None:
        """End what nobody needs any more; see `ByteStream.drop`."""
        self._core.drop(Halves.BOTH)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
