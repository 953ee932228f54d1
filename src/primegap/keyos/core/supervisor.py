"""The supervisor: starts sandboxed processes, watches them, and ends or starts them again."""

from __future__ import annotations

import asyncio
import functools
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.files import StorageError
from primegap.keyos.channel import channel_pair
from primegap.keyos.core.folders import erase_tree
from primegap.keyos.core.measure import NOT_MEASURED, measure
from primegap.keyos.core.order import Runtime, launch_order
from primegap.keyos.core.quota import CHECK_INTERVAL_S, Quotas
from primegap.keyos.core.radio import RadioPipe
from primegap.keyos.core.requests import CoreServer
from primegap.keyos.core.spawn import Child, Spawner
from primegap.keyos.core.switchboard import Switchboard
from primegap.keyos.core.switches import Switches
from primegap.keyos.core.user_ids import UserIds
from primegap.keyos.frame import Frame, Kind, Trust
from primegap.keyos.manifest.schema import SWITCHES
from primegap.keyos.sandbox.cgroups import LIMITS
from primegap.keyos.sandbox.launch import EXIT_NOT_CONFINED
from primegap.keyos.sandbox.support import judge

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from primegap.keyos.core.journal import Journal
    from primegap.keyos.manifest import Manifest, PermissionTable
    from primegap.keyos.sandbox.cgroups import ControlGroups

RESTART_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # of a process that is not critical
STABLE_AFTER_S: Final = 30.0  # a process that ran this long starts again without delay
AHEAD: Final = 1  # interpreters that wait for the next launch: 13 MiB each
MAX_STDERR_LINE: Final = 4096
CHANNEL_LOST_GRACE_S: Final = 1.0  # the process that waits for a dead one may be slow to be served
START_ORDER: Final = (
    "security",
    "storage",
    "settings",
    "panel",
    "ui",
    "permissions",
    "app-manager",
    "link",
    "calls",
    "camera",
    "airlock",
)
"""Who starts before whom among those that start together (keyos-model, 16.1); then the others.
Nobody depends on it: a connection to a server that is not ready waits until it is."""


@dataclass(slots=True)
class Running:
    """One started process."""

    manifest: Manifest
    child: Child
    started_s: float
    gone: asyncio.Event
    instance: int = 0
    ready: bool = False
    last_line: str = ""


@dataclass(slots=True)
class Supply:
    """What one role gets besides its channels."""

    config: dict[str, Any] = field(default_factory=dict)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)


