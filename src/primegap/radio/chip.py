"""The chip and its application, without radio and host pipe (radio.md sections 7 and 14).

Requests of the host and events of the air go in; answers, the level of the interrupt line, the
wanted advertising and a few actions come out. Payloads are opaque: nothing here looks into them.

A `Chip` starts in the bootloader, which hands over to a `ChipApplication` with the radio off.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.radio.bootloader import Bootloader
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.errors import MessageError
from primegap.radio.messages import (
    ALL_CHANNELS_OFF,
    MAX_MESSAGE_BYTES,
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
    InappropriateMessage,
    Link,
    Plain,
    PostcardError,
    PostcardFault,
    ReceivedData,
    SendData,
    SendDataResponse,
    SendResult,
    SetDeviceName,
    SetTxPower,
    State,
    Status,
    TxPower,
    encode_message,
    parse_message_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Collection

INBOUND_PACKETS: Final = 16
"Packets of the phone kept for the host; a further one is dropped and the overflow flag set."
OUTBOUND_PACKETS: Final = 3
"Notifications in the radio stack; a further one is refused with BufferFull."
FIRMWARE_VERSION: Final = "4.0.0"
"Version of the host protocol that this application speaks."
DEFAULT_NAME: Final = "Passport Prime"

LINE_LOW: Final = b"\x80"
LINE_HIGH: Final = b"\x81"
"""The interrupt line as datagrams on the host link: one byte that no message starts with.

