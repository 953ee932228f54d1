"""The ui process: owner of display and touch, broker of every confirmation."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import link, security, ui
from primegap.keyos.errors import ChannelClosedError, KeyosError, RequestError, Status
from primegap.keyos.frame import Trust
from primegap.keyos.messages import Empty
from primegap.keyos.ui import screens
from primegap.keyos.ui.canonical import (
    decode_screen_untrusted,
    parse_app_screen_untrusted,
    screen_digest,
)
from primegap.keyos.ui.display import Display, tell_first_screen
from primegap.keyos.ui.errors import ScreenError
from primegap.keyos.ui.flows.context import Context
from primegap.keyos.ui.flows.home import home, read_radio
from primegap.keyos.ui.flows.onboarding import first_start
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.screen import Banner, Network, Screen, Tone
from primegap.keyos.ui.stage import Ask, Rank, Stage
from primegap.keyos.ui.view import BluetoothState, StatusBar

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process

CONFIRMATION_BYTES: Final = 16
CONTENT_BYTES: Final = 32
MAX_ACCOUNT: Final = (1 << 31) - 1  # BIP-32
MAX_CONFIRMATIONS: Final = 4  # of one caller, waiting at the same time
RETRY_S: Final = 0.5


@dataclass(slots=True)
class App:
    """What the screen knows of one app."""

    name: str
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    presented: Ask | None = None
    notice: asyncio.Task[None] | None = None
    confirmations: int = 0


class UiService:
    """Answers apps and services, and runs the system's own flows."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stage = Stage(self._changed)
        self._context = Context(process, self._stage, self._changed)
        self._display = Display(
            process, self._stage, self._status, screens.working("Starting the device")
        )
        self._names: dict[bytes, tuple[str, str]] = {}
        self._apps: dict[bytes, App] = {}
        self._foreground = b""
        process.handle(ui.Present, self._present)
        process.handle(ui.Confirm, self._confirm)
        process.handle(ui.Update, self._update)
        process.handle(ui.WaitOpened, self._wait_opened)
        process.handle(ui.Notify, self._notify)
        process.handle(ui.Close, self._close)

    async def run(self) -> None:
        """Run for as long as the process lives."""
        from primegap.keyos.core.builtin import builtin_manifests

        self._names = {m.app_id: (m.role, m.name) for m in builtin_manifests()}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._display.draw())
            tasks.create_task(self._display.watch_touches())
            tasks.create_task(tell_first_screen(self._process, self._display))
            tasks.create_task(self._follow_link())
            tasks.create_task(self._run_flows())

    async def _run_flows(self) -> None:
        context = self._context
        context.lock = await self._process.call(security.GetState(), security.SecurityState)
        while True:
            await first_start(context)
            await home(context, self._open_app)

    async def _follow_link(self) -> None:
        """Keep the status bar and the flows up to date with link and radio."""
        await self._display.first_frame.wait()
        await read_radio(self._context)
        version = -1
        while True:
            try:
                state = await self._process.call(link.WaitState(version), link.LinkState)
            except KeyosError:
                await asyncio.sleep(RETRY_S)  # the link process restarts
                version = -1
                continue
            version = state.version
            self._context.link = state
            self._context.link_changed()
            self._changed()

    def _changed(self) -> None:
        self._display.refresh()

    def _status(self) -> StatusBar:
        context = self._context
        if not context.radio_present:
            bluetooth = BluetoothState.ABSENT
        elif not context.radio_on:
            bluetooth = BluetoothState.OFF
        elif context.link.connected:
            bluetooth = BluetoothState.CONNECTED
        else:
            bluetooth = BluetoothState.ON
        return StatusBar(
            bluetooth=bluetooth,
            locked=context.lock.onboarded and not context.lock.unlocked,
            development=self._process.development,
        )

    # -- apps -----------------------------------------------------------------------------------

    def _app(self, caller: Caller) -> App:
        app = self._apps.get(caller.app_id)
        if app is None:
            app = self._apps[caller.app_id] = App(self._names[caller.app_id][1])
        return app

    def _open_app(self, role: str) -> None:
        for app_id, (known, name) in self._names.items():
            if known == role:
                self._foreground = app_id
                self._apps.setdefault(app_id, App(name)).opened.set()

    def _screen(self, caller: Caller, data: bytes) -> Screen:
        """Read a screen that came by message, under the name the system gives its sender."""
        try:
            if caller.trust is Trust.SYSTEM:
                screen = decode_screen_untrusted(data)
            else:
                screen = parse_app_screen_untrusted(data, app=self._app(caller).name)
            layout(screen)  # refused now rather than when its turn comes
        except ScreenError as error:
            raise RequestError(Status.MALFORMED, str(error)) from error
        return screen

    async def _present(self, caller: Caller, request: ui.Present) -> Message:
        app = self._app(caller)
        if caller.app_id != self._foreground:
            raise RequestError(Status.DENIED, "the app was not opened")
        screen = self._screen(caller, request.screen)
        if screen.confirm:
            raise RequestError(Status.MALFORMED, "a confirmation is not presented")
        self._leave(app)
        ask = app.presented = self._stage.add(screen, Rank.APP)
        try:
            action = await ask.answer
            return ui.Pressed(action.id)
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
        app = self._app(caller)
        screen = self._screen(caller, request.screen)
        if screen.confirm:
            raise RequestError(Status.MALFORMED, "a confirmation is not presented")
        if app.presented is not None:
            self._stage.replace(app.presented, screen)
        return Empty()

    async def _wait_opened(self, caller: Caller, request: ui.WaitOpened) -> Message:
        app = self._app(caller)
        await app.opened.wait()
        app.opened.clear()
        return Empty()

    async def _notify(self, caller: Caller, request: ui.Notify) -> Message:
        app = self._app(caller)
        screen = self._screen(caller, request.screen)
        if screen.confirm:
            raise RequestError(Status.MALFORMED, "a confirmation is not a notice")
        if app.notice is not None:
            app.notice.cancel()

        async def show() -> None:
            await self._stage.ask(screen, Rank.APP)

        app.notice = asyncio.get_running_loop().create_task(show())
        return Empty()

    async def _close(self, caller: Caller, request: ui.Close) -> Message:
        self._leave(self._app(caller))
        if caller.app_id == self._foreground:
            self._foreground = b""
        return Empty()

    # -- confirmations --------------------------------------------------------------------------

    async def _confirm(self, caller: Caller, request: ui.Confirm) -> Message:
        """Show a confirmation when its turn comes; only a hold on this screen approves (U-5)."""
        app = self._app(caller)
        if len(request.content) != CONTENT_BYTES:
            raise RequestError(Status.MALFORMED, "content is not a SHA-256")
        if app.confirmations >= MAX_CONFIRMATIONS:
            raise RequestError(Status.BUSY, "too many confirmations")
        screen = self._screen(caller, request.screen)
        if not screen.confirm or screen.approval is None or not screen.approval.hold_ms:
            raise RequestError(Status.MALFORMED, "not a confirmation with a button to hold")
        if request.opens is not None:
            screen = _with_banner(screen, request.opens)
        app.confirmations += 1
        try:
            action = await self._stage.ask(screen, Rank.CONFIRM)
        finally:
            app.confirmations -= 1
        digest = screen_digest(screen)
        assert screen.approval is not None
        if action.id != screen.approval.id:
            return ui.Decision(approved=False, confirmation=b"", digest=digest)
        if request.opens is None:
            return ui.Decision(approved=True, confirmation=b"", digest=digest)
        confirmation = os.urandom(CONFIRMATION_BYTES)
        try:
            await self._process.call(
                security.ReportConfirmation(
                    confirmation, caller.instance, request.content, request.opens
                )
            )
        except (RequestError, ChannelClosedError) as error:
            raise RequestError(Status.FAILED, "the confirmation could not be used") from error
        return ui.Decision(approved=True, confirmation=confirmation, digest=digest)


def _with_banner(screen: Screen, key: security.KeyChoice) -> Screen:
    """Say in words of this process, which no app can change, which key an approval opens."""
    import dataclasses

    try:
        network = Network(key.network)
    except ValueError:
        raise RequestError(Status.MALFORMED, "network") from None
    if not 0 <= key.account <= MAX_ACCOUNT:
        raise RequestError(Status.MALFORMED, "account number")
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
