"""The host driver's port over a real pipe, with a tame and with a hostile chip behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio import host as host_module
from primegap.radio import host_scheduler
from primegap.radio.chip import LINE_LOW, Chip, ChipAction, ChipIdentity
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.chip_process import HostPipe
from primegap.radio.errors import LocalRadioError, SendRefusedError
from primegap.radio.firmware import TEST_SIGNERS
from primegap.radio.host import RadioPort, RadioSettings, RadioStatus, open_radio
from primegap.radio.messages import (
    Link,
    Plain,
    ReceivedData,
    TxPower,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IDENTITY = ChipIdentity(bytes.fromhex("1122334455667788"), bytes.fromhex("c0ffee123456"))


class TameChip:
    """A chip without radio behind the real host pipe."""

    def __init__(self, sock: socket.socket, memory: ChipMemory | None = None) -> None:
        memory = memory or ChipMemory.erased()
        self.chip = Chip(IDENTITY, memory, known_keys=TEST_SIGNERS)
        self.application = self.chip.application
        self.closed = asyncio.Event()
        self.pipe = HostPipe(sock, answer=self.chip.receive_request, on_closed=self.closed.set)

    def write(self, packet: bytes) -> None:
        self.application.write_received(packet)
        self.pipe.send(LINE_LOW)

    def notified(self) -> list[bytes]:
        actions = self.application.take_actions()
        packets = [one.packet for one in actions if not isinstance(one, ChipAction)]
        for _ in packets:
            self.application.notification_released()
        return packets


@contextlib.asynccontextmanager
async def pipe() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    host, chip = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    chip.setblocking(False)
    try:
        yield host, chip
    finally:
        host.close()
        chip.close()


async def test_settings_reach_a_new_chip_before_it_is_visible() -> None:
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        settings = RadioSettings(name="Passport Prime (12AB)", tx_power=TxPower.MINUS_8)
        radio = await open_radio(sock, settings)
        wanted = chip.application.advertising
        assert wanted is not None
        assert (wanted.name, wanted.tx_power) == ("Passport Prime (12AB)", TxPower.MINUS_8)
        assert await radio.address() == "C0:FF:EE:12:34:56"
        assert await radio.device_id() == IDENTITY.device_id
        assert await radio.disable_channels(0x20)
        assert not await radio.disable_channels(0xE0)
        await radio.disable()
        assert chip.application.advertising is None
        await radio.close()
        await radio.close()
        await chip.closed.wait()


async def test_a_disabled_radio_stays_dark() -> None:
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = await open_radio(sock, RadioSettings(enabled=False))
        assert chip.application.advertising is None
        await radio.close()


async def test_packets_pass_and_the_state_is_published() -> None:
    statuses: list[RadioStatus] = []
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = await open_radio(sock, RadioSettings(), on_status=statuses.append)
        chip.application.connected()
        chip.application.notifications_switched(True)
        chip.write(b"hello")
        port = await radio.connection()
        assert await port.receive() == b"hello"
        await port.send(b"there")
        assert chip.notified() == [b"there"]
        assert [status.link for status in statuses][-1] is Link.CONNECTED
        with pytest.raises(LocalRadioError):
            await radio.send(bytes(245))
        await radio.close()


async def test_a_phone_that_takes_nothing_ends_its_connection_port_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_scheduler, "RETRY_DELAYS_S", (0.001, 0.002))
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = await open_radio(sock, RadioSettings())
        chip.application.connected()  # and never switches notifications on
        chip.write(b"hello")
        port = await radio.connection()
        with pytest.raises(PortClosedError) as caught:
            await port.send(b"there")
        assert isinstance(caught.value.__cause__, SendRefusedError)
        assert not radio.closed
        again = await radio.connection()
        assert again is not port
        assert await again.receive() == b"hello"
        await radio.close()


async def test_a_link_that_does_not_read_leaves_packets_in_the_chip() -> None:
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = await open_radio(sock, RadioSettings())
        chip.application.connected()
        written = 0
        for _ in range(200):
            if not chip.application.inbound_full:
                chip.write(bytes([written]))
                written += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert written == host_module.MAX_RECEIVED_PACKETS + 16
        assert [await radio.receive() for _ in range(written)] == [
            bytes([number]) for number in range(written)
        ]
        await radio.close()


async def test_a_cancelled_send_is_forgotten() -> None:
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = await open_radio(sock, RadioSettings())
        sending = asyncio.create_task(radio.send(b"nobody there"))
        await asyncio.sleep(0.02)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        chip.application.connected()
        chip.application.notifications_switched(True)
        await radio.send(b"somebody there")
        assert chip.notified() == [b"somebody there"]
        await radio.close()


async def test_a_chip_that_ends_fails_everybody_who_waits() -> None:
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = await open_radio(sock, RadioSettings())
        chip.application.connected()
        chip.write(b"x")
        port = await radio.connection()
        assert await port.receive() == b"x"
        waiting = [
            asyncio.create_task(port.receive()),
            asyncio.create_task(port.send(b"y")),
            asyncio.create_task(radio.wait_closed()),
        ]
        await asyncio.sleep(0)
        chip.pipe.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [
            PortClosedError,
            PortClosedError,
            type(None),
        ]
        with pytest.raises(PortClosedError):
            await radio.connection()


async def test_a_chip_that_never_says_anything_sensible_is_not_opened() -> None:
    async with pipe() as (sock, chip_sock):
        chip_sock.send(b"\xff" * 400)
        with pytest.raises(PortClosedError):
            await open_radio(sock, RadioSettings())


async def test_a_flooding_chip_cannot_fill_the_memory() -> None:
    async with pipe() as (sock, chip_sock):
        chip = TameChip(chip_sock)
        radio = RadioPort(sock)
        await radio.booted()
        flood = encode_message(ReceivedData(bytes(244)))
        for _ in range(300):
            chip.pipe.send(flood)
            await asyncio.sleep(0)
        assert len(radio._received) <= host_module.MAX_RECEIVED_PACKETS
        await radio.close()


async def test_a_host_that_reads_no_answers_gets_no_more_requests_taken() -> None:
    async with pipe() as (sock, chip_sock):
        taken = 0

        def answer(_request: bytes) -> bytes:
            nonlocal taken
            taken += 1
            return bytes(200)

        chip_pipe = HostPipe(chip_sock, answer=answer, on_closed=lambda: None)
        sock.setblocking(False)
        request = encode_message(Plain.GET_STATE)
        asked = 0
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError):
                sock.send(request)
                asked += 1
            await asyncio.sleep(0)
        before = taken
        assert before < asked
        await asyncio.sleep(0.01)
        assert taken == before
        for _ in range(before):
            assert len(await asyncio.get_running_loop().sock_recv(sock, 512)) == 200
        assert taken > before
        chip_pipe.close()