The chip sends LINE_LOW when the line falls (a packet came) and LINE_HIGH when it rises again.
"""


@dataclass(frozen=True, slots=True)
class ChipIdentity:
    """What the factory wrote into the chip."""

    device_id: bytes
    "8 bytes, little endian."
    address: bytes
    "Static random Bluetooth address, 6 bytes, most significant first, top two bits set."


@dataclass(frozen=True, slots=True)
class Advertising:
    """What the chip wants to advertise while it waits for a connection."""

    name: str
    "Complete name in the scan response."
    tx_power: TxPower
    channels_off: int
    "Advertising channels switched off; see ALL_CHANNELS_OFF."


@dataclass(frozen=True, slots=True)
class Notify:
    """Hand a notification to the radio stack; report it back with `notification_released`."""

    packet: bytes = field(repr=False)


class ChipAction(enum.Enum):
    """Things for the shell to do, besides Notify."""

    DISCONNECT = enum.auto()
    "Close the connection; `disconnected` follows."
    RESET = enum.auto()
    "System reset: the application is gone."


class ChipApplication:
    """State machine of the application. Not thread-safe; no clock, no randomness.

    Args:
        identity: what the factory wrote.
        memory: where the challenge secret lies; without it, that of a fresh chip.
        as_4_0_0: answer challenges without looking at the seal, as the shipped version.
    """

    def __init__(
        self,
        identity: ChipIdentity,
        memory: ChipMemory | None = None,
        *,
        as_4_0_0: bool = False,
    ) -> None:
        self._identity = identity
        self._memory = ChipMemory.erased() if memory is None else memory
        self._as_4_0_0 = as_4_0_0
        self._on = False
        self._name = DEFAULT_NAME
        self._tx_power = TxPower.ZERO
        self._channels_off = 0
        self._connected = False
        self._notifications_on = False
        self._outbound = 0
        self._inbound: deque[bytes] = deque()
        self._overflow = False
        self._rssi_dbm = NO_RSSI
        self._line_low = False
        self._actions: list[Notify | ChipAction] = []

    # -- for the shell ----------------------------------------------------------------------------

    @property
    def line_low(self) -> bool:
        """Level of the interrupt line, which is active low."""
        return self._line_low

    @property
    def advertising(self) -> Advertising | None:
        """What should be advertised now; None while off or connected."""
        if not self._on or self._connected:
            return None
        return Advertising(self._name, self._tx_power, self._channels_off)

    @property
    def name(self) -> str:
        """The device name, as the GAP service shows it."""
        return self._name

    @property
    def inbound_full(self) -> bool:
        """Whether the next packet of the phone would be dropped."""
        return len(self._inbound) >= INBOUND_PACKETS

    def take_actions(self) -> list[Notify | ChipAction]:
        """Return what is to be done, in order, and forget it."""
        actions, self._actions = self._actions, []
        return actions

    # -- the air ----------------------------------------------------------------------------------

    def connected(self) -> None:
        """A central connected; the controller has stopped advertising by itself."""
        self._connected = True
        self._notifications_on = False
        self._outbound = 0
        self._rssi_dbm = NO_RSSI
        if not self._on:  # it slipped in while the radio was being switched off
            self._actions.append(ChipAction.DISCONNECT)

    def disconnected(self) -> None:
        """The connection is gone. Packets already received stay readable."""
        self._connected = False
        self._notifications_on = False
        self._outbound = 0

    def notifications_switched(self, on: bool) -> None:
        """The central wrote the configuration of the TX characteristic."""
        self._notifications_on = on

    def write_received(self, packet: bytes) -> None:
        """The central wrote a packet to the RX characteristic."""
        if self.inbound_full:
            self._overflow = True
        else:
            self._inbound.append(packet)
        self._line_low = True

    def notification_released(self) -> None:
        """The stack has sent a notification and has room for another."""
        self._outbound = max(0, self._outbound - 1)

    def rssi_sampled(self, sample_dbm: int) -> None:
        """The stack measured the signal; the first sample counts alone, later ones are smoothed."""
        if self._rssi_dbm == NO_RSSI:
            self._rssi_dbm = sample_dbm
        else:
            # Towards zero, as the chip's integer division does.
            self._rssi_dbm = int((7 * self._rssi_dbm + sample_dbm) / 8)

    # -- the host ---------------------------------------------------------------------------------

    def receive_request(self, data: bytes) -> bytes | None:
        """Carry out one request of the host and return the answer; None only for Reset."""
        try:
            request = parse_message_untrusted(data[:MAX_MESSAGE_BYTES])
        except MessageError:
            return encode_message(PostcardError(PostcardFault.DESER))
        answer = self._carry_out(request)
        return None if answer is None else encode_message(answer)

    def _carry_out(self, request: AnyMessage) -> AnyMessage | None:
        answer: AnyMessage
        match request:
            case Plain.GET_RECEIVED_DATA:
                answer = self._next_received()
            case SendData():
                answer = SendDataResponse(self._send(request.packet))
            case Plain.GET_STATUS:
                answer = Status(self._connection(), self._overflow)
                self._overflow = False
            case Plain.ENABLE:
                self._on = True
                answer = Plain.ACK_ENABLE
            case Plain.DISABLE:
                self._on = False
                self._disconnect()
                answer = Plain.ACK_DISABLE
            case Plain.GET_STATE:
                answer = AckState(self._state())
            case Plain.DISCONNECT:
                self._disconnect()
                answer = Plain.ACK_DISCONNECT
            case SetTxPower():
                self._tx_power = request.power
                answer = Plain.ACK_TX_POWER
            case SetDeviceName():
                self._name = request.name
                answer = Plain.ACK_SET_DEVICE_NAME
            case DisableChannels():
                answer = self._disable_channels(request.channels & ALL_CHANNELS_OFF)
            case Plain.GET_BT_ADDRESS:
                answer = AckBtAddress(self._identity.address)
            case Plain.GET_DEVICE_ID:
                answer = AckDeviceId(self._identity.device_id)
            case Plain.GET_FIRMWARE_VERSION:
                answer = AckFirmwareVersion(FIRMWARE_VERSION)
            case Echo():
                answer = EchoResponse(request.data)
            case ChallengeRequest():
                answer = ChallengeResult(
                    self._memory.answer_challenge(request.nonce, as_4_0_0=self._as_4_0_0)
                )
            case Plain.RESET:
                self._actions.append(ChipAction.RESET)
                return None
            case _:
                answer = InappropriateMessage(self._state())
        return answer

    def _state(self) -> State:
        return State.ENABLED if self._on else State.DISABLED

    def _connection(self) -> tuple[Link, int]:
        if not self._on:
            return Link.DISABLED, NO_RSSI
        if not self._connected:
            return Link.WAITING_FOR_CONNECTION, NO_RSSI
        return Link.CONNECTED, self._rssi_dbm

    def _next_received(self) -> AnyMessage:
        if self._inbound:
            return ReceivedData(self._inbound.popleft())
        self._line_low = False
        return Plain.NO_RECEIVED_DATA

    def _send(self, packet: bytes) -> SendResult:
        ready = self._on and self._connected and self._notifications_on
        if not ready or self._outbound >= OUTBOUND_PACKETS:
            return SendResult.BUFFER_FULL
        self._outbound += 1
        self._actions.append(Notify(packet))
        return SendResult.SENT

    def _disconnect(self) -> None:
        if self._connected:
            self._actions.append(ChipAction.DISCONNECT)

    def _disable_channels(self, channels: int) -> AnyMessage:
        if channels == ALL_CHANNELS_OFF:
            return Plain.NACK_DISABLE_CHANNELS
        self._channels_off = channels
        return Plain.ACK_DISABLE_CHANNELS


class Chip:
    """One life of a chip, from reset to reset: the bootloader, then the application.

    Args:
        identity: what the factory wrote.
        memory: what the chip keeps over resets.
        known_keys: compressed public keys of those who may sign firmware.
        as_4_0_0: answer challenges without looking at the seal, as the shipped version.
    """

    def __init__(
        self,
        identity: ChipIdentity,
        memory: ChipMemory,
        *,
        known_keys: Collection[bytes],
        as_4_0_0: bool = False,
    ) -> None:
        self._bootloader = Bootloader(memory, known_keys=known_keys, as_4_0_0=as_4_0_0)
        self.application = ChipApplication(identity, memory, as_4_0_0=as_4_0_0)
        "For the radio stack; dark until it is started."

    @property
    def in_bootloader(self) -> bool:
        """Whether the application has not been started yet."""
        return not self._bootloader.finished

    def receive_request(self, data: bytes) -> bytes | None:
        """Carry out one request of the host and return the answer; None if there is none."""
        if self._bootloader.finished:
            return self.application.receive_request(data)
        try:
            request = parse_message_untrusted(data[:MAX_MESSAGE_BYTES])
        except MessageError:
            return encode_message(PostcardError(PostcardFault.DESER))
        if request is Plain.RESET:
            return self.application.receive_request(data)
        answer = self._bootloader.carry_out(request)
        return None if answer is None else encode_message(answer)
