"""SPI transactions between host and chip (radio section 4.1; section 15, item 2)."""

from __future__ import annotations

import asyncio
import socket

import pytest

from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio.chip import LINE_LOW, Chip, ChipIdentity
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.chip_process import HostPipe
from primegap.radio.errors import UnexpectedAnswerError
from primegap.radio.firmware import TEST_SIGNERS, bundled_image
from primegap.radio.host import RadioSettings, open_radio
from primegap.radio.messages import (
    AckState,
    Echo,
    EchoResponse,
    Plain,
    PostcardError,
    PostcardFault,
    State,
    encode_message,
    parse_message_untrusted,
)
from primegap.radio.spi import (
    APPLICATION,
    APPLICATION_REQUEST_BYTES,
    BOOTLOADER,
    LENGTH_BYTES,
    SPINS,
    Select,
    SpiSlave,
    exchange,
    run_on,
)
from primegap.radio.spi_wire import CLOCK, DESELECT, MAX_DATAGRAM_BYTES, SELECT, SpiEndpoint
from primegap.radio.spi_wire import messages_over as messages_over_bus

IDENTITY = ChipIdentity(bytes(8), bytes.fromhex("c0ffee123456"))
GET_STATE = encode_message(Plain.GET_STATE)


def chip() -> Chip:
    memory = ChipMemory.erased()
    memory.write_image(0, bundled_image())
    return Chip(IDENTITY, memory, known_keys=TEST_SIGNERS)


def endpoint(listener: int = APPLICATION) -> SpiSlave:
    """A chip's end in front of the application, whoever it says that it is."""
    return SpiSlave(chip().application.receive_request, lambda: listener)


def span(slave: SpiSlave, *pieces: bytes) -> bytes:
    slave.select()
    returned = b"".join(slave.clock(piece) for piece in pieces)
    slave.deselect()
    return returned


def refuse_to_wait(duration_s: float) -> None:
    raise AssertionError(f"waited {duration_s} s")


def ask(slave: SpiSlave, request: bytes) -> object:
    answer = run_on(slave, exchange(request), wait=refuse_to_wait)
    assert answer is not None
    return parse_message_untrusted(answer)


@pytest.mark.scenario("radio", 2)
@pytest.mark.parametrize("listener", [APPLICATION, BOOTLOADER])
def test_the_first_byte_tells_who_listens(listener: int) -> None:
    slave = endpoint(listener)
    assert span(slave, GET_STATE)[0] == listener
    answer = encode_message(AckState(State.DISABLED))
    framed = len(answer).to_bytes(2) + answer
    assert span(slave, bytes(2), b"\xaa" * len(answer)) == framed
    assert span(slave, bytes(2)) == bytes([listener]) * 2  # fetched once, then it listens again


def test_the_example_of_the_specification() -> None:
    slave = SpiEndpoint(chip()).slave
    assert span(slave, GET_STATE) == bytes([BOOTLOADER])
    assert span(slave, bytes(2), b"\xaa\xaa") == bytes.fromhex("00020402")


def test_a_chip_that_is_not_in_a_transfer_yet_is_asked_again() -> None:
    slave = endpoint()
    slave.busy_spans = 3
    assert span(slave, GET_STATE) == b"\x00"
    assert ask(slave, GET_STATE) == AckState(State.DISABLED)
    assert slave.busy_spans == 0


@pytest.mark.scenario("radio", 2)
def test_an_answer_that_is_not_there_yet_has_length_zero() -> None:
    slave = endpoint()
    span(slave, GET_STATE)
    slave.busy_spans = 1
    assert span(slave, bytes(LENGTH_BYTES)) == b"\x00\x00"
    assert span(slave, bytes(2), b"\xaa" * 2)[2:] == encode_message(AckState(State.DISABLED))


@pytest.mark.scenario("radio", 2)
@pytest.mark.parametrize("listener", [APPLICATION, BOOTLOADER])
def test_two_zero_bytes_to_a_listening_chip_are_a_broken_request(listener: int) -> None:
    slave = endpoint(listener)
    returned = span(slave, bytes(LENGTH_BYTES))
    assert returned == bytes([listener]) * 2  # 0x5151, 0x6969: no length
    framed = span(slave, bytes(2), b"\xaa" * 2)
    assert parse_message_untrusted(framed[2:]) == PostcardError(PostcardFault.DESER)


