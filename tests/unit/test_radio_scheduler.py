"""The host driver's scheduler against a real application of the chip, on a virtual clock."""

from __future__ import annotations

from collections import deque

import pytest

from primegap.radio import host_scheduler
from primegap.radio.chip import LINE_HIGH, LINE_LOW, Chip, ChipAction, ChipIdentity
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.errors import MessageSizeError, SendRefusedError, UnexpectedAnswerError
from primegap.radio.firmware import TEST_SIGNERS, bundled_image
from primegap.radio.host_scheduler import (
    Booted,
    ChipDied,
    Done,
    Event,
    HostScheduler,
    PacketArrived,
    RadioStatus,
)
from primegap.radio.host_startup import ChipBond
from primegap.radio.messages import (
    AckBtAddress,
    AckState,
    Link,
    Plain,
    ReceivedData,
    SendData,
    SendDataResponse,
    SendResult,
    SetDeviceName,
    State,
    Status,
    encode_message,
    parse_message_untrusted,
)

IDENTITY = ChipIdentity(bytes(8), bytes.fromhex("c0ffee123456"))


def start_host(now_s: float) -> HostScheduler:
    bond = ChipBond(bytes(range(32)), sent=False)
    return HostScheduler(bond, bundled_image(), rng=lambda size: b"\x07" * size, now_s=now_s)


