"""The answering side of the RPC layer, untyped: routing, permission, limits, tasks (session 8.7).

`CallRouter` knows route keys and bytes and never decodes a value, so a process that only forwards
calls uses it as it is; `RpcServer` adds typed handlers on top.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from primegap.quantumlink.aio.errors import (
    CallTimeoutError,
    LocalResetError,
    PeerResetError,
    RefusedError,
    SessionEndedError,
)
from primegap.quantumlink.aio.parts import ItemLane
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.identity import PeerBundle
from primegap.quantumlink.rpc import (
    MAX_VALUE_BYTES,
    AppId,
    AppRouteKey,
    RouteKey,
    RpcError,
    ServiceId,
    ServiceRouteKey,
    TruncatedError,
    ValueReader,
    encode_part,
)

if TYPE_CHECKING:
    from primegap.quantumlink.aio.streams import ByteStream

_LOG: Final = logging.getLogger(__name__)

MAX_CALLS: Final = 32
"""Calls of the peer that run at once; further ones are reset with 8. A companion holds a dozen
subscriptions and a few requests."""
REQUEST_IDLE_S: Final = 30.0
"Longest pause inside a request; then the call is reset with 7, so that it does not hold its place."

Authorise = Callable[[PeerBundle, RouteKey], bool]
"Says whether a peer may call a route. Nothing is told about a route to a peer that may not."


def allow_all(peer: PeerBundle, key: RouteKey) -> bool:
    """Allow everything: for services whose every caller is the one paired device."""
    del peer, key
    return True


class StreamSource(Protocol):
    """Hands out the streams of the peer; a `LinkDriver` is one."""

    def on_stream(self, handler: Callable[[ByteStream], None]) -> None:
        """Set who takes them."""


class CancelWhen(Enum):
    """When the task of a handler is cancelled."""

    ANSWER_UNWANTED = "answer unwanted"
    "The peer has reset the return lane, or the session is over."
    NEVER = "never"
    "A notification, which has no return lane; and duplex, which lives on in one direction."


class Call:
    """One call of the peer, nothing decoded."""

    def __init__(self, stream: ByteStream, key: RouteKey, *, idle_s: float) -> None:
        self.key = key
        "What is called."
        self.stream = stream
        "Its two lanes."
        self.idle_s = idle_s
        "Longest pause of the caller inside its request, in seconds."

    @property
    def peer(self) -> PeerBundle:
        """Who calls."""
        return self.stream.peer

    @property
    def header(self) -> bytes:
        """The encoded key."""
        return self.stream.header

    async def read_value(self, max_bytes: int = MAX_VALUE_BYTES) -> bytes:
        """Read the request, for all modalities but upload and duplex.

        Raises:
            RpcError: it is too long; let it pass, and the router resets the call.
            CallTimeoutError: the caller paused for too long; the same.
            PeerResetError, SessionEndedError: the caller gave up.
        """
        lane = ItemLane(self.stream.reader, ValueReader(max_bytes), idle_s=self.idle_s)
        value = await lane.next()
        if value is None:
            raise TruncatedError("no request")
        return value

    async def answer(self, value: bytes) -> None:
        """Send the answer of a request, and the end."""
        await self.stream.writer.write(value)
        self.stream.writer.finish()

    async def send_event(self, value: bytes) -> None:
        """Send one event of a subscription or of a duplex call."""
        await self.stream.writer.write(encode_part(value))

    def finish(self) -> None:
        """Tell that no further event will be sent."""
        self.stream.writer.finish()

    def reset(self, reset_code: int) -> None:
        """End the call with a code."""
        self.stream.reset(reset_code)


RawHandler = Callable[[Call], Awaitable[None]]
"Serves a call. What it leaves open is dropped when it returns."
RawRequestHandler = Callable[[bytes, bytes], Awaitable[bytes]]
"Takes stream header and request, returns the answer, or raises `RefusedError`."


class CallRouter:
    """Takes the streams of the peer and runs a handler for each, as a task.

    Args:
        source: a `LinkDriver`.
        keys: kind of keys this side serves: `AppRouteKey` on the device, `ServiceRouteKey` on the
            phone.
        authorise: asked before anything else.
        max_calls: calls that run at once.
        request_idle_s: longest pause inside a request.
    """

    def __init__(
        self,
        source: StreamSource,
        *,
        keys: type[AppRouteKey] | type[ServiceRouteKey],
        authorise: Authorise,
        max_calls: int = MAX_CALLS,
        request_idle_s: float = REQUEST_IDLE_S,
    ) -> None:
        self._keys = keys
        self._authorise = authorise
        self._max_calls = max_calls
        self._request_idle_s = request_idle_s
        self._by_key: dict[bytes, tuple[RawHandler, CancelWhen]] = {}
        self._by_scope: dict[AppId | ServiceId, tuple[RawHandler, CancelWhen]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        source.on_stream(self._take)

    @property
    def running_calls(self) -> int:
        """Handlers at work."""
        return len(self._tasks)

    def on_call(
        self,
        key: RouteKey,
        handler: RawHandler,
        *,
        cancel_when: CancelWhen = CancelWhen.ANSWER_UNWANTED,
    ) -> None:
        """Register the handler of one route.

        Raises:
            LocalError: it has one, or its key is of the other kind.
        """
        header = key.encode()
        if header in self._by_key:
            raise LocalError("a route has one handler")
        if not isinstance(key, self._keys):
            raise LocalError("a route of the other side")
        self._by_key[header] = (handler, cancel_when)

    def on_scope(
        self,
        scope: AppId | ServiceId,
        handler: RawHandler,
        *,
        cancel_when: CancelWhen = CancelWhen.ANSWER_UNWANTED,
    ) -> None:
        """Register a handler for all routes of an app or service that have none of their own.

        Raises:
            LocalError: there is one.
        """
        if scope in self._by_scope:
            raise LocalError("an app or service has one handler")
        self._by_scope[scope] = (handler, cancel_when)

    def forget_scope(self, scope: AppId | ServiceId) -> None:
        """Take back `on_scope`; calls that run go on."""
        self._by_scope.pop(scope, None)

    def on_raw_request(
        self,
        scope: AppId | ServiceId,
        handler: RawRequestHandler,
        *,
        max_request_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """Register a handler for all requests to an app or service, body and answer as bytes."""

        async def serve(call: Call) -> None:
            await call.answer(await handler(call.header, await call.read_value(max_request_bytes)))

        self.on_scope(scope, serve)

    async def aclose(self) -> None:
        """Cancel all handlers, resetting their calls with 0, and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, stream: ByteStream) -> None:
        try:
            key = self._keys.parse_untrusted(stream.header)
        except RpcError as error:
            stream.reset(error.reset_code)
            return
        if not self._authorise(stream.peer, key):
            stream.reset(ResetCode.REFUSED)
            return
        found = self._by_key.get(stream.header) or self._by_scope.get(key.scope)
        if found is None:
            stream.reset(ResetCode.UNKNOWN_ROUTE)
        elif len(self._tasks) >= self._max_calls:
            stream.reset(ResetCode.LIMIT)
        else:
            handler, cancel_when = found
            call = Call(stream, key, idle_s=self._request_idle_s)
            task = asyncio.get_running_loop().create_task(_serve(call, handler))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if cancel_when is CancelWhen.ANSWER_UNWANTED:
                stream.writer.on_failure(lambda: _cancel(task))


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _serve(call: Call, handler: RawHandler) -> None:
    """Run a handler and end its call whatever happens in it."""
    stream = call.stream
    try:
        await handler(call)
    except asyncio.CancelledError:
        stream.reset(ResetCode.CANCELLED)  # no effect on lanes the peer has ended
        raise
    except RefusedError as error:
        stream.reset(error.reset_code)
    except RpcError as error:
        stream.reset(error.reset_code)
    except (PeerResetError, LocalResetError, SessionEndedError):
        pass  # the peer will not hear an answer
    except CallTimeoutError:
        stream.reset(ResetCode.TIMEOUT)
    except Exception as error:  # noqa: BLE001 - a fault of a handler must not take the link down
        _LOG.error("the handler of a call failed: %s", type(error).__name__)
        stream.reset(ResetCode.INTERNAL)
    finally:
        stream.drop()
