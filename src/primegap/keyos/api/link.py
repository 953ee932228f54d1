"""Messages of `os/link`: the QuantumLink service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from primegap.keyos.messages import Message, Request

SERVER = "os/link"
UNTRUSTED: Final = "untrusted"
MAX_DATA_BYTES: Final = 1 << 20  # of one WriteStream
MAX_WRITE_BYTES: Final = MAX_DATA_BYTES + (64 << 10)  # with what stands around them


@dataclass(frozen=True, slots=True)
class LinkState(Message):
    """State of the link, for the status bar and the pairing screens."""

    version: int
    "Grows with each change; pass it to WaitState."
    radio: str
    "`off`, `starting`, `waiting`, `connected`, or UNTRUSTED: the chip failed its challenge."
    paired: bool
    peer_name: str
    "Name the companion gave itself: untrusted text."
    connected: bool
    "A QuantumLink session is up."
    fingerprint: str
    "Short fingerprint of the session, `XXXX-XXXX`; empty without one."
    pairing: bool
    "The device waits for a companion to pair."


@dataclass(frozen=True, slots=True)
class GetState(Request):
    """The present state."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = LinkState


@dataclass(frozen=True, slots=True)
class WaitState(Request):
    """Answered when the state's version differs from the given one."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = LinkState

    version: int


@dataclass(frozen=True, slots=True)
class PairingOffer(Message):
    """What the pairing screen shows as a QR code."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartPairing(Request):
    """Arm pairing with a fresh token; refused while a companion is paired (L-4)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    reply: ClassVar[type[Message]] = PairingOffer


@dataclass(frozen=True, slots=True)
class StopPairing(Request):
    """Disarm."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class Unpair(Request):
    """Forget the companion and tell it so."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class DeviceIdentity(Message):
    """What the companion knows this device by. Public."""

    name: str
    qid: bytes
    "16 bytes."


@dataclass(frozen=True, slots=True)
class GetIdentity(Request):
    """The public part of the link's identity; there is one once a session was possible."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 12
    reply: ClassVar[type[Message]] = DeviceIdentity


@dataclass(frozen=True, slots=True)
class RemoteStream(Message):
    """A stream that the companion opened. Its bytes are opaque to the link process (L-10)."""

    stream: int
    "Handle of the stream, never used twice."
    header: bytes = field(repr=False)
    "What the companion sent first, unread."
    peer: bytes = field(repr=False)
    "Public bundle of the companion: from the session, never from the stream."
    pairing: bytes
    "Number of the pairing, 16 bytes: another one each time a companion is paired, even the same."


@dataclass(frozen=True, slots=True)
class NextStream(Request):
    """Wait for the next stream of the companion that the person has admitted.

    Streams that another instance of the caller has taken are reset with this.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6
    reply: ClassVar[type[Message]] = RemoteStream


@dataclass(frozen=True, slots=True)
class StreamBytes(Message):
    """The next bytes of a stream; empty at its end."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadStream(Request):
    """Wait for bytes of the companion on a stream."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7
    reply: ClassVar[type[Message]] = StreamBytes

    stream: int


@dataclass(frozen=True, slots=True)
class WriteStream(Request):
    """Send bytes on a stream; answered when all of them have found room to be sent."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 8
    max_bytes: ClassVar[int] = MAX_WRITE_BYTES

    stream: int
    data: bytes = field(repr=False)
    end: bool
    "Nothing follows."


@dataclass(frozen=True, slots=True)
class LeaveStream(Request):
    """Be done with a stream: what is not ended on it is reset with a code."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 9

    stream: int
    code: int


@dataclass(frozen=True, slots=True)
class StreamGone(Message):
    """The companion no longer wants what a stream would bring."""

    for_good: bool
    "It gave the call up or is no longer paired; otherwise its session ended, and it may ask again."


@dataclass(frozen=True, slots=True)
class WaitStream(Request):
    """Wait until nobody listens on a stream any more, or the caller has left it."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 10
    reply: ClassVar[type[Message]] = StreamGone

    stream: int


@dataclass(frozen=True, slots=True)
class AdoptChip(Request):
    """Give the Bluetooth chip that is there now the device's secret, and start it again.

    The person has said so on the trusted screen. Refused unless a chip is there that failed its
    challenge. Whether it then passes shows in the state: a chip that belongs to another device
    never does.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 11
