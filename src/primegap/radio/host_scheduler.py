"""What the host driver asks the chip next, without pipe and clock (radio.md section 12).

One request is under way at a time. Commands of the user go first; packets to the phone and packets
from the phone take turns; the status is asked after them. Everything the chip says is untrusted: an
answer that does not fit, or none in time, three times in a row, means that the chip is dead.

`receive` and `on_timeout` return events; `take_requests` returns what to send to the chip after
every call; `next_timeout_s` tells when `on_timeout` is due.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.radio.chip import LINE_HIGH, LINE_LOW
from primegap.radio.errors import (
    ChipNotTrustedError,
    MessageError,
    RemoteRadioError,
    SendRefusedError,
    UnexpectedAnswerError,
)
from primegap.radio.host_startup import NONCE_BYTES, ChipBond, cold_start
from primegap.radio.messages import (
    NO_RSSI,
    AckBtAddress,
    AckDeviceId,
    AckFirmwareVersion,
    AckState,
    AnyMessage,
    ChallengeRequest,
    ChallengeResult,
    DisableChannels,
    Echo,
    EchoResponse,
    Link,
    Message,
    Plain,
    ReceivedData,
    SendData,
    SendDataResponse,
    SendResult,
    SetDeviceName,
    SetTxPower,
    Status,
    encode_message,
    parse_message_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_DELAYS_S: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0)
"Pauses before a packet refused with BufferFull is offered again; after the last it fails."
POLL_INTERVAL_S: Final = 1.0
"The interrupt line may miss an edge, so packets and status are also asked for at this interval."
PACKETS_PER_BURST: Final = 32
BURST_PAUSE_S: Final = 0.001
"Pause after a burst of packets, so that a chip that never runs dry cannot keep the host busy."
STATUS_INTERVAL_S: Final = 0.1
"Least time between two status requests that follow received packets."
COMMAND_TIMEOUT_S: Final = 1.0
"""Time for an answer. On the real wires it is 100 ms; here the pipe tells at once when the chip is
gone, and a process on a busy machine may be off the processor for longer than that."""
BOOT_TIMEOUT_S: Final = 15.0
"Time for the first answer of a chip that is just being started."
START_TIMEOUT_S: Final = 2.0
"Time for each further answer of the cold start: as long as an erase may take."
CHALLENGE_INTERVAL_S: Final = 60.0
"A running chip is challenged this often."
MAX_FAILURES: Final = 3
"Failed exchanges in a row after which the chip is given up."
FAILURE_PAUSE_S: Final = 0.01
MAX_QUEUED_PACKETS: Final = 1024
"Packets that may wait to be sent: more than the longest record has, so only a bug reaches it."

_ANSWERS: Final[dict[Plain | type[Message], tuple[Plain | type[Message], ...]]] = {
    Plain.GET_STATE: (AckState,),
    ChallengeRequest: (ChallengeResult,),
    Plain.GET_STATUS: (Status,),
    Plain.GET_RECEIVED_DATA: (ReceivedData, Plain.NO_RECEIVED_DATA),
    SendData: (SendDataResponse,),
    Plain.ENABLE: (Plain.ACK_ENABLE,),
    Plain.DISABLE: (Plain.ACK_DISABLE,),
    Plain.DISCONNECT: (Plain.ACK_DISCONNECT,),
    Plain.GET_FIRMWARE_VERSION: (AckFirmwareVersion,),
    Plain.GET_BT_ADDRESS: (AckBtAddress,),
    Plain.GET_DEVICE_ID: (AckDeviceId,),
    SetTxPower: (Plain.ACK_TX_POWER,),
    SetDeviceName: (Plain.ACK_SET_DEVICE_NAME,),
    DisableChannels: (Plain.ACK_DISABLE_CHANNELS, Plain.NACK_DISABLE_CHANNELS),
    Echo: (EchoResponse,),
}
"Which messages answer a request. The members of `Plain` stand for themselves."


def _kind(message: AnyMessage) -> Plain | type[Message]:
    return message if isinstance(message, Plain) else type(message)


@dataclass(frozen=True, slots=True)
class Booted:
    """The chip passed its checks and its application answers."""


@dataclass(frozen=True, slots=True)
class PacketArrived:
    """A packet of the phone."""

    packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RadioStatus:
    """What the chip says about the air, which may be a lie."""

    link: Link
    "State of the air side."
    rssi_dbm: int
    "Smoothed signal strength; NO_RSSI unless connected."
    overflow: bool = False
    "Packets of the phone were lost in the chip since the status before."


@dataclass(frozen=True, slots=True)
class Done:
    """A command or packet is finished."""

    ticket: int
    answer: AnyMessage | RemoteRadioError
    "The chip's answer, or why there is none that counts."


@dataclass(frozen=True, slots=True)
class ChipDied:
    """The chip does not answer or answers nonsense: it must be restarted."""

    error: RemoteRadioError


@dataclass(frozen=True, slots=True)
class ChipNotTrusted:
    """The chip failed its challenge: it is not used any more, and not restarted for that either."""

    error: ChipNotTrustedError


Event = Booted | PacketArrived | RadioStatus | Done | ChipDied | ChipNotTrusted

_NEVER: Final = float("inf")


@dataclass(slots=True)
class _Request:
    message: AnyMessage
    ticket: int | None
    "Of a command or packet; None for requests of the scheduler itself."
    cancelled: bool = False
    "Not to be offered to the chip again."


class HostScheduler:
    """State machine of the host driver for one life of a chip.

    Args:
        bond: what the host keeps about the chip.
        image: header and application that the chip is to run.
        rng: returns random bytes.
        now_s: time of the start.
    """

    def __init__(
        self, bond: ChipBond, image: bytes, *, rng: Callable[[int], bytes], now_s: float
    ) -> None:
        """Start by asking for the chip's state until it answers."""
        self._bond = bond
        self._rng = rng
        self._start = cold_start(bond, image, nonce=self._nonce())
        self._nonce_under_way = 0
        self._challenge_due_s = _NEVER
        self._challenge_wanted = False
        self._tickets = 0
        self._commands: deque[_Request] = deque()
        self._packets: deque[_Request] = deque()
        self._outbox: list[bytes] = []
        self._under_way: _Request | None = _Request(next(self._start), None)
        self._deadline_s = now_s + BOOT_TIMEOUT_S
        self._booted = False
        self._dead = False
        self._failures = 0
        self._late_answers = 0
        self._not_before_s = now_s
        self._room = True
        self._line_low = False
        self._drain_wanted = False
        self._drained = 0
        self._drain_not_before_s = now_s
        self._status_wanted = False
        self._status_asked_s = -_NEVER
        self._poll_due_s = _NEVER
        self._refusals = 0
        self._offer_not_before_s = now_s
        self._packets_turn = False
        self._status = RadioStatus(Link.DISABLED, NO_RSSI)
        self._outbox.append(encode_message(self._under_way.message))

    def _nonce(self) -> int:
        return int.from_bytes(self._rng(NONCE_BYTES))

    @property
    def status(self) -> RadioStatus:
        """The last status heard."""
        return self._status

    # -- intents ----------------------------------------------------------------------------------

    def command(self, message: AnyMessage, *, now_s: float) -> int:
        """Queue a command; `Done` with the returned ticket follows."""
        if _kind(message) not in _ANSWERS:
            raise ValueError("not a command with an answer")
        return self._queue(self._commands, message, now_s)

    def send(self, packet: bytes, *, now_s: float) -> int:
        """Queue a packet for the phone; `Done` follows when the chip took or finally refused it."""
        if len(self._packets) >= MAX_QUEUED_PACKETS:
            raise ValueError("too many packets wait to be sent")
        return self._queue(self._packets, SendData(packet), now_s)

    def _queue(self, queue: deque[_Request], message: AnyMessage, now_s: float) -> int:
        encode_message(message)  # refuses what the chip could not take, before it is queued
        self._tickets += 1
        queue.append(_Request(message, self._tickets))
        self._go_on(now_s)
        return self._tickets

    def cancel(self, ticket: int) -> None:
        """Forget a packet or command. One already under way is not repeated if it fails."""
        for queue in (self._commands, self._packets):
            for request in queue:
                if request.ticket == ticket:
                    request.cancelled = True
                    if request is not self._under_way:
                        self._forget(request)
                    return

    def _forget(self, request: _Request) -> None:
        """Drop a queued request that was cancelled."""
        if self._packets and request is self._packets[0]:
            self._refusals = 0
            self._offer_not_before_s = self._not_before_s
        queue = self._packets if request in self._packets else self._commands
        queue.remove(request)

    def set_room(self, room: bool, *, now_s: float) -> None:
        """Tell whether received packets can be taken; without room they stay in the chip."""
        self._room = room
        self._go_on(now_s)

    # -- input ------------------------------------------------------------------------------------

    def receive(self, datagram: bytes, *, now_s: float) -> list[Event]:
        """Take a datagram of the chip."""
        if self._dead:
            return []
        events: list[Event] = []
        if datagram == LINE_LOW:
            self._line_fell()
        elif datagram == LINE_HIGH:
            self._line_low = False
        else:
            try:
                message = parse_message_untrusted(datagram)
            except MessageError as error:
                self._fail(error, events, now_s)
            else:
                self._answered(message, events, now_s)
        self._go_on(now_s)
        return events

    def on_timeout(self, *, now_s: float) -> list[Event]:
        """Do what is due."""
        if self._dead:
            return []
        events: list[Event] = []
        if self._under_way is not None and now_s >= self._deadline_s:
            self._late_answers += 1
            self._fail(UnexpectedAnswerError("no answer in time"), events, now_s)
        if now_s >= self._poll_due_s:
            self._poll_due_s = now_s + POLL_INTERVAL_S
            self._drain_wanted = True
            self._status_wanted = True
            if now_s >= self._challenge_due_s:
                self._challenge_due_s = now_s + CHALLENGE_INTERVAL_S
                self._challenge_wanted = True
        self._go_on(now_s)
        return events

    def next_timeout_s(self) -> float | None:
        """Return when `on_timeout` is due, on the caller's clock; None if the chip is dead."""
        if self._dead:
            return None
        if self._under_way is not None:
            return min(self._deadline_s, self._poll_due_s)
        due_s = self._poll_due_s
        if self._packets:
            due_s = min(due_s, max(self._offer_not_before_s, self._not_before_s))
        if self._drain_wanted and self._room:
            due_s = min(due_s, max(self._drain_not_before_s, self._not_before_s))
        if self._commands or self._status_wanted:
            due_s = min(due_s, self._not_before_s)
        return due_s

    def take_requests(self) -> list[bytes]:
        """Return datagrams to send to the chip and forget them."""
        requests, self._outbox = self._outbox, []
        return requests

    # -- answers ----------------------------------------------------------------------------------

    def _answered(self, message: AnyMessage, events: list[Event], now_s: float) -> None:
        request = self._under_way
        if not self._booted:
            self._advance_start(message, events, now_s)
            return
        if request is None or _kind(message) not in _ANSWERS[_kind(request.message)]:
            if self._late_answers:
                self._late_answers -= 1
                if isinstance(message, ReceivedData):
                    events.append(PacketArrived(message.packet))  # late, but a packet
            elif request is not None:
                self._fail(UnexpectedAnswerError("answer does not fit"), events, now_s)
            return
        self._under_way = None
        self._failures = 0
        match message:
            case SendDataResponse():
                self._offered(request, message.result, events, now_s)
                return
            case ReceivedData():
                self._drained += 1
                if self._drained % PACKETS_PER_BURST == 0:
                    self._drain_not_before_s = now_s + BURST_PAUSE_S
                events.append(PacketArrived(message.packet))
            case Plain.NO_RECEIVED_DATA:
                self._drain_wanted = self._line_low
                if now_s >= self._status_asked_s + STATUS_INTERVAL_S:
                    self._status_wanted = True
            case Status() if request.ticket is None:
                self._status_heard(message, events)
            case ChallengeResult():
                try:
                    self._bond.check(self._nonce_under_way, message.result)
                except ChipNotTrustedError as error:
                    self._distrust(error, events)
                    return
            case _:
                pass
        if request.ticket is not None:
            self._commands.popleft()
            events.append(Done(request.ticket, message))
            self._status_wanted = True

    def _advance_start(self, message: AnyMessage, events: list[Event], now_s: float) -> None:
        """Carry the cold start one answer further."""
        if self._under_way is None:
            return
        try:
            request = _Request(self._start.send(message), None)
        except StopIteration:
            self._under_way = None
            self._booted = True
            self._poll_due_s = now_s + POLL_INTERVAL_S
            self._challenge_due_s = now_s + CHALLENGE_INTERVAL_S
            self._drain_wanted = self._status_wanted = True
            events.append(Booted())
        except ChipNotTrustedError as error:
            self._distrust(error, events)
        except RemoteRadioError as error:
            self._fail(error, events, now_s)
        else:
            self._under_way = request
            self._deadline_s = now_s + START_TIMEOUT_S
            self._outbox.append(encode_message(request.message))

    def _distrust(self, error: ChipNotTrustedError, events: list[Event]) -> None:
        """Act on a failed challenge: the radio goes dark and nothing of the chip counts."""
        if self._booted:
            self._outbox.append(encode_message(Plain.DISABLE))
        self._dead = True
        self._under_way = None
        self._status = RadioStatus(Link.DISABLED, NO_RSSI)
        events.append(ChipNotTrusted(error))
        events.append(self._status)

    def _offered(
        self, request: _Request, result: SendResult, events: list[Event], now_s: float
    ) -> None:
        if request.cancelled and result is SendResult.BUFFER_FULL:
            self._forget(request)
            return
        if result is SendResult.BUFFER_FULL and self._refusals < len(RETRY_DELAYS_S):
            self._offer_not_before_s = now_s + RETRY_DELAYS_S[self._refusals]
            self._refusals += 1
            return
        self._refusals = 0
        if result is SendResult.SENT:
            self._packets.remove(request)
            assert request.ticket is not None
            events.append(Done(request.ticket, SendDataResponse(result)))
            return
        # Section 12: the record that this packet belongs to fails, and every queued one.
        self._refuse_packets("the chip has no room", events)

    def _refuse_packets(self, why: str, events: list[Event]) -> None:
        for queued in self._packets:
            assert queued.ticket is not None
            events.append(Done(queued.ticket, SendRefusedError(why)))
        self._packets.clear()
        self._refusals = 0

    def _status_heard(self, message: Status, events: list[Event]) -> None:
        link, rssi_dbm = message.connection
        status = RadioStatus(link, rssi_dbm, message.queue_overflow)
        if status != self._status:
            events.append(status)
        if link is not Link.CONNECTED and self._status.link is Link.CONNECTED:
            self._refuse_packets("the connection is gone", events)
        self._status = RadioStatus(link, rssi_dbm)

    def _line_fell(self) -> None:
        self._line_low = True
        self._drain_wanted = True
        if self._status.link is not Link.CONNECTED:
            self._status_wanted = True  # and before the packet: see _next_request

    def _fail(self, error: RemoteRadioError, events: list[Event], now_s: float) -> None:
        self._failures += 1
        if self._under_way is not None and self._under_way.cancelled:
            self._forget(self._under_way)
        self._under_way = None
        self._not_before_s = now_s + FAILURE_PAUSE_S
        if self._booted and self._failures < MAX_FAILURES:
            return
        self._dead = True
        events.append(ChipDied(error))

    # -- requests ---------------------------------------------------------------------------------

    def _go_on(self, now_s: float) -> None:
        """Send the next request if none is under way."""
        if self._dead or self._under_way is not None or now_s < self._not_before_s:
            return
        request = self._next_request(now_s)
        if request is not None:
            self._under_way = request
            self._deadline_s = now_s + COMMAND_TIMEOUT_S
            self._outbox.append(encode_message(request.message))

    def _next_request(self, now_s: float) -> _Request | None:
        if self._commands:
            return self._commands[0]
        if self._challenge_wanted:
            self._challenge_wanted = False
            self._nonce_under_way = self._nonce()
            return _Request(ChallengeRequest(self._nonce_under_way), None)
        # A new connection is announced before its first packet.
        if self._status_wanted and self._status.link is not Link.CONNECTED:
            return self._ask_status(now_s)
        may_send = bool(self._packets) and now_s >= self._offer_not_before_s
        may_drain = self._drain_wanted and self._room and now_s >= self._drain_not_before_s
        if may_send and (self._packets_turn or not may_drain):
            self._packets_turn = False
            return self._packets[0]
        if may_drain:
            self._packets_turn = True
            return _Request(Plain.GET_RECEIVED_DATA, None)
        if self._status_wanted:
            return self._ask_status(now_s)
        return None

    def _ask_status(self, now_s: float) -> _Request:
        self._status_wanted = False
        self._status_asked_s = now_s
        return _Request(Plain.GET_STATUS, None)
