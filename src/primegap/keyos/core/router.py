"""The router's decisions, pure: who may send what to whom, and where an answer goes.

The router sees frame headers only. Every connection belongs to one started process (an *instance*)
and one server; a request passes when that process's manifest lists its message id for the server,
and reaches the service together with the caller's identity as core knows it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Caller, Frame, Kind, Trust

if TYPE_CHECKING:
    from primegap.keyos.manifest import PermissionTable

MAX_CONNECTIONS: Final = 32  # of one process, as in the original (P-10)
MAX_PENDING_PER_SERVER: Final = 128  # one queue page of the original (P-10)
MAX_PENDING_PER_CALLER: Final = 32  # at one server, so that no app fills its queue
MAX_REFUSED_KINDS: Final = (
    1024  # the names and ids in the count of refusals are the callers' choice
)


@dataclass(frozen=True, slots=True)
class ToService:
    """Deliver a frame to the process that offers the server, with the caller's identity."""

    role: str
    caller: Caller
    frame: Frame


@dataclass(frozen=True, slots=True)
class ToClient:
    """Deliver a frame to the holder of a connection."""

    connection: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """The connection is over; close core's end."""

    connection: int


Action = ToService | ToClient | CloseConnection


@dataclass(slots=True)
class _Connection:
    instance: int
    role: str
    server: str
    owner: str
    pending: dict[int, int] = field(default_factory=dict)
    "Client correlation -> service correlation."


@dataclass(slots=True)
class _Pending:
    connection: int
    correlation: int
    role: str
    "The caller, which the request counts against until the service has answered."
    cancelled: bool = False


