"""The messages between host and chip (radio.md sections 5 and 6).

Messages without payload are the members of `Plain`; the others are small frozen values. One
message is one datagram on the host link. Bytes after a complete message are ignored.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from primegap.radio import postcard
from primegap.radio.errors import MessageError
from primegap.radio.postcard import BOOL, I8, U8, U32, U64, Codec, Reader, varint

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PACKET_BYTES: Final = 244
"Largest packet over the air: an ATT MTU of 247 less the 3 bytes of its header."
MAX_MESSAGE_BYTES: Final = 270
"Request buffer of the application; also the host's buffer for answers (section 4.1)."
MAX_NAME_BYTES: Final = 31
"The chip's text buffer. Only 29 bytes fit a scan response (section 7)."
MAX_VERSION_BYTES: Final = 20
"Length of the version field in a firmware header (section 9.1)."
MAX_BLOCK_BYTES: Final = 256
"Firmware block (section 9.4)."
NO_RSSI: Final = -128
"Signal strength before the first sample, in dBm."
ALL_CHANNELS_OFF: Final = 0xE0
"Bit set of the advertising channels: 0x20 channel 37, 0x40 channel 38, 0x80 channel 39."

_BLUETOOTH: Final = 0
_BOOTLOADER: Final = 1


class State(enum.IntEnum):
    """What runs on the chip."""

    ENABLED = 0
    DISABLED = 1
    FIRMWARE_UPGRADE = 2
    "The bootloader."
    UNKNOWN = 3


class PostcardFault(enum.IntEnum):
    """Why the chip could not read a request."""

    DESER = 0
    OVER_FULL = 1


class SendResult(enum.IntEnum):
    """What became of a packet to send."""

    SENT = 0
    BUFFER_FULL = 1


class Link(enum.IntEnum):
    """State of the air side."""

    DISABLED = 0
    WAITING_FOR_CONNECTION = 1
    CONNECTED = 2


class TxPower(enum.IntEnum):
    """Sending power; the name says dBm."""

    MINUS_40 = 0
    MINUS_20 = 1
    MINUS_16 = 2
    MINUS_12 = 3
    MINUS_8 = 4
    MINUS_4 = 5
    ZERO = 6
    PLUS_3 = 7
    PLUS_4 = 8


class SealResult(enum.IntEnum):
    """What became of a new challenge secret."""

    NOT_ALLOWED = 0
    SEALED = 1
    ERROR = 2


class Trust(enum.IntEnum):
    """Which signatures a firmware must carry to be started."""

    FULL = 0
    DEVELOPER = 1


class Plain(enum.Enum):
    """Messages without payload; the value is the path of variant numbers."""

    RESET = (2,)
    GET_STATE = (3,)

    ACK_DISABLE_CHANNELS = (_BLUETOOTH, 1)
    NACK_DISABLE_CHANNELS = (_BLUETOOTH, 2)
    ENABLE = (_BLUETOOTH, 3)
    ACK_ENABLE = (_BLUETOOTH, 4)
    DISABLE = (_BLUETOOTH, 5)
    ACK_DISABLE = (_BLUETOOTH, 6)
    GET_STATUS = (_BLUETOOTH, 7)
    GET_RECEIVED_DATA = (_BLUETOOTH, 11)
    NO_RECEIVED_DATA = (_BLUETOOTH, 13)
    GET_FIRMWARE_VERSION = (_BLUETOOTH, 14)
    GET_BT_ADDRESS = (_BLUETOOTH, 16)
    ACK_TX_POWER = (_BLUETOOTH, 19)
    GET_DEVICE_ID = (_BLUETOOTH, 20)
    DISCONNECT = (_BLUETOOTH, 22)
    ACK_DISCONNECT = (_BLUETOOTH, 23)
    ACK_SET_DEVICE_NAME = (_BLUETOOTH, 25)

    ERASE_FIRMWARE = (_BOOTLOADER, 0)
    ACK_ERASE_FIRMWARE = (_BOOTLOADER, 1)
    NACK_ERASE_FIRMWARE_READ = (_BOOTLOADER, 2)
    NACK_ERASE_FIRMWARE = (_BOOTLOADER, 3)
    NACK_ERASE_FIRMWARE_WRITE = (_BOOTLOADER, 4)
    NO_COSIGN_HEADER = (_BOOTLOADER, 11)
    GET_IMAGE_VERSION = (_BOOTLOADER, 12)
    GET_BOOTLOADER_VERSION = (_BOOTLOADER, 14)


@dataclass(frozen=True, slots=True)
class Message:
    """Base of the messages with payload."""


M = TypeVar("M", bound=Message)

_PATHS: Final[dict[type[Message], tuple[int, ...]]] = {}
_CODECS: Final[dict[type[Message], tuple[Codec[Any], ...]]] = {}
_KINDS: Final[dict[tuple[int, ...], type[Message] | Plain]] = {
    plain.value: plain for plain in Plain
}

_PACKET: Final = postcard.blob(MAX_PACKET_BYTES)
_STATE: Final = postcard.choice(State)


def _variant(*path: int, codecs: tuple[Codec[Any], ...]) -> Callable[[type[M]], type[M]]:
    """Register a message under its path of variant numbers, with a codec for each field."""

    def register(kind: type[M]) -> type[M]:
        assert len(fields(kind)) == len(codecs)
        _PATHS[kind] = path
        _CODECS[kind] = codecs
        _KINDS[path] = kind
        return kind

    return register


# -- top level ---------------------------------------------------------------------------------


@_variant(4, codecs=(_STATE,))
@dataclass(frozen=True, slots=True)
class AckState(Message):
    """Answer to GET_STATE."""

    state: State


@_variant(5, codecs=(U64,))
@dataclass(frozen=True, slots=True)
class ChallengeRequest(Message):
    """Ask the chip to prove that it knows its secret (section 10)."""

    nonce: int


@_variant(6, codecs=(postcard.fixed(32),))
@dataclass(frozen=True, slots=True)
class ChallengeResult(Message):
    """Answer to a challenge."""

    result: bytes
    "HMAC-SHA-256, or 32 bytes 0xFF of a chip that has no secret."


@_variant(7, codecs=(postcard.choice(PostcardFault),))
@dataclass(frozen=True, slots=True)
class PostcardError(Message):
    """The chip could not read the request."""

    fault: PostcardFault


@_variant(8, codecs=(_STATE,))
@dataclass(frozen=True, slots=True)
class InappropriateMessage(Message):
    """The request does not fit what runs on the chip."""

    state: State


# -- Bluetooth ---------------------------------------------------------------------------------


@_variant(_BLUETOOTH, 0, codecs=(U8,))
@dataclass(frozen=True, slots=True)
class DisableChannels(Message):
    """Choose the advertising channels."""

    channels: int
    "Bits of the channels to switch off: 0x20 channel 37, 0x40 channel 38, 0x80 channel 39."


def _encode_status(value: tuple[Link, int]) -> bytes:
    link, rssi_dbm = value
    return varint(link) + (I8.encode(rssi_dbm) if link is Link.CONNECTED else b"")


_LINK: Final = postcard.choice(Link)


def _parse_status(reader: Reader) -> tuple[Link, int]:
    link = _LINK.parse(reader)
    return link, I8.parse(reader) if link is Link.CONNECTED else NO_RSSI


@_variant(_BLUETOOTH, 8, codecs=(Codec(_encode_status, _parse_status), BOOL))
@dataclass(frozen=True, slots=True)
class Status(Message):
    """Answer to GET_STATUS, which clears the overflow flag."""

    connection: tuple[Link, int]
    "State of the air side and smoothed signal strength in dBm (NO_RSSI unless connected)."
    queue_overflow: bool
    "A packet of the phone was dropped for lack of room since the last GET_STATUS."


@_variant(_BLUETOOTH, 9, codecs=(_PACKET,))
@dataclass(frozen=True, slots=True)
class SendData(Message):
    """Send one packet to the phone."""

    packet: bytes = field(repr=False)


@_variant(_BLUETOOTH, 10, codecs=(postcard.choice(SendResult),))
@dataclass(frozen=True, slots=True)
class SendDataResponse(Message):
    """Answer to SendData."""

    result: SendResult


@_variant(_BLUETOOTH, 12, codecs=(_PACKET,))
@dataclass(frozen=True, slots=True)
class ReceivedData(Message):
    """Answer to GET_RECEIVED_DATA: the oldest packet of the phone."""

    packet: bytes = field(repr=False)


@_variant(_BLUETOOTH, 15, codecs=(postcard.text(MAX_VERSION_BYTES),))
@dataclass(frozen=True, slots=True)
class AckFirmwareVersion(Message):
    """Answer to GET_FIRMWARE_VERSION."""

    version: str


@_variant(_BLUETOOTH, 17, codecs=(postcard.fixed(6),))
@dataclass(frozen=True, slots=True)
class AckBtAddress(Message):
    """Answer to GET_BT_ADDRESS."""

    address: bytes
    "Most significant byte first."


@_variant(_BLUETOOTH, 18, codecs=(postcard.choice(TxPower),))
@dataclass(frozen=True, slots=True)
class SetTxPower(Message):
    """Choose the sending power."""

    power: TxPower


@_variant(_BLUETOOTH, 21, codecs=(postcard.fixed(8),))
@dataclass(frozen=True, slots=True)
class AckDeviceId(Message):
    """Answer to GET_DEVICE_ID."""

    device_id: bytes
    "The chip's factory id, little endian."


@_variant(_BLUETOOTH, 24, codecs=(postcard.text(MAX_NAME_BYTES),))
@dataclass(frozen=True, slots=True)
class SetDeviceName(Message):
    """Choose the advertised name."""

    name: str


@_variant(_BLUETOOTH, 26, codecs=(_PACKET,))
@dataclass(frozen=True, slots=True)
class Echo(Message):
    """Ask for the same bytes back."""

    data: bytes = field(repr=False)


@_variant(_BLUETOOTH, 27, codecs=(_PACKET,))
@dataclass(frozen=True, slots=True)
class EchoResponse(Message):
    """Answer to Echo."""

    data: bytes = field(repr=False)


# -- bootloader --------------------------------------------------------------------------------


@_variant(_BOOTLOADER, 5, codecs=(BOOL, postcard.fixed(32)))
@dataclass(frozen=True, slots=True)
class AckVerifyFirmware(Message):
    """Outcome of a firmware check."""

    accepted: bool
    digest: bytes
    "SHA-256 of the binary, or zeros."


@_variant(_BOOTLOADER, 6, codecs=(U32,))
@dataclass(frozen=True, slots=True)
class NackWithIdx(Message):
    """A block could not be written."""

    index: int


@_variant(_BOOTLOADER, 7, codecs=(U32,))
@dataclass(frozen=True, slots=True)
class AckWithIdx(Message):
    """A block was written (no chip sends this)."""

    index: int


@_variant(_BOOTLOADER, 8, codecs=(U32, U32))
@dataclass(frozen=True, slots=True)
class AckWithIdxCrc(Message):
    """A block was written."""

    index: int
    crc: int
    "CRC-32C of the data received."


@_variant(_BOOTLOADER, 9, codecs=(U32, postcard.blob(MAX_BLOCK_BYTES)))
@dataclass(frozen=True, slots=True)
class WriteFirmwareBlock(Message):
    """Write a block at the chip's cursor."""

    index: int
    block: bytes = field(repr=False)


