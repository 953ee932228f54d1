"""An Electrum-protocol server (1.4 to 1.4.2) for wallets on this machine.

One line in, one line out, newline-delimited JSON-RPC over TCP; see `electrum_methods.py` for the
answers. A connection is served strictly in order, so what a client pipelines waits in its own
socket and costs nothing here. Everything a client can grow has a limit below.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from primegap.regtest import electrum_methods as methods
from primegap.regtest import jsonrpc
from primegap.regtest.errors import PortInUseError, RegtestError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.regtest.jsonrpc import Json, Request
    from primegap.regtest.ledger import Ledger

_log: Final = logging.getLogger(__name__)
T = TypeVar("T")

MAX_CONNECTIONS: Final = 64  # wallets on one machine; each may hold one answer of 4 MB
MAX_LINE_BYTES: Final = 1_000_000  # the largest standard transaction is 800,000 digits
MAX_BATCH: Final = 1_000  # requests in one JSON array
MAX_ANSWER_BYTES: Final = 4_000_000  # one line out, a batch included
MAX_BUFFERED_BYTES: Final = 2 * MAX_ANSWER_BYTES  # beyond: the client does not read; cut off
MAX_SUBSCRIPTIONS: Final = 5_000  # scripts of one connection; a wallet watches some hundred
MAX_MALFORMED: Final = 10  # lines that are no request, before the connection is closed
SEND_TIMEOUT_S: Final = 30.0  # a client that takes longer to read an answer is gone
_CLOSE_TIMEOUT_S: Final = 2.0


class LedgerRunner(Protocol):
    """Runs a job on the ledger's own thread."""

    async def __call__(self, job: Callable[[Ledger], T], /) -> T:
        """Run `job` and return its result."""


