"""The ui process: owner of display and touch, broker of every confirmation."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from primegap.keyos.api import apps, link, security, ui
from primegap.keyos.errors import ChannelClosedError, KeyosError, RequestError, Status
from primegap.keyos.manifest import CATALOGUE
from primegap.keyos.manifest.models import CORE, PRIME
from primegap.keyos.messages import Empty
from primegap.keyos.ui import screens
from primegap.keyos.ui.canonical import parse_app_screen_untrusted, screen_digest
from primegap.keyos.ui.display import Display, tell_first_screen
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.flows.context import Context
from primegap.keyos.ui.flows.home import home
from primegap.keyos.ui.flows.lock import unlock
from primegap.keyos.ui.flows.onboarding import first_start
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.preferences import load_preferences
from primegap.keyos.ui.screen import Banner, Network, Qr, Screen, Tone
from primegap.keyos.ui.stage import Ask, Rank, Stage
from primegap.keyos.ui.view import BluetoothState, StatusBar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message, Request
    from primegap.keyos.process import Process
    from primegap.keyos.ui.input import UiAction

CONFIRMATION_BYTES: Final = 16
CONTENT_BYTES: Final = 32
MAX_ACCOUNT: Final = (1 << 31) - 1  # BIP-32
MIN_SESSION_S: Final = 60
MAX_SESSION_S: Final = 12 * 3600  # a working day
MAX_CONFIRMATIONS: Final = 4  # of one caller, waiting at the same time
RETRY_S: Final = 0.5
NEWS_PAUSE_S: Final = 0.05  # between two looks at the state of link or app manager
SCREEN_PAUSE_S: Final = 0.04  # between two screens of one app: 25 pictures a second
SCREEN_SHARE: Final = 4.0
"""Pause after a screen, as a multiple of the time it took to look at it: no app gets more than a
fifth of this process."""
MAX_AWAKE_S: Final = 1800.0
"For how long after a touch codes that are shown or read keep the device unlocked."
AWAKE_LOOK_S: Final = 5.0
MIN_SIGNING_HOLD_MS: Final = 1000  # of a confirmation that opens a key
RESPITES_S: Final = (0.0, 0.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before the next confirmation of an app after so many rejections in a row: nobody is worn
down by questions, and there is time to unpair whoever asks."""
MAX_NOTICES: Final = 8.0  # of one app at once; each of them covers the home screen
NOTICES_PER_S: Final = 0.2
State = TypeVar("State", link.LinkState, apps.AppList)
FINGERPRINT: Final = re.compile(r"[0-9A-Z]{4}-[0-9A-Z]{4}", re.ASCII)


@dataclass(slots=True)
class App:
    """What the screen knows of one process that shows something."""

    name: str
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    presented: Ask | None = None
    notice: asyncio.Task[None] | None = None
    confirmations: int = 0
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_screen_s: float = 0.0
    rejections: int = 0
    "In a row."
    next_confirmation_s: float = 0.0
    notices: float = MAX_NOTICES
    noticed_s: float = 0.0


