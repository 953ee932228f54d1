"""Lanes of values and lanes of parts: what client and server share (API section 3)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from primegap.quantumlink.aio.errors import CallTimeoutError, PeerResetError
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.rpc import (
    PART_END,
    BadValueError,
    LengthOverflowError,
    PartBody,
    PartStart,
    PartTag,
    Pause,
    RpcError,
    encode_part,
    encode_tagged_part,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from primegap.quantumlink.aio.streams import ByteReader, ByteStream, ByteWriter
    from primegap.quantumlink.rpc import Codec, LaneReader, MultipartItem

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")
HeaderT = TypeVar("HeaderT")
OutgoingT = TypeVar("OutgoingT")
IncomingT = TypeVar("IncomingT")

CHUNK_BYTES: Final = 16_384
"Most bytes of one body chunk: what an announced length commits a writer to."


class ItemLane(Generic[ItemT]):
    """Takes the items of a lane as they arrive; resets the lane when they are against the rules."""

    def __init__(
        self, lane: ByteReader, items: LaneReader[ItemT], *, idle_s: float | None = None
    ) -> None:
        """Take items of `lane`; with `idle_s`, no pause of the peer may be longer."""
        self._lane = lane
        self._items = items
        self._idle_s = idle_s

    async def next(self) -> ItemT | None:
        """Return the next item, or None at the end. Giving up the wait loses nothing.

        Raises:
            RpcError: the lane does not hold what it should; it was reset.
            PeerResetError, LocalResetError, SessionEndedError: see `ByteReader.read`.
            CallTimeoutError: the peer paused for too long; the lane was reset with 7.
        """
        while True:
            try:
                item = self._items.take()
            except RpcError as error:
                self._lane.reset(error.reset_code)
                raise
            if item is Pause.END:
                return None
            if not isinstance(item, Pause):
                return item
            data = await self._read()
            if data:
                self._items.receive(data)
            else:
                self._items.receive_end()

    async def _read(self) -> bytes:
        if self._idle_s is None:
            return await self._lane.read()
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._lane.read()
        except TimeoutError:
            self._lane.reset(ResetCode.TIMEOUT)
            raise CallTimeoutError("the peer paused for too long") from None

    def decode(self, codec: Codec[ValueT], value: bytes) -> ValueT:
        """Decode a value that came on this lane.

        Raises:
            BadValueError: it does not decode; the lane was reset.
        """
        try:
            return codec.decode_untrusted(value)
        except BadValueError as error:
            self.reset(error.reset_code)
            raise

    def reset(self, reset_code: int) -> None:
        """Refuse the rest of the lane, as far as it is not over; no further item is handed out."""
        self._items.stop()
        self._lane.reset(reset_code)


class IncomingPart(Generic[HeaderT]):
    """A part as it arrives. An asynchronous iterator over pieces of its body.

    The boundaries of pieces carry no meaning, and no piece is empty.
    """

    def __init__(self, header: HeaderT, lane: ItemLane[MultipartItem]) -> None:
        self.header = header
        "The decoded part header."
        self.is_complete = False
        "True when the end of the part was read."
        self._lane = lane

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        item = None if self.is_complete else await self._lane.next()
        if isinstance(item, PartBody):
            return item.data
        self.is_complete = True
        raise StopAsyncIteration

    async def read_all(self, max_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            LengthOverflowError: it has more than `max_bytes`; the lane was reset with 8.
        """
        body = bytearray()
        async for piece in self:
            body += piece
            if len(body) > max_bytes:
                self._lane.reset(ResetCode.LIMIT)
                raise LengthOverflowError(f"a body of at most {max_bytes} bytes is accepted here")
        return bytes(body)


class IncomingParts(Generic[HeaderT]):
    """The parts of a download or upload, in order. An asynchronous iterator.

    A part that was not read to its end is read and forgotten when the next one is asked for.
    """

    def __init__(self, lane: ItemLane[MultipartItem], header: Codec[HeaderT]) -> None:
        self._lane = lane
        self._codec = header
        self._part: IncomingPart[HeaderT] | None = None

    def __aiter__(self) -> AsyncIterator[IncomingPart[HeaderT]]:
        return self

    async def __anext__(self) -> IncomingPart[HeaderT]:
        if self._part is not None:
            async for _ in self._part:
                pass
            self._part = None
        item = await self._lane.next()
        if not isinstance(item, PartStart):
            raise StopAsyncIteration
        self._part = IncomingPart(self._lane.decode(self._codec, item.header), self._lane)
        return self._part

    def close(self) -> None:
        """Refuse what was not read: with 1 inside a part, with 0 between parts (session 8.6)."""
        inside = self._part is not None and not self._part.is_complete
        self._lane.reset(ResetCode.DROPPED if inside else ResetCode.CANCELLED)


class OutgoingPart:
    """A part being written."""

    def __init__(self, lane: ByteWriter) -> None:
        self._lane = lane
        self._is_open = True

    async def write(self, data: bytes) -> None:
        """Write the next bytes of the body.

        Raises:
            PeerResetError: the peer has seen enough.
            LocalError: the part is over.
        """
        if not self._is_open:
            raise LocalError("a part was written behind its end")
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            await self._lane.write(encode_tagged_part(PartTag.BODY, chunk))

    async def end(self) -> None:
        """End the part; `OutgoingParts.part` does this."""
        self._is_open = False
        await self._lane.write(PART_END)


class OutgoingParts(Generic[HeaderT]):
    """The parts of a download or upload, being written one after another."""

    def __init__(self, stream: ByteStream, header: Codec[HeaderT]) -> None:
        self._stream = stream
        self._codec = header
        self._is_inside = False

    @contextlib.asynccontextmanager
    async def part(self, header: HeaderT) -> AsyncIterator[OutgoingPart]:
        """Write one part: its header at the start of the block, its end at the end.

        A block left by an error abandons the part, and with it the call (code 1).
        """
        if self._is_inside:
            raise LocalError("parts follow each other")
        self._is_inside = True
        lane = self._stream.writer
        try:
            await lane.write(encode_tagged_part(PartTag.HEADER, self._codec.encode(header)))
            part = OutgoingPart(lane)
            yield part
            await part.end()
        except PeerResetError:
            raise  # the peer ended this lane; an answer may still come on the other one
        except BaseException:
            self._stream.reset(ResetCode.DROPPED)
            raise
        self._is_inside = False


class Duplex(Generic[OutgoingT, IncomingT]):
    """Events in both directions. An asynchronous iterator over those of the peer."""

    def __init__(
        self,
        stream: ByteStream,
        outgoing: Codec[OutgoingT],
        incoming: Codec[IncomingT],
        lane: ItemLane[bytes],
    ) -> None:
        self._stream = stream
        self._outgoing = outgoing
        self._incoming = incoming
        self._lane = lane

    async def send(self, event: OutgoingT) -> None:
        """Send an event; returns when the send buffer has taken it."""
        await self._stream.writer.write(encode_part(self._outgoing.encode(event)))

    def finish(self) -> None:
        """Tell that no further event will be sent."""
        self._stream.writer.finish()

    async def receive(self) -> IncomingT | None:
        """Return the next event of the peer, or None when it sends no more."""
        value = await self._lane.next()
        return None if value is None else self._lane.decode(self._incoming, value)

    def __aiter__(self) -> AsyncIterator[IncomingT]:
        return self

    async def __anext__(self) -> IncomingT:
        event = await self.receive()
        if event is None:
            raise StopAsyncIteration
        return event
