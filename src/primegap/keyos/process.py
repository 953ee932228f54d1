"""What a confined process has: a control channel, connections it may ask for, a service.

This is the client side that services and apps share. It is a convenience, not the wall: core checks
every message whatever code the process runs (P-2).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from primegap.keyos.channel import Channel, close_fds, read_object, split_payload
from primegap.keyos.errors import (
    ChannelBrokenError,
    ChannelClosedError,
    FrameError,
    RequestError,
    Status,
)
from primegap.keyos.frame import (
    APP_SERVERS,
    CALLER,
    DEFAULT_OBJECT_BYTES,
    MAX_LOG_LINE,
    OPEN_CHANNEL,
    Caller,
    Frame,
    Kind,
    encode_frame,
    error_frame,
    parse_caller,
    parse_connected,
    parse_frame_untrusted,
)
from primegap.keyos.messages import Message, Request, decode_message_untrusted, encode_message

if TYPE_CHECKING:
    from primegap.keyos.between.answers import AppAnswers
    from primegap.keyos.between.calls import AppCalls
    from primegap.keyos.between.certificate import Side
    from primegap.keyos.between.handshake import ChannelKey

R = TypeVar("R", bound=Message)
Q = TypeVar("Q", bound=Request)
Handler = Callable[[Caller, Q], Awaitable[Message]]

RECONNECT_DELAY_S: Final = 0.1


def _take_payload(frame: Frame, fds: list[int], limit: int) -> bytes:
    """Return the payload, inline or from its object of at most `limit` bytes; closes them."""
    try:
        if frame.objects != len(fds):
            raise FrameError("descriptor count")
        return read_object(fds[0], limit) if fds else frame.payload
    finally:
        close_fds(fds)


class Connection:
    """A connection to one server, held by one process."""

    def __init__(self, server: str, sock: socket.socket, owner: Caller | None = None) -> None:
        self.server = server
        self.owner = owner
        "The process it leads to, as core says; None for the control channel."
        self.app_calls: AppCalls | None = None
        "What is sealed between two apps; made with the first call."
        self._waiting: dict[int, asyncio.Future[tuple[Frame, list[int]]]] = {}
        self._numbers = itertools.count(1)
        self._channel = Channel(sock, on_datagram=self._receive, on_closed=self._closed)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._channel.closed

    async def call_raw(
        self, message_id: int, payload: bytes, *, words: tuple[int, int, int, int] = (0, 0, 0, 0)
    ) -> tuple[Frame, list[int]]:
        """Send a request and return the reply frame with its descriptors, which the caller owns."""
        inline, fd = split_payload(payload)
        correlation = next(self._numbers)
        future: asyncio.Future[tuple[Frame, list[int]]] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = future
        frame = Frame(
            kind=Kind.REQUEST,
            message_id=message_id,
            correlation=correlation,
            words=words,
            payload=inline,
            objects=int(fd is not None),
        )
        try:
            self._channel.send(encode_frame(frame), fd)
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                close_fds(future.result()[1])  # the answer and the cancelling crossed
            with contextlib.suppress(ChannelClosedError):
                self._channel.send(encode_frame(Frame(kind=Kind.CANCEL, correlation=correlation)))
            raise
        finally:
            self._waiting.pop(correlation, None)

    def _receive(self, data: bytes, fds: list[int]) -> None:
        try:
            frame = parse_frame_untrusted(data)
        except FrameError:
            close_fds(fds)
            return
        future = self._waiting.get(frame.correlation)
        if future is None or future.done():
            close_fds(fds)
            return
        if frame.kind is Kind.ERROR:
            close_fds(fds)
            detail = frame.payload.decode(errors="replace")
            try:
                status = Status(frame.words[0])
            except ValueError:
                status = Status.FAILED
            future.set_exception(RequestError(status, detail))
        else:
            future.set_result((frame, fds))

    def _closed(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ChannelClosedError(f"{self.server} is gone"))

    def close(self) -> None:
        """Close the connection; waiting requests fail."""
        self._channel.close()


class Process:
    """The running process: made by the launcher after confinement."""

    def __init__(
        self, order: dict[str, Any], *, data: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.role: str = order["role"]
        self.development: bool = order["development"]
        self.simulator: bool = order["simulator"]
        "No wall around any process: test seeds only, and every screen says so (M-1)."
        self.config: dict[str, Any] = order["config"]
        "Settings for this role, from the launcher (network, first screens); never from an app."
        self.data = Path(data)
        "Folder of this process, when its manifest asks for storage."
        self._fds: dict[str, int] = order["fds"]
        self._loop = loop
        self._connections: dict[str, Connection] = {}
        self._connecting: dict[str, asyncio.Task[Connection]] = {}
        self._handlers: dict[int, tuple[type[Request], Handler[Any]]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._app_answers: AppAnswers | None = None
        self._control: Connection | None = None
        self._service: Channel | None = None
        self._service_gone = asyncio.Event()
        self._last_request: asyncio.Task[Any] | None = None

    async def run(self, entry: Callable[[Process], Awaitable[None]]) -> None:
        """Run the role until it returns or core closes the control channel."""
        self._control = Connection("core", socket.socket(fileno=self._fds["control"]))
        await entry(self)

    def take_socket(self, name: str) -> socket.socket:
        """Return an extra socket that core gave this process at its start, once."""
        return socket.socket(fileno=self._fds.pop(name))

    def log(self, line: str) -> None:
        """Write one line to the device's journal. Never a secret, never a peer's bytes."""
        assert self._control is not None
        frame = Frame(kind=Kind.LOG, payload=line.encode(errors="replace")[:MAX_LOG_LINE])
        with contextlib.suppress(ChannelClosedError):
            self._control._channel.send(encode_frame(frame))  # noqa: SLF001 - same module

    # -- client ---------------------------------------------------------------------------------

    async def connect(self, server: str) -> Connection:
        """Return the connection to a server, opening it if needed; waits until the server runs.

        Raises:
            RequestError: the manifest does not name the server.
        """
        present = self._connections.get(server)
        if present is not None and not present.closed:
            return present
        task = self._connecting.get(server)
        if task is None:
            task = self._loop.create_task(self._open(server))
            self._connecting[server] = task
            task.add_done_callback(functools.partial(self._connected, server))
        return await asyncio.shield(task)

    def _connected(self, server: str, task: asyncio.Task[Connection]) -> None:
        del self._connecting[server]
        if not task.cancelled():
            task.exception()  # whoever asked for the connection may be gone

    async def _open(self, server: str) -> Connection:
        assert self._control is not None
        frame, fds = await self._control_call(Kind.CONNECT, server.encode())
        if frame.kind is not Kind.CONNECTED or len(fds) != 1:
            close_fds(fds)
            raise RequestError(Status.FAILED, "core sent no connection")
        connection = Connection(server, socket.socket(fileno=fds[0]), parse_connected(frame))
        self._connections[server] = connection
        return connection

    async def _control_call(self, kind: Kind, payload: bytes) -> tuple[Frame, list[int]]:
        control = self._control
        assert control is not None
        correlation = next(control._numbers)  # noqa: SLF001 - same module
        future: asyncio.Future[tuple[Frame, list[int]]] = self._loop.create_future()
        control._waiting[correlation] = future  # noqa: SLF001 - same module
        try:
            control._channel.send(  # noqa: SLF001 - same module
                encode_frame(Frame(kind=kind, correlation=correlation, payload=payload))
            )
            return await future
        finally:
            control._waiting.pop(correlation, None)  # noqa: SLF001 - same module

    async def call(self, request: Request, reply: type[R] | None = None) -> R:
        """Send a typed request and return its typed reply.

        The reply type is the request's own; `reply` only tells the type checker. A request that
        `repeats` is sent again when the server restarts before it answered. A request to the
        server of another app (`app/…`) is signed and sealed for that app, and so is its answer.

        Raises:
            RequestError: the server or core answered with an error status.
            ChannelClosedError: the server died before it answered, or core is gone.
            ChannelBrokenError: the answer was not the other app's.
        """
        while True:
            try:
                return await self._call(request, reply)
            except ChannelClosedError:
                if not request.repeats or self._control is None or self._control.closed:
                    raise
            except RequestError as error:
                if not request.repeats or error.status is not Status.SERVER_GONE:
                    raise
            await asyncio.sleep(RECONNECT_DELAY_S)

    async def _call(self, request: Request, reply: type[R] | None) -> R:
        connection = await self.connect(request.server)
        body = encode_message(request)
        if request.server.startswith(APP_SERVERS):
            payload = await self._app_calls(connection).call(request.message_id, body)
        else:
            frame, fds = await connection.call_raw(request.message_id, body)
            payload = _take_payload(frame, fds, request.max_bytes)
        result: R = decode_message_untrusted(request.reply, payload)  # type: ignore[assignment]
        return result

    def _app_calls(self, connection: Connection) -> AppCalls:
        from primegap.keyos.between.calls import AppCalls

        async def send(message_id: int, payload: bytes) -> bytes:
            frame, fds = await connection.call_raw(message_id, payload)
            return _take_payload(frame, fds, DEFAULT_OBJECT_BYTES)

        if connection.app_calls is None:
            assert connection.owner is not None
            connection.app_calls = AppCalls(
                connection.server, connection.owner, send=send, certify=self._certify
            )
        return connection.app_calls

    async def _certify(self, side: Side, server: str) -> ChannelKey:
        """Make a key for one end of one channel and have the device say whose it is."""
        from primegap.keyos.api.security import CertifyChannelKey, ChannelCertificate
        from primegap.keyos.between.handshake import ChannelKey

        key = ChannelKey(os.urandom)
        said = await self.call(
            CertifyChannelKey(side.value, server, key.public_key), ChannelCertificate
        )
        key.certified(said.certificate, said.authority, side=side, server=server)
        return key

    async def call_for_socket(self, request: Request) -> socket.socket:
        """Send a request to core itself that is answered with a socket."""
        connection = await self.connect(request.server)
        _, fds = await connection.call_raw(request.message_id, encode_message(request))
        if len(fds) != 1:
            close_fds(fds)
            raise RequestError(Status.FAILED, "core sent no socket")
        return socket.socket(fileno=fds[0])

    async def launch_app(self, app_id: bytes, image: bytes = b"") -> None:
        """Ask core to start an app: an installed one with the image that runs, byte for byte.

        Raises:
            RequestError: core refuses (see `LaunchApp`).
        """
        from primegap.keyos.api.core import LaunchApp  # of one role only

        connection = await self.connect(LaunchApp.server)
        words = (int.from_bytes(app_id[:8], "big"), int.from_bytes(app_id[8:], "big"), 0, 0)
        _, fds = await connection.call_raw(LaunchApp.message_id, image, words=words)
        close_fds(fds)

    # -- service --------------------------------------------------------------------------------

    def handle(self, request: type[Q], handler: Handler[Q]) -> None:
        """Register the handler of one request type of the server that this process offers."""
        if request.message_id in self._handlers:
            raise ValueError(f"two handlers for message {request.message_id}")
        self._handlers[request.message_id] = (request, handler)
        if request.server.startswith(APP_SERVERS):
            if self._app_answers is None:
                from primegap.keyos.between.answers import AppAnswers

                self._app_answers = AppAnswers(self._certify)
            self._app_answers.servers.add(request.server)

    def serve(self) -> None:
        """Start to answer requests and tell core that the process is ready."""
        if "service" in self._fds:
            self._service = Channel(
                socket.socket(fileno=self._fds.pop("service")),
                on_datagram=self._receive_request,
                on_closed=self._service_gone.set,
            )
        assert self._control is not None
        self._control._channel.send(encode_frame(Frame(kind=Kind.READY)))  # noqa: SLF001

    async def wait(self) -> None:
        """Wait until core is gone, or the last request is answered."""
        await self._service_gone.wait()

    def finish(self) -> None:
        """End with the answer to the present request; nothing that comes meanwhile is answered.

        Core starts the process again with an empty memory.
        """
        self._last_request = asyncio.current_task()

    def _receive_request(self, data: bytes, fds: list[int]) -> None:
        try:
            caller = parse_caller(data)
            frame = parse_frame_untrusted(data[CALLER.size :])
        except FrameError:
            close_fds(fds)
            return
        if frame.kind is Kind.CANCEL:
            close_fds(fds)
            running = self._running.get(frame.correlation)
            if running is not None:
                running.cancel()
            return
        if self._last_request is not None:
            close_fds(fds)
            return
        task = self._loop.create_task(self._answer(caller, frame, fds))
        self._running[frame.correlation] = task
        task.add_done_callback(functools.partial(self._answered, frame.correlation, fds))

    def _answered(self, correlation: int, fds: list[int], task: asyncio.Task[None]) -> None:
        """End a request. A cancelled one is answered too, even if it never ran: core counts it."""
        self._running.pop(correlation, None)
        close_fds(fds)
        if task.cancelled():
            self._reply(error_frame(correlation, Status.CANCELLED), None)
        if task is self._last_request:
            self._service_gone.set()

    async def _answer(self, caller: Caller, frame: Frame, fds: list[int]) -> None:
        try:
            known = self._handlers.get(frame.message_id)
            limit = DEFAULT_OBJECT_BYTES if known is None else known[0].max_bytes
            reply = await self._reply_to(caller, frame, _take_payload(frame, fds, limit))
            inline, fd = split_payload(reply)
        except (FrameError, ChannelBrokenError):
            self._reply(error_frame(frame.correlation, Status.MALFORMED), None)
        except RequestError as error:
            self._reply(error_frame(frame.correlation, error.status, error.detail), None)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the top of a request: it fails, the service goes on
            self._log_failure(frame, error)
            self._reply(error_frame(frame.correlation, Status.FAILED), None)
        else:
            self._reply(
                Frame(
                    kind=Kind.REPLY,
                    correlation=frame.correlation,
                    payload=inline,
                    objects=int(fd is not None),
                ),
                fd,
            )

    async def _reply_to(self, caller: Caller, frame: Frame, payload: bytes) -> bytes:
        """Return the payload of the reply to a request."""
        answers = self._app_answers
        if answers is not None and frame.message_id == OPEN_CHANNEL:
            return await answers.open(caller, payload)
        known = self._handlers.get(frame.message_id)
        if known is None:
            raise RequestError(Status.NOT_FOUND, "no such message")
        kind, handler = known
        if answers is None or kind.server not in answers.servers:
            return encode_message(await handler(caller, decode_message_untrusted(kind, payload)))
        exchange = answers.receive(caller, frame.message_id, payload)
        try:
            return exchange.answer(
                encode_message(await handler(caller, decode_message_untrusted(kind, exchange.body)))
            )
        except FrameError:
            return exchange.refuse(Status.MALFORMED, "")
        except RequestError as error:
            return exchange.refuse(error.status, error.detail)
        except BaseException:
            exchange.drop()
            raise

    def _log_failure(self, frame: Frame, error: Exception) -> None:
        self.log(f"request {frame.message_id} failed: {type(error).__name__}{self._detail(error)}")

    def _detail(self, error: Exception) -> str:
        if not self.development or error.__traceback__ is None:
            return ""
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        where = os.path.basename(trace.tb_frame.f_code.co_filename)
        return f": {error} at {where}:{trace.tb_lineno}"

    def _reply(self, frame: Frame, fd: int | None) -> None:
        assert self._service is not None
        with contextlib.suppress(ChannelClosedError):
            self._service.send(encode_frame(frame), fd)
