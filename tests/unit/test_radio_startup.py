"""The cold start against a real bootloader: updates, challenge, and acting on it (section 12)."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from primegap.cosign import sign_image
from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio import host_scheduler
from primegap.radio.chip import Chip, ChipIdentity
from primegap.radio.chip_memory import EMPTY, SEALED, WIPED, ChipMemory
from primegap.radio.chip_process import HostPipe, open_memory
from primegap.radio.errors import (
    ChipNotTrustedError,
    ChipUpdateError,
    RemoteRadioError,
    UnexpectedAnswerError,
)
from primegap.radio.firmware import (
    TEST_SIGNERS,
    build_image,
    bundled_image,
    open_signers,
    unsigned_image,
)
from primegap.radio.host import RadioPort, RadioSettings, open_radio
from primegap.radio.host_scheduler import ChipNotTrusted, HostScheduler
from primegap.radio.host_startup import MAX_REFUSED_IMAGES, UPDATE_ATTEMPTS, ChipBond, cold_start
from primegap.radio.messages import (
    AckState,
    AckWithIdxCrc,
    AnyMessage,
    ChallengeResult,
    Link,
    NackWithIdx,
    Plain,
    State,
    WriteFirmwareBlock,
    encode_message,
    parse_message_untrusted,
)

IDENTITY = ChipIdentity(bytes(8), bytes.fromhex("c0ffee123456"))
SECRET = bytes(range(32))
BLOCKS = 188
Twist = Callable[[AnyMessage, AnyMessage], AnyMessage]


def straight(_request: AnyMessage, answer: AnyMessage) -> AnyMessage:
    return answer


def run(
    bond: ChipBond, memory: ChipMemory, twist: Twist = straight, image: bytes | None = None
) -> list[AnyMessage]:
    """Run one cold start and return the requests; `twist` changes answers on their way."""
    chip = Chip(IDENTITY, memory, known_keys=TEST_SIGNERS)
    steps = cold_start(bond, image or bundled_image(), nonce=7)
    requests = [next(steps)]
    while True:
        answer = chip.receive_request(encode_message(requests[-1]))
        assert answer is not None
        try:
            requests.append(steps.send(twist(requests[-1], parse_message_untrusted(answer))))
        except StopIteration:
            return requests


def blocks(requests: list[AnyMessage]) -> int:
    return sum(isinstance(request, WriteFirmwareBlock) for request in requests)


def advertises(chip: Chip) -> bool:
    return chip.application.advertising is not None


def memory_with(image: bytes) -> ChipMemory:
    memory = ChipMemory.erased()
    assert memory.write_image(0, image)
    return memory


@pytest.mark.scenario("radio", 3)
@pytest.mark.parametrize("present", [None, "3.9.9", "4.0.1"])
def test_a_missing_or_different_image_is_replaced_and_the_next_start_is_short(
    present: str | None,
) -> None:
    memory = ChipMemory.erased() if present is None else memory_with(build_image(present))
    told: list[bool] = []
    bond = ChipBond(SECRET, sent=False, on_sent=lambda: told.append(True))
    assert blocks(run(bond, memory)) == BLOCKS
    assert (memory.image, memory.seal, told) == (bundled_image(), SEALED, [True])
    assert len(run(ChipBond(SECRET, sent=True), memory)) == 6
    assert len(run(ChipBond(SECRET, sent=False), memory)) == 7  # the flag was lost: NotAllowed


@pytest.mark.scenario("radio", 3)
def test_a_damaged_image_of_the_right_version_is_refused_and_then_replaced() -> None:
    memory = memory_with(bundled_image()[:-4] + bytes(4))
    bond = ChipBond(SECRET, sent=False)
    with pytest.raises(ChipUpdateError):
        run(bond, memory)
    assert blocks(run(bond, memory)) == BLOCKS
    assert bond.refused_images == 0


def test_another_image_of_the_same_version_is_replaced_though_it_is_signed() -> None:
    header, binary = unsigned_image()
    other = sign_image(header, b"\0" + binary[1:], open_signers())
    memory = memory_with(other)
    bond = ChipBond(SECRET, sent=False)
    with pytest.raises(ChipUpdateError):
        run(bond, memory)
    run(bond, memory)
    assert memory.image == bundled_image()


def test_a_failed_block_begins_the_update_again() -> None:
    spoilt: list[int] = []

    def once(request: AnyMessage, answer: AnyMessage) -> AnyMessage:
        if isinstance(request, WriteFirmwareBlock) and request.index == 5 and not spoilt:
            spoilt.append(5)
            return NackWithIdx(5)
        return answer

    assert blocks(run(ChipBond(SECRET, sent=False), ChipMemory.erased(), once)) == BLOCKS + 6

    def always(request: AnyMessage, answer: AnyMessage) -> AnyMessage:
        return AckWithIdxCrc(0, 0) if isinstance(request, WriteFirmwareBlock) else answer

    with pytest.raises(ChipUpdateError):
        run(ChipBond(SECRET, sent=False), ChipMemory.erased(), always)
    assert UPDATE_ATTEMPTS == 3


def test_a_chip_that_always_refuses_its_image_does_not_wear_out() -> None:
    memory = ChipMemory.erased()
    bond = ChipBond(SECRET, sent=False)
    image = bundled_image()[:-4] + bytes(4)
    writes: list[int] = []

    def count(request: AnyMessage, answer: AnyMessage) -> AnyMessage:
        writes.append(isinstance(request, WriteFirmwareBlock))
        return answer

    for _ in range(MAX_REFUSED_IMAGES + 3):
        with pytest.raises(ChipUpdateError):
            run(bond, memory, count, image)
    assert sum(writes) == MAX_REFUSED_IMAGES * BLOCKS


def test_another_chip_is_not_trusted_and_not_started() -> None:
    married = ChipBond(SECRET, sent=False)
    run(married, ChipMemory.erased())
    asked: list[AnyMessage] = []

    def note(request: AnyMessage, answer: AnyMessage) -> AnyMessage:
        asked.append(request)
        return answer

    stranger = memory_with(bundled_image())
    with pytest.raises(ChipNotTrustedError):
        run(married, stranger, note)
    assert stranger.seal == EMPTY  # it never learns the secret
    assert not any(type(request).__name__ == "BootFirmware" for request in asked)
    stranger.set_secret(bytes(31) + b"\1")
    with pytest.raises(ChipNotTrustedError):
        run(married, stranger)
    with pytest.raises(ChipNotTrustedError):
        run(ChipBond(SECRET, sent=False), stranger)  # NotAllowed, and another secret


def test_a_developer_image_costs_the_secret_and_still_starts() -> None:
    header, binary = unsigned_image()
    image = sign_image(header, binary, open_signers()[:1])
    memory = ChipMemory.erased()
    bond = ChipBond(SECRET, sent=False)
    run(bond, memory, image=image)
    assert memory.seal == WIPED
    run(bond, memory, image=image)
    with pytest.raises(ChipNotTrustedError):
        run(bond, memory)  # back to a full image: the chip is not what it was


@pytest.mark.parametrize("place", range(7))
def test_a_wrong_answer_at_any_place_ends_the_start(place: int) -> None:
    seen: list[AnyMessage] = []

    def lie(request: AnyMessage, answer: AnyMessage) -> AnyMessage:
        seen.append(request)
        return Plain.NO_RECEIVED_DATA if len(seen) == place + 1 else answer

    with pytest.raises(RemoteRadioError):
        run(ChipBond(SECRET, sent=False), memory_with(bundled_image()), lie)


def test_an_application_that_never_runs_ends_the_start() -> None:
    def stuck(request: AnyMessage, answer: AnyMessage) -> AnyMessage:
        return AckState(State.FIRMWARE_UPGRADE) if request is Plain.GET_STATE else answer

    with pytest.raises(UnexpectedAnswerError):
        run(ChipBond(SECRET, sent=False), memory_with(bundled_image()), stuck)


def test_a_bond_does_not_show_its_secret() -> None:
    bond = ChipBond(SECRET, sent=False)
    assert SECRET.hex() not in repr(bond)
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(bond)


def test_a_running_chip_is_challenged_every_minute_and_a_failure_makes_it_dark() -> None:
    now_s = 0.0
    chip = Chip(IDENTITY, memory_with(bundled_image()), known_keys=TEST_SIGNERS)
    scheduler = HostScheduler(ChipBond(SECRET, sent=False), bundled_image(), rng=bytes, now_s=now_s)
    events: list[host_scheduler.Event] = []
    forging: list[bool] = []
    challenges = 0

    def settle() -> None:
        nonlocal challenges
        while requests := scheduler.take_requests():
            for request in requests:
                answer = chip.receive_request(request)
                assert answer is not None
                if isinstance(parse_message_untrusted(answer), ChallengeResult):
                    challenges += 1
                    if forging:
                        answer = encode_message(ChallengeResult(bytes(32)))
                events.extend(scheduler.receive(answer, now_s=now_s))

    def advance(until_s: float) -> None:
        nonlocal now_s
        while (due_s := scheduler.next_timeout_s()) is not None and due_s <= until_s:
            now_s = max(now_s, due_s)
            events.extend(scheduler.on_timeout(now_s=now_s))
            settle()

    settle()
    scheduler.command(Plain.ENABLE, now_s=now_s)
    settle()
    advance(125.0)
    assert challenges == 3
    assert advertises(chip)
    forging.append(True)
    advance(200.0)
    assert [type(event) for event in events].count(ChipNotTrusted) == 1
    assert not advertises(chip)
    assert scheduler.status.link is Link.DISABLED
    assert scheduler.next_timeout_s() is None


async def test_a_port_of_a_chip_that_is_not_trusted_lets_nothing_through() -> None:
    host, chip_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    chip = Chip(IDENTITY, memory_with(bundled_image()), known_keys=TEST_SIGNERS)
    closed = asyncio.Event()
    HostPipe(chip_end, answer=chip.receive_request, on_closed=closed.set)
    radio = await open_radio(host, RadioSettings(), bond=ChipBond(SECRET, sent=True))
    assert isinstance(radio, RadioPort)
    assert not radio.trusted
    assert not radio.closed
    for refused in (radio.enable, radio.address, radio.connection):
        with pytest.raises(ChipNotTrustedError):
            await refused()
    assert chip.application.advertising is None
    await radio.close()
    await closed.wait()
    with pytest.raises(PortClosedError):
        await radio.enable()


def test_a_memory_in_a_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "flash"
    run(ChipBond(SECRET, sent=False), open_memory(path))
    again = open_memory(path)
    assert (again.image, again.seal) == (bundled_image(), SEALED)
    assert len(run(ChipBond(SECRET, sent=True), again)) == 6
