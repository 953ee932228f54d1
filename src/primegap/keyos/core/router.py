"""The router's decisions, pure: who may send what to whom, and where an answer goes.

The router sees frame headers only. Every connection belongs to one started process (an *instance*)
and one server; a request passes when that process's manifest lists its message id for the server,
and reaches the service together with the caller's identity as core knows it.

A message that an installed app may send only after the person has granted it (`Verdict.ASK`) is
*parked* until the broker of permissions answers. What was granted is kept here for as long as the
broker runs, so that the next message passes at once, and a revocation stops the very next one and
whatever still waits for an answer (P-9).
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Caller, Frame, Kind, Trust, error_frame
from primegap.keyos.manifest.table import Verdict

if TYPE_CHECKING:
    from primegap.keyos.manifest import PermissionTable

MAX_CONNECTIONS: Final = 32  # of one process, as in the original (P-10)
MAX_PENDING_PER_SERVER: Final = 128  # one queue page of the original (P-10)
MAX_PENDING_PER_CALLER: Final = 32  # at one server, so that no app fills its queue
MODEST: Final = 4  # requests of an app that asks for what it needs: a seed, an unlock, an answer
ROOM_FOR_APPS: Final = 104  # the rest of a queue is for the system, whatever all apps do together
ROOM_FOR_GREED: Final = 64  # and this much of it for requests beyond the modest ones
MAX_PARKED: Final = 64  # requests that wait for the person, as in the original (section 2.6)
MAX_PARKED_PER_CALLER: Final = 8  # so that no app fills the table
MAX_LENT_BYTES: Final = 16 << 20
"""In memory objects of one process's requests that wait: as large as the largest single object, and
sixteen of the usual ones. Their memory belongs to whoever holds a descriptor (X-3)."""
MAX_REFUSED_KINDS: Final = 1024  # names and ids in the count of refusals are the callers' choice
_KINDS: Final = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class ToService:
    """Deliver a frame to the process that offers the server, with the caller's identity."""

    role: str
    caller: Caller
    frame: Frame
    parked: int = 0
    "Number under which the frame's object was parked; 0 when it comes with the frame."


@dataclass(frozen=True, slots=True)
class ToClient:
    """Deliver a frame to the holder of a connection."""

    connection: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """The connection is over; close core's end."""

    connection: int


@dataclass(frozen=True, slots=True)
class Park:
    """Keep the object of the frame, if it has one; the broker is to be asked about this number."""

    number: int


@dataclass(frozen=True, slots=True)
class DropParked:
    """The parked frame goes nowhere: close its object."""

    number: int


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """The rights of a connection changed: put them into the kernel's filter (P-9)."""

    connection: int
    message_ids: frozenset[int]


Action = ToService | ToClient | CloseConnection | Park | DropParked | ChangeFilter


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
    server: str
    message_id: int
    lent: int
    "Bytes of its memory object."
    group: str | None = None
    "Subgroup of the message, when the person had to grant it."
    cancelled: bool = False