class UiService:
    """Answers apps and services, and runs the system's own flows."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stage = Stage(self._changed)
        self._context = Context(
            process,
            self._stage,
            self._changed,
            preferences=load_preferences(process.data),
            network=process.config.get("network", "mainnet"),
            core_model=process.config.get("model") == CORE,
        )
        self._display = Display(
            process, self._stage, self._status, screens.working("Starting the device")
        )
        self._builtin: dict[bytes, tuple[str, str]] = {}
        self._names: dict[bytes, tuple[str, str]] = {}
        self._apps: dict[bytes, App] = {}
        self._foreground = b""
        self._awake_s = 0.0
        "When a code was read or shown last: that counts as use, as a touch does."
        process.handle(ui.Present, self._present)
        process.handle(ui.Confirm, self._confirm)
        process.handle(ui.Update, self._update)
        process.handle(ui.WaitOpened, self._wait_opened)
        process.handle(ui.Notify, self._notify)
        process.handle(ui.Close, self._close)
        process.handle(ui.AskPermission, self._ask_permission)
        process.handle(ui.IsForeground, self._is_foreground)

    async def run(self) -> None:
        """Run for as long as the process lives."""
        from primegap.keyos.core.builtin import builtin_manifests

        model = CORE if self._context.core_model else PRIME
        self._builtin = {m.app_id: (m.role, m.name) for m in builtin_manifests(model)}
        self._names = dict(self._builtin)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._display.draw())
            tasks.create_task(self._display.watch_touches())
            tasks.create_task(tell_first_screen(self._process, self._display))
            if not self._context.core_model:  # which has neither
                tasks.create_task(self._follow_link())
                tasks.create_task(self._follow_apps())
            tasks.create_task(self._follow_lock())
            tasks.create_task(self._lock_when_idle())
            tasks.create_task(self._run_flows())

    async def _run_flows(self) -> None:
        context = self._context
        await context.read_lock()
        while True:
            if not context.lock.onboarded:
                await first_start(context)
            elif not context.lock.unlocked:
                await unlock(context)
            else:
                await context.while_unlocked(home(context, self._open_app))
                self._open_app("")

    async def _follow_lock(self) -> None:
        """Lock the screen when the process that holds the seed locks or ends (X-2)."""
        context = self._context
        while True:
            try:
                state = await self._process.call(
                    security.WaitState(context.lock.version), security.SecurityState
                )
            except KeyosError:
                context.lock_lost()
                await context.read_lock()
            else:
                context.note_lock(state)

    async def _lock_when_idle(self) -> None:
        """Lock when nobody touched the screen for the chosen time."""
        context, loop = self._context, asyncio.get_running_loop()
        while True:
            while not context.lock.unlocked:
                await context.lock_news.wait()
                self._display.touched()
            due_s = max(self._display.touched_s, self._awake_s) + context.preferences.auto_lock_s
            if loop.time() >= due_s and self._shows_code():
                self._awake_s = loop.time() - context.preferences.auto_lock_s + AWAKE_LOOK_S
            elif loop.time() >= due_s:
                await context.lock_device()
            else:
                context.idle_news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(context.idle_news.wait(), due_s - loop.time())

    def _shows_code(self) -> bool:
        """Whether somebody's camera may be reading this screen: then it stays (airgap.md 4.1).

        Not for ever: a device that was left with a code on its screen locks after all.
        """
        top = self._stage.top()
        now_s = asyncio.get_running_loop().time()
        if top is None or now_s >= self._display.touched_s + MAX_AWAKE_S:
            return False
        return any(isinstance(item, Qr) for item in top.screen.items)

    async def _follow_link(self) -> None:
        """Keep the status bar and the flows up to date with link and radio."""
        await self._display.first_frame.wait()
        await self._context.read_system()
        async for state in self._news(link.WaitState, link.LinkState):
            news = dataclasses.replace(_checked(state), version=0)
            if news != self._context.link:
                if news.radio != self._context.link.radio:
                    await self._context.read_system()  # the settings app may have switched it
                self._context.link = news
                self._context.link_changed()
                self._changed()

    async def _follow_apps(self) -> None:
        """Keep the home screen, and the names that apps are shown under, up to date."""
        await self._display.first_frame.wait()
        async for listed in self._news(apps.WaitApps, apps.AppList):
            self._context.apps = listed
            # The system's own names come last: no list can take one of them.
            installed = {app.app_id: (app.role, app.name) for app in listed.apps}
            self._names = installed | self._builtin
            self._apps = {
                app_id: app for app_id, app in self._apps.items() if app_id in self._names
            }
            for app_id, app in self._apps.items():
                app.name = self._names[app_id][1]
            self._context.link_changed()
            self._changed()

    async def _news(
        self, request: Callable[[int], Request], reply: type[State]
    ) -> AsyncIterator[State]:
        """Yield a service's state now and whenever it has changed."""
        version = -1
        while True:
            try:
                state = await self._process.call(request(version), reply)
            except KeyosError:
                await asyncio.sleep(RETRY_S)  # the service restarts
                version = -1
                continue
            version = state.version
            yield state
            await asyncio.sleep(NEWS_PAUSE_S)

    def _changed(self) -> None:
        self._display.refresh()

    def _status(self) -> StatusBar:
        context = self._context
        switch = context.switch("bluetooth")
        if not switch.present:
            bluetooth = BluetoothState.ABSENT
        elif not switch.on:
            bluetooth = BluetoothState.OFF
        elif context.link.radio == link.UNTRUSTED:
            bluetooth = BluetoothState.DISTRUSTED
        elif context.link.connected:
            bluetooth = BluetoothState.CONNECTED
        else:
            bluetooth = BluetoothState.ON
        return StatusBar(
            bluetooth=bluetooth,
            air_gap=context.air_gap,
            locked=context.lock.onboarded and not context.lock.unlocked,
            development=self._process.development,
            simulator=self._process.simulator,
            developer_mode=context.apps.developer,
        )

    # -- apps -----------------------------------------------------------------------------------

    def _app(self, caller: Caller) -> App:
        app = self._apps.get(caller.app_id)
        if app is None:
            if caller.app_id not in self._names:
                raise RequestError(Status.DENIED, "not a known app")
            app = self._apps[caller.app_id] = App(self._names[caller.app_id][1])
        return app

    def _open_app(self, role: str) -> None:
        """Bring an app to the foreground; with an empty role, none is there any more."""
        self._foreground = b""
        for app_id, (known, name) in self._names.items():
            if known == role:
                self._foreground = app_id
                self._apps.setdefault(app_id, App(name)).opened.set()

    async def _screen(self, caller: Caller, data: bytes) -> Screen:
        """Read a screen that came by message, under the name the system gives its sender.

        Only screens of this very process go without a name and carry the system's sign.
        """
        app = self._app(caller)
        loop = asyncio.get_running_loop()
        async with app.looking:
            await asyncio.sleep(max(0.0, app.next_screen_s - loop.time()))
            began_s = time.process_time()
            try:
                screen = parse_app_screen_untrusted(data, app=app.name)
                layout(screen)  # refused now rather than when its turn comes
            except ScreenError as error:
                raise RequestError(Status.MALFORMED, str(error)) from error
            finally:
                took_s = time.process_time() - began_s
                app.next_screen_s = loop.time() + SCREEN_PAUSE_S + SCREEN_SHARE * took_s
        if screen.banner is not None:
            raise RequestError(Status.MALFORMED, "a banner is the system's")
        if not any(button.enabled and not button.hold_ms for button in screen.buttons):
            raise RequestError(Status.MALFORMED, "a screen without a button to leave it")
        return screen

    async def _plain_screen(self, caller: Caller, data: bytes) -> Screen:
        screen = await self._screen(caller, data)
        if screen.confirm:
            raise RequestError(Status.MALFORMED, "a confirmation is only asked for by Confirm")
        return screen

    async def _present(self, caller: Caller, request: ui.Present) -> Message:
        app = self._app(caller)
        screen = await self._plain_screen(caller, request.screen)
        if caller.app_id != self._foreground:
            raise RequestError(Status.DENIED, "the app was not opened")
        self._leave(app)
        ask = app.presented = self._stage.add(screen, Rank.APP)
        try:
            action = await ask.answer
            return ui.Pressed(action.id)
        except ScreenError as error:
            raise RequestError(Status.MALFORMED, str(error)) from error
        except asyncio.CancelledError:
            if ask.answer.cancelled() and not _cancelling():
                return ui.Pressed("")
            raise
        finally:
            self._stage.remove(ask)
            if app.presented is ask:
                app.presented = None

    def _leave(self, app: App) -> None:
        if app.presented is not None and not app.presented.answer.done():
            app.presented.answer.cancel()

    async def _update(self, caller: Caller, request: ui.Update) -> Message:
        screen = await self._plain_screen(caller, request.screen)
        app = self._app(caller)
        if app.presented is not None:
            self._stage.replace(app.presented, screen)
        return Empty()

    async def _wait_opened(self, caller: Caller, request: ui.WaitOpened) -> Message:
        app = self._app(caller)
        await app.opened.wait()
        app.opened.clear()
        return Empty()

    async def _notify(self, caller: Caller, request: ui.Notify) -> Message:
        """Show a notice in place of an earlier one; too many are dropped."""
        screen = await self._plain_screen(caller, request.screen)
        app = self._app(caller)
        now_s = asyncio.get_running_loop().time()
        app.notices = min(MAX_NOTICES, app.notices + (now_s - app.noticed_s) * NOTICES_PER_S)
        app.noticed_s = now_s
        if app.notices < 1:
            return Empty()
        app.notices -= 1
        if app.notice is not None:
            app.notice.cancel()
        app.notice = asyncio.get_running_loop().create_task(self._show_notice(screen))
        return Empty()

    async def _show_notice(self, screen: Screen) -> None:
        with contextlib.suppress(ScreenError):
            await self._stage.ask(screen, Rank.APP)

    async def _close(self, caller: Caller, request: ui.Close) -> Message:
        self._leave(self._app(caller))
        if caller.app_id == self._foreground:
            self._foreground = b""
        return Empty()

    async def _is_foreground(self, caller: Caller, request: ui.IsForeground) -> Message:
        front = not self._stage.locked and request.app_id == self._foreground
        now_s = asyncio.get_running_loop().time()
        if front and now_s < self._display.touched_s + MAX_AWAKE_S:
            self._awake_s = now_s  # the camera looks, or has read something
        return ui.Foreground(front)

    async def _ask_permission(self, caller: Caller, request: ui.AskPermission) -> Message:
        """Ask the person; in turn with the confirmations, and never while locked (section 2.6)."""
        permission = CATALOGUE.get(request.subgroup)
        if permission is None:
            raise RequestError(Status.MALFORMED, "not in the catalogue of permissions")
        screen = screens.ask_permission(request.name, permission)
        action = await self._stage.ask(screen, Rank.CONFIRM)
        return ui.PermissionChoice(action.id)

    # -- confirmations --------------------------------------------------------------------------

    async def _confirm(self, caller: Caller, request: ui.Confirm) -> Message:
        """Show a confirmation when its turn comes; only a hold on this screen approves (U-5)."""
        app = self._app(caller)
        if len(request.content) != CONTENT_BYTES:
            raise RequestError(Status.MALFORMED, "content is not a SHA-256")
        if app.confirmations >= MAX_CONFIRMATIONS:
            raise RequestError(Status.BUSY, "too many confirmations")
        app.confirmations += 1
        try:
            screen = await self._confirmation(caller, request)
            async with app.asking:
                action = await self._ask_person(app, screen)
        finally:
            app.confirmations -= 1
        digest = screen_digest(screen)
        if not _approves(screen, action):
            return ui.Decision(approved=False, confirmation=b"", digest=digest)
        if request.opens is None:
            return ui.Decision(approved=True, confirmation=b"", digest=digest)
        confirmation = os.urandom(CONFIRMATION_BYTES)
        try:
            await self._process.call(
                security.ReportConfirmation(
                    confirmation,
                    caller.instance,
                    request.content,
                    request.opens,
                    request.session_s,
                )
            )
        except (RequestError, ChannelClosedError) as error:
            raise RequestError(Status.FAILED, "the confirmation could not be used") from error
        return ui.Decision(approved=True, confirmation=confirmation, digest=digest)

    async def _confirmation(self, caller: Caller, request: ui.Confirm) -> Screen:
        """Return the screen to be confirmed; if that opens a key, the system says so on it."""
        screen = await self._screen(caller, request.screen)
        approval = screen.approval
        if approval is None or not approval.hold_ms:
            raise RequestError(Status.MALFORMED, "not a confirmation with a button to hold")
        if request.session_s and (
            request.opens is None or not MIN_SESSION_S <= request.session_s <= MAX_SESSION_S
        ):
            raise RequestError(Status.MALFORMED, "not a session")
        if request.opens is None:
            return screen
        if approval.hold_ms < MIN_SIGNING_HOLD_MS:
            raise RequestError(Status.MALFORMED, "too short a hold to open a key")
        return _with_banner(screen, request.opens, request.session_s)

    async def _ask_person(self, app: App, screen: Screen) -> UiAction:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, app.next_confirmation_s - loop.time()))
        try:
            action = await self._stage.ask(screen, Rank.CONFIRM)
        except ScreenError as error:
            raise RequestError(Status.MALFORMED, str(error)) from error
        app.rejections = 0 if _approves(screen, action) else app.rejections + 1
        respite_s = RESPITES_S[min(app.rejections, len(RESPITES_S) - 1)]
        app.next_confirmation_s = loop.time() + respite_s
        return action


