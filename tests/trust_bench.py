"""The device's own core, services and screen in one process, without sandbox: for attacks on trust.

Router, channels, frames, security, ui, link, camera and apps are the real ones; only the walls
between the processes are missing, so that a test can stand in the place of any of them. A role may
be played by the test (`puppets`): the test then holds the very `Process` that the role would hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final

import pytest
from tests.stored_seed import PIN
from typing_extensions import override

from primegap.device.launcher import TEST_SUPPLY_CHAIN
from primegap.device.panel.automation import Automation
from primegap.device.panel.port import DeveloperPort
from primegap.device.panel.service import offer
from primegap.device.panel.state import PanelState
from primegap.keyos.core.builtin import builtin_manifests
from primegap.keyos.core.journal import Journal
from primegap.keyos.core.order import Runtime
from primegap.keyos.core.supervisor import Supervisor, Supply
from primegap.keyos.link.service import LinkService
from primegap.keyos.manifest import PermissionTable
from primegap.keyos.manifest.models import PRIME
from primegap.keyos.process import Process
from primegap.keyos.sandbox.support import Level, Support
from primegap.keyos.security import vault as vault_module
from primegap.keyos.ui.input import TouchMachine
from primegap.quantumlink import NATIVE, Identity, PairingLink, PeerBundle
from primegap.quantumlink.aio.client import RpcClient
from primegap.quantumlink.aio.driver import LinkDriver
from primegap.quantumlink.aio.memory import MemoryLink, MemoryPort
from primegap.quantumlink.session import LinkConfig, LinkEngine
from primegap.radio.chip_memory import HEADER_BYTES
from primegap.radio.firmware import bundled_image

CRASHED: Final = 70
KILLED: Final = -9
PATIENCE_S: Final = 60.0  # a machine that does other things too is slow
Entry = Callable[[Process], Awaitable[None]]


class Pages(Journal):
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(started_s=time.monotonic())
        self.lines: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []

    @override
    def line(self, role: str, text: str) -> None:
        self.lines.append((role, text))

    @override
    def event(self, name: str, **facts: Any) -> None:
        self.events.append({"event": name, **facts})

    @property
    def text(self) -> str:
        return "\n".join(f"{role}: {line}" for role, line in self.lines)


class Played:
    """What core holds of a process; here it is a task."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.pid = 0
        self.status = KILLED
        self.task: asyncio.Task[None]
        self.pidfd = os.eventfd(0)
        silent, end = os.pipe()
        os.close(end)
        self.stderr: IO[bytes] = os.fdopen(silent, "rb")

    def kill(self) -> None:
        self.task.cancel()

    def wait(self) -> int:
        return self.status

    def close(self) -> None:
        os.close(self.pidfd)
        self.stderr.close()