@dataclass(slots=True)
class _Parked:
    connection: int
    instance: int
    "The captured sender: a later start of the same app gets nothing of it (ID-2, R-5)."
    role: str
    group: str
    frame: Frame
    lent: int
    gone: bool = False
    "Sender, server or connection is gone: an answer changes nothing; it only frees the place."


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
        self._parked: dict[int, _Parked] = {}
        self._granted: set[tuple[str, str]] = set()
        "(role, subgroup) that the broker has granted."
        self._denied: set[tuple[int, str]] = set()
        "(instance, subgroup) that the broker has denied: not asked again, and shut in the kernel."
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
        self._denied = {entry for entry in self._denied if entry[0] != instance}
        actions: list[Action] = []
        if self._running.get(role) == instance:
            del self._running[role]
            actions += [
                ToClient(pending.connection, error_frame(pending.correlation, Status.SERVER_GONE))
                for pending in self._pending[role].values()
                if not pending.cancelled
            ]
            self._pending[role].clear()
        for number, connection in list(self._connections.items()):
            if connection.instance == instance:
                actions += self.connection_closed(number)
            elif connection.owner == role:
                actions += self._bury(number, Status.SERVER_GONE)
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

    def rights(self, number: int) -> frozenset[int]:
        """Return the message ids that may be sent on a connection, or be asked about."""
        connection = self._connections[number]
        return frozenset(
            message_id
            for message_id in self._table.declared(connection.role, connection.server)
            if self._group_if_denied(connection, message_id) is None
        )

    def _group_if_denied(self, connection: _Connection, message_id: int) -> str | None:
        """Return the subgroup of a message that needs a grant which was denied."""
        if self._table.judge(connection.role, connection.server, message_id) is not Verdict.ASK:
            return None
        group = self._table.subgroup(connection.server, message_id)
        return group if (connection.instance, group) in self._denied else None

    def _filters(self, role: str) -> list[Action]:
        """Put the present rights of a role into the kernel."""
        return [
            ChangeFilter(number, self.rights(number))
            for number, connection in self._connections.items()
            if connection.role == role
        ]

    def connection_closed(self, number: int) -> list[Action]:
        """The holder closed its end: cancel what it still waits for."""
        connection = self._connections.pop(number, None)
        if connection is None:
            return []
        cancels = [self._cancel(connection, number) for number in connection.pending.values()]
        return [*cancels, *self._bury(number, None), CloseConnection(number)]

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
        return self._identity(connection.role, connection.instance)

    def owner_of(self, number: int) -> Caller:
        """Return the identity of the running process that a connection leads to."""
        owner = self._connections[number].owner
        return self._identity(owner, self._running[owner])

    def _identity(self, role: str, instance: int) -> Caller:
        return Caller(self._table.manifests[role].app_id, instance, self._table.trust(role))

    # -- frames ---------------------------------------------------------------------------------

    def client_frame(self, number: int, frame: Frame, lent: int = 0) -> list[Action]:
        """Judge a frame that the holder of a connection sent, with `lent` bytes in its object."""
        connection = self._connections.get(number)
        if connection is None:
            return []
        if frame.kind is Kind.CANCEL:
            service_correlation = connection.pending.pop(frame.correlation, None)
            if service_correlation is None:
                return self._bury(number, None, correlation=frame.correlation)
            return [self._cancel(connection, service_correlation)]
        if frame.kind is not Kind.REQUEST or self._waits(number, frame.correlation):
            return [ToClient(number, error_frame(frame.correlation, Status.MALFORMED))]
        verdict = self._table.judge(connection.role, connection.server, frame.message_id)
        if verdict is Verdict.DENY or self._group_if_denied(connection, frame.message_id):
            return self._deny(number, frame.message_id, frame.correlation)
        if lent > self._table.object_limit(connection.server, frame.message_id):
            return [ToClient(number, error_frame(frame.correlation, Status.TOO_LARGE))]
        group = None
        if verdict is Verdict.ASK:
            group = self._table.subgroup(connection.server, frame.message_id)
            assert group is not None  # the table asks about nothing else
            if (connection.role, group) not in self._granted:
                return self._park(number, connection, group, frame, lent)
        return self._deliver(number, connection, frame, lent, group)

    def cut_frame(self, number: int, kind: int, message_id: int, correlation: int) -> list[Action]:
        """Answer a frame that the kernel's filter cut: the second lock held."""
        connection = self._connections.get(number)
        if connection is None or kind not in _KINDS:
            return []
        if kind != Kind.REQUEST or self._waits(number, correlation):
            return [ToClient(number, error_frame(correlation, Status.MALFORMED))]
        return self._deny(number, message_id, correlation)

    def _waits(self, number: int, correlation: int) -> bool:
        """Whether a request of a connection has this correlation, at the service or parked."""
        return correlation in self._connections[number].pending or any(
            parked.connection == number
            and parked.frame.correlation == correlation
            and not parked.gone  # tombstones may have the number that one more request uses again
            for parked in self._parked.values()
        )

    def _deny(self, number: int, message_id: int, correlation: int) -> list[Action]:
        connection = self._connections[number]
        self._note_refusal(connection.role, connection.server, message_id)
        return [ToClient(number, error_frame(correlation, Status.DENIED))]

    def _deliver(
        self,
        number: int,
        connection: _Connection,
        frame: Frame,
        lent: int,
        group: str | None,
        *,
        parked: int = 0,
    ) -> list[Action]:
        queue = self._pending[connection.owner]
        own = [p for p in queue.values() if p.role == connection.role]
        if (
            len(queue) >= self._room(connection.role, len(own))
            or len(own) >= MAX_PENDING_PER_CALLER
            or (lent and sum(p.lent for p in own) + lent > MAX_LENT_BYTES)
        ):
            busy = ToClient(number, error_frame(frame.correlation, Status.BUSY))
            return [busy, DropParked(parked)] if parked else [busy]
        service_correlation = next(self._numbers)
        connection.pending[frame.correlation] = service_correlation
        queue[service_correlation] = _Pending(
            number,
            frame.correlation,
            connection.role,
            connection.server,
            frame.message_id,
            lent,
            group,
        )
        return [
            ToService(
                connection.owner,
                self._caller(connection),
                _renumber(frame, service_correlation),
                parked,
            )
        ]

    def _room(self, role: str, own: int) -> int:
        """Return how full a queue may be for one more request of a role that has `own` in it.

        Requests may wait for long, as for the unlocking: hostile apps that wait together must keep
        neither the system nor an app of few requests out (X-3).
        """
        if self._table.trust(role) is Trust.SYSTEM:
            return MAX_PENDING_PER_SERVER
        return ROOM_FOR_APPS if own < MODEST else ROOM_FOR_GREED

    def _note_refusal(self, role: str, server: str, message_id: int) -> None:
        key = (role, server, message_id)
        if key in self.refused or len(self.refused) < MAX_REFUSED_KINDS:
            self.refused[key] += 1

    # -- permissions ----------------------------------------------------------------------------

    def _park(
        self, number: int, connection: _Connection, group: str, frame: Frame, lent: int
    ) -> list[Action]:
        """Hold a request until the broker answers; too many are refused, never passed (R-2)."""
        of_caller = sum(p.role == connection.role for p in self._parked.values())
        if len(self._parked) >= MAX_PARKED or of_caller >= MAX_PARKED_PER_CALLER:
            return [ToClient(number, error_frame(frame.correlation, Status.BUSY))]
        parked = next(self._numbers)
        self._parked[parked] = _Parked(
            number, connection.instance, connection.role, group, frame, lent
        )
        return [Park(parked)]

    def _bury(
        self, connection: int, status: Status | None, *, correlation: int | None = None
    ) -> list[Action]:
        """Make parked requests of a connection tombstones; with a status, their sender is told."""
        actions: list[Action] = []
        for number, parked in self._parked.items():
            if parked.connection != connection or parked.gone:
                continue
            if correlation is None or parked.frame.correlation == correlation:
                parked.gone = True
                actions.append(DropParked(number))
                if status is not None:
                    actions.append(
                        ToClient(connection, error_frame(parked.frame.correlation, status))
                    )
        return actions

    def take_up(self, number: int) -> tuple[str, int, str] | None:
        """Return (role, instance, subgroup) of a parked request, or None when there is no need.

        A tombstone that the broker was not told of is cleared away.
        """
        found = self._parked.get(number)
        if found is None:
            return None
        if found.gone:
            del self._parked[number]
            return None
        return found.role, found.instance, found.group

    def answer_parked(self, number: int, *, allow: bool) -> list[Action]:
        """Do what the broker decided about a parked request, and about all that are like it.

        A grant is for exactly the captured app and subgroup; a request whose sender, server or
        connection is gone meanwhile is not delivered (R-5). A denial is for the run of the app:
        it is not asked again, and the kernel no longer lets such a message through.
        """
        answered = self._parked.get(number)
        if answered is None:
            return []
        actions: list[Action] = []
        if allow:
            self._granted.add((answered.role, answered.group))
        elif answered.instance in self._instances:
            self._denied.add((answered.instance, answered.group))
            actions += self._filters(answered.role)
        return actions + self._settle_parked(answered, allow=allow)

    def _settle_parked(self, answered: _Parked, *, allow: bool) -> list[Action]:
        actions: list[Action] = []
        for key, parked in list(self._parked.items()):
            if (parked.instance, parked.group) != (answered.instance, answered.group):
                continue
            del self._parked[key]
            connection = self._connections.get(parked.connection)
            if parked.gone or connection is None:
                continue  # its object was closed when it became a tombstone
            if allow:
                actions += self._deliver(
                    parked.connection,
                    connection,
                    parked.frame,
                    parked.lent,
                    parked.group,
                    parked=key,
                )
            else:
                self._note_refusal(parked.role, connection.server, parked.frame.message_id)
                actions += [
                    DropParked(key),
                    ToClient(
                        parked.connection, error_frame(parked.frame.correlation, Status.DENIED)
                    ),
                ]
        return actions

    def broker_gone(self) -> list[Action]:
        """A lost prompt is a denial, and what was granted has to be asked for again (R-4)."""
        self._granted.clear()
        self._denied.clear()
        actions = [action for role in set(self._running) for action in self._filters(role)]
        for number in list(self._parked):
            answered = self._parked.get(number)
            if answered is not None:
                actions += self._settle_parked(answered, allow=False)
        return actions

    def forget_grants(self, role: str) -> None:
        """An installed app was removed: another one under its role begins without any (A-8)."""
        self._granted = {granted for granted in self._granted if granted[0] != role}

    def revoke(self, role: str, group: str) -> list[Action]:
        """Take a grant back, in effect at once: what still waits for an answer ends too (P-9)."""
        self._granted.discard((role, group))
        of_role = {instance for instance, name in self._instances.items() if name == role}
        self._denied -= {(instance, group) for instance in of_role}
        actions = self._filters(role)
        for queue in self._pending.values():
            for pending in queue.values():
                if pending.cancelled or (pending.role, pending.group) != (role, group):
                    continue
                connection = self._connections[pending.connection]
                correlation = connection.pending.pop(pending.correlation)
                actions.append(self._cancel(connection, correlation))
                actions.append(
                    ToClient(pending.connection, error_frame(pending.correlation, Status.DENIED))
                )
        return actions

    # -- answers --------------------------------------------------------------------------------

    def service_frame(self, role: str, frame: Frame, lent: int = 0) -> list[Action]:
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
        if lent > self._table.object_limit(pending.server, pending.message_id):
            return [
                ToClient(pending.connection, error_frame(pending.correlation, Status.TOO_LARGE))
            ]
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