class Supervisor:
    """Processes of the device."""

    def __init__(
        self,
        table: PermissionTable,
        runtime: Runtime,
        *,
        data: Path,
        development: bool,
        journal: Journal,
        supplies: dict[str, Supply],
        groups: ControlGroups | None = None,
        spawner: Spawner | None = None,
        simulator: bool = False,
    ) -> None:
        """Put a device together.

        `groups` are the control groups that limit each role, where this machine has them;
        `spawner` may have interpreters that were started ahead. A `simulator` confines nothing:
        test seeds only, and no installed apps (M-1).
        """
        self._spawner = spawner or Spawner(runtime.python_path)
        self.table = table
        self._runtime = runtime
        self._data = data
        self.development = development
        self._journal = journal
        self._supplies = supplies
        self._groups = groups
        self.simulator = simulator
        self.support = NOT_MEASURED
        "What the isolation of this machine is worth, once `measured` is set."
        self.measured = asyncio.Event()
        self.running: dict[str, Running] = {}
        self.starts: defaultdict[str, int] = defaultdict(int)
        self._failures: defaultdict[str, int] = defaultdict(int)
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.finished: asyncio.Future[str] = self._loop.create_future()
        "Resolves with the reason when the device stops; empty for an orderly stop."
        self._late_started = False
        own_users = os.getuid() == 0 and not simulator
        self._uids = UserIds(data / "user-ids") if own_users else None
        self._quotas = Quotas()
        for manifest in table.manifests.values():
            self.watch_quota(manifest)
        if self._uids is not None:
            self._uids.of(*(table.manifests[role].app_id for role in sorted(table.manifests)))
        self.switches = Switches(data)
        self.radio = RadioPipe(
            present="radio" in supplies,
            hci_unix=supplies["radio"].config.get("hci_unix") if "radio" in supplies else None,
            journal=journal,
            start=functools.partial(self.start, "radio"),
            retry=lambda: self._restart_later("radio", RESTART_DELAYS_S[-1]),
        )
        self.server = CoreServer(self, journal)
        self.switchboard = Switchboard(table, answer=self.server.request)

    # -- start ----------------------------------------------------------------------------------

    def start_first(self) -> None:
        """Start what the first screen needs."""
        self._tasks.add(self._loop.create_task(self._watch_quotas()))
        for role in self._in_order(first=True):
            self.start(role)

    def start_late(self) -> None:
        """Start what the first screen did not need, once."""
        if self._late_started:
            return
        self._late_started = True
        for role in self._in_order(first=False):
            if self._may_run(self.table.manifests[role]):
                self.start(role)
        if self._radio_may_run():
            self.radio.start()
        # Measured now, when nobody waits for a screen: only installed apps depend on it.
        self._tasks.add(self._loop.create_task(self._measure()))

    async def _measure(self) -> None:
        if self.simulator:
            self.support = judge(())  # nothing is tried, as nothing holds
        else:
            self.support = await measure(self._runtime.python_path)
        self._note_support()
        self.measured.set()
        self._spawner.prepare(AHEAD)

    def _note_support(self) -> None:
        missing = [need.name for need in self.support.missing]
        self._journal.event("support", level=self.support.level, missing=missing)
        for need in self.support.missing:
            self._journal.line("core", f"missing: {need.title}. {need.remedy}")

    def present(self, switch: str) -> bool:
        """Whether the device has the hardware of a switch."""
        return any(
            manifest.switch == switch and self._has_hardware(manifest)
            for manifest in self.table.manifests.values()
        )

    def _has_hardware(self, manifest: Manifest) -> bool:
        return manifest.role != "radio" or self.radio.present

    def _may_run(self, manifest: Manifest) -> bool:
        """Whether the switches let a process run, and its hardware is there."""
        return self.switches.allows(manifest.switch) and self._has_hardware(manifest)

    def _radio_may_run(self) -> bool:
        radio = self.table.manifests.get("radio")
        return radio is not None and self._may_run(radio)

    def _in_order(self, *, first: bool) -> list[str]:
        places = {role: place for place, role in enumerate(START_ORDER)}
        roles = [
            manifest.role
            for manifest in self.table.manifests.values()
            if manifest.first is first
            and manifest.role != "core"
            and (first or manifest.role != "radio")  # that one has a switch
        ]
        return sorted(roles, key=lambda role: places.get(role, len(places)))

    def start(
        self, role: str, extra: dict[str, socket.socket] | None = None, image: int | None = None
    ) -> None:
        """Start a process; nothing of it exists before its sandbox is ordered.

        `extra` sockets are given away; `image` is a sealed object with the code of an installed
        app, which stays the caller's.
        """
        manifest = self.table.manifests[role]
        supply = self._supplies.get(role, Supply())
        control, their_control = channel_pair()
        ends: dict[str, socket.socket] = {"control": their_control}
        service: socket.socket | None = None
        if manifest.servers:
            service, ends["service"] = self.switchboard.service_pair(role)
        shared = {**supply.sockets, **(extra or {})}
        fds = {name: sock.fileno() for name, sock in {**ends, **shared}.items()}
        if image is not None:
            fds["image"] = image
        order = launch_order(
            manifest,
            self._runtime,
            fds=fds,
            data=self._folder(manifest),
            uid=self._uid(manifest),
            development=self.development,
            config=supply.config,
            devices=supply.devices,
            groups=self._limits(manifest),
            simulator=self.simulator,
        )
        child = self.spawn(order)
        for end in [*ends.values(), *(extra or {}).values()]:
            end.close()
        running = Running(manifest, child, self._loop.time(), asyncio.Event())
        running.instance = self.switchboard.process_started(
            role,
            control,
            service,
            on_control=functools.partial(self._control_frame, running),
            on_lost=functools.partial(self._channel_lost, running),
        )
        self.starts[role] += 1
        self.running[role] = running
        self._journal.event("process-started", role=role, pid=child.pid)
        self._loop.add_reader(child.pidfd, self._exited, running)
        self._loop.add_reader(child.stderr.fileno(), self._stderr, running)
        self.server.app_changed(running, status=None)

    def spawn(self, order: dict[str, Any]) -> Child:
        """Start a process that confines itself as ordered."""
        return self._spawner.spawn(order)

    def _limits(self, manifest: Manifest) -> list[str]:
        if self._groups is None or self.simulator:
            return []
        return self._groups.make(manifest.role, LIMITS[manifest.profile])

    def _folder(self, manifest: Manifest) -> Path | None:
        if not manifest.storage:
            return None
        folder = self._data / manifest.role
        folder.mkdir(mode=0o700, exist_ok=True)
        uid = self._uid(manifest)
        if uid is not None:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, uid, uid, follow_symlinks=False)
        return folder

    async def erase_folder(self, role: str) -> None:
        """Erase the folder of an app that is gone; what an interruption left goes too.

        Raises:
            OSError: something of it stays.
        """
        folder, doomed = self._data / role, self._data / f"{role}.erased"
        if folder.is_dir() and not doomed.exists():
            folder.rename(doomed)  # from here on the app has no data, whatever happens
        await asyncio.to_thread(erase_tree, doomed)
        await asyncio.to_thread(erase_tree, folder)

    def _uid(self, manifest: Manifest) -> int | None:
        """User id of a process when core runs as root: one for each app id, for ever."""
        return None if self._uids is None else self._uids.of(manifest.app_id)[0]

    # -- while it runs --------------------------------------------------------------------------

    def watch_quota(self, manifest: Manifest) -> None:
        """Limit what an app keeps in its folder."""
        if manifest.storage and not manifest.system:
            self._quotas.folders[manifest.role] = self._data / manifest.role

    def forget_quota(self, role: str) -> None:
        """Forget the folder of an app that was removed."""
        self._quotas.folders.pop(role, None)

    def over_quota(self, role: str) -> bool:
        """Whether an app may not run because of what it keeps."""
        return role in self._quotas.over

    async def _watch_quotas(self) -> None:
        while not self._stopping:
            await asyncio.sleep(CHECK_INTERVAL_S)
            went_over, came_back = await asyncio.to_thread(self._quotas.check)
            for role in went_over:
                self._journal.event("over-quota", role=role)
                if role in self.running:
                    self.running[role].child.kill()
            for role in came_back:
                self._restart(role)

    def _control_frame(self, running: Running, frame: Frame) -> None:
        role = running.manifest.role
        if frame.kind is Kind.LOG:
            self._journal.line(role, frame.payload.decode(errors="replace"))
        elif frame.kind is Kind.READY:
            if not running.ready:
                running.ready = True
                self._journal.event("process-ready", role=role)
                self.switchboard.process_ready(role)
        elif frame.kind is Kind.ERROR:
            self._journal.line("core", f"{role} sent a malformed control frame")

    def _stderr(self, running: Running) -> None:
        try:
            data = os.read(running.child.stderr.fileno(), MAX_STDERR_LINE)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(running.child.stderr.fileno())
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
        if self.running.get(running.manifest.role) is running:
            running.child.kill()

    # -- end ------------------------------------------------------------------------------------

    async def end_process(self, role: str) -> None:
        """End a process and wait until it is gone, if it runs."""
        running = self.running.get(role)
        if running is not None:
            running.child.kill()
            await running.gone.wait()

    def _exited(self, running: Running) -> None:
        role = running.manifest.role
        self._loop.remove_reader(running.child.pidfd)
        status = running.child.wait()
        self._stderr(running)
        self._loop.remove_reader(running.child.stderr.fileno())
        running.child.close()
        del self.running[role]
        self.switchboard.process_gone(role, running.instance)
        running.gone.set()
        if self._stopping:
            return
        self._journal.event("process-ended", role=role, status=status)
        self.server.app_changed(running, status=status)
        if running.manifest.critical or (
            status == EXIT_NOT_CONFINED and not self.is_installed(role)
        ):
            self.stop(
                f"{role} ended with status {status}: {running.last_line or 'no reason given'}"
            )
            return
        if role == "security" and status:
            # Whoever has a key from it ends too: a crash leaves a locked device.
            self.restart_apps()
        if status == 0 and running.manifest.system:
            self._restart(role)  # it ended in order, to begin with an empty memory
            return
        if self._loop.time() - running.started_s > STABLE_AFTER_S:
            self._failures[role] = 0
        delay = RESTART_DELAYS_S[min(self._failures[role], len(RESTART_DELAYS_S) - 1)]
        self._failures[role] += 1
        self._restart_later(role, delay)

    def _restart_later(self, role: str, delay_s: float) -> None:
        self._loop.call_later(delay_s, self._restart, role)

    def _restart(self, role: str) -> None:
        """Start a process of the image again; an installed app waits for its next launch."""
        if self._stopping or role in self.running or self.over_quota(role):
            return
        manifest = self.table.manifests.get(role)
        if manifest is None or not self._may_run(manifest):
            return
        if role == "radio":
            self.radio.start()
        elif role not in self.server.stopped and not self.is_installed(role):
            self.start(role)

    def is_installed(self, role: str) -> bool:
        """Whether a role is that of an installed app, or of one that was removed."""
        return role not in self.table.manifests or self.table.trust(role) is Trust.INSTALLED_APP

    def restart_apps(self) -> None:
        """End every process that the first screen did not need; those of the image come back."""
        for running in list(self.running.values()):
            if not running.manifest.first and running.manifest.role != "radio":
                running.child.kill()

    async def set_switch(self, name: str, *, on: bool) -> None:
        """Turn a switch; off, its process is gone before this returns.

        Raises:
            StorageError: off, it would be on after a restart; on, it stays off.
        """
        self.switches.choose(name, on=on)
        await self._apply_switches(undo=functools.partial(self.switches.choose, name, on=False))

    async def set_air_gap(self, *, on: bool) -> None:
        """End every process that could carry data by radio or wire, or allow them again.

        Raises:
            StorageError: on, it would be off after a restart; off, it stays on.
        """
        self.switches.air_gap = on
        await self._apply_switches(undo=functools.partial(setattr, self.switches, "air_gap", True))

    async def _apply_switches(self, *, undo: Callable[[], None]) -> None:
        """End at once what may not run, write the choice down, and only then start what may."""
        off = [r for r, running in self.running.items() if not self._may_run(running.manifest)]
        for role in off:
            self.running[role].child.kill()
        for role in off:
            await self.end_process(role)
        if not self._radio_may_run():
            self.radio.drop_pipe()
        self._journal.event(
            "switches",
            air_gap=self.switches.air_gap,
            on=[name for name in SWITCHES if self.switches.allows(name) and self.present(name)],
        )
        try:
            self.switches.write_down()
        except StorageError:
            undo()
            raise
        if self._late_started:
            for manifest in list(self.table.manifests.values()):
                if manifest.switch is not None:
                    self._restart(manifest.role)

    def stop(self, reason: str = "") -> None:
        """Stop every process and finish."""
        if self._stopping:
            return
        self._stopping = True
        for running in self.running.values():
            running.child.kill()
        self._spawner.close()
        if self._groups is not None:
            self._groups.close(set(self.starts))
        if not self.finished.done():
            self.finished.set_result(reason)