def _approves(screen: Screen, action: UiAction) -> bool:
    return screen.approval is not None and action.id == screen.approval.id


def _checked(state: link.LinkState) -> link.LinkState:
    """Return the state of the link as far as it can be shown: that process parses remote data."""
    if not state.fingerprint or FINGERPRINT.fullmatch(state.fingerprint):
        return state
    return dataclasses.replace(state, connected=False, fingerprint="")


def _with_banner(screen: Screen, key: security.KeyChoice, session_s: int) -> Screen:
    """Say in words of this process, which no app can change, which key an approval opens."""
    try:
        network = Network(key.network)
    except ValueError:
        raise RequestError(Status.MALFORMED, "network") from None
    if not 0 <= key.account <= MAX_ACCOUNT:
        raise RequestError(Status.MALFORMED, "account number")
    if session_s:
        minutes = -(-session_s // 60)
        text = f"Key opened for {minutes} min WITHOUT ASKING: {network.value} {key.account + 1}"
    else:
        text = f"Approving this opens a key: {network.value}, account {key.account + 1}"
    try:
        marked = dataclasses.replace(screen, banner=Banner(text, tone=Tone.ACCENT))
        layout(marked)
    except ScreenError as error:
        raise RequestError(Status.MALFORMED, str(error)) from error
    return marked


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def main(process: Process) -> None:
    """Entry of the ui process."""
    service = UiService(process)
    process.serve()
    await service.run()
