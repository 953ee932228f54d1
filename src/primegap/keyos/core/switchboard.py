"""All channel ends that core holds: takes datagrams, asks the router, carries out what it says.

Frames are looked at up to the end of their header and no further: what is behind it, and what is in
a memory object, is handed on unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from primegap.keyos.channel import Channel, channel_pair, check_object, close_fds
from primegap.keyos.core.router import (
    Action,
    ChangeFilter,
    CloseConnection,
    DropParked,
    Park,
    Router,
    ToClient,
    ToService,
)
from primegap.keyos.errors import ChannelClosedError, FrameError, RequestError, Status
from primegap.keyos.frame import (
    Caller,
    Frame,
    Kind,
    encode_caller,
    encode_connected,
    encode_frame,
    error_frame,
    parse_frame_untrusted,
)
from primegap.keyos.sandbox.second_lock import (
    attach,
    connection_filter,
    parse_stub_untrusted,
    service_filter,
)

if TYPE_CHECKING:
    import socket

    from primegap.keyos.manifest import PermissionTable

MAX_WAITING_CONNECTS: Final = 32  # of one process: as many as it may have connections

PERMISSIONS: Final = "permissions"  # the role that answers for requests that need a grant

Judge = Callable[[Frame, int], list[Action]]


class Switchboard:
    """Channels of processes, connections between them."""

    def __init__(
        self,
        table: PermissionTable,
        *,
        answer: Callable[[Caller, Frame, list[int]], None],
    ) -> None:
        """`answer` gets the requests to core itself, with the descriptors, which it owns."""
        self._table = table
        self._answer = answer
        self.router = Router(table)
        self._connections: dict[int, Channel] = {}
        self._controls: dict[int, Channel] = {}
        self._services: dict[str, Channel] = {}
        self._ready = {"core"}
        self._waiting_connects: list[tuple[str, int, int]] = []
        "(server, instance, correlation) of processes that wait for a server to be ready."
        self._parked: dict[int, list[int]] = {}
        "Objects of parked requests."
        self._unasked: deque[int] = deque()
        "Parked requests that the broker has not been told of."
        self._broker_waits: asyncio.Future[None] | None = None
        self.router.process_started("core")

    # -- processes ------------------------------------------------------------------------------

    def service_pair(self, role: str) -> tuple[socket.socket, socket.socket]:
        """Return (core's end, the service's end) of a service channel; the latter is locked."""
        ours, theirs = channel_pair()
        attach(theirs, service_filter(self._table.offered(role)), lock=True)
        return ours, theirs

    def process_started(
        self,
        role: str,
        control: socket.socket,
        service: socket.socket | None,
        *,
        on_control: Callable[[Frame], None],
        on_lost: Callable[[], None],
    ) -> int:
        """Take core's ends of a new process's channels; return its instance number.

        `on_control` gets its frames on the control channel, `on_lost` is called when one of its
        channels is closed, broken, or not read.
        """
        instance = self.router.process_started(role)
        self._controls[instance] = Channel(
            control,
            on_datagram=functools.partial(self._control_frame, instance, on_control),
            on_closed=on_lost,
        )
        if service is not None:
            self._services[role] = Channel(
                service,
                on_datagram=functools.partial(self._service_frame, role),
                on_closed=on_lost,
            )
        return instance

    def process_ready(self, role: str) -> None:
        """Connect those who waited for a process to serve."""
        self._ready.add(role)
        waiting, self._waiting_connects = self._waiting_connects, []
        for server, instance, correlation in waiting:
            self._connect(instance, correlation, server)

    def process_gone(self, role: str, instance: int) -> None:
        """Close a process's channels and wake those who waited for it (X-1)."""
        self._controls.pop(instance).close()
        service = self._services.pop(role, None)
        if service is not None:
            service.close()
        self._ready.discard(role)
        self._waiting_connects = [w for w in self._waiting_connects if w[1] != instance]
        self.perform(self.router.process_gone(instance))
        if role == PERMISSIONS:
            self._unasked.clear()
            self.perform(self.router.broker_gone())

    async def next_parked(self) -> tuple[int, str, int, str]:
        """Wait for a request that the broker must be asked about.

        Return (number, role, instance, subgroup).
        """
        while True:
            while self._unasked:
                number = self._unasked.popleft()
                parked = self.router.take_up(number)
                if parked is not None:
                    return number, *parked
            self._broker_waits = asyncio.get_running_loop().create_future()
            await self._broker_waits

    # -- control channel --------------------------------------------------------------------------

    def _control_frame(
        self, instance: int, on_control: Callable[[Frame], None], data: bytes, fds: list[int]
    ) -> None:
        close_fds(fds)
        try:
            frame = parse_frame_untrusted(data)
        except FrameError:
            frame = Frame(kind=Kind.ERROR)
        if frame.kind is Kind.CONNECT:
            self._connect(instance, frame.correlation, frame.payload.decode(errors="replace"))
        else:
            on_control(frame)

    def _connect(self, instance: int, correlation: int, server: str) -> None:
        """Make a connection if the manifest allows it, or wait until its server is ready."""
        role = self.router.role_of(instance)
        if role is None:
            return
        owner = self._table.owner(server)
        try:
            if owner not in self._ready and self._table.may_connect(role, server):
                if sum(w[1] == instance for w in self._waiting_connects) >= MAX_WAITING_CONNECTS:
                    raise RequestError(Status.BUSY, "too many connections")
                self._waiting_connects.append((server, instance, correlation))
                return
            number = self.router.open_connection(instance, server)
        except RequestError as error:
            refusal = error_frame(correlation, error.status, error.detail)
            self._send(self._controls[instance], refusal)
            return
        ours, theirs = channel_pair()
        attach(ours, connection_filter(self.router.rights(number)))
        self._connections[number] = Channel(
            ours,
            on_datagram=functools.partial(self._client_frame, number),
            on_closed=functools.partial(self._connection_closed, number),
            pause_when_unread=True,
        )
        connected = encode_connected(correlation, self.router.owner_of(number))
        self._send(self._controls[instance], connected, theirs.detach())

    # -- requests and answers ---------------------------------------------------------------------

    def _connection_closed(self, number: int) -> None:
        if self._connections.pop(number, None) is not None:
            self.perform(self.router.connection_closed(number))

    def _client_frame(self, number: int, data: bytes, fds: list[int]) -> None:
        stub = parse_stub_untrusted(data)
        if stub is not None:
            close_fds(fds)
            self.perform(self.router.cut_frame(number, *stub))
            return
        self._route(data, fds, functools.partial(self.router.client_frame, number))

    def _service_frame(self, role: str, data: bytes, fds: list[int]) -> None:
        understood = self._route(data, fds, functools.partial(self.router.service_frame, role))
        service = self._services.get(role)
        if not understood and service is not None:
            # Somebody may wait for what this was to be: end the service, and with it the waiting.
            service.close()

    def _route(self, data: bytes, fds: list[int], judge: Judge) -> bool:
        """Judge a datagram and do what follows; return whether it was a frame at all."""
        try:
            frame = parse_frame_untrusted(data)
        except FrameError:
            close_fds(fds)
            return False
        try:
            if frame.objects != len(fds):
                raise FrameError("descriptor count")
            lent = sum(check_object(fd) for fd in fds)
        except FrameError:
            # An error stands in for a frame whose object is not acceptable: from a client the
            # router refuses it, from a service it ends the waiting of whoever the reply was for.
            close_fds(fds)
            self.perform(judge(error_frame(frame.correlation, Status.FAILED), 0))
        else:
            self.perform(judge(frame, lent), fds)
        return True

    def perform(self, actions: list[Action], fds: list[int] | None = None) -> None:
        """Carry out the router's decisions; descriptors go with the frame that names them."""
        left = list(fds or ())
        for action in actions:
            match action:
                case ToService(role, caller, frame, parked):
                    if parked:
                        carried = self._parked.pop(parked, [])
                    else:
                        carried = [left.pop()] if frame.objects and left else []
                    service = self._services.get(role)
                    if role == "core":
                        self._answer(caller, frame, carried)
                    elif service is None:
                        close_fds(carried)
                    else:
                        self._send(service, frame, *carried, prefix=encode_caller(caller))
                case ToClient(number, frame):
                    carried = [left.pop()] if frame.objects and left else []
                    connection = self._connections.get(number)
                    if connection is None:
                        close_fds(carried)
                    else:
                        self._send(connection, frame, *carried)
                case Park(number):
                    self._parked[number] = [left.pop()] if left else []
                    self._unasked.append(number)
                    if self._broker_waits is not None and not self._broker_waits.done():
                        self._broker_waits.set_result(None)
                case DropParked(number):
                    close_fds(self._parked.pop(number, []))
                case ChangeFilter(number, message_ids):
                    present = self._connections.get(number)
                    if present is not None:
                        attach(present.sock, connection_filter(message_ids))
                case CloseConnection(number):
                    gone = self._connections.pop(number, None)
                    if gone is not None:
                        gone.close()
        close_fds(left)

    @staticmethod
    def _send(
        channel: Channel, frame: Frame, fd: int | None = None, *, prefix: bytes = b""
    ) -> None:
        with contextlib.suppress(ChannelClosedError):
            channel.send(prefix + encode_frame(frame), fd)