class Bench(Supervisor):
    """A device whose processes are tasks."""

    def __init__(
        self,
        folder: Path,
        *,
        puppets: tuple[str, ...] = (),
        entries: dict[str, Entry] | None = None,
        development: bool = True,
        network: str = "regtest",
        model: str = PRIME,
    ) -> None:
        self.journal = Pages()
        self.panel = PanelState()
        self.port = DeveloperPort()
        self.finger = Automation(self.panel)
        self.processes: dict[str, Process] = {}
        self.links: list[LinkService] = []
        self._puppets = puppets
        self._arrivals: dict[str, asyncio.Queue[Process]] = {}
        self._entries: dict[str, Entry] = {
            "panel": self._play_panel,
            "radio": self._play_radio,
            **(entries or {}),
        }
        self._ended: set[Played] = set()
        config = {"network": network, "model": model, "version": "0.1.0"}
        super().__init__(
            PermissionTable(builtin_manifests(model)),
            Runtime((), (), ()),
            data=folder,
            development=development,
            journal=self.journal,
            supplies={
                "ui": Supply(config=config),
                "bitcoin": Supply(config=config),
                "security": Supply(config={"supply_chain": TEST_SUPPLY_CHAIN}),
                "link": Supply(
                    config={
                        "chip_fuses": bytes(32).hex(),
                        "chip_header": bundled_image()[:HEADER_BYTES].hex(),
                    }
                ),
                "calls": Supply(config={"version": "1"}),
                "app-manager": Supply(config={"version": "0.1.0"}),
                "radio": Supply(),
            },
        )

    # -- processes as tasks ---------------------------------------------------------------------

    async def _play_panel(self, process: Process) -> None:
        offer(process, self.panel, self.port)
        process.serve()
        await process.wait()

    async def _play_link(self, process: Process) -> None:
        """Do what the entry of the link process does, and keep the service for a look."""
        service = LinkService(process)
        self.links.append(service)
        process.serve()
        await service.run()

    async def _play_puppet(self, process: Process) -> None:
        if "service" not in process._fds:
            process.serve()
        self._arrivals.setdefault(process.role, asyncio.Queue()).put_nowait(process)
        await asyncio.Event().wait()

    async def _play_radio(self, process: Process) -> None:
        self._chips_end = process.take_socket("host")
        await asyncio.Event().wait()

    @override
    async def _measure(self) -> None:
        """There are no walls to be measured; what is decided behind them is the subject here."""
        self.support = Support((), Level.FULL)
        self.measured.set()

    @override
    def spawn(self, order: dict[str, Any]) -> Played:
        fds = {name: os.dup(fd) for name, fd in order["fds"].items()}
        data = str(order["data"] or "/nowhere")
        process = Process({**order, "fds": fds}, data=data, loop=self._loop)
        played = Played(process.role)
        self.processes[process.role] = process
        played.task = self._loop.create_task(self._play(process, played))
        self._ended.add(played)
        return played

    async def _play(self, process: Process, played: Played) -> None:
        entry = self._entries.get(process.role)
        if entry is None and process.role == "link" and process.role not in self._puppets:
            entry = self._play_link
        if entry is None and process.role in self._puppets:
            entry = self._play_puppet
        if entry is None:
            module, _, function = self.table.manifests[process.role].entry.partition(":")
            entry = getattr(importlib.import_module(module), function)
        try:
            await process.run(entry)
            played.status = 0
        except asyncio.CancelledError:
            played.status = KILLED
        except Exception as crash:  # noqa: BLE001 - as at the top of a real process
            played.status = CRASHED
            error: BaseException = crash
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self.journal.line(process.role, f"crashed: {type(error).__name__}: {error}")
            self.running[process.role].last_line = f"{type(error).__name__}: {error}"
        finally:
            await self._bury(process)
            os.eventfd_write(played.pidfd, 1)
            self._ended.discard(played)

    async def _bury(self, process: Process) -> None:
        """Do what the kernel does when a process ends: close its channels."""
        for task in list(process._running.values()):
            task.cancel()
        for connection in process._connections.values():
            connection.close()
        if process._control is not None:
            process._control.close()
        if process._service is not None:
            process._service.close()
        elif "service" in process._fds:
            os.close(process._fds["service"])
        await asyncio.sleep(0)

    # -- for tests ------------------------------------------------------------------------------

    async def puppet(self, role: str) -> Process:
        """Return the next process of a role that the test plays."""
        queue = self._arrivals.setdefault(role, asyncio.Queue())
        async with asyncio.timeout(PATIENCE_S):
            return await queue.get()

    def kill(self, role: str) -> None:
        """End a process without warning."""
        self.running[role].child.kill()

    @property
    def alive(self) -> bool:
        """Whether the device still runs."""
        return not self.finished.done()

    def shown(self) -> dict[str, Any]:
        """Return the screen on the display."""
        screen: dict[str, Any] = self.finger.screen()["screen"]
        return screen

    async def wait(self, screen: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for a screen by its id."""
        await self.finger.wait(screen=screen, target=None, timeout_s=timeout_s)
        return self.shown()

    async def press(self, *targets: str) -> None:
        """Press targets one after another."""
        for target in targets:
            await self.finger.wait(screen=None, target=target, timeout_s=PATIENCE_S)
            await self.finger.press(target)

    async def approve(self, screen: str) -> None:
        """Read a confirmation to its end and hold its button."""
        await self.wait(screen)
        while self.finger.screen()["page"] + 1 < self.finger.screen()["pages"]:
            await self.finger.press("page:next")
        await self.finger.press("confirm")

    async def set_up(self) -> list[str]:
        """Do the first start; return the words."""
        words = await self.make_seed()
        await self.press("ok")
        await self.wait("home")
        return words

    async def make_seed(self) -> list[str]:
        """Do the first start up to the moment when the seed is stored; return the words."""
        await self.press("start")
        for _ in range(2):
            await self.finger.wait(screen="choose-pin", target=None, timeout_s=PATIENCE_S)
            await self.finger.type(PIN)
            await self.finger.press("done")
        await self.press("words-12", "no-dice")
        screen = await self.wait("seed-words")
        words = [word for item in screen["items"] for word in item.get("words", ())]
        while self.finger.screen()["page"] + 1 < self.finger.screen()["pages"]:
            await self.finger.press("page:next")
        await self.press("done")
        while self.shown()["id"] == "quiz":
            question = next(i["text"] for i in self.shown()["items"] if i["type"] == "text")
            position = int(question.rstrip("?").split()[-1])
            await self.press(f"word:{words[position - 1]}")
        return words

    async def unlock(self, pin: str = PIN) -> None:
        """Type the PIN on the lock screen."""
        await self.wait("unlock")
        taken = self.panel.touches
        for key in pin:  # as fast as a machine can
            target = self.panel.target(f"key:{key}")
            assert target is not None
            for phase in ("down", "up"):
                self.panel.touch(phase, target.left + 5, target.top + 5)
        await self.panel.wait_for(lambda frame: frame.touches >= taken + 2 * len(pin), 30)
        await self.finger.press("done")

    async def end(self) -> None:
        """Stop everything."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        for played in list(self._ended):
            await asyncio.wait({played.task}, timeout=5)
        for _ in range(100):
            if not self.running:
                break
            await asyncio.sleep(0.01)
        self.radio.drop_pipe()
        with contextlib.suppress(AttributeError):
            self._chips_end.close()


class Radio:
    """The radio as the link process sees it, with a companion's end in memory."""

    trusted = True

    def __init__(self) -> None:
        self._ports: asyncio.Queue[MemoryPort] = asyncio.Queue()

    async def address(self) -> str:
        return "C0:FF:EE:00:00:01"

    async def connection(self) -> MemoryPort:
        return await self._ports.get()

    def join(self) -> MemoryPort:
        """Make a Bluetooth connection; return the companion's end."""
        link = MemoryLink()
        self._ports.put_nowait(link.a)
        return link.b


@pytest.fixture
def radio(monkeypatch: pytest.MonkeyPatch) -> Radio:
    """Give the link process a radio in memory instead of a chip."""
    radio = Radio()

    async def open_radio(sock: socket.socket, settings: Any, **others: Any) -> Radio:
        del settings, others
        sock.close()
        return radio

    monkeypatch.setattr("primegap.keyos.link.service.open_radio", open_radio)
    return radio


@pytest.fixture
def quick_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stretching the PIN cheap; the parameters are stored in the file."""
    monkeypatch.setattr(vault_module, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(vault_module, "ARGON2_ITERATIONS", 1)


@pytest.fixture
def quick_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten holds and guards, for tests whose subject is another one."""
    machine = functools.partial(TouchMachine, min_display_s=0.05)
    monkeypatch.setattr("primegap.keyos.ui.display.TouchMachine", machine)
    monkeypatch.setattr("primegap.keyos.ui.screens.HOLD_MS", 500)
    monkeypatch.setattr("primegap.keyos.ui.service.MIN_SIGNING_HOLD_MS", 500)
    monkeypatch.setattr("primegap.apps.bitcoin.screens.HOLD_MS", 500)
    monkeypatch.setattr("primegap.keyos.app_manager.screens.HOLD_MS", 500)
    monkeypatch.setattr("primegap.device.panel.automation.GUARD_S", 0.1)
    monkeypatch.setattr("primegap.device.panel.automation.HOLD_MARGIN_S", 0.05)


@asynccontextmanager
async def bench(folder: Path, **options: Any) -> AsyncIterator[Bench]:
    """Run a device for the time of a test."""
    device = Bench(folder, **options)
    device.start_first()
    try:
        yield device
    finally:
        await device.end()


class Phone:
    """A companion that does what the test wants, over the real protocol."""

    def __init__(self, radio: Radio, name: str = "phone", seed: bytes | None = None) -> None:
        self.radio = radio
        self.identity = Identity.from_seed(NATIVE, name, seed or os.urandom(NATIVE.kem.seed_size))
        self.new_driver()

    def new_driver(self) -> None:
        """Start the companion's program again: the identity stays, the session is gone."""
        loop = asyncio.get_running_loop()
        config = LinkConfig.tuned()
        engine = LinkEngine(config, self.identity, rng=os.urandom, now_s=loop.time())
        self.driver = LinkDriver(engine)
        self.client = RpcClient(self.driver)

    def join(self) -> None:
        """Make a Bluetooth connection."""
        self.driver.attach(self.radio.join())

    async def reconnect(self, peer: PeerBundle) -> None:
        """Come back after a restart, paired with a device."""
        await self.close()
        self.new_driver()
        self.join()
        self.driver.bind_peer(peer)
        await self.driver.connect()

    async def pair(self, offer: str) -> PeerBundle:
        """Pair by the text of the code on the screen; the person has not agreed yet."""
        if not self.driver.has_port:
            self.join()
        return await self.driver.pair(PairingLink.parse_untrusted(offer).invite)

    async def close(self) -> None:
        """Go away."""
        await self.driver.aclose()


async def offered(device: Bench) -> str:
    """Open the pairing screen; return the text of its code."""
    await device.press("pair")
    screen = await device.wait("pairing")
    text: str = next(item["text"] for item in screen["items"] if item["type"] == "qr")
    return text


async def paired(device: Bench, phone: Phone) -> PeerBundle:
    """Pair a companion, with the person's consent."""
    peer = await phone.pair(await offered(device))
    await device.approve("confirm-pairing")
    await device.wait("companion")
    await device.press("ok")
    await device.wait("home")
    return peer