class ElectrumServer:
    """Accepts connections and tells subscribers what changed."""

    def __init__(self, run: LedgerRunner) -> None:
        self._run = run
        self._server: asyncio.Server | None = None
        self._sessions: dict[Session, asyncio.Task[None]] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port (useful when `port` is 0: any free one).

        Raises:
            PortInUseError: the port cannot be had; the message names it.
        """
        try:
            self._server = await asyncio.start_server(
                self._on_connection, host, port, limit=MAX_LINE_BYTES
            )
        except OSError as error:
            why = "in use" if error.errno == errno.EADDRINUSE else "not available"
            raise PortInUseError(f"port {port} on {host} is {why}") from error
        actual_port: int = self._server.sockets[0].getsockname()[1]
        return actual_port

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
        for session, task in list(self._sessions.items()):
            session.abort()
            task.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions.values(), timeout=_CLOSE_TIMEOUT_S)
        self._server = None

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._sessions)

    async def publish(self, touched: frozenset[bytes], *, tip_changed: bool) -> None:
        """Notify subscribers of a new tip and of scripts whose history changed."""
        if tip_changed and any(session.wants_headers for session in self._sessions):
            tip = await self._run(methods.tip)
            for session in list(self._sessions):
                session.notify_tip(tip)
        watched: set[bytes] = set()
        for session in self._sessions:
            watched |= touched & session.scripts.keys()
        for hashed in watched:
            status = await self._run(partial(_status_or_none, hashed=hashed))
            for session in list(self._sessions):
                session.notify_script(hashed, status)

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        session = Session(self._run, reader, writer)
        if len(self._sessions) >= MAX_CONNECTIONS:
            session.send(jsonrpc.encode_error(None, jsonrpc.EXCESSIVE_USE, "too many connections"))
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session] = task
        try:
            await session.serve()
            await session.finish()
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # the client went away, or we stop: this connection's task ends either way
        except Exception:  # noqa: BLE001 - top of the task, which it ends
            _log.exception("an Electrum connection failed")
        finally:
            del self._sessions[session]
            session.abort()


class Session:
    """One connection."""

    def __init__(
        self, run: LedgerRunner, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._run = run
        self._reader = reader
        self._writer = writer
        self._malformed = 0
        self._closing = False
        self._negotiated = False
        self.wants_headers = False
        self._last_tip: Json = None
        self.scripts: dict[bytes, str | None] = {}
        "Subscribed script hashes and the status last told."

    async def serve(self) -> None:
        """Answer line after line until either side ends."""
        while not self._closing:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                self.send(
                    jsonrpc.encode_error(None, jsonrpc.INVALID_REQUEST, "the line is too long")
                )
                return
            answer = await self._answer_line(line)
            if answer is not None:
                self.send(answer)
                await self._drain()

    async def finish(self) -> None:
        """Close the connection after what was answered has gone out."""
        self._writer.close()
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._writer.wait_closed()

    def send(self, line: bytes) -> None:
        """Queue one line; a client that lets too much pile up is cut off."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_BUFFERED_BYTES:
            self.abort()
            return
        self._writer.write(line + b"\n")

    def abort(self) -> None:
        """Cut the connection without waiting for the client."""
        self._closing = True
        self._writer.transport.abort()

    def notify_tip(self, tip: Json) -> None:
        """Send the tip if this client wants it and was not told already."""
        if self.wants_headers and tip != self._last_tip:
            self._last_tip = tip
            self.send(jsonrpc.encode_notification("blockchain.headers.subscribe", [tip]))

    def notify_script(self, hashed: bytes, status: str | None) -> None:
        """Send the status of a script if this client wants it and was not told already."""
        if hashed in self.scripts and self.scripts[hashed] != status:
            self.scripts[hashed] = status
            self.send(
                jsonrpc.encode_notification(
                    "blockchain.scripthash.subscribe", [hashed[::-1].hex(), status]
                )
            )

    # --- requests ----------------------------------------------------------------------------

    async def _drain(self) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._writer.drain()

    async def _answer_line(self, line: bytes) -> bytes | None:
        try:
            value = jsonrpc.decode_line_untrusted(line)
            if isinstance(value, list):
                return await self._answer_batch(value)
            return await self._answer(value)
        except RequestError as error:
            return self._malformed_answer(None, error)

    async def _answer_batch(self, values: list[Json]) -> bytes | None:
        if not values:
            raise RequestError(jsonrpc.INVALID_REQUEST, "the batch is empty")
        if len(values) > MAX_BATCH:
            raise RequestError(jsonrpc.EXCESSIVE_USE, f"more than {MAX_BATCH} requests in a batch")
        answers: list[bytes] = []
        size_bytes = 0
        for value in values:
            if size_bytes > MAX_ANSWER_BYTES:
                answer: bytes | None = jsonrpc.encode_error(
                    jsonrpc.request_id_of(value), jsonrpc.EXCESSIVE_USE, "the answer is too large"
                )
            else:
                answer = await self._answer(value)
            if answer is not None:
                answers.append(answer)
                size_bytes += len(answer)
        return b"[" + b",".join(answers) + b"]" if answers else None

    async def _answer(self, value: Json) -> bytes | None:
        request_id = jsonrpc.request_id_of(value)
        try:
            request = jsonrpc.parse_request_untrusted(value)
        except RequestError as error:
            return self._malformed_answer(request_id, error)
        try:
            result = await self._handle(request)
        except RequestError as error:
            answer = jsonrpc.encode_error(request_id, error.rpc_code, str(error))
        except RegtestError as error:
            _log.warning("a request failed: %s", error)
            answer = jsonrpc.encode_error(request_id, jsonrpc.REFUSED, f"{error}. {error.hint}")
        else:
            answer = jsonrpc.encode_result(request_id, result)
            if len(answer) > MAX_ANSWER_BYTES:
                answer = jsonrpc.encode_error(
                    request_id, jsonrpc.EXCESSIVE_USE, "the answer is too large"
                )
        return answer if request.wants_answer else None

    def _malformed_answer(self, request_id: int | str | None, error: RequestError) -> bytes:
        self._malformed += 1
        self._closing |= self._malformed >= MAX_MALFORMED
        return jsonrpc.encode_error(request_id, error.rpc_code, str(error))

    async def _handle(self, request: Request) -> Json:
        match request.method:
            case "server.version":
                return self._negotiate(request)
            case "blockchain.headers.subscribe":
                return await self._subscribe_headers(request)
            case "blockchain.scripthash.subscribe":
                return await self._subscribe_script(request)
            case "blockchain.scripthash.unsubscribe":
                return self._unsubscribe_script(request)
        method = methods.METHODS.get(request.method)
        if method is None:
            raise RequestError(jsonrpc.METHOD_NOT_FOUND, "unknown method")
        params = jsonrpc.bind_params(request.params, method.names, method.required)
        return await self._run(lambda ledger: method.answer(ledger, params))

    def _negotiate(self, request: Request) -> Json:
        params = jsonrpc.bind_params(request.params, ("client_name", "protocol_version"), 0)
        wanted = params[1]
        least, most = (
            (wanted[0], wanted[1])
            if isinstance(wanted, list) and len(wanted) == 2
            else (wanted, wanted)
        )
        version = min(_parse_version(most), methods.PROTOCOL_MAX)
        if version < max(_parse_version(least), methods.PROTOCOL_MIN) or self._negotiated:
            self._closing = True
            raise RequestError(jsonrpc.BAD_REQUEST, "unsupported protocol version")
        self._negotiated = True
        return [methods.server_software(), methods.version_text(version)]

    async def _subscribe_headers(self, request: Request) -> Json:
        jsonrpc.bind_params(request.params, (), 0)
        self.wants_headers = True
        self._last_tip = await self._run(methods.tip)
        return self._last_tip

    async def _subscribe_script(self, request: Request) -> Json:
        (value,) = jsonrpc.bind_params(request.params, ("scripthash",), 1)
        hashed = methods.parse_script_hash(value)
        if hashed not in self.scripts and len(self.scripts) >= MAX_SUBSCRIPTIONS:
            raise RequestError(jsonrpc.EXCESSIVE_USE, f"more than {MAX_SUBSCRIPTIONS} scripts")
        # Entered first: a change while the status is read must not go untold.
        self.scripts.setdefault(hashed, None)
        try:
            status = await self._run(lambda ledger: methods.script_status(ledger, hashed))
        except RegtestError:
            self.scripts.pop(hashed, None)
            raise
        self.scripts[hashed] = status
        return status

    def _unsubscribe_script(self, request: Request) -> Json:
        (value,) = jsonrpc.bind_params(request.params, ("scripthash",), 1)
        hashed = methods.parse_script_hash(value)
        subscribed = hashed in self.scripts
        self.scripts.pop(hashed, None)
        return subscribed


def _status_or_none(ledger: Ledger, *, hashed: bytes) -> str | None:
    with contextlib.suppress(RequestError):  # a history too large to tell has no status
        return methods.script_status(ledger, hashed)
    return None


def _parse_version(value: Json) -> tuple[int, ...]:
    """Read a protocol version; an absent one means the oldest we speak."""
    if value is None:
        return methods.PROTOCOL_MIN
    parts = value.split(".") if isinstance(value, str) else []
    if not 1 <= len(parts) <= 4 or not all(
        part.isascii() and part.isdecimal() and len(part) <= 4 for part in parts
    ):
        raise RequestError(jsonrpc.INVALID_PARAMS, "protocol_version: for example 1.4")
    return tuple(map(int, parts))
