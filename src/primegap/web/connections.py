"""A bound on what anybody who can reach the port may take: connections, and time to ask.

Every connection is a descriptor of the process behind the page. Without a bound, whoever can open
sockets on this machine, token or not, takes them all; and the process has others to receive.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    import h11
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

MAX_CONNECTIONS: Final = 64  # pages open at once: each has a socket and a few requests
BACKLOG: Final = 128  # connections taken in one turn of the loop, before the bound is looked at
REQUEST_TIMEOUT_S: Final = 10.0  # for the whole head of a request


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that closes who is too slow, and of too many the one that was idle for longest."""

    _late: asyncio.TimerHandle | None = None
    made_s = 0.0
    "When the connection was made."

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; it is idle itself, so one can always go."""
        super().connection_made(transport)
        self.made_s = self.loop.time()
        open_now = [c for c in self.connections if not c.transport.is_closing()]
        if len(open_now) > MAX_CONNECTIONS:
            idle = [c for c in open_now if isinstance(c, BoundedProtocol) and c.is_idle]
            min(idle, key=operator.attrgetter("made_s")).transport.abort()
        self._watch()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    @override
    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        super().data_received(data)
        self._watch()

    @override
    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the WebSocket protocol, which pings its clients."""
        self._stop_watching()
        super().handle_websocket_upgrade(event)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Give a client that has asked nothing, or not to the end, a limited time."""
        if self.transport.get_protocol() is not self:
            return  # upgraded
        if not self.is_idle:
            self._stop_watching()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
