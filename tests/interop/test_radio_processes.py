"""Chip, air and central as real processes with real Bluetooth stacks on both sides (section 15)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from primegap.btp import Chunker, ChunkTooSmallError, Dechunker, RemoteBtpError
from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio import (
    AdapterMissingError,
    ConnectFailedError,
    DeviceNotFoundError,
    Link,
    nus,
)
from primegap.radio.central import CentralPort, FoundDevice, open_central
from primegap.radio.chip import LINE_HIGH, LINE_LOW
from primegap.radio.chip_process import open_memory
from primegap.radio.firmware import bundled_image
from primegap.radio.host import RadioPort, RadioSettings, RadioStatus, open_radio
from primegap.radio.host_startup import ChipBond
from primegap.radio.messages import (
    AckVerifyFirmware,
    AnyMessage,
    BootFirmware,
    Plain,
    PostcardError,
    PostcardFault,
    ReceivedData,
    SendData,
    SendDataResponse,
    SendResult,
    Status,
    Trust,
    encode_message,
    parse_message_untrusted,
)
from primegap.radio.spi_wire import messages_over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from primegap.quantumlink.aio.port import PacketPort

CONFINED = """
import asyncio, socket, sys
loop = asyncio.new_event_loop()
from primegap.keyos.sandbox import libc, seccomp
libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="no new privileges")
seccomp.install("radio")
from primegap.radio.chip_process import make_identity, run_chip
from primegap.radio.firmware import TEST_SIGNERS
try:
    socket.socket()
except PermissionError:
    host, hci = (socket.socket(fileno=int(sys.argv[place])) for place in (2, 4))
    identity = make_identity(bytes(8))
    loop.run_until_complete(run_chip(host, hci, identity=identity, known_keys=TEST_SIGNERS))
"""
"A chip that may make no socket, open no connection and start no process."
NAME = "Passport Prime (12AB)"
DEVICE_ID = "1122334455667788"
SHORT_S = 0.3
"Time to wait for something that must not happen."


class Air:
    """A running air process."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.device = str(folder / "device.sock")
        self.companion = f"unix:{folder / 'companion.sock'}"
        self.capture = folder / "capture.btsnoop"


@contextlib.asynccontextmanager
async def running_air(folder: Path, *options: str) -> AsyncIterator[Air]:
    """Start the air and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "primegap.radio.air",
        *("--device", f"unix:{folder / 'device.sock'}"),
        *("--companion", f"unix:{folder / 'companion.sock'}"),
        *("--capture", str(folder / "capture.btsnoop")),
        "--until-eof",
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["ready"]
        yield Air(process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def running_chip(
    air: Air, *options: str, program: tuple[str, str] = ("-m", "primegap.radio.chip_process")
) -> AsyncIterator[tuple[asyncio.subprocess.Process, socket.socket]]:
    """Start a chip on the air; give its process and the host's end of its pipe."""
    host, chip_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    open_memory(air.capture.parent / "flash").write_image(0, bundled_image())
    hci = socket.socket(socket.AF_UNIX)
    hci.connect(air.device)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        *("--host-fd", str(chip_end.fileno())),
        *("--hci-fd", str(hci.fileno())),
        *("--device-id", DEVICE_ID),
        *("--memory", str(air.capture.parent / "flash")),
        *options,
        pass_fds=[chip_end.fileno(), hci.fileno()],
    )
    chip_end.close()
    hci.close()
    try:
        yield process, host
    finally:
        host.close()
        if process.returncode is None:
            await asyncio.wait_for(process.wait(), 5)