def test_a_request_into_an_answer_is_lost_and_repeated() -> None:
    slave = endpoint()
    span(slave, GET_STATE)
    assert span(slave, GET_STATE) == b"\x00"  # the length of the answer, not a listener
    assert ask(slave, GET_STATE) == AckState(State.DISABLED)


def test_what_the_buffer_does_not_hold_and_what_follows_a_message_is_ignored() -> None:
    slave = endpoint()
    echo = encode_message(Echo(bytes(244)))
    assert ask(slave, echo + b"more" * 10) == EchoResponse(bytes(244))
    assert ask(slave, GET_STATE + bytes(APPLICATION_REQUEST_BYTES)) == AckState(State.DISABLED)


def test_reset_has_no_answer_and_is_not_waited_for() -> None:
    slave = endpoint()
    reset = encode_message(Plain.RESET)
    assert run_on(slave, exchange(reset, has_answer=False), wait=refuse_to_wait) is None
    assert span(slave, bytes(2)) == bytes([APPLICATION]) * 2


def test_a_host_waits_longer_and_longer_and_then_gives_up() -> None:
    slave = endpoint()
    slave.busy_spans = 1_000_000
    waits: list[float] = []
    with pytest.raises(UnexpectedAnswerError, match="takes no request"):
        run_on(slave, exchange(GET_STATE, tries=SPINS + 3), wait=waits.append)
    assert waits == [0.001, 0.002, 0.003]
    slave = SpiSlave(lambda _: None, lambda: APPLICATION)
    with pytest.raises(UnexpectedAnswerError, match="does not answer"):
        run_on(slave, exchange(GET_STATE, tries=5), wait=waits.append)


def test_a_length_beyond_the_buffer_is_cut() -> None:
    steps = exchange(GET_STATE)
    assert next(steps) is Select.LOW
    assert steps.send(b"") == GET_STATE
    assert steps.send(b"\x51") is Select.HIGH
    assert steps.send(b"") is Select.LOW
    assert steps.send(b"") == bytes(2)
    assert steps.send(b"\xff\xff") == b"\xaa" * 270


async def running_chip(end: socket.socket) -> tuple[HostPipe, SpiEndpoint]:
    wire = SpiEndpoint(chip())
    pipe = HostPipe(end, answer=wire.receive, on_closed=lambda: None, max_bytes=MAX_DATAGRAM_BYTES)
    return pipe, wire


async def test_the_host_driver_boots_and_uses_a_chip_over_transactions() -> None:
    bus, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipe, wire = await running_chip(end)
    wire.slave.busy_spans = 5
    radio = await open_radio(messages_over_bus(bus), RadioSettings(name="over SPI"))
    assert await radio.address() == "C0:FF:EE:12:34:56"
    pipe.send(LINE_LOW)  # an interrupt between transactions does them no harm
    assert await radio.firmware_version()
    await radio.close()
    pipe.close()


async def test_a_chip_that_returns_too_little_is_let_go() -> None:
    bus, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def answer(datagram: bytes) -> bytes | None:
        assert datagram[:1] in {SELECT, CLOCK, DESELECT}
        return CLOCK + b"\x51\x51\x51" if datagram[:1] == CLOCK else None

    pipe = HostPipe(end, answer=answer, on_closed=lambda: None, max_bytes=MAX_DATAGRAM_BYTES)
    with pytest.raises(PortClosedError):
        async with asyncio.timeout(20):
            await open_radio(messages_over_bus(bus), RadioSettings())
    pipe.close()


async def test_a_chip_that_talks_unasked_is_let_go() -> None:
    """Its bytes would wait in the host's memory otherwise, as many as it likes."""
    bus, chip_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    messages = messages_over_bus(bus)
    messages.setblocking(False)
    chip_end.send(CLOCK + b"\x51\x51")
    chip_end.send(CLOCK + b"\x51\x51")
    async with asyncio.timeout(20):
        assert await asyncio.get_running_loop().sock_recv(messages, MAX_DATAGRAM_BYTES) == b""
    messages.close()
    chip_end.close()