class Rig:
    """Scheduler and chip joined by a pipe that loses no time; the clock moves by `advance`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.system = Chip(IDENTITY, ChipMemory.erased(), known_keys=TEST_SIGNERS)
        self.chip = self.system.application
        self.scheduler = start_host(self.now_s)
        self.events: list[Event] = []
        self.requests: list[bytes] = []
        self.mute = False
        "The chip takes requests and says nothing."
        self._line_low = False
        self.settle()

    def settle(self) -> None:
        """Carry requests and answers until both sides are quiet."""
        answers: deque[bytes] = deque()
        self._watch_line(answers)
        while True:
            for request in self.scheduler.take_requests():
                self.requests.append(request)
                if self.mute:
                    continue
                answer = self.system.receive_request(request)
                self._watch_line(answers)
                if answer is not None:
                    answers.append(answer)
            if not answers:
                return
            self.events += self.scheduler.receive(answers.popleft(), now_s=self.now_s)

    def _watch_line(self, answers: deque[bytes]) -> None:
        if self.chip.line_low is not self._line_low:
            self._line_low = self.chip.line_low
            answers.append(LINE_LOW if self._line_low else LINE_HIGH)

    def advance(self, seconds: float) -> None:
        """Let time pass, doing what falls due."""
        end_s = self.now_s + seconds
        while True:
            due_s = self.scheduler.next_timeout_s()
            if due_s is None or due_s > end_s:
                break
            self.now_s = max(due_s, self.now_s)
            self.events += self.scheduler.on_timeout(now_s=self.now_s)
            self.settle()
        self.now_s = end_s

    def connect(self) -> None:
        """Enable the radio and let a phone connect and take notifications."""
        self.scheduler.command(Plain.ENABLE, now_s=self.now_s)
        self.settle()
        self.chip.connected()
        self.chip.notifications_switched(True)
        self.advance(1.0)
        self.events.clear()
        self.requests.clear()

    def packets(self) -> list[bytes]:
        return [event.packet for event in self.events if isinstance(event, PacketArrived)]

    def take_notifications(self) -> list[bytes]:
        """Let the stack send what it has."""
        actions = self.chip.take_actions()
        packets = [one.packet for one in actions if not isinstance(one, ChipAction)]
        for _ in packets:
            self.chip.notification_released()
        return packets


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_it_boots_and_learns_the_state(rig: Rig) -> None:
    assert rig.events == [Booted()]
    assert rig.requests[0] == encode_message(Plain.GET_STATE)
    ticket = rig.scheduler.command(Plain.ENABLE, now_s=rig.now_s)
    rig.settle()
    assert Done(ticket, Plain.ACK_ENABLE) in rig.events
    assert rig.scheduler.status.link is Link.WAITING_FOR_CONNECTION


def test_commands_bring_their_answers(rig: Rig) -> None:
    first = rig.scheduler.command(Plain.GET_BT_ADDRESS, now_s=rig.now_s)
    second = rig.scheduler.command(SetDeviceName("Passport Prime (12AB)"), now_s=rig.now_s)
    rig.settle()
    assert [event for event in rig.events if isinstance(event, Done)] == [
        Done(first, AckBtAddress(IDENTITY.address)),
        Done(second, Plain.ACK_SET_DEVICE_NAME),
    ]


@pytest.mark.scenario("radio", 15)
def test_a_falling_line_empties_the_queue_and_then_asks_the_status(rig: Rig) -> None:
    rig.connect()
    rig.advance(host_scheduler.STATUS_INTERVAL_S)
    for number in range(16):
        rig.chip.write_received(bytes([number]))
    rig.settle()
    assert rig.packets() == [bytes([number]) for number in range(16)]
    assert rig.requests[-1] == encode_message(Plain.GET_STATUS)


def test_a_missed_edge_costs_at_most_a_second(rig: Rig) -> None:
    rig.connect()
    rig.chip.write_received(b"unseen")
    rig._line_low = True  # the edge is lost
    rig.advance(0.99)
    assert rig.packets() == []
    rig.advance(0.02)
    assert rig.packets() == [b"unseen"]


def test_a_new_connection_is_announced_before_its_first_packet(rig: Rig) -> None:
    rig.scheduler.command(Plain.ENABLE, now_s=rig.now_s)
    rig.settle()
    rig.events.clear()
    rig.chip.connected()
    rig.chip.rssi_sampled(-50)
    rig.chip.write_received(b"first")
    rig.settle()
    assert rig.events == [RadioStatus(Link.CONNECTED, -50), PacketArrived(b"first")]


def test_an_overflow_is_reported_once(rig: Rig) -> None:
    rig.connect()
    for _ in range(17):
        rig.chip.write_received(b"x")
    rig.settle()
    rig.advance(3.0)
    statuses = [event for event in rig.events if isinstance(event, RadioStatus)]
    assert [status.overflow for status in statuses] == [True]


def test_a_refused_packet_is_offered_again_with_growing_pauses(rig: Rig) -> None:
    rig.connect()
    for _ in range(3):
        rig.scheduler.send(b"fill", now_s=rig.now_s)
    rig.settle()
    ticket = rig.scheduler.send(b"late", now_s=rig.now_s)
    rig.settle()
    offers: list[float] = []
    offer = encode_message(SendData(b"late"))
    start_s = rig.now_s
    while len(offers) < 4:
        if offer in rig.requests:
            rig.requests.remove(offer)
            offers.append(rig.now_s - start_s)
        rig.advance(0.001)
    assert offers == pytest.approx([0.0, 0.005, 0.015, 0.035], abs=0.0021)
    assert rig.take_notifications() == [b"fill"] * 3
    rig.advance(0.05)
    assert Done(ticket, SendDataResponse(SendResult.SENT)) in rig.events
    assert rig.take_notifications() == [b"late"]


@pytest.mark.scenario("radio", 17)
def test_after_3_3_seconds_a_record_and_every_queued_one_fail(rig: Rig) -> None:
    tickets = [rig.scheduler.send(b"x", now_s=rig.now_s) for _ in range(5)]
    rig.settle()
    rig.advance(3.27)
    assert not any(isinstance(event, Done) for event in rig.events)
    rig.advance(0.01)
    failed = [event for event in rig.events if isinstance(event, Done)]
    assert [event.ticket for event in failed] == tickets
    assert all(isinstance(event.answer, SendRefusedError) for event in failed)
    rig.connect()
    ticket = rig.scheduler.send(b"works", now_s=rig.now_s)
    rig.settle()
    assert Done(ticket, SendDataResponse(SendResult.SENT)) in rig.events


def test_packets_fail_at_once_when_the_connection_goes(rig: Rig) -> None:
    rig.connect()
    for _ in range(3):
        rig.scheduler.send(b"fill", now_s=rig.now_s)
    rig.settle()
    ticket = rig.scheduler.send(b"late", now_s=rig.now_s)
    rig.settle()
    rig.chip.disconnected()
    rig.advance(1.01)
    (failed,) = [e for e in rig.events if isinstance(e, Done) and e.ticket == ticket]
    assert isinstance(failed.answer, SendRefusedError)


def test_a_cancelled_packet_is_not_sent_any_more(rig: Rig) -> None:
    rig.connect()
    for _ in range(3):
        rig.scheduler.send(b"fill", now_s=rig.now_s)
    rig.settle()
    ticket = rig.scheduler.send(b"cancelled", now_s=rig.now_s)
    rig.settle()
    rig.scheduler.cancel(ticket)
    rig.take_notifications()
    next_ticket = rig.scheduler.send(b"next", now_s=rig.now_s)
    rig.settle()
    assert Done(next_ticket, SendDataResponse(SendResult.SENT)) in rig.events
    assert rig.take_notifications() == [b"next"]


def test_a_packet_cancelled_while_it_is_offered_is_not_offered_again(rig: Rig) -> None:
    refusal = encode_message(SendDataResponse(SendResult.BUFFER_FULL))
    rig.connect()
    ticket = rig.scheduler.send(b"cancelled", now_s=rig.now_s)
    assert rig.scheduler.take_requests() == [encode_message(SendData(b"cancelled"))]
    rig.scheduler.cancel(ticket)
    rig.scheduler.receive(refusal, now_s=rig.now_s)
    rig.scheduler.send(b"next", now_s=rig.now_s)
    rig.settle()
    assert rig.take_notifications() == [b"next"]


def test_a_command_cancelled_while_it_is_under_way_is_not_repeated(rig: Rig) -> None:
    rig.connect()
    rig.mute = True
    ticket = rig.scheduler.command(Plain.GET_BT_ADDRESS, now_s=rig.now_s)
    rig.settle()
    rig.scheduler.cancel(ticket)
    rig.advance(host_scheduler.COMMAND_TIMEOUT_S)
    rig.mute = False
    rig.requests.clear()
    rig.advance(2.0)
    assert encode_message(Plain.GET_BT_ADDRESS) not in rig.requests
    assert not any(isinstance(event, ChipDied) for event in rig.events)


def test_sending_and_receiving_take_turns(rig: Rig) -> None:
    rig.connect()
    for _ in range(3):
        rig.chip.write_received(b"in")
    rig.scheduler.send(b"out", now_s=rig.now_s)
    rig.scheduler.send(b"out", now_s=rig.now_s)
    rig.settle()
    kinds = [parse_message_untrusted(request) for request in rig.requests[:4]]
    assert kinds == [
        SendData(b"out"),
        Plain.GET_RECEIVED_DATA,
        SendData(b"out"),
        Plain.GET_RECEIVED_DATA,
    ]


def test_without_room_packets_stay_in_the_chip(rig: Rig) -> None:
    rig.connect()
    rig.scheduler.set_room(False, now_s=rig.now_s)
    rig.chip.write_received(b"waits")
    rig.settle()
    rig.advance(5.0)
    assert rig.packets() == []
    rig.scheduler.set_room(True, now_s=rig.now_s)
    rig.settle()
    assert rig.packets() == [b"waits"]


def test_a_chip_that_never_runs_dry_does_not_keep_the_host_busy(rig: Rig) -> None:
    rig.connect()
    endless = encode_message(ReceivedData(b"flood"))
    rig.scheduler.receive(LINE_LOW, now_s=rig.now_s)
    answered = 0
    while rig.scheduler.take_requests():
        answered += 1
        rig.scheduler.receive(endless, now_s=rig.now_s)
    assert answered == host_scheduler.PACKETS_PER_BURST


@pytest.mark.scenario("radio", 16)
def test_three_silent_exchanges_mean_a_dead_chip(rig: Rig) -> None:
    rig.connect()
    rig.mute = True
    rig.advance(1.0 + 3 * host_scheduler.COMMAND_TIMEOUT_S + 0.1)
    (died,) = rig.events
    assert isinstance(died, ChipDied)
    assert rig.scheduler.next_timeout_s() is None
    assert rig.scheduler.receive(encode_message(Plain.ACK_ENABLE), now_s=rig.now_s) == []


def test_one_silent_exchange_is_forgiven_and_its_late_answer_ignored(rig: Rig) -> None:
    rig.connect()
    rig.mute = True
    ticket = rig.scheduler.command(Plain.GET_BT_ADDRESS, now_s=rig.now_s)
    rig.settle()
    rig.advance(host_scheduler.COMMAND_TIMEOUT_S)
    rig.mute = False
    rig.advance(host_scheduler.FAILURE_PAUSE_S)
    answer = AckBtAddress(IDENTITY.address)
    assert Done(ticket, answer) in rig.events
    assert rig.scheduler.receive(encode_message(answer), now_s=rig.now_s) == []


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff", bytes(300), encode_message(Plain.ACK_DISCONNECT), b"\x07\x00"],
    ids=["empty", "unknown", "zeros", "wrong-answer", "complaint"],
)
def test_three_answers_of_garbage_mean_a_dead_chip(rig: Rig, garbage: bytes) -> None:
    rig.connect()
    rig.scheduler.command(Plain.GET_BT_ADDRESS, now_s=rig.now_s)
    events: list[Event] = []
    for _ in range(3):
        assert not events
        assert rig.scheduler.take_requests() == [encode_message(Plain.GET_BT_ADDRESS)]
        events += rig.scheduler.receive(garbage, now_s=rig.now_s)
        rig.now_s += host_scheduler.FAILURE_PAUSE_S
        rig.scheduler.on_timeout(now_s=rig.now_s)
    (died,) = events
    assert isinstance(died, ChipDied)


def test_a_chip_that_never_starts_is_given_up() -> None:
    scheduler = start_host(0.0)
    assert scheduler.next_timeout_s() == host_scheduler.BOOT_TIMEOUT_S
    (died,) = scheduler.on_timeout(now_s=host_scheduler.BOOT_TIMEOUT_S)
    assert isinstance(died, ChipDied)


def test_a_chip_that_did_not_start_in_its_bootloader_is_not_used() -> None:
    scheduler = start_host(0.0)
    answer = encode_message(AckState(State.DISABLED))
    (died,) = scheduler.receive(answer, now_s=1.0)
    assert isinstance(died, ChipDied)
    assert isinstance(died.error, UnexpectedAnswerError)


def test_a_status_lie_is_only_a_lie(rig: Rig) -> None:
    rig.connect()
    rig.scheduler.command(Plain.DISCONNECT, now_s=rig.now_s)
    rig.settle()
    lie = encode_message(Status((Link.CONNECTED, 127), queue_overflow=True))
    assert rig.scheduler.receive(lie, now_s=rig.now_s) == []  # nobody asked


def test_what_cannot_be_sent_is_refused_before_it_is_queued(rig: Rig) -> None:
    with pytest.raises(MessageSizeError):
        rig.scheduler.send(bytes(245), now_s=rig.now_s)
    with pytest.raises(ValueError, match="not a command"):
        rig.scheduler.command(Plain.RESET, now_s=rig.now_s)
