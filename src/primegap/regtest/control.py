"""The control socket: how another process mines, pays out and asks for status.

A Unix socket `control.sock` in the node's data directory, for the owner only (mode 0600). One
JSON-RPC 2.0 request a line, one answer a line, parameters by position or name:

    status                       -> the fields of `NodeStatus`
    mine     blocks=1, address   -> [{"height", "block_hash", "txids"}, …]
    faucet   address, amount_sat -> transaction id
    stop                         -> true; the node then closes

An error's `data` holds the stable `code` and the `hint` of the error class.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from primegap.regtest import errors, jsonrpc
from primegap.regtest.errors import (
    DataDirUnusableError,
    NotRunningError,
    RegtestError,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from primegap.regtest.jsonrpc import Json, Request
    from primegap.regtest.node import RegtestNode

_log: Final = logging.getLogger(__name__)

SOCKET_NAME: Final = "control.sock"
MAX_LINE_BYTES: Final = 65_536  # the longest request is an address and a number
MAX_ANSWER_BYTES: Final = 256_000_000  # 10,000 blocks of mined transaction ids
MAX_CONNECTIONS: Final = 16
DEFAULT_TIMEOUT_S: Final = 60.0  # mining the most blocks of one call takes some ten seconds
_MAX_SOCKET_PATH_BYTES: Final = 100  # the kernel's limit is 108, elsewhere 104
_MAX_AMOUNT: Final = 2**63 - 1  # the node names the real range


class ControlServer:
    """Serves the control socket of one node."""

    def __init__(self, node: RegtestNode) -> None:
        self._node = node
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen in the node's data directory, which this process holds.

        Raises:
            DataDirUnusableError: the socket cannot be made there.
        """
        path = self._node.data_dir / SOCKET_NAME
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)  # left by a killed node: the directory lock is ours now
            os.fchmod(listener.fileno(), 0o600)  # before it has a name, so it is never open to all
            with _reachable(self._node.data_dir) as address:
                listener.bind(address)
            path.chmod(0o600)
        except OSError as error:
            listener.close()
            raise DataDirUnusableError(f"no control socket can be made in {path.parent}") from error
        self._server = await asyncio.start_unix_server(
            self._on_connection, sock=listener, limit=MAX_LINE_BYTES
        )

    async def stop(self) -> None:
        """Stop listening and cut all connections but the one that asked for it."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        with contextlib.suppress(OSError):
            (self._node.data_dir / SOCKET_NAME).unlink(missing_ok=True)

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            while True:
                line = await reader.readuntil(b"\n")
                writer.write(await self._answer(line) + b"\n")
                await writer.drain()
        except (
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
            ConnectionError,
        ):
            pass  # the client is done, sent too much, or we stop: the connection ends
        except Exception:  # noqa: BLE001 - top of the task, which it ends
            _log.exception("a control connection failed")
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> bytes:
        request_id: int | str | None = None
        try:
            value = jsonrpc.decode_line_untrusted(line)
            request_id = jsonrpc.request_id_of(value)
            result = await self._handle(jsonrpc.parse_request_untrusted(value))
        except RegtestError as error:
            rpc_code = error.rpc_code if isinstance(error, RequestError) else jsonrpc.REFUSED
            data: Json = {"code": error.code, "hint": error.hint}
            return jsonrpc.encode_error(request_id, rpc_code, str(error), data)
        return jsonrpc.encode_result(request_id, result)

    async def _handle(self, request: Request) -> Json:
        params = request.params
        match request.method:
            case "status":
                jsonrpc.bind_params(params, (), 0)
                status: dict[str, Json] = asdict(await self._node.status())
                return status
            case "mine":
                blocks, address = jsonrpc.bind_params(params, ("blocks", "address"), 0)
                count = 1 if blocks is None else _whole(blocks, "blocks")
                where = None if address is None else _text(address, "address")
                return [
                    {"height": b.height, "block_hash": b.block_hash, "txids": list(b.txids)}
                    for b in await self._node.mine(count, where)
                ]
            case "faucet":
                to, amount = jsonrpc.bind_params(params, ("address", "amount_sat"), 2)
                return await self._node.faucet(_text(to, "address"), _whole(amount, "amount_sat"))
            case "stop":
                jsonrpc.bind_params(params, (), 0)
                self._node.ask_to_stop()
                return True
            case _:
                raise RequestError(jsonrpc.METHOD_NOT_FOUND, "unknown method")


def call_control(
    data_dir: Path,
    method: str,
    params: dict[str, Json] | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Json:
    """Ask the node that runs in `data_dir` and return its answer (blocking).

    Args:
        data_dir: the node's data directory.
        method: one of the methods in the module's description.
        params: parameters by name.
        timeout_s: how long to wait for the answer.

    Raises:
        NotRunningError: no node answers there.
        RegtestError: the node's own error, of the class with the same `code`.
    """
    request = jsonrpc.encode_request(1, method, params or {})
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            _reachable(data_dir) as address,
        ):
            connection.settimeout(timeout_s)
            connection.connect(address)
            connection.sendall(request + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_ANSWER_BYTES)
    except OSError as error:
        raise NotRunningError(f"no private chain answers in {data_dir}") from error
    if not line.endswith(b"\n"):
        raise NotRunningError(f"the private chain in {data_dir} stopped before it answered")
    answer = jsonrpc.decode_line_untrusted(line)
    if not isinstance(answer, dict):
        raise RequestError(jsonrpc.INVALID_REQUEST, "not an answer")
    problem = answer.get("error")
    if isinstance(problem, dict):
        raise _rebuild_error(problem)
    return answer.get("result")


def _rebuild_error(problem: dict[str, Json]) -> RegtestError:
    """Return the error that the node raised, as the same class here."""
    data, message = problem.get("data"), str(problem.get("message"))
    code = data.get("code") if isinstance(data, dict) else None
    for name in dir(errors):
        error_class = getattr(errors, name)
        if (
            isinstance(error_class, type)
            and issubclass(error_class, RegtestError)
            and error_class.code == code
            and not issubclass(error_class, RequestError)
        ):
            return error_class(message)
    rpc_code = problem.get("code")
    return RequestError(rpc_code if isinstance(rpc_code, int) else jsonrpc.REFUSED, message)


@contextlib.contextmanager
def _reachable(data_dir: Path) -> Iterator[str]:
    """Yield an address of the socket short enough for the kernel, however deep the directory."""
    path = os.fspath(data_dir / SOCKET_NAME)
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        yield path
        return
    directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


def _whole(value: Json, name: str) -> int:
    return jsonrpc.integer(value, least=-_MAX_AMOUNT, most=_MAX_AMOUNT, name=name)


def _text(value: Json, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(jsonrpc.INVALID_PARAMS, f"{name}: text")
    return value
