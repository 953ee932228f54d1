"""Runs the companion's page on a listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

STOP_S: Final = 1  # open pages do not hold the end up


class _Server(uvicorn.Server):
    """A server that leaves signals to the program it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    """Serve an application for as long as the block lasts; the socket is closed with it."""
    # A socket made from its descriptor knows its protocol. Only then does asyncio switch Nagle's
    # algorithm off, which costs every answer 40 ms.
    listening = socket.socket(fileno=listening.detach())
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="websockets-sansio",
            ws_max_size=1 << 16,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=STOP_S,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await task
