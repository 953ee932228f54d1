"""The calling side of the RPC layer: one method per modality (session section 8.3).

    client = RpcClient(driver)
    answer = await client.request(RequestSignPsbt, SignPsbtParams(account_id="a", psbt=psbt))
    async for event in client.subscribe(SubscribeAccountUpdated, Empty()):
        ...
    async with client.download(DownloadBenchmark, DownloadBenchmarkParams(length=1000)) as download:
        async for part in download.parts:
            body = await part.read_all(1000)

All raise `NoSessionError` when not connected, `SessionEndedError` when the connection ends before
the call, a `PeerResetError` when the peer gives the call up, an `RpcError` when its answer does not
hold. A call that is cancelled, or left before its end, is reset.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from primegap.quantumlink.aio.errors import CallTimeoutError, PeerResetError
from primegap.quantumlink.aio.parts import Duplex, IncomingParts, ItemLane, OutgoingParts
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.rpc import (
    EventReader,
    FinalResponse,
    MultipartReader,
    Preamble,
    ProgressReader,
    ProgressValue,
    TruncatedError,
    ValueReader,
    encode_part,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from primegap.quantumlink.aio.streams import ByteStream
    from primegap.quantumlink.rpc import (
        Codec,
        DownloadRoute,
        DuplexRoute,
        NotificationRoute,
        ProgressRoute,
        RequestRoute,
        Route,
        SubscriptionRoute,
        UploadRoute,
    )

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")
EventT = TypeVar("EventT")
ProgressT = TypeVar("ProgressT")
HeaderT = TypeVar("HeaderT")
PartHeaderT = TypeVar("PartHeaderT")
OutgoingT = TypeVar("OutgoingT")
IncomingT = TypeVar("IncomingT")


class StreamOpener(Protocol):
    """Opens streams; a `LinkDriver` is one."""

    def open_stream(self, header: bytes) -> ByteStream:
        """Open a stream with a header."""


class RequestTooLargeError(LocalError):
    """A request exceeds what its route allows; nothing was sent."""

    code = "rpc-request-too-large"
    hint = "This is too large to be sent to the other device."


class _OfRoute(Enum):
    OF_ROUTE = "of route"


OF_ROUTE = _OfRoute.OF_ROUTE
"Time-out argument: what the route says."

TimeoutS = float | None | _OfRoute


class RpcClient:
    """Calls routes of the peer.

    Args:
        opener: where streams come from, a `LinkDriver`.
    """

    def __init__(self, opener: StreamOpener) -> None:
        self._opener = opener

    async def request(
        self,
        route: RequestRoute[RequestT, AnswerT],
        params: RequestT,
        *,
        timeout_s: TimeoutS = OF_ROUTE,
    ) -> AnswerT:
        """Send a request and return its answer.

        Args:
            route: what to call.
            params: the request.
            timeout_s: for the whole call; None for no limit.

        Raises:
            CallTimeoutError: no answer in time.
        """
        value = _encode(route, route.request, params)
        async with self._call(route, timeout_s) as stream:
            lane = ItemLane(stream.reader, ValueReader(route.max_answer_bytes))
            await _send_value(stream, value)
            answer = await lane.next()
            if answer is None:
                raise TruncatedError("no answer")
            return lane.decode(route.answer, answer)

    async def notify(
        self,
        route: NotificationRoute[RequestT],
        payload: RequestT,
        *,
        timeout_s: TimeoutS = OF_ROUTE,
    ) -> None:
        """Send a notification; returns when the peer has all of it.

        Raises:
            CallTimeoutError: the peer did not take it in time.
        """
        value = _encode(route, route.request, payload)
        async with self._call(route, timeout_s) as stream:
            stream.reader.reset(ResetCode.CANCELLED)  # nothing will come (session 8.3)
            await _send_value(stream, value)

    def subscribe(
        self, route: SubscriptionRoute[RequestT, EventT], params: RequestT
    ) -> Subscription[RequestT, EventT]:
        """Return a subscription, an asynchronous iterator over its events.

        The request is sent when the first event is asked for, or by `Subscription.start`.
        """
        return Subscription(self._opener, route, params)

    def progress(
        self,
        route: ProgressRoute[RequestT, ProgressT, AnswerT],
        params: RequestT,
        *,
        timeout_s: TimeoutS = OF_ROUTE,
    ) -> contextlib.AbstractAsyncContextManager[ProgressCall[ProgressT, AnswerT]]:
        """Send a request whose answer is announced by progress values. A context manager.

        The time-out is for the whole block.
        """
        return self._progress(route, params, timeout_s)

    @contextlib.asynccontextmanager
    async def _progress(
        self,
        route: ProgressRoute[RequestT, ProgressT, AnswerT],
        params: RequestT,
        timeout_s: TimeoutS,
    ) -> AsyncIterator[ProgressCall[ProgressT, AnswerT]]:
        value = _encode(route, route.request, params)
        async with self._call(route, timeout_s) as stream:
            lane = ItemLane(stream.reader, ProgressReader(route.max_answer_bytes))
            await _send_value(stream, value)
            yield ProgressCall(route, lane)

    @contextlib.asynccontextmanager
    async def download(
        self,
        route: DownloadRoute[RequestT, HeaderT, PartHeaderT],
        params: RequestT,
        *,
        timeout_s: TimeoutS = OF_ROUTE,
    ) -> AsyncIterator[Download[HeaderT, PartHeaderT]]:
        """Send a request and receive parts. A context manager; leaving it early ends the call.

        Args:
            route: what to call.
            params: the request.
            timeout_s: until the response header is there; bodies take as long as they take.

        Raises:
            CallTimeoutError: no response header in time.
        """
        value = _encode(route, route.request, params)
        async with self._call(route, None) as stream:
            reader = MultipartReader(
                preamble_limit=route.max_answer_bytes, header_limit=route.max_answer_bytes
            )
            lane = ItemLane(stream.reader, reader)
            async with _time_limit(stream, route, timeout_s):
                await _send_value(stream, value)
                preamble = await lane.next()
            if not isinstance(preamble, Preamble):
                raise TruncatedError("no response header")
            header = lane.decode(route.header, preamble.value)
            parts = IncomingParts(lane, route.part_header)
            try:
                yield Download(header, parts)
            finally:
                parts.close()

    @contextlib.asynccontextmanager
    async def upload(
        self,
        route: UploadRoute[RequestT, PartHeaderT, AnswerT],
        params: RequestT,
        *,
        timeout_s: TimeoutS = OF_ROUTE,
    ) -> AsyncIterator[Upload[PartHeaderT, AnswerT]]:
        """Send a request and parts, then await the answer. A context manager.

        Args:
            route: what to call.
            params: the request.
            timeout_s: for the answer, from the moment everything was sent.
        """
        value = _encode(route, route.request, params)
        async with self._call(route, None) as stream:
            await stream.writer.write(encode_part(value))
            yield Upload(stream, route, timeout_s)

    @contextlib.asynccontextmanager
    async def duplex(
        self, route: DuplexRoute[OutgoingT, IncomingT]
    ) -> AsyncIterator[Duplex[OutgoingT, IncomingT]]:
        """Exchange events. A context manager; directions that are not over at its end are reset."""
        async with self._call(route, None) as stream:
            lane = ItemLane(stream.reader, EventReader(route.max_answer_bytes))
            yield Duplex(stream, route.caller_event, route.handler_event, lane)

    @contextlib.asynccontextmanager
    async def _call(self, route: Route, timeout_s: TimeoutS) -> AsyncIterator[ByteStream]:
        """Open a stream that is over when the block is: cancelled, timed out, or dropped."""
        stream = self._opener.open_stream(route.key.encode())
        try:
            async with _time_limit(stream, route, timeout_s):
                yield stream
        except asyncio.CancelledError:
            stream.reset(ResetCode.CANCELLED)
            raise
        finally:
            stream.drop()


class Subscription(Generic[RequestT, EventT]):
    """Events of a route. An asynchronous iterator; as a context manager it ends with its block.

    Made by `RpcClient.subscribe`.
    """

    def __init__(
        self,
        opener: StreamOpener,
        route: SubscriptionRoute[RequestT, EventT],
        params: RequestT,
    ) -> None:
        self._opener = opener
        self._route = route
        self._value = _encode(route, route.request, params)
        self._stream: ByteStream | None = None
        self._lane: ItemLane[bytes] | None = None

    async def start(self) -> None:
        """Send the request, if it was not sent; returns when the peer has it."""
        await self._started()

    async def _started(self) -> ItemLane[bytes]:
        if self._lane is not None:
            return self._lane
        route = self._route
        stream = self._stream = self._opener.open_stream(route.key.encode())
        self._lane = ItemLane(stream.reader, EventReader(route.max_answer_bytes))
        try:
            await _send_value(stream, self._value)
        except asyncio.CancelledError:
            stream.reset(ResetCode.CANCELLED)
            raise
        return self._lane

    def __aiter__(self) -> AsyncIterator[EventT]:
        return self

    async def __anext__(self) -> EventT:
        lane = await self._started()
        value = await lane.next()
        if value is None:
            raise StopAsyncIteration
        return lane.decode(self._route.event, value)

    def cancel(self) -> None:
        """End the subscription; the server is told (code 0)."""
        if self._stream is not None:
            self._stream.reset(ResetCode.CANCELLED)

    async def __aenter__(self) -> Subscription[RequestT, EventT]:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._stream.drop()


class ProgressCall(Generic[ProgressT, AnswerT]):
    """A request under way. An asynchronous iterator over progress values."""

    def __init__(
        self,
        route: ProgressRoute[RequestT, ProgressT, AnswerT],
        lane: ItemLane[ProgressValue | FinalResponse],
    ) -> None:
        self._progress: Codec[ProgressT] = route.progress
        self._codec: Codec[AnswerT] = route.answer
        self._lane = lane
        self._answers: list[AnswerT] = []

    def __aiter__(self) -> AsyncIterator[ProgressT]:
        return self

    async def __anext__(self) -> ProgressT:
        item = await self._lane.next()
        if isinstance(item, ProgressValue):
            return self._lane.decode(self._progress, item.value)
        if isinstance(item, FinalResponse):
            self._answers.append(self._lane.decode(self._codec, item.value))
            await self._lane.next()  # the end: an answer counts only when nothing follows it
        raise StopAsyncIteration

    async def answer(self) -> AnswerT:
        """Return the answer, passing over progress values that were not taken."""
        async for _ in self:
            pass
        if not self._answers:
            raise TruncatedError("no final response")
        return self._answers[0]


class Download(Generic[HeaderT, PartHeaderT]):
    """A download under way."""

    def __init__(self, header: HeaderT, parts: IncomingParts[PartHeaderT]) -> None:
        self.header = header
        "The response header."
        self.parts = parts
        "The parts, in order."


class Upload(Generic[PartHeaderT, AnswerT]):
    """An upload under way."""

    def __init__(
        self,
        stream: ByteStream,
        route: UploadRoute[RequestT, PartHeaderT, AnswerT],
        timeout_s: TimeoutS,
    ) -> None:
        self._stream = stream
        self._route: Route = route
        self._codec: Codec[AnswerT] = route.answer
        self._timeout_s = timeout_s
        self._parts = OutgoingParts(stream, route.part_header)
        self.part = self._parts.part
        """Write one part: `async with upload.part(header) as part: await part.write(data)`. Raises
        a `PeerResetError` when the peer wants no more; its answer may be there all the same."""

    async def answer(self) -> AnswerT:
        """End the parts and return the answer.

        Raises:
            CallTimeoutError: no answer in time.
        """
        lane = ItemLane(self._stream.reader, ValueReader(self._route.max_answer_bytes))
        with contextlib.suppress(PeerResetError):  # it answers without reading to the end
            self._stream.writer.finish()
            await self._stream.writer.wait_finished()
        async with _time_limit(self._stream, self._route, self._timeout_s):
            value = await lane.next()
        if value is None:
            raise TruncatedError("no answer")
        return lane.decode(self._codec, value)


@contextlib.asynccontextmanager
async def _time_limit(stream: ByteStream, route: Route, timeout_s: TimeoutS) -> AsyncIterator[None]:
    limit_s = route.timeout_s if timeout_s is OF_ROUTE else timeout_s
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise  # somebody else's
        stream.reset(ResetCode.TIMEOUT)
        raise CallTimeoutError(f"{route.name} was not answered in time") from error


def _encode(route: Route, codec: Codec[RequestT], params: RequestT) -> bytes:
    value = codec.encode(params)
    if len(value) > route.max_request_bytes:
        raise RequestTooLargeError(
            f"a request of {route.name} has at most {route.max_request_bytes} bytes"
        )
    return value


async def _send_value(stream: ByteStream, value: bytes) -> None:
    """Send the one value of the origin lane, and wait until the peer has it."""
    await stream.writer.write(value)
    stream.writer.finish()
    await stream.writer.wait_finished()