@_variant(_BOOTLOADER, 10, codecs=(U32,))
@dataclass(frozen=True, slots=True)
class FirmwareOutOfBounds(Message):
    """The cursor is past the firmware area."""

    index: int


@_variant(_BOOTLOADER, 13, codecs=(postcard.text(MAX_VERSION_BYTES),))
@dataclass(frozen=True, slots=True)
class AckImageVersion(Message):
    """Answer to GET_IMAGE_VERSION: version text of the stored firmware, not verified."""

    version: str


@_variant(_BOOTLOADER, 15, codecs=(postcard.text(MAX_VERSION_BYTES),))
@dataclass(frozen=True, slots=True)
class AckBootloaderVersion(Message):
    """Answer to GET_BOOTLOADER_VERSION."""

    version: str


@_variant(_BOOTLOADER, 16, codecs=(postcard.array(8, U32),))
@dataclass(frozen=True, slots=True)
class ChallengeSet(Message):
    """Give the chip its challenge secret, once."""

    words: tuple[int, ...] = field(repr=False)
    "Eight words, each the little-endian reading of four bytes of the secret."


@_variant(_BOOTLOADER, 17, codecs=(postcard.choice(SealResult),))
@dataclass(frozen=True, slots=True)
class AckChallengeSet(Message):
    """Answer to ChallengeSet."""

    result: SealResult


