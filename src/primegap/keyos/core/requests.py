"""The server `os/core`: what system processes may ask of the supervisor."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from primegap.files import StorageError
from primegap.keyos.api.core import (
    AdmitApp,
    AnswerPermissionRequest,
    AppEvent,
    EraseApp,
    FeatureInfo,
    FirstScreen,
    GetSystemInfo,
    LaunchApp,
    NextAppEvent,
    NextPermissionRequest,
    NextRadio,
    OfferedMessage,
    PermissionRequest,
    ProcessInfo,
    RemoveApp,
    RestartApps,
    RevokePermission,
    SetAirGap,
    SetSwitch,
    StopApp,
    SwitchInfo,
    SystemInfo,
)
from primegap.keyos.channel import close_fds, read_object
from primegap.keyos.errors import FrameError, ManifestError, RequestError, SandboxError, Status
from primegap.keyos.frame import Caller, Frame, Kind, error_frame
from primegap.keyos.manifest.schema import (
    ROLE_NAME,
    SWITCHES,
    Manifest,
    read_manifest_untrusted,
)
from primegap.keyos.messages import (
    Empty,
    Message,
    Request,
    decode_message_untrusted,
    encode_message,
)
from primegap.keyos.sandbox.support import Level

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from primegap.keyos.core.journal import Journal
    from primegap.keyos.core.supervisor import Running, Supervisor

R = TypeVar("R", bound=Request)

MAX_APP_EVENTS: Final = 64  # kept for a listener that is away; the oldest are forgotten
MAX_INSTALLED_APPS: Final = 128  # each costs core a manifest and the filters a few entries
ROLE_PREFIX: Final = "app-"


class CoreServer:
    """Answers the requests to core, each in a task of its own."""

    def __init__(self, supervisor: Supervisor, journal: Journal) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._events: deque[AppEvent] = deque(maxlen=MAX_APP_EVENTS)
        self._event_came = asyncio.Event()
        self.stopped: set[str] = set()
        "Roles of the image that were stopped on request; they start again when launched."

    def app_changed(self, running: Running, *, status: int | None) -> None:
        """Tell the listener that an app was started (no status) or ended."""
        if running.manifest.system:
            return
        self._events.append(
            AppEvent(
                running.manifest.app_id, running.instance, status is None, (status or 0) & 0xFFFF
            )
        )
        self._event_came.set()

    # -- requests -------------------------------------------------------------------------------

    def request(self, caller: Caller, frame: Frame, fds: list[int]) -> None:
        """Answer a request, or cancel one; takes the descriptors."""
        if frame.kind is Kind.CANCEL:
            close_fds(fds)
            task = self._calls.get(frame.correlation)
            if task is not None:
                task.cancel()
            return
        task = asyncio.get_running_loop().create_task(self._answer(frame, fds))
        self._calls[frame.correlation] = task
        task.add_done_callback(functools.partial(self._answered, frame.correlation, fds))

    def _answered(self, correlation: int, fds: list[int], task: asyncio.Task[None]) -> None:
        """Answer a request that was cancelled or failed too: the router counts it until then."""
        close_fds(fds)
        del self._calls[correlation]
        status = Status.CANCELLED
        if not task.cancelled():
            error = task.exception()
            if error is None:
                return
            status = Status.FAILED
            self._journal.line("core", f"a request failed: {type(error).__name__}")
        self._send(error_frame(correlation, status))

    def _send(self, frame: Frame, fds: list[int] | None = None) -> None:
        board = self._supervisor.switchboard
        board.perform(board.router.service_frame("core", frame), fds)

    async def _answer(self, frame: Frame, fds: list[int]) -> None:
        given: list[int] = []
        try:
            if frame.message_id == NextRadio.message_id:
                pipe = await self._supervisor.radio.next_pipe()
                given = [pipe.detach()]
                answer = Frame(kind=Kind.REPLY, correlation=frame.correlation, objects=1)
            else:
                reply = await self._do(frame, fds)
                answer = Frame(
                    kind=Kind.REPLY, correlation=frame.correlation, payload=encode_message(reply)
                )
        except FrameError:
            answer = error_frame(frame.correlation, Status.MALFORMED)
        except RequestError as error:
            answer = error_frame(frame.correlation, error.status, error.detail)
        self._send(answer, given)

    async def _do(self, frame: Frame, fds: list[int]) -> Message:
        supervisor = self._supervisor
        match frame.message_id:
            case FirstScreen.message_id:
                self._first_screen()
            case GetSystemInfo.message_id:
                return self._system_info()
            case SetSwitch.message_id:
                switch = _decode(SetSwitch, frame, fds)
                if switch.name not in SWITCHES:
                    raise FrameError("no such switch")
                await _stored(supervisor.set_switch(switch.name, on=switch.on))
            case SetAirGap.message_id:
                await _stored(supervisor.set_air_gap(on=_decode(SetAirGap, frame, fds).on))
            case RestartApps.message_id:
                supervisor.restart_apps()
            case AdmitApp.message_id:
                self._admit(_decode(AdmitApp, frame, fds))
            case RemoveApp.message_id:
                await self._remove(_decode(RemoveApp, frame, fds).app_id)
            case EraseApp.message_id:
                await self._erase(_decode(EraseApp, frame, fds))
            case LaunchApp.message_id:
                app_id = frame.words[0].to_bytes(8, "big") + frame.words[1].to_bytes(8, "big")
                await self._launch(app_id, fds[0] if fds else None)
            case StopApp.message_id:
                role = self._app(_decode(StopApp, frame, fds).app_id)
                self.stopped.add(role)
                await supervisor.end_process(role)
            case NextPermissionRequest.message_id:
                return await self._next_permission_request()
            case AnswerPermissionRequest.message_id:
                answer = _decode(AnswerPermissionRequest, frame, fds)
                board = supervisor.switchboard
                board.perform(board.router.answer_parked(answer.number, allow=answer.allow))
            case RevokePermission.message_id:
                revoked = _decode(RevokePermission, frame, fds)
                of_app = supervisor.table.role_of(revoked.app_id)
                if of_app is not None:
                    board = supervisor.switchboard
                    board.perform(board.router.revoke(of_app, revoked.subgroup))
            case NextAppEvent.message_id:
                return await self._next_event()
            case _:
                raise FrameError("no such message")
        return Empty()

    def _first_screen(self) -> None:
        self._journal.event("first-screen")
        self._supervisor.start_late()

    def _system_info(self) -> SystemInfo:
        supervisor = self._supervisor
        processes = tuple(
            ProcessInfo(role, role in supervisor.running or role == "core", supervisor.starts[role])
            for role in supervisor.table.manifests
        )
        switches = tuple(
            SwitchInfo(
                name,
                supervisor.present(name),
                supervisor.switches.chosen(name),
                supervisor.present(name) and supervisor.switches.allows(name),
            )
            for name in SWITCHES
        )
        support = supervisor.support
        return SystemInfo(
            processes,
            switches,
            supervisor.switches.air_gap,
            int(support.level),
            tuple(FeatureInfo(f.name, f.present, f.detail) for f in support.findings),
            simulator=supervisor.simulator,
        )

    # -- apps -----------------------------------------------------------------------------------

    def _app(self, app_id: bytes) -> str:
        """Return the role of an app; parts of the system are none."""
        role = self._supervisor.table.role_of(app_id)
        if role is None or self._supervisor.table.manifests[role].system:
            raise RequestError(Status.NOT_FOUND, "no such app")
        return role

    def _admit(self, request: AdmitApp) -> None:
        supervisor = self._supervisor
        installed = [r for r in supervisor.table.manifests if supervisor.is_installed(r)]
        if len(installed) >= MAX_INSTALLED_APPS:
            raise RequestError(Status.BUSY, "too many installed apps")
        try:
            manifest = _manifest(request)
            supervisor.table.install(manifest)
        except ManifestError as error:
            raise RequestError(Status.DENIED, str(error)) from error
        supervisor.watch_quota(manifest)

    async def _remove(self, app_id: bytes) -> None:
        supervisor = self._supervisor
        role = self._app(app_id)
        await supervisor.end_process(role)
        try:
            supervisor.table.remove(role)
        except ManifestError as error:
            raise RequestError(Status.DENIED, str(error)) from error
        supervisor.forget_quota(role)
        supervisor.switchboard.router.forget_grants(role)

    async def _erase(self, request: EraseApp) -> None:
        supervisor = self._supervisor
        if not _is_role(request.role):
            raise RequestError(Status.DENIED, "not the folder of an installed app")
        role = supervisor.table.role_of(request.app_id)
        if role is not None:
            if role != request.role or not supervisor.is_installed(role):
                raise RequestError(Status.DENIED, "that is another app's folder")
            await self._remove(request.app_id)
        elif request.role in supervisor.table.manifests:
            raise RequestError(Status.DENIED, "that is another app's folder")
        try:
            await supervisor.erase_folder(request.role)
        except OSError as error:
            raise RequestError(Status.FAILED, "cannot be erased") from error

    async def _launch(self, app_id: bytes, image: int | None) -> None:
        supervisor = self._supervisor
        role = self._app(app_id)
        if supervisor.is_installed(role) is not (image is not None):
            raise RequestError(Status.DENIED, "an installed app needs an image, others have none")
        if image is not None:
            await supervisor.measured.wait()
            needed = Level.REDUCED if supervisor.development else Level.FULL
            if supervisor.support.level > needed:
                raise RequestError(Status.DENIED, supervisor.support.level.meaning)
        if role in supervisor.running:
            raise RequestError(Status.BUSY, "runs already")
        if supervisor.over_quota(role):
            raise RequestError(Status.DENIED, "keeps more than it may")
        self.stopped.discard(role)
        try:
            supervisor.start(role, image=image)
        except (SandboxError, StorageError, OSError) as error:
            raise RequestError(Status.FAILED, "cannot be started") from error

    # -- permissions ----------------------------------------------------------------------------

    async def _next_permission_request(self) -> PermissionRequest:
        number, role, instance, subgroup = await self._supervisor.switchboard.next_parked()
        manifest = self._supervisor.table.manifests[role]
        return PermissionRequest(number, manifest.app_id, manifest.name, instance, subgroup)

    async def _next_event(self) -> AppEvent:
        while not self._events:
            self._event_came.clear()
            await self._event_came.wait()
        return self._events.popleft()


async def _stored(change: Coroutine[None, None, None]) -> None:
    """Make a change that is to hold over a restart; say so when it will not."""
    try:
        await change
    except StorageError as error:
        raise RequestError(Status.FAILED, error.hint) from error


def _decode(kind: type[R], frame: Frame, fds: list[int]) -> R:
    return decode_message_untrusted(kind, read_object(fds[0]) if fds else frame.payload)


def _manifest(request: AdmitApp) -> Manifest:
    """Check what the app manager says of an app exactly as a manifest file."""
    if not _is_role(request.role):
        raise ManifestError("the role of an installed app begins with app-")
    servers = {offered.server: offered.messages for offered in request.servers}
    permissions = {named.server: list(named.messages) for named in request.permissions}
    if len(servers) != len(request.servers) or len(permissions) != len(request.permissions):
        raise ManifestError("a server comes twice")
    table: dict[str, Any] = {
        "appId": f"0x{request.app_id.hex()}",
        "role": request.role,
        "name": request.name,
        "entry": request.entry,
        "profile": "app",
        "storage": request.storage,
        "servers": {server: _messages(offered) for server, offered in servers.items()},
        "permissions": permissions,
    }
    return read_manifest_untrusted(table)


def _is_role(role: str) -> bool:
    """Whether a role can be that of an installed app, and so the name of its folder."""
    return role.startswith(ROLE_PREFIX) and ROLE_NAME.fullmatch(role) is not None


def _messages(offered: tuple[OfferedMessage, ...]) -> dict[str, dict[str, object]]:
    messages = {message.name: _fields(message) for message in offered}
    if len(messages) != len(offered):
        raise ManifestError("a message comes twice")
    return messages


def _fields(message: OfferedMessage) -> dict[str, object]:
    if message.group is None:
        return {"id": message.message_id}
    return {
        "id": message.message_id,
        "permissionGroup": message.group,
        "requiredSignature": message.signature,
        "approval": message.approval,
    }