class Router:
    """Connections, pending requests and their limits."""

    def __init__(self, table: PermissionTable) -> None:
        self._table = table
        self._instances: dict[int, str] = {}
        self._running: dict[str, int] = {}
        self._connections: dict[int, _Connection] = {}
        self._pending: dict[str, dict[int, _Pending]] = {}
        """Every request that the service has not answered. A cancelled one stays until the service
        has answered it: so at most two frames for each of 128 requests wait for a slow service."""
        self._numbers = itertools.count(1)
        self.refused: Counter[tuple[str, str, int]] = Counter()
        "Denied (role, server, message id), for the journal and for tests."

    # -- processes ------------------------------------------------------------------------------

    def process_started(self, role: str) -> int:
        """Note a new process; return its instance number, never used again."""
        instance = next(self._numbers)
        self._instances[instance] = role
        self._running[role] = instance
        self._pending.setdefault(role, {})
        return instance

    def process_gone(self, instance: int) -> list[Action]:
        """Forget a process: its callers get an error, its own requests are cancelled (X-1)."""
        role = self._instances.pop(instance)
        actions: list[Action] = []
        if self._running.get(role) == instance:
            del self._running[role]
            actions += [
                ToClient(pending.connection, _error(pending.correlation, Status.SERVER_GONE))
                for pending in self._pending[role].values()
                if not pending.cancelled
            ]
            self._pending[role].clear()
        for number, connection in list(self._connections.items()):
            if connection.instance == instance:
                actions += self.connection_closed(number)
            elif connection.owner == role:
                connection.pending.clear()
                del self._connections[number]
                actions.append(CloseConnection(number))
        return actions

    def role_of(self, instance: int) -> str | None:
        """Return the role of a running process."""
        return self._instances.get(instance)

    # -- connections ----------------------------------------------------------------------------

    def open_connection(self, instance: int, server: str) -> int:
        """Return the number of a new connection.

        Raises:
            RequestError: DENIED (the manifest does not name the server), BUSY (too many
                connections) or SERVER_GONE (the owner does not run; the caller may wait for it).
        """
        role = self._instances[instance]
        owner = self._table.owner(server)
        if owner is None or not self._table.may_connect(role, server):
            self._note_refusal(role, server, -1)
            raise RequestError(Status.DENIED, f"{role} may not use {server}")
        if sum(c.instance == instance for c in self._connections.values()) >= MAX_CONNECTIONS:
            raise RequestError(Status.BUSY, "too many connections")
        if owner not in self._running:
            raise RequestError(Status.SERVER_GONE, f"{server} does not run")
        number = next(self._numbers)
        self._connections[number] = _Connection(instance, role, server, owner)
        return number

    def connection_closed(self, number: int) -> list[Action]:
        """The holder closed its end: cancel what it still waits for."""
        connection = self._connections.pop(number, None)
        if connection is None:
            return []
        cancels = [self._cancel(connection, number) for number in connection.pending.values()]
        return [*cancels, CloseConnection(number)]

    def _cancel(self, connection: _Connection, correlation: int) -> ToService:
        pending = self._pending[connection.owner].get(correlation)
        if pending is not None:
            pending.cancelled = True
        return ToService(
            connection.owner,
            self._caller(connection),
            Frame(kind=Kind.CANCEL, correlation=correlation),
        )

    def _caller(self, connection: _Connection) -> Caller:
        manifest = self._table.manifests[connection.role]
        trust = Trust.SYSTEM if manifest.system else Trust.BUILT_IN_APP
        return Caller(manifest.app_id, connection.instance, trust)

    # -- frames ---------------------------------------------------------------------------------

    def client_frame(self, number: int, frame: Frame) -> list[Action]:
        """Judge a frame that the holder of a connection sent."""
        connection = self._connections.get(number)
        if connection is None:
            return []
        if frame.kind is Kind.CANCEL:
            service_correlation = connection.pending.pop(frame.correlation, None)
            if service_correlation is None:
                return []
            return [self._cancel(connection, service_correlation)]
        if frame.kind is not Kind.REQUEST or frame.correlation in connection.pending:
            return [ToClient(number, _error(frame.correlation, Status.MALFORMED))]
        if not self._table.allows(connection.role, connection.server, frame.message_id):
            self._note_refusal(connection.role, connection.server, frame.message_id)
            return [ToClient(number, _error(frame.correlation, Status.DENIED))]
        queue = self._pending[connection.owner]
        if (
            len(queue) >= MAX_PENDING_PER_SERVER
            or sum(p.role == connection.role for p in queue.values()) >= MAX_PENDING_PER_CALLER
        ):
            return [ToClient(number, _error(frame.correlation, Status.BUSY))]
        service_correlation = next(self._numbers)
        connection.pending[frame.correlation] = service_correlation
        queue[service_correlation] = _Pending(number, frame.correlation, connection.role)
        return [
            ToService(
                connection.owner, self._caller(connection), _renumber(frame, service_correlation)
            )
        ]

    def _note_refusal(self, role: str, server: str, message_id: int) -> None:
        key = (role, server, message_id)
        if key in self.refused or len(self.refused) < MAX_REFUSED_KINDS:
            self.refused[key] += 1

    def service_frame(self, role: str, frame: Frame) -> list[Action]:
        """Pass on an answer: only to the request it answers, and only once."""
        if frame.kind not in (Kind.REPLY, Kind.ERROR):
            return []
        pending = self._pending.get(role, {}).pop(frame.correlation, None)
        if pending is None or pending.cancelled:
            return []
        connection = self._connections.get(pending.connection)
        if connection is None:
            return []
        connection.pending.pop(pending.correlation, None)
        return [ToClient(pending.connection, _renumber(frame, pending.correlation))]


def _renumber(frame: Frame, correlation: int) -> Frame:
    return Frame(
        kind=frame.kind,
        message_id=frame.message_id,
        correlation=correlation,
        words=frame.words,
        payload=frame.payload,
        objects=frame.objects,
    )


def _error(correlation: int, status: Status) -> Frame:
    return Frame(kind=Kind.ERROR, correlation=correlation, words=(status, 0, 0, 0))
