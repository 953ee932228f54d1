"""Typed handlers for the routes this side serves: decoded requests in, values out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from primegap.quantumlink.aio.parts import Duplex, IncomingParts, ItemLane, OutgoingParts
from primegap.quantumlink.aio.server import Call, CallRouter, CancelWhen
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.rpc import (
    EventReader,
    MultipartReader,
    Preamble,
    ProgressTag,
    TruncatedError,
    encode_part,
    encode_tagged_part,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from primegap.quantumlink.aio.parts import OutgoingPart
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


class DownloadAnswer(Generic[HeaderT, PartHeaderT]):
    """The answer of a download, being written: the header first, then parts."""

    def __init__(
        self, stream: ByteStream, header: Codec[HeaderT], part_header: Codec[PartHeaderT]
    ) -> None:
        self._stream = stream
        self._header = header
        self._is_started = False
        self._parts = OutgoingParts(stream, part_header)

    async def start(self, header: HeaderT) -> None:
        """Send the response header."""
        if self._is_started:
            raise LocalError("a download has one response header")
        self._is_started = True
        await self._stream.writer.write(encode_part(self._header.encode(header)))

    def part(self, header: PartHeaderT) -> contextlib.AbstractAsyncContextManager[OutgoingPart]:
        """Write one part: `async with answer.part(header) as part: await part.write(data)`."""
        if not self._is_started:
            raise LocalError("the response header comes first")
        return self._parts.part(header)


class RpcServer(CallRouter):
    """Serves routes with typed handlers, each run as a task of its own.

        server = RpcServer(driver, keys=ServiceRouteKey, authorise=allow_all)

        async def echo(call: Call, params: EchoParams) -> EchoResponse:
            return EchoResponse(message=params.message)

        server.on_request(RequestEcho, echo)

    A handler may raise `RefusedError` to end its call with a code. It is cancelled when the peer
    does not want the answer any more or the session ends.
    """

    def on_request(
        self,
        route: RequestRoute[RequestT, AnswerT],
        handler: Callable[[Call, RequestT], Awaitable[AnswerT]],
    ) -> None:
        """Serve a request route."""

        async def serve(call: Call) -> None:
            params = await _read_request(call, route, route.request)
            await call.answer(route.answer.encode(await handler(call, params)))

        self.on_call(route.key, serve)

    def on_notification(
        self,
        route: NotificationRoute[RequestT],
        handler: Callable[[Call, RequestT], Awaitable[None]],
    ) -> None:
        """Serve a notification route."""

        async def serve(call: Call) -> None:
            payload = await _read_request(call, route, route.request)
            call.stream.writer.reset(ResetCode.CANCELLED)  # nothing will be said (session 8.3)
            await handler(call, payload)

        self.on_call(route.key, serve, cancel_when=CancelWhen.NEVER)

    def on_subscription(
        self,
        route: SubscriptionRoute[RequestT, EventT],
        handler: Callable[[Call, RequestT], AsyncGenerator[EventT, None]],
    ) -> None:
        """Serve a subscription route. The handler is an asynchronous generator of events.

        It is asked for the next event when the last one has found room in the send buffer.
        """

        async def serve(call: Call) -> None:
            params = await _read_request(call, route, route.request)
            async with contextlib.aclosing(handler(call, params)) as events:
                async for event in events:
                    await call.send_event(route.event.encode(event))
            call.finish()

        self.on_call(route.key, serve)

    def on_progress(
        self,
        route: ProgressRoute[RequestT, ProgressT, AnswerT],
        handler: Callable[
            [Call, RequestT, Callable[[ProgressT], Awaitable[None]]], Awaitable[AnswerT]
        ],
    ) -> None:
        """Serve a progress route. The handler gets a function that reports progress."""

        async def serve(call: Call) -> None:
            writer = call.stream.writer

            async def report(progress: ProgressT) -> None:
                value = route.progress.encode(progress)
                await writer.write(encode_tagged_part(ProgressTag.PROGRESS, value))

            params = await _read_request(call, route, route.request)
            value = route.answer.encode(await handler(call, params, report))
            await writer.write(encode_tagged_part(ProgressTag.RESPONSE, value))
            call.finish()

        self.on_call(route.key, serve)

    def on_download(
        self,
        route: DownloadRoute[RequestT, HeaderT, PartHeaderT],
        handler: Callable[[Call, RequestT, DownloadAnswer[HeaderT, PartHeaderT]], Awaitable[None]],
    ) -> None:
        """Serve a download route. The handler writes the answer; its end is marked for it."""

        async def serve(call: Call) -> None:
            params = await _read_request(call, route, route.request)
            answer = DownloadAnswer(call.stream, route.header, route.part_header)
            await handler(call, params, answer)
            call.finish()

        self.on_call(route.key, serve)

    def on_upload(
        self,
        route: UploadRoute[RequestT, PartHeaderT, AnswerT],
        handler: Callable[[Call, RequestT, IncomingParts[PartHeaderT]], Awaitable[AnswerT]],
    ) -> None:
        """Serve an upload route. The handler may answer without reading to the end."""

        async def serve(call: Call) -> None:
            reader = MultipartReader(
                preamble_limit=route.max_request_bytes, header_limit=route.max_request_bytes
            )
            lane = ItemLane(call.stream.reader, reader, idle_s=call.idle_s)
            preamble = await lane.next()
            if not isinstance(preamble, Preamble):
                raise TruncatedError("no request")
            params = lane.decode(route.request, preamble.value)
            parts = IncomingParts(lane, route.part_header)
            value = route.answer.encode(await handler(call, params, parts))
            parts.close()
            await call.answer(value)

        self.on_call(route.key, serve)

    def on_duplex(
        self,
        route: DuplexRoute[IncomingT, OutgoingT],
        handler: Callable[[Call, Duplex[OutgoingT, IncomingT]], Awaitable[None]],
    ) -> None:
        """Serve a duplex route. What the handler has not finished is reset when it returns."""

        async def serve(call: Call) -> None:
            lane = ItemLane(call.stream.reader, EventReader(route.max_request_bytes))
            await handler(call, Duplex(call.stream, route.handler_event, route.caller_event, lane))

        self.on_call(route.key, serve, cancel_when=CancelWhen.NEVER)


async def _read_request(call: Call, route: Route, codec: Codec[RequestT]) -> RequestT:
    return codec.decode_untrusted(await call.read_value(route.max_request_bytes))
