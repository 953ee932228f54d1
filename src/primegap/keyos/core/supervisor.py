"""The supervisor: starts sandboxed processes, owns all channel ends, performs routing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.files import remove_file, write_file
from primegap.keyos.api.core import (
    AnswerPermissionRequest,
    FirstScreen,
    GetSystemInfo,
    NextPermissionRequest,
    NextRadio,
    PermissionRequest,
    ProcessInfo,
    RestartApps,
    RevokePermission,
    SetRadio,
    SystemInfo,
)
from primegap.keyos.channel import Channel, channel_pair, check_object, close_fds, seal_object
from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.core.order import FIRST_UID, Runtime, launch_order
from primegap.keyos.core.quota import CHECK_INTERVAL_S, Quotas
from primegap.keyos.core.router import (
    Action,
    CloseConnection,
    DropParked,
    Park,
    Router,
    ToClient,
    ToService,
)
from primegap.keyos.errors import ChannelClosedError, FrameError, RequestError, Status
from primegap.keyos.frame import (
    Frame,
    Kind,
    encode_caller,
    encode_connected,
    encode_frame,
    parse_frame_untrusted,
)
from primegap.keyos.messages import Empty, Message, decode_message_untrusted, encode_message
from primegap.keyos.sandbox.launch import EXIT_NOT_CONFINED
from primegap.keyos.sandbox.namespaces import SCRATCH

if TYPE_CHECKING:
    from pathlib import Path

    from primegap.keyos.core.journal import Journal
    from primegap.keyos.manifest import Manifest, PermissionTable

RESTART_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # of a process that is not critical
STABLE_AFTER_S: Final = 30.0  # a process that ran this long starts again without delay
MAX_STDERR_LINE: Final = 4096
RADIO_OFF: Final = "radio-off"  # a file whose presence keeps the chip off
STOP_GRACE_S: Final = 1.0
CHANNEL_LOST_GRACE_S: Final = 1.0  # the process that waits for a dead one may be slow to be served
PERMISSIONS: Final = "permissions"  # the role that answers for requests that need a grant
MAX_WAITING_CONNECTS: Final = 32  # of one process: as many as it may have connections


@dataclass(slots=True)
class Running:
    """One started process."""

    manifest: Manifest
    instance: int
    popen: subprocess.Popen[bytes]
    pidfd: int
    control: Channel
    service: Channel | None
    started_s: float
    ready: bool = False
    last_line: str = ""


@dataclass(slots=True)
class Supply:
    """What one role gets besides its channels."""

    config: dict[str, Any] = field(default_factory=dict)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)


class Supervisor:
    """Processes, channels and the built-in server `os/core`."""

    def __init__(
        self,
        table: PermissionTable,
        runtime: Runtime,
        *,
        data: Path,
        development: bool,
        journal: Journal,
        supplies: dict[str, Supply],
    ) -> None:
        self._table = table
        self._runtime = runtime
        self._data = data
        self._development = development
        self._journal = journal
        self._supplies = supplies
        self._router = Router(table)
        self._running: dict[str, Running] = {}
        self._starts: dict[str, int] = dict.fromkeys(table.manifests, 0)
        self._failures: dict[str, int] = dict.fromkeys(table.manifests, 0)
        self._connections: dict[int, Channel] = {}
        self._waiting_connects: list[tuple[str, Running, int]] = []
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._core_calls: dict[int, asyncio.Task[None]] = {}
        self.finished: asyncio.Future[str] = self._loop.create_future()
        "Resolves with the reason when the device stops; empty for an orderly stop."
        # Off stays off, also after a restart (L-7).
        self.radio_on = "radio" in supplies and not (data / RADIO_OFF).exists()
        self._radio_waiters: list[asyncio.Future[socket.socket]] = []
        self._radio_host_end: socket.socket | None = None
        self._parked_fds: dict[int, int] = {}
        "Objects of parked requests."
        self._unasked: deque[int] = deque()
        "Parked requests that the broker has not been told of."
        self._broker_waits: asyncio.Future[None] | None = None
        self._late_started = False
        self._quotas = Quotas(
            {m.role: data / m.role for m in table.manifests.values() if m.storage and not m.system}
        )
        self._router.process_started("core")

    # -- start and end --------------------------------------------------------------------------

    def start_first(self) -> None:
        """Start what the first screen needs."""
        self._tasks.add(self._loop.create_task(self._watch_quotas()))
        for manifest in self._table.manifests.values():
            if manifest.first and manifest.role != "core":
                self._start(manifest.role)

    async def _watch_quotas(self) -> None:
        while not self._stopping:
            await asyncio.sleep(CHECK_INTERVAL_S)
            went_over, came_back = await asyncio.to_thread(self._quotas.check)
            for role in went_over:
                self._journal.event("over-quota", role=role)
                if role in self._running:
                    self._running[role].popen.kill()
            for role in came_back:
                self._restart(role)

    def _start_late(self) -> None:
        if self._late_started:
            return
        self._late_started = True
        for manifest in self._table.manifests.values():
            if not manifest.first and manifest.role != "radio":
                self._start(manifest.role)
        if self.radio_on:
            self._start_radio()

    def _start(self, role: str, extra: dict[str, socket.socket] | None = None) -> None:
        """Start a process; nothing of it exists before its sandbox is ordered."""
        manifest = self._table.manifests[role]
        supply = self._supplies.get(role, Supply())
        control, their_control = channel_pair()
        ends: dict[str, socket.socket] = {"control": their_control}
        service: socket.socket | None = None
        if manifest.servers:
            service, ends["service"] = channel_pair()
        shared = {**supply.sockets, **(extra or {})}
        fds = {name: sock.fileno() for name, sock in {**ends, **shared}.items()}
        order = launch_order(
            manifest,
            self._runtime,
            fds=fds,
            data=self._folder(manifest),
            uid=self._uid(role),
            development=self._development,
            config=supply.config,
            devices=supply.devices,
        )
        order_fd = seal_object(json.dumps(order).encode())
        popen = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [
                sys.executable,
                "-I",
                "-S",
                "-B",
                str(PACKAGE / "keyos/sandbox/launch.py"),
                str(order_fd),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[order_fd, *fds.values()],
            start_new_session=True,
            env={"LC_ALL": "C.UTF-8", "TMPDIR": SCRATCH},
            cwd="/",
        )
        os.close(order_fd)
        for end in [*ends.values(), *(extra or {}).values()]:
            end.close()
        instance = self._router.process_started(role)
        self._starts[role] += 1
        pidfd = os.pidfd_open(popen.pid)
        running = Running(
            manifest,
            instance,
            popen,
            pidfd,
            control=None,  # type: ignore[arg-type]  # set below: its callbacks need the object
            service=None,
            started_s=self._loop.time(),
        )
        running.control = Channel(
            control,
            on_datagram=functools.partial(self._control_frame, running),
            on_closed=functools.partial(self._channel_lost, running),
        )
        if service is not None:
            running.service = Channel(
                service,
                on_datagram=functools.partial(self._service_frame, role),
                on_closed=functools.partial(self._channel_lost, running),
            )
        self._running[role] = running
        self._journal.event("process-started", role=role, pid=popen.pid)
        self._loop.add_reader(pidfd, self._exited, running)
        assert popen.stderr is not None
        os.set_blocking(popen.stderr.fileno(), False)
        self._loop.add_reader(popen.stderr.fileno(), self._stderr, running)

    def _folder(self, manifest: Manifest) -> Path | None:
        if not manifest.storage:
            return None
        folder = self._data / manifest.role
        folder.mkdir(mode=0o700, exist_ok=True)
        uid = self._uid(manifest.role)
        if uid is not None:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, uid, uid, follow_symlinks=False)
        return folder

    def _uid(self, role: str) -> int | None:
        """User id of a role when core runs as root: by its place in the sorted roles."""
        return FIRST_UID + sorted(self._table.manifests).index(role) if os.getuid() == 0 else None

    def _stderr(self, running: Running) -> None:
        pipe = running.popen.stderr
        assert pipe is not None
        try:
            data = os.read(pipe.fileno(), MAX_STDERR_LINE)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(pipe.fileno())
            pipe.close()
            return
        for line in data.decode(errors="replace").splitlines():
            running.last_line = line
            self._journal.line(running.manifest.role, line)

    def _channel_lost(self, running: Running) -> None:
        """End a process whose channel is closed, broken or not read: its callers must not wait.

        A process that is ending anyway loses its channels first; its own status says why.
        """
        self._loop.call_later(CHANNEL_LOST_GRACE_S, self._end_without_channel, running)

    def _end_without_channel(self, running: Running) -> None:
        if self._running.get(running.manifest.role) is running:
            running.popen.kill()

    def _exited(self, running: Running) -> None:
        role = running.manifest.role
        self._loop.remove_reader(running.pidfd)
        os.close(running.pidfd)
        status = running.popen.wait()
        pipe = running.popen.stderr
        if pipe is not None and not pipe.closed:
            self._stderr(running)
        del self._running[role]
        running.control.close()
        if running.service is not None:
            running.service.close()
        self._waiting_connects = [w for w in self._waiting_connects if w[1] is not running]
        self._perform(self._router.process_gone(running.instance))
        if role == PERMISSIONS:
            self._unasked.clear()
            self._perform(self._router.broker_gone())
        if self._stopping:
            return
        self._journal.event("process-ended", role=role, status=status)
        if role == "radio" and not self.radio_on:
            return
        if running.manifest.critical or status == EXIT_NOT_CONFINED:
            self.stop(
                f"{role} ended with status {status}: {running.last_line or 'no reason given'}"
            )
            return
        if role == "security" and status:
            # Whoever has a key from it ends too: a crash leaves a locked device.
            self._restart_apps()
        if status == 0 and running.manifest.system:
            self._restart(role)  # it ended in order, to begin with an empty memory
            return
        if self._loop.time() - running.started_s > STABLE_AFTER_S:
            self._failures[role] = 0
        delay = RESTART_DELAYS_S[min(self._failures[role], len(RESTART_DELAYS_S) - 1)]
        self._failures[role] += 1
        self._loop.call_later(delay, self._restart, role)

    def _restart(self, role: str) -> None:
        if self._stopping or role in self._running or role in self._quotas.over:
            return
        if role == "radio":
            if self.radio_on:
                self._start_radio()
        else:
            self._start(role)

    def stop(self, reason: str = "") -> None:
        """Stop every process and finish."""
        if self._stopping:
            return
        self._stopping = True
        for running in self._running.values():
            running.popen.kill()
        if not self.finished.done():
            self.finished.set_result(reason)

    # -- the radio ------------------------------------------------------------------------------

    def _start_radio(self) -> None:
        supply = self._supplies["radio"]
        host_end, chip_end = channel_pair()
        extra = {"host": chip_end}
        path = supply.config.get("hci_unix")
        if path is not None:
            hci = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                hci.connect(path)
            except OSError as error:
                hci.close()
                host_end.close()
                chip_end.close()
                self._journal.line("radio", f"no controller at {path}: {error.strerror}")
                self._loop.call_later(RESTART_DELAYS_S[-1], self._restart, "radio")
                return
            extra["hci"] = hci
        self._start("radio", extra)
        if self._radio_host_end is not None:
            self._radio_host_end.close()
        self._radio_host_end = host_end
        self._give_radio()

    def _give_radio(self) -> None:
        while self._radio_waiters and self._radio_host_end is not None:
            waiter = self._radio_waiters.pop(0)
            if not waiter.done():
                waiter.set_result(self._radio_host_end)
                self._radio_host_end = None

    async def _stop_radio(self) -> None:
        running = self._running.get("radio")
        if running is not None:
            running.popen.kill()
            await asyncio.get_running_loop().run_in_executor(None, running.popen.wait)
        if self._radio_host_end is not None:
            self._radio_host_end.close()
            self._radio_host_end = None

    # -- channels -------------------------------------------------------------------------------

    def _control_frame(self, running: Running, data: bytes, fds: list[int]) -> None:
        close_fds(fds)
        role = running.manifest.role
        try:
            frame = parse_frame_untrusted(data)
        except FrameError:
            self._journal.line("core", f"{role} sent a malformed control frame")
            return
        if frame.kind is Kind.LOG:
            self._journal.line(role, frame.payload.decode(errors="replace"))
        elif frame.kind is Kind.READY:
            if not running.ready:
                running.ready = True
                self._journal.event("process-ready", role=role)
                self._retry_connects()
        elif frame.kind is Kind.CONNECT:
            self._connect(running, frame.correlation, frame.payload.decode(errors="replace"))

    def _connect(self, running: Running, correlation: int, server: str) -> None:
        owner = self._table.owner(server)
        owner_running = self._running.get(owner or "")
        waits = (
            owner != "core"
            and owner is not None
            and (owner_running is None or not owner_running.ready)
        )
        try:
            if waits and self._table.may_connect(running.manifest.role, server):
                if sum(w[1] is running for w in self._waiting_connects) >= MAX_WAITING_CONNECTS:
                    raise RequestError(Status.BUSY, "too many connections")
                self._waiting_connects.append((server, running, correlation))
                return
            number = self._router.open_connection(running.instance, server)
        except RequestError as error:
            self._send(
                running.control,
                Frame(
                    kind=Kind.ERROR,
                    correlation=correlation,
                    words=(error.status, 0, 0, 0),
                    payload=error.detail.encode()[:256],
                ),
            )
            return
        ours, theirs = channel_pair()
        self._connections[number] = Channel(
            ours,
            on_datagram=functools.partial(self._client_frame, number),
            on_closed=functools.partial(self._connection_closed, number),
            pause_when_unread=True,
        )
        self._send(
            running.control,
            encode_connected(correlation, self._router.owner_of(number)),
            theirs.detach(),
        )

    def _retry_connects(self) -> None:
        waiting, self._waiting_connects = self._waiting_connects, []
        for server, running, correlation in waiting:
            self._connect(running, correlation, server)

    def _connection_closed(self, number: int) -> None:
        if self._connections.pop(number, None) is not None:
            self._perform(self._router.connection_closed(number))

    def _client_frame(self, number: int, data: bytes, fds: list[int]) -> None:
        self._route(data, fds, functools.partial(self._router.client_frame, number))

    def _service_frame(self, role: str, data: bytes, fds: list[int]) -> None:
        understood = self._route(data, fds, functools.partial(self._router.service_frame, role))
        running = self._running.get(role)
        if not understood and running is not None and running.service is not None:
            # Somebody may wait for what this was to be: end the service, and with it the waiting.
            running.service.close()

    def _route(self, data: bytes, fds: list[int], judge: Any) -> bool:
        """Judge a datagram and do what follows; return whether it was a frame at all."""
        try:
            frame = parse_frame_untrusted(data)
        except FrameError:
            close_fds(fds)
            return False
        try:
            if frame.objects != len(fds):
                raise FrameError("descriptor count")
            for fd in fds:
                check_object(fd)
        except FrameError:
            close_fds(fds)
            self._perform(self._refuse(frame, judge))
        else:
            self._perform(judge(frame), fds)
        return True

    @staticmethod
    def _refuse(frame: Frame, judge: Any) -> list[Action]:
        """Put an error in the place of a frame whose object is not acceptable.

        From a client the router refuses it as malformed; from a service it ends the waiting of
        whoever the reply was for.
        """
        error = Frame(
            kind=Kind.ERROR, correlation=frame.correlation, words=(Status.FAILED, 0, 0, 0)
        )
        actions: list[Action] = judge(error)
        return actions

    def _perform(self, actions: list[Action], fds: list[int] | None = None) -> None:
        left = list(fds or ())
        for action in actions:
            match action:
                case ToService(role, caller, frame, parked):
                    if parked:
                        fd = self._parked_fds.pop(parked, None)
                    else:
                        fd = left.pop() if frame.objects and left else None
                    if role == "core":
                        if fd is not None:
                            os.close(fd)
                        self._core_request(frame)
                        continue
                    running = self._running.get(role)
                    if running is None or running.service is None:
                        if fd is not None:
                            os.close(fd)
                        continue
                    self._send(running.service, frame, fd, prefix=encode_caller(caller))
                case ToClient(number, frame):
                    channel = self._connections.get(number)
                    fd = left.pop() if frame.objects and left else None
                    if channel is None:
                        if fd is not None:
                            os.close(fd)
                        continue
                    self._send(channel, frame, fd)
                case CloseConnection(number):
                    channel = self._connections.pop(number, None)
                    if channel is not None:
                        channel.close()
                case Park(number):
                    if left:
                        self._parked_fds[number] = left.pop()
                    self._unasked.append(number)
                    if self._broker_waits is not None and not self._broker_waits.done():
                        self._broker_waits.set_result(None)
                case DropParked(number):
                    fd = self._parked_fds.pop(number, None)
                    if fd is not None:
                        os.close(fd)
        close_fds(left)

    def _send(
        self, channel: Channel, frame: Frame, fd: int | None = None, *, prefix: bytes = b""
    ) -> None:
        with contextlib.suppress(ChannelClosedError):
            channel.send(prefix + encode_frame(frame), fd)

    # -- os/core --------------------------------------------------------------------------------

    def _core_request(self, frame: Frame) -> None:
        if frame.kind is Kind.CANCEL:
            task = self._core_calls.get(frame.correlation)
            if task is not None:
                task.cancel()
            return
        task = self._loop.create_task(self._answer_core(frame))
        self._core_calls[frame.correlation] = task
        task.add_done_callback(functools.partial(self._core_answered, frame.correlation))

    def _core_answered(self, correlation: int, task: asyncio.Task[None]) -> None:
        """Answer a request that was cancelled or failed too: the router counts it until then."""
        del self._core_calls[correlation]
        status = Status.CANCELLED
        if not task.cancelled():
            error = task.exception()
            if error is None:
                return
            status = Status.FAILED
            self._journal.line("core", f"a request failed: {type(error).__name__}")
        answer = Frame(kind=Kind.ERROR, correlation=correlation, words=(status, 0, 0, 0))
        self._perform(self._router.service_frame("core", answer))

    async def _answer_core(self, frame: Frame) -> None:
        fds: list[int] = []
        try:
            if frame.message_id == NextRadio.message_id:
                sock = await self._next_radio()
                fds = [sock.detach()]
                answer = Frame(kind=Kind.REPLY, correlation=frame.correlation, objects=1)
            else:
                reply = await self._answer_core_message(frame)
                answer = Frame(
                    kind=Kind.REPLY, correlation=frame.correlation, payload=encode_message(reply)
                )
        except FrameError:
            answer = Frame(
                kind=Kind.ERROR, correlation=frame.correlation, words=(Status.MALFORMED, 0, 0, 0)
            )
        self._perform(self._router.service_frame("core", answer), fds)

    async def _answer_core_message(self, frame: Frame) -> Message:
        if frame.message_id == FirstScreen.message_id:
            if not self._late_started:
                self._journal.event("first-screen")
            self._start_late()
            return Empty()
        if frame.message_id == GetSystemInfo.message_id:
            processes = tuple(
                ProcessInfo(role, role in self._running or role == "core", self._starts[role])
                for role in self._table.manifests
            )
            return SystemInfo(processes, self.radio_on, "radio" in self._supplies)
        if frame.message_id == SetRadio.message_id:
            request = decode_message_untrusted(SetRadio, frame.payload)
            await self._set_radio(on=request.on)
            return Empty()
        if frame.message_id == NextPermissionRequest.message_id:
            return await self._next_permission_request()
        if frame.message_id == AnswerPermissionRequest.message_id:
            answer = decode_message_untrusted(AnswerPermissionRequest, frame.payload)
            self._perform(self._router.answer_parked(answer.number, allow=answer.allow))
            return Empty()
        if frame.message_id == RevokePermission.message_id:
            revoked = decode_message_untrusted(RevokePermission, frame.payload)
            for manifest in self._table.manifests.values():
                if manifest.app_id == revoked.app_id:
                    self._perform(self._router.revoke(manifest.role, revoked.subgroup))
            return Empty()
        if frame.message_id == RestartApps.message_id:
            self._restart_apps()
            return Empty()
        raise FrameError("no such message")

    async def _next_permission_request(self) -> PermissionRequest:
        while True:
            while self._unasked:
                number = self._unasked.popleft()
                parked = self._router.take_up(number)
                if parked is not None:
                    role, instance, group = parked
                    manifest = self._table.manifests[role]
                    return PermissionRequest(
                        number, manifest.app_id, manifest.name, instance, group
                    )
            self._broker_waits = self._loop.create_future()
            await self._broker_waits

    def _restart_apps(self) -> None:
        for running in list(self._running.values()):
            if not running.manifest.first and running.manifest.role != "radio":
                running.popen.kill()

    async def _set_radio(self, *, on: bool) -> None:
        if on == self.radio_on or "radio" not in self._supplies:
            return
        self.radio_on = on
        self._journal.event("radio", on=on)
        if on:
            remove_file(self._data / RADIO_OFF)
            self._start_radio()
        else:
            # The chip goes off even when that cannot be written down.
            await self._stop_radio()
            write_file(self._data / RADIO_OFF, b"")

    async def _next_radio(self) -> socket.socket:
        waiter: asyncio.Future[socket.socket] = self._loop.create_future()
        self._radio_waiters.append(waiter)
        self._give_radio()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self._radio_waiters:
                self._radio_waiters.remove(waiter)
            elif waiter.done() and not waiter.cancelled():
                self._radio_host_end = waiter.result()
            raise
