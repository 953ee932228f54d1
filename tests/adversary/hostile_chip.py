"""A Bluetooth chip that is the attacker, between two real ends, on a virtual clock.

Phone: driver, engine, BTP. Chip: the real bootloader and application, whose every packet and answer
passes through an attack. Device: the real host driver, then driver, engine and BTP as in the link
process. All choices follow from the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import deque
from collections.abc import Coroutine
from typing import Final

from tests.adversary.attack import (
    PEACE,
    TO_DEVICE,
    TO_PHONE,
    Attack,
    Attacker,
    Book,
    deep_size,
    stranger_packets,
)

from primegap.quantumlink import NATIVE
from primegap.quantumlink.aio import (
    LinkDriver,
    LinkStream,
    MemoryLink,
    PeerResetError,
    PortClosedError,
    Reconnector,
    SessionEndedError,
)
from primegap.quantumlink.aio.errors import LocalResetError
from primegap.quantumlink.aio.events import PortLost
from primegap.quantumlink.aio.memory import MemoryPort
from primegap.quantumlink.aio.simulation import DriverPair
from primegap.quantumlink.session import NoSessionError
from primegap.radio.chip import LINE_HIGH, LINE_LOW, Chip, ChipAction, ChipIdentity
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.chip_process import HostPipe
from primegap.radio.firmware import TEST_SIGNERS, bundled_image
from primegap.radio.host import RadioSettings, open_radio
from primegap.radio.host_startup import ChipBond
from primegap.radio.messages import (
    Link,
    ReceivedData,
    Status,
    encode_message,
    parse_message_untrusted,
)

MAX_STATE_BYTES: Final = 2 << 20
"Most that one end may hold: about seven times what attacks were seen to bring about."
RECOVERY_S: Final = 240.0
"After the attack, by when a message must have passed each way: time-outs of 30 s may be running."


class HostileChip:
    """One life of the chip."""

    def __init__(self, bench: Bench, host: socket.socket) -> None:
        self._bench = bench
        self._chip = Chip(
            ChipIdentity(bytes(8), bytes.fromhex("c0ffee123456")),
            bench.memory,
            known_keys=TEST_SIGNERS,
        )
        self.application = self._chip.application
        self._line_low = False
        self._port: MemoryPort | None = None
        self._notifications: deque[bytes] = deque()
        self._some = asyncio.Event()
        self.pipe = HostPipe(host, answer=self._answer, on_closed=self.disconnect)

    def connect(self, port: MemoryPort) -> list[asyncio.Task[None]]:
        """A phone connects."""
        self._port = port
        self._notifications.clear()
        self.application.connected()
        self.application.notifications_switched(True)
        loop = asyncio.get_running_loop()
        return [loop.create_task(self._inward(port)), loop.create_task(self._outward(port))]

    def disconnect(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            self.application.disconnected()
            self._bench.spawn(port.close())

    def _settle(self) -> None:
        for action in self.application.take_actions():
            if not isinstance(action, ChipAction):
                self._notifications.append(action.packet)
                self._some.set()
            elif action is ChipAction.DISCONNECT:
                self.disconnect()
        if self.application.line_low is not self._line_low:
            self._line_low = self.application.line_low
            self.pipe.send(LINE_LOW if self._line_low else LINE_HIGH)

    def _answer(self, request: bytes) -> bytes | None:
        answer = self._chip.receive_request(request)
        self._settle()
        return self._bench.twist(answer)

    async def _inward(self, port: MemoryPort) -> None:
        with contextlib.suppress(PortClosedError):
            while True:
                for packet in await self._bench.mangle(TO_DEVICE, await port.receive()):
                    if self._bench.attacker.strikes("cut"):
                        self.disconnect()
                        return
                    while self.application.inbound_full and self._port is port:
                        await asyncio.sleep(0.002)
                    self.application.write_received(packet)
                    self._settle()

    async def _outward(self, port: MemoryPort) -> None:
        with contextlib.suppress(PortClosedError):
            while True:
                while not self._notifications:
                    self._some.clear()
                    await self._some.wait()
                for packet in await self._bench.mangle(TO_PHONE, self._notifications.popleft()):
                    if packet:
                        await port.send(packet)
                self.application.notification_released()
                self._settle()


class Bench:
    """Both ends, the chip, and what must hold."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.pair = DriverPair(seed=seed)
        strangers = (
            stranger_packets(seed, NATIVE, self.pair.device_identity),
            stranger_packets(seed, NATIVE, self.pair.phone_identity),
        )
        self.attacker = Attacker(self.chance, strangers)
        self.book = Book(self.chance)
        self.memory = ChipMemory.erased()
        self.chips = 0
        self.is_mute = False
        self.largest_bytes = 0
        "Of one end, as `deep_size` counts."
        self._bond = ChipBond(bytes(range(32)), sent=False)
        self._chip: HostileChip | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.book.failures.append(f"crash: {context}")
        )
        self.pair.device.on_stream(lambda stream: self.spawn(self._take(TO_DEVICE, stream)))
        self.pair.phone.on_stream(lambda stream: self.spawn(self._take(TO_PHONE, stream)))

    # -- the attack -------------------------------------------------------------------------------

    async def mangle(self, direction: int, packet: bytes) -> list[bytes]:
        """Return what arrives instead of a packet."""
        hold_s, arriving = self.attacker.mangle(direction, packet)
        if hold_s:
            await asyncio.sleep(hold_s)
        return arriving

    def twist(self, answer: bytes | None) -> bytes | None:
        """Return what the host hears instead of an answer."""
        self.is_mute = self.is_mute or self.attacker.strikes("mute")
        if answer is None or self.is_mute:
            return None
        if not self.attacker.strikes("lie"):
            return answer
        match self.chance.randrange(5):
            case 0:
                return None
            case 1:
                return self.chance.randbytes(self.chance.randint(2, 300))
            case 2:
                return encode_message(ReceivedData(self.chance.randbytes(200)))
            case 3 if isinstance(parse_message_untrusted(answer), Status):
                link = self.chance.choice(list(Link))
                return encode_message(Status((link, -128), queue_overflow=True))
            case _:
                return answer[: self.chance.randrange(1, len(answer) + 1)]

    # -- both ends --------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[object, object, object]) -> None:
        """Run something beside; an error of it is a failure of the run."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.book.failures.append(f"crash: {error!r}")

    async def _run_phone(self) -> None:
        while True:
            chip = self._chip
            if chip is None or chip.application.advertising is None:
                await asyncio.sleep(0.1)
                continue
            link = MemoryLink()
            tasks = chip.connect(link.b)
            notices = self.pair.phone.events()
            self.pair.phone.attach(link.a)
            async for notice in notices:
                if isinstance(notice, PortLost):
                    break
            chip.disconnect()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.5)

    async def _run_device(self) -> None:
        """As the link process does it, with a supervisor that starts each chip anew."""
        while True:
            self.chips += 1
            self.is_mute = False
            host, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._chip = HostileChip(self, end)
            with contextlib.suppress(PortClosedError):
                radio = await open_radio(host, RadioSettings(), bond=self._bond)
                if not radio.trusted:
                    await asyncio.sleep(5)  # a person switches it off and on
                    await radio.close()
                while True:
                    port = await radio.connection()
                    notices = self.pair.device.events()
                    self.pair.device.attach(port)
                    async for notice in notices:
                        if isinstance(notice, PortLost):
                            break
            self._chip.pipe.close()
            await asyncio.sleep(0.1)

    def _driver(self, direction: int) -> LinkDriver:
        return self.pair.phone if direction == TO_DEVICE else self.pair.device

    async def send(self, direction: int) -> bool:
        """Send one message; return whether it was acknowledged."""
        number, message = self.book.compose(direction, (1, 10, 100, 500))
        try:
            stream = self._driver(direction).open_stream(number)
            await stream.writer.write(message)
            stream.writer.finish()
            await stream.writer.wait_finished()
        except (SessionEndedError, PeerResetError, LocalResetError, NoSessionError):
            return False
        self.book.acknowledge(number)
        return True

    async def _take(self, direction: int, stream: LinkStream) -> None:
        received = b""
        try:
            while piece := await stream.reader.read():
                received += piece
        except (SessionEndedError, PeerResetError, LocalResetError):
            self.book.receive(direction, stream.header, received, whole=False)
            return
        self.book.receive(direction, stream.header, received, whole=True)
        with contextlib.suppress(SessionEndedError, PeerResetError, LocalResetError):
            stream.writer.finish()

    # -- the run ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold at every moment."""
        assert not self.book.failures, self.book.failures[:3]
        assert not self.attacker.plaintext_seen, "plain text in a packet"
        for driver in (self.pair.phone, self.pair.device):
            size = deep_size(driver, without=(self, asyncio.get_running_loop()))
            self.largest_bytes = max(self.largest_bytes, size)
            assert size < MAX_STATE_BYTES, size

    async def run(self, *, phases: int, phase_s: float) -> None:
        """Attack in phases, then stop and see both ends recover."""
        self.memory.write_image(0, bundled_image())
        loop = asyncio.get_running_loop()
        self.spawn(self._run_device())
        self.spawn(self._run_phone())
        self.spawn(Reconnector(self.pair.phone).run())
        await self._pass_one_each_way()
        for _ in range(phases):
            self.attacker.attack = Attack.draw(self.chance)
            end_s = loop.time() + phase_s
            while loop.time() < end_s:
                for direction in (TO_DEVICE, TO_PHONE):
                    if self._driver(direction).is_connected:
                        self.spawn(self.send(direction))
                await asyncio.sleep(self.chance.uniform(0.2, 2.0))
                assert not self.book.failures, self.book.failures[:3]
            self.check()
        self.attacker.attack = PEACE
        await self._pass_one_each_way()
        await asyncio.sleep(1)
        self.check()
        assert not self.book.lost, f"{len(self.book.lost)} acknowledged messages never arrived"

    async def _pass_one_each_way(self) -> None:
        async with asyncio.timeout(RECOVERY_S):
            for direction in (TO_DEVICE, TO_PHONE):
                while not (
                    self._driver(direction).is_connected and await self._send_soon(direction)
                ):
                    await asyncio.sleep(0.5)

    async def _send_soon(self, direction: int) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                return await self.send(direction)
        return False

    async def close(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pair.aclose()
        if self._chip is not None:
            self._chip.pipe.close()
        await asyncio.sleep(0.1)


async def run_seed(seed: int, *, phases: int = 3, phase_s: float = 15.0) -> Bench:
    """Run one seed to its end; raise AssertionError where something does not hold."""
    bench = Bench(seed)
    try:
        await bench.run(phases=phases, phase_s=phase_s)
    finally:
        await bench.close()
    return bench