class RawHost:
    """The host's end of the pipe without the driver: asks one request after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.line: list[bytes] = []
        sock.setblocking(False)

    async def ask(self, request: AnyMessage | bytes) -> AnyMessage:
        data = request if isinstance(request, bytes) else encode_message(request)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.sock, data)
        while True:
            datagram = await asyncio.wait_for(loop.sock_recv(self.sock, 512), 10)
            assert datagram, "the chip is gone"
            if datagram not in {LINE_LOW, LINE_HIGH}:
                return parse_message_untrusted(datagram)
            self.line.append(datagram)


async def started(sock: socket.socket) -> RawHost:
    """Start the application of a chip."""
    host = RawHost(sock)
    answer = await host.ask(BootFirmware(Trust.FULL))
    assert isinstance(answer, AckVerifyFirmware)
    assert answer.accepted
    return host


async def found(air: Air, name: str | None = None) -> FoundDevice:
    async with open_central(air.companion) as central:
        return await central.find(name=name)


@contextlib.asynccontextmanager
async def connected(air: Air, radio: RadioPort) -> AsyncIterator[CentralPort]:
    """Connect a central and make sure that the host knows."""
    async with open_central(air.companion) as central:
        port = await central.connect(await central.find(address=await radio.address()))
        yield port
        await port.close()


async def pass_records(
    sender: PacketPort, receiver: PacketPort, records: list[bytes]
) -> list[bytes]:
    """Send records one after the other; return as many as arrived."""
    dechunker, chunker = Dechunker(), Chunker()

    async def take() -> list[bytes]:
        arrived: list[bytes] = []
        while len(arrived) < len(records):
            record = dechunker.receive(await receiver.receive(), now_s=time.monotonic())
            if record is not None:
                arrived.append(record)
        return arrived

    taking = asyncio.create_task(take())
    try:
        for record in records:
            for packet in chunker.chunk(record):
                await sender.send(packet)
        return await asyncio.wait_for(taking, 30)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


async def test_the_largest_record_passes_both_ways_at_once_and_the_capture_has_it(
    tmp_path: Path,
) -> None:
    to_host, to_phone = os.urandom(131_072), os.urandom(131_072)
    statuses: list[RadioStatus] = []
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings(name=NAME), on_status=statuses.append)
        assert (await radio.device_id()).hex() == DEVICE_ID
        assert await radio.firmware_version() == "4.0.0"
        async with connected(air, radio) as port:
            arrived = await asyncio.gather(
                pass_records(port, radio, [to_host]), pass_records(radio, port, [to_phone])
            )
            assert list(arrived) == [[to_host], [to_phone]]
            assert radio.status.link is Link.CONNECTED
            assert radio.overflows == 0
        await radio.close()
    assert [s.link for s in statuses[:2]] == [Link.WAITING_FOR_CONNECTION, Link.CONNECTED]
    capture = air.capture.read_bytes()
    assert capture.startswith(b"btsnoop\x00")
    for record in (to_host, to_phone):
        for start in range(0, len(record), 236):
            assert record[start : start + 236] in capture


async def test_records_pass_over_spi_transactions_too(tmp_path: Path) -> None:
    to_host, to_phone = os.urandom(3000), os.urandom(3000)
    async with running_air(tmp_path) as air, running_chip(air, "--spi") as (_, sock):
        radio = await open_radio(messages_over(sock), RadioSettings(name=NAME))
        async with connected(air, radio) as phone:
            device = await radio.connection()
            assert await pass_records(phone, device, [to_host]) == [to_host]
            assert await pass_records(device, phone, [to_phone]) == [to_phone]
        await radio.close()


@pytest.mark.scenario("radio", 12)
async def test_a_new_name_shows_in_the_next_scan_response(tmp_path: Path) -> None:
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        device = await found(air)
        assert device.name == "Passport Prime"
        assert device.address == await radio.address()
        await radio.set_name(NAME)
        assert (await found(air, NAME)).address == device.address
        await radio.disable()
        async with open_central(air.companion) as central:
            with pytest.raises(DeviceNotFoundError):
                await central.find(timeout_s=SHORT_S)
        await radio.close()


@pytest.mark.scenario("radio", 8, 15)
async def test_seventeen_writes_without_reading_give_sixteen_packets_and_one_overflow(
    tmp_path: Path,
) -> None:
    async with (
        running_air(tmp_path) as air,
        running_chip(air, "--overflow-hold", "0") as (_, sock),
        open_central(air.companion) as central,
    ):
        host = await started(sock)
        assert await host.ask(Plain.ENABLE) is Plain.ACK_ENABLE
        port = await central.connect(await central.find())
        for number in range(17):
            await port.send(bytes([number]) * 244)
        while host.line != [LINE_LOW]:
            await host.ask(Plain.GET_STATE)
        status = None
        while status is None or not status.queue_overflow:
            answer = await host.ask(Plain.GET_STATUS)
            assert isinstance(answer, Status)
            status = answer
        assert status.connection[0] is Link.CONNECTED
        second = await host.ask(Plain.GET_STATUS)
        assert isinstance(second, Status)
        assert not second.queue_overflow
        for number in range(16):
            assert await host.ask(Plain.GET_RECEIVED_DATA) == ReceivedData(bytes([number]) * 244)
        assert await host.ask(Plain.GET_RECEIVED_DATA) is Plain.NO_RECEIVED_DATA
        assert host.line == [LINE_LOW, LINE_HIGH]


async def test_a_host_that_is_slow_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    async with (
        running_air(tmp_path) as air,
        running_chip(air) as (_, sock),
        open_central(air.companion) as central,
    ):
        host = await started(sock)
        await host.ask(Plain.ENABLE)
        port = await central.connect(await central.find())
        sending = asyncio.create_task(_send_numbers(port, 60))
        await asyncio.sleep(SHORT_S)
        assert not sending.done()  # the chip makes the phone wait
        numbers: list[int] = []
        while len(numbers) < 60:
            answer = await host.ask(Plain.GET_RECEIVED_DATA)
            if isinstance(answer, ReceivedData):
                numbers.append(answer.packet[0])
        await sending
        assert numbers == list(range(60))
        status = await host.ask(Plain.GET_STATUS)
        assert isinstance(status, Status)
        assert not status.queue_overflow


async def _send_numbers(port: CentralPort, count: int) -> None:
    for number in range(count):
        await port.send(bytes([number]) * 244)


@pytest.mark.scenario("radio", 9)
async def test_three_notifications_fit_and_the_next_waits_for_the_air(tmp_path: Path) -> None:
    async with (
        running_air(tmp_path, "--delay-s", "0.3") as air,
        running_chip(air) as (_, sock),
        open_central(air.companion) as central,
    ):
        host = await started(sock)
        packet = SendData(bytes(range(244)))
        sent, full = SendDataResponse(SendResult.SENT), SendDataResponse(SendResult.BUFFER_FULL)
        assert await host.ask(packet) == full  # nobody is connected
        await host.ask(Plain.ENABLE)
        port = await central.connect(await central.find())
        assert [await host.ask(packet) for _ in range(4)] == [sent, sent, sent, full]
        assert [await port.receive() for _ in range(3)] == [packet.packet] * 3
        answers = [await host.ask(packet)]
        while answers[-1] != sent:
            answers.append(await host.ask(packet))
        too_long = encode_message(packet).replace(b"\xf4\x01", b"\xf5\x01") + b"\x00"
        assert await host.ask(too_long) == PostcardError(PostcardFault.DESER)


@pytest.mark.scenario("radio", 16)
async def test_a_killed_chip_ends_both_sides_at_once_and_a_new_one_works(tmp_path: Path) -> None:
    record = os.urandom(100_000)
    async with (
        running_air(tmp_path) as air,
        running_chip(air) as (process, sock),
        open_central(air.companion) as central,
    ):
        bond = ChipBond(os.urandom(32), sent=False)
        radio = await open_radio(sock, RadioSettings(), bond=bond)
        device = await central.find()
        port = await central.connect(device)
        connection = await radio.connection()
        passing = asyncio.create_task(pass_records(port, connection, [record] * 50))
        await asyncio.sleep(SHORT_S)
        assert not passing.done()
        killed_s = time.monotonic()
        process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(radio.wait_closed(), port.wait_closed()), 5)
        assert time.monotonic() - killed_s < 1
        for late in (passing, radio.send(b"late"), connection.send(b"late"), radio.enable()):
            with pytest.raises(PortClosedError):
                await late
        await process.wait()
        async with running_chip(air) as (_, new_sock):
            radio = await open_radio(new_sock, RadioSettings(), bond=bond)
            port = await central.connect(await central.find(address=device.address))
            assert await pass_records(port, radio, [record]) == [record]
            await radio.close()


async def test_a_connection_port_lasts_as_long_as_the_connection(tmp_path: Path) -> None:
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        async with connected(air, radio) as port:
            await port.send(b"one")
            first = await radio.connection()
            assert await radio.connection() is first
            assert await first.receive() == b"one"
            await first.send(b"two")
            assert await port.receive() == b"two"
        with pytest.raises(PortClosedError):
            await first.receive()
        with pytest.raises(PortClosedError):
            await first.send(b"three")
        async with connected(air, radio) as port:
            second = await radio.connection()
            assert second is not first
            await second.close()
            await asyncio.wait_for(port.wait_closed(), 5)
        await radio.close()


async def test_a_second_central_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        async with open_central(air.companion) as first, open_central(air.companion) as second:
            device = await first.find()
            port = await first.connect(device)
            with pytest.raises(DeviceNotFoundError):
                await second.find(timeout_s=SHORT_S)
            with pytest.raises(ConnectFailedError):
                await second.connect(device, timeout_s=SHORT_S)
            cancelled = asyncio.create_task(second.connect(device))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert not port.closed
            await radio.disconnect()
            await asyncio.wait_for(port.wait_closed(), 5)
            other = await second.connect(await second.find())
            assert await pass_records(other, radio, [b"second"]) == [b"second"]
        await radio.close()


async def test_of_two_centrals_that_connect_at_once_one_wins(tmp_path: Path) -> None:
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        async with open_central(air.companion) as first, open_central(air.companion) as second:
            device = await first.find()
            results = await asyncio.gather(
                *(central.connect(device, timeout_s=1) for central in (first, second)),
                return_exceptions=True,
            )
            winners = [one for one in results if isinstance(one, CentralPort)]
            assert len(winners) == 1
            assert sum(isinstance(one, ConnectFailedError) for one in results) == 1
            assert await pass_records(winners[0], radio, [b"won"]) == [b"won"]
        await radio.close()


@pytest.mark.scenario("radio", 11)
async def test_without_a_larger_mtu_packets_are_cut_and_btp_notices(tmp_path: Path) -> None:
    from bumble import core, hci
    from bumble.device import Device, DeviceConfiguration, Peer
    from bumble.transport import open_transport

    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        transport: Any = await open_transport(air.companion)
        phone: Any = Device.from_config_with_hci(
            DeviceConfiguration(address=hci.Address.generate_static_address()),
            transport.source,
            transport.sink,
        )
        await phone.power_on()
        peer = Peer(await phone.connect(await radio.address()))
        (service,) = await peer.discover_service(core.UUID(nus.SERVICE_UUID))
        receive, transmit = await service.discover_characteristics()
        assert (receive.handle, transmit.handle) == (nus.RX_HANDLE, nus.TX_HANDLE)
        values: asyncio.Queue[bytes] = asyncio.Queue()
        await transmit.subscribe(values.put_nowait)
        (packet,) = Chunker().chunk(b"too long for an MTU of 23")
        await radio.send(packet)
        value = await values.get()
        assert value == packet[:20]
        with pytest.raises(ChunkTooSmallError):
            Dechunker().receive(value, now_s=0.0)
        await peer.request_mtu(nus.ATT_MTU)
        await radio.send(packet)
        assert Dechunker().receive(await values.get(), now_s=0.0) == b"too long for an MTU of 23"
        await transport.close()
        await radio.close()


async def test_duplicates_and_overtaking_do_not_hurt_records(tmp_path: Path) -> None:
    faults = ("--duplicate", "0.2", "--reorder", "0.2", "--seed", "7")
    records = [bytes([number]) * 3000 for number in range(20)]
    async with running_air(tmp_path, *faults) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        async with connected(air, radio) as port:
            assert await pass_records(port, radio, records) == records
            assert await pass_records(radio, port, records) == records
        await radio.close()


async def test_lost_and_damaged_packets_cost_records_and_nothing_else(tmp_path: Path) -> None:
    faults = ("--drop", "0.05", "--corrupt", "0.05", "--seed", "3")
    async with running_air(tmp_path, *faults) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        async with connected(air, radio) as port:
            chunker, dechunker = Chunker(), Dechunker()
            for number in range(50):
                for packet in chunker.chunk(bytes([number]) * 400):
                    await port.send(packet)
            await port.send(b"end")
            whole = 0
            while (packet := await radio.receive()) != b"end":
                with contextlib.suppress(RemoteBtpError):
                    whole += dechunker.receive(packet, now_s=time.monotonic()) is not None
            assert 25 < whole < 50
            assert not port.closed
        await radio.close()


async def test_the_air_can_cut_the_connection_at_a_chosen_packet(tmp_path: Path) -> None:
    async with (
        running_air(tmp_path, "--disconnect-after", "5") as air,
        running_chip(air) as (_, sock),
    ):
        radio = await open_radio(sock, RadioSettings())
        async with connected(air, radio) as port:
            with pytest.raises(PortClosedError):
                await _send_numbers(port, 100)
        assert len([await radio.receive() for _ in range(5)]) == 5
        async with connected(air, radio) as port:  # it advertises again
            assert await pass_records(port, radio, [b"after"]) == [b"after"]
        await radio.close()


async def test_bytes_that_are_no_hci_close_a_pipe_and_are_kept_in_the_capture(
    tmp_path: Path,
) -> None:
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        reader, writer = await asyncio.open_unix_connection(air.device)
        writer.write(b"\xffnot a packet at all")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()
        assert (await found(air)).address == await radio.address()
        await radio.close()
    assert b"\xffnot a packet at all" in air.capture.read_bytes()


async def test_a_chip_ends_with_its_host_with_its_controller_and_at_a_reset(
    tmp_path: Path,
) -> None:
    async with running_air(tmp_path) as air:
        async with running_chip(air) as (process, sock):
            await RawHost(sock).ask(Plain.GET_STATE)
            sock.close()
            assert await asyncio.wait_for(process.wait(), 5) == 0
        async with running_chip(air) as (process, sock):
            await RawHost(sock).ask(Plain.GET_STATE)
            sock.send(encode_message(Plain.RESET))
            assert await asyncio.wait_for(process.wait(), 5) == 0
        async with running_chip(air) as (process, sock):
            await RawHost(sock).ask(Plain.GET_STATE)
            air.process.kill()
            assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_a_chip_works_under_the_system_call_filter_of_its_role(tmp_path: Path) -> None:
    record = os.urandom(20_000)
    async with (
        running_air(tmp_path) as air,
        running_chip(air, program=("-c", CONFINED)) as (_, sock),
    ):
        radio = await open_radio(sock, RadioSettings())
        async with connected(air, radio) as port:
            assert await pass_records(port, radio, [record]) == [record]
            assert await pass_records(radio, port, [record]) == [record]
        await radio.close()


async def test_a_lost_adapter_is_told_at_once(tmp_path: Path) -> None:
    async with running_air(tmp_path) as air, running_chip(air) as (_, sock):
        radio = await open_radio(sock, RadioSettings())
        async with open_central(air.companion) as central:
            device = await central.find()
            port = await central.connect(device)
            finding = asyncio.create_task(central.find(name="nobody"))
            await asyncio.sleep(SHORT_S)
            air.process.kill()
            await asyncio.wait_for(port.wait_closed(), 5)
            for late in (finding, central.find(), central.connect(device)):
                with pytest.raises(AdapterMissingError):
                    await asyncio.wait_for(late, 5)
        await asyncio.wait_for(radio.wait_closed(), 5)


async def test_a_missing_adapter_has_a_typed_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(AdapterMissingError) as caught:
        async with open_central(f"unix:{tmp_path / 'nothing.sock'}"):
            pass
    assert caught.value.code == "radio-adapter-missing"
    assert caught.value.hint.endswith(".")
