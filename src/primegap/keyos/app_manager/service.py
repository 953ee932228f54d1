"""The app manager process.

It is the only one that reads bundles and certificates, and it holds no secret but the key of its
own registry. It can ask core to start what it verified; it cannot start anything itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.api import airlock, apps, core, permissions, security, storage, ui
from primegap.keyos.app_manager import screens
from primegap.keyos.app_manager.admission import admission
from primegap.keyos.app_manager.door import Door
from primegap.keyos.app_manager.errors import (
    AlteredError,
    AppError,
    BusyError,
    ChangedError,
    DeclinedError,
    LockedError,
    NeededError,
    NotInstalledError,
)
from primegap.keyos.app_manager.image import code_image
from primegap.keyos.app_manager.policy import Plan, core_manifest, judge_install, verify_launch
from primegap.keyos.app_manager.registry import InstalledApp, Registry, role_of
from primegap.keyos.app_manager.shelf import Shelf
from primegap.keyos.bundle import (
    BundleError,
    parse_certificate_untrusted,
    verify_bundle_untrusted,
)
from primegap.keyos.errors import KeyosError, RequestError, Status
from primegap.keyos.messages import Empty
from primegap.keyos.ui.canonical import encode_screen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from primegap.keyos.bundle import Bundle
    from primegap.keyos.frame import Caller
    from primegap.keyos.manifest import Manifest
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process
    from primegap.keyos.ui.screen import Screen

TIME_STEP_S: Final = 3600
"The latest time is written down when it is this much later than what is stored."
RETRY_S: Final = 1.0


class AppManager:
    """What is installed, and everything that changes it."""

    def __init__(self, process: Process, *, clock: Callable[[], float] = time.time) -> None:
        self._process = process
        self._clock = clock
        self._builtin: list[Manifest] = []
        self._shelf: Shelf | None = None
        self._ready = asyncio.Event()
        self._changing = asyncio.Lock()
        self._asking = False
        self._version = 0
        self._news = asyncio.Event()
        process.handle(apps.WaitApps, self._wait)
        process.handle(apps.OpenApp, self._open)
        process.handle(apps.RemoveApp, self._remove)
        process.handle(apps.SetDeveloper, self._set_developer)
        process.handle(apps.ListPublishers, self._list_publishers)
        process.handle(apps.RemovePublisher, self._remove_publisher)
        process.handle(apps.InstallFromCard, self._install_from_card)

    async def run(self) -> None:
        """Read what is stored as soon as the device is unlocked, then serve."""
        from primegap.keyos.core.builtin import builtin_manifests

        self._builtin = builtin_manifests()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Door(self._process, self).run())
            await self._load()
            for app_id in self.registry.erasing:
                tasks.create_task(self._finish_removal(app_id))

    async def _load(self) -> None:
        seed = await self._process.call(security.GetAppSeed(), security.AppSeed)
        shelf = Shelf(self._process.data, seed.seed, log=self._process.log)
        await shelf.load()
        self._shelf = shelf
        await self._admit_all()
        self._ready.set()
        self._changed()

    # -- state ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the device was unlocked, so that the registry could be read."""
        return self._ready.is_set()

    @property
    def registry(self) -> Registry:
        """What is installed now."""
        return Registry() if self._shelf is None else self._shelf.registry

    def _changed(self) -> None:
        self._version += 1
        self._news.set()
        self._news = asyncio.Event()

    @property
    def _stored(self) -> Shelf:
        assert self._shelf is not None  # whoever needs it waits until the device was unlocked
        return self._shelf

    def _commit(self, registry: Registry) -> None:
        """Make a change true: it is stored before anything acts on it."""
        self._stored.commit(registry)
        self._changed()

    def _now_s(self) -> float:
        """Return the time, never earlier than any before, and remember it now and then (A-7)."""
        seen = self.registry.seen(self._clock())
        if seen.last_seen_s >= self.registry.last_seen_s + TIME_STEP_S:
            self._commit(seen)
        return seen.last_seen_s

    async def need_unlocked(self) -> None:
        """Return if the device is unlocked now and the registry was read.

        Raises:
            LockedError: it is not.
        """
        if self.ready:
            state = await self._process.call(security.GetState(), security.SecurityState)
            if state.unlocked:
                return
        raise LockedError("the device is locked")

    async def _running(self) -> frozenset[bytes]:
        info = await self._process.call(core.GetSystemInfo(), core.SystemInfo)
        roles = {process.role for process in info.processes if process.running}
        return frozenset(app_id for app_id, app in self.registry.apps.items() if app.role in roles)

    async def _ask(self, screen: Screen, content: bytes) -> None:
        """Ask the person; whatever goes wrong is a no."""
        request = ui.Confirm(encode_screen(screen), hashlib.sha256(content).digest(), None)
        try:
            decision = await self._process.call(request, ui.Decision)
        except KeyosError as error:
            raise DeclinedError("it could not be asked on the device") from error
        if not decision.approved:
            raise DeclinedError("declined on the device")

    # -- install --------------------------------------------------------------------------------

    async def install(self, data: bytes) -> InstalledApp:
        """Verify a bundle, ask the person and install it.

        Raises:
            AppError: it may not be installed, or the person does not want it.
            BundleError: it is no bundle that holds.
        """
        await self.need_unlocked()
        if self._asking:
            raise BusyError("another app is being asked about")
        self._asking = True
        try:
            bundle = verify_bundle_untrusted(data)
            if bundle.manifest.app_id in self.registry.erasing:
                raise BusyError("its earlier data is still being erased")
            plan = await self._judge(bundle)
            if plan.new_publisher:
                screen = screens.accept_publisher(plan.app.publisher, plan.app.fingerprint)
                await self._ask(screen, plan.certificate)
            await self._ask(screens.install(plan), data)
            async with self._changing:
                if await self._judge(bundle) != plan:
                    raise ChangedError("something changed while the question was shown")
                await self._install(plan, data)
        finally:
            self._asking = False
        return plan.app

    async def _install_from_card(self, caller: Caller, request: apps.InstallFromCard) -> Message:
        await self._ready.wait()
        found = await self._process.call(airlock.ReadBundle(request.path), airlock.CardFile)
        with _answered():
            await self.install(found.data)
        return Empty()

    async def _judge(self, bundle: Bundle) -> Plan:
        others = [
            manifest
            for app_id in self.registry.apps
            if app_id != bundle.manifest.app_id
            and (manifest := self._stored_manifest(app_id)) is not None
        ]
        return judge_install(
            bundle,
            self.registry,
            builtin=self._builtin,
            others=others,
            before=self._stored_manifest(bundle.manifest.app_id),
            running=await self._running(),
            system_version=self._process.config["version"],
            now_s=self._now_s(),
        )

    def _stored_manifest(self, app_id: bytes) -> Manifest | None:
        with contextlib.suppress(AppError, BundleError, StorageError):
            return core_manifest(self._verify(app_id).manifest)
        return None

    async def _install(self, plan: Plan, data: bytes) -> None:
        """Make it true in one write; before it nothing is installed, after it everything is.

        Core forgets the apps that work only with this one for that moment, which ends them.
        """
        if plan.replaces is not None:
            for user in reversed(plan.users):
                await self._withdraw(user.app_id)
            await self._withdraw(plan.app.app_id)
        try:
            self._stored.install(plan.app, plan.certificate, data)
        except StorageError:
            await self._admit_all()
            raise
        self._changed()
        self._process.log(f"installed {plan.app.identifier} {plan.app.version}")
        await self._admit(plan.app.app_id, plan.manifest)
        for user in plan.users:
            await self._admit(user.app_id, user)

    # -- start ----------------------------------------------------------------------------------

    def _verify(self, app_id: bytes) -> Bundle:
        """Read a stored bundle once and check everything about those very bytes (A-6)."""
        app = self.registry.apps.get(app_id)
        if app is None:
            raise NotInstalledError("not installed")
        stored = self._stored.bundle(app)
        if stored is None:
            raise AlteredError("the stored app is gone")
        return verify_launch(app_id, stored, self.registry, now_s=self._now_s())

    async def _open(self, caller: Caller, request: apps.OpenApp) -> Message:
        await self._ready.wait()
        async with self._changing:
            with _answered():
                bundle = self._verify(request.app_id)
            if request.app_id not in await self._running():
                await self._process.launch_app(request.app_id, code_image(bundle))
        return Empty()

    async def _admit_all(self) -> None:
        """Tell core about every installed app; those whose servers others name come first."""
        waiting = {
            app_id: manifest
            for app_id in self.registry.apps
            if (manifest := self._stored_manifest(app_id)) is not None
        }
        running = await self._running()
        while waiting:
            done = {
                app_id
                for app_id, manifest in waiting.items()
                if app_id in running or await self._admit(app_id, manifest)
            }
            if not done:
                return
            waiting = {key: value for key, value in waiting.items() if key not in done}

    async def _admit(self, app_id: bytes, manifest: Manifest) -> bool:
        """Put a manifest in the place of what core knows of the app; return whether it took it."""
        with contextlib.suppress(RequestError):
            await self._process.call(core.RemoveApp(app_id))
        try:
            await self._process.call(admission(manifest))
        except RequestError as error:
            self._process.log(f"core does not take {manifest.role}: {error}")
            return False
        return True

    async def _withdraw(self, app_id: bytes) -> None:
        """Let core forget an app, which ends it if it runs.

        Raises:
            NeededError: another installed app names its server.
        """
        try:
            await self._process.call(core.RemoveApp(app_id))
        except RequestError as error:
            if error.status is not Status.NOT_FOUND:
                raise NeededError("another app exchanges messages with it") from error

    # -- remove ---------------------------------------------------------------------------------

    async def remove(self, app_id: bytes) -> None:
        """Ask the person, then erase an app, its data and its grants (A-8).

        Raises:
            AppError: there is no such app, or the person does not want it.
        """
        await self.need_unlocked()
        app = self.registry.apps.get(app_id)
        if app is None:
            raise NotInstalledError("not installed")
        await self._ask(screens.remove(app), app_id)
        async with self._changing:
            if app_id not in self.registry.apps:
                raise NotInstalledError("not installed any more")
            await self._withdraw(app_id)
            self._commit(self.registry.removing(app_id))
        await self._finish_removal(app_id)
        self._process.log(f"removed {app.identifier}")

    async def _finish_removal(self, app_id: bytes) -> None:
        """Erase what is left of an app; done again after a stop, until it is complete."""
        erase = core.EraseApp(app_id, role_of(app_id))
        await self._retry(lambda: self._process.call(erase))
        await self._retry(lambda: self._process.call(storage.EraseApp(app_id)))
        await self._retry(lambda: self._process.call(permissions.ForgetApp(app_id)))
        self._commit(self.registry.erased(app_id))

    async def _retry(self, act: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await act()
            except KeyosError as error:
                self._process.log(f"an app is not erased yet: {error}")
            else:
                return
            await asyncio.sleep(RETRY_S)

    async def _remove(self, caller: Caller, request: apps.RemoveApp) -> Message:
        with _answered():
            await self.remove(request.app_id)
        return Empty()

    # -- developer mode, publishers, news -------------------------------------------------------

    async def _set_developer(self, caller: Caller, request: apps.SetDeveloper) -> Message:
        await self._ready.wait()
        if request.on != self.registry.developer:
            if request.on:
                with _answered():
                    await self._ask(screens.developer_mode(), b"developer-mode")
            async with self._changing:
                with _answered():
                    self._commit(self.registry.with_developer(on=request.on))
        return Empty()

    async def _list_publishers(self, caller: Caller, request: apps.ListPublishers) -> Message:
        await self._ready.wait()
        found = []
        for fingerprint, der in self.registry.publishers.items():
            publisher = parse_certificate_untrusted(der)
            number = sum(a.fingerprint == fingerprint for a in self.registry.apps.values())
            found.append(
                apps.PublisherInfo(fingerprint, publisher.name, publisher.not_after_s, number)
            )
        return apps.PublisherList(tuple(found))

    async def _remove_publisher(self, caller: Caller, request: apps.RemovePublisher) -> Message:
        await self._ready.wait()
        async with self._changing:
            if request.fingerprint not in self.registry.publishers:
                raise RequestError(Status.NOT_FOUND, "there is no such publisher")
            with _answered():
                self._commit(self.registry.without_publisher(request.fingerprint))
        return Empty()

    async def _wait(self, caller: Caller, request: apps.WaitApps) -> Message:
        while request.version == self._version:
            await self._news.wait()
        return self.listed()

    def listed(self) -> apps.AppList:
        """Return the list as others see it."""
        return apps.AppList(
            self._version,
            self.registry.developer,
            tuple(
                apps.AppInfo(
                    app.app_id,
                    app.role,
                    app.name,
                    app.description,
                    app.version,
                    app.publisher,
                    app.fingerprint,
                )
                for app in self.registry.apps.values()
            ),
        )


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Turn what is refused into the error of a request, with its sentence for a person."""
    try:
        yield
    except (AppError, BundleError, StorageError) as error:
        raise RequestError(Status.FAILED, error.hint) from error


async def main(process: Process) -> None:
    """Entry of the app manager process."""
    manager = AppManager(process)
    process.serve()
    await manager.run()