@_variant(_BOOTLOADER, 18, codecs=(postcard.choice(Trust),))
@dataclass(frozen=True, slots=True)
class BootFirmware(Message):
    """Check the stored firmware and start it."""

    trust: Trust


AnyMessage = Plain | Message


def encode_message(message: AnyMessage) -> bytes:
    """Return the bytes of a message, at most MAX_MESSAGE_BYTES.

    Raises:
        MessageSizeError: a field is outside its limits.
    """
    if isinstance(message, Plain):
        return b"".join(map(varint, message.value))
    kind = type(message)
    parts = [varint(number) for number in _PATHS[kind]]
    for one, codec in zip(fields(message), _CODECS[kind], strict=True):
        parts.append(codec.encode(getattr(message, one.name)))
    return b"".join(parts)


def parse_message_untrusted(data: bytes) -> AnyMessage:
    """Return the message at the front of `data`; raise only MessageError."""
    reader = Reader(data)
    first = reader.varint(32)
    path = (first, reader.varint(32)) if first in {_BLUETOOTH, _BOOTLOADER} else (first,)
    kind = _KINDS.get(path)
    if kind is None:
        raise MessageError("message is not known")
    if isinstance(kind, Plain):
        return kind
    return kind(*(codec.parse(reader) for codec in _CODECS[kind]))


_APPLICATION_REQUESTS: Final[frozenset[Plain | type[Message]]] = frozenset(
    {
        DisableChannels,
        Plain.ENABLE,
        Plain.DISABLE,
        Plain.GET_STATUS,
        SendData,
        Plain.GET_RECEIVED_DATA,
        Plain.GET_FIRMWARE_VERSION,
        Plain.GET_BT_ADDRESS,
        SetTxPower,
        Plain.GET_DEVICE_ID,
        Plain.DISCONNECT,
        SetDeviceName,
        Echo,
    }
)


def is_application_request(message: AnyMessage) -> bool:
    """Whether only the application carries out the message (section 6.1, kind "request")."""
    kind = message if isinstance(message, Plain) else type(message)
    return kind in _APPLICATION_REQUESTS


def is_bootloader_message(message: AnyMessage) -> bool:
    """Whether only the bootloader understands the message."""
    path = message.value if isinstance(message, Plain) else _PATHS[type(message)]
    return path[0] == _BOOTLOADER
