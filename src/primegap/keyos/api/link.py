"""Messages of `os/link`: the QuantumLink service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from primegap.keyos.messages import Message, Request

SERVER = "os/link"
UNTRUSTED: Final = "untrusted"
MAX_CALL_BYTES: Final = (1 << 20) + (64 << 10)  # a PSBT of 1 MiB and what stands around it


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
class RemoteCall(Message):
    """A call from the companion to the calling app."""

    call: int
    "Handle of the call."
    route: int
    "Route id within the app (quantumlink-api, section 5)."
    peer: bytes
    "Identity of the companion, 16 bytes: from the session, never from the message."
    pairing: bytes
    "Number of the pairing, 16 bytes: another one each time a companion is paired, even the same."
    body: bytes = field(repr=False)
    "Undecoded request value: the app parses it."


@dataclass(frozen=True, slots=True)
class NextCall(Request):
    """Wait for the next call of the companion to this app; the app id is the caller's own (L-6)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6
    max_bytes: ClassVar[int] = MAX_CALL_BYTES
    reply: ClassVar[type[Message]] = RemoteCall


@dataclass(frozen=True, slots=True)
class Answer(Request):
    """Answer a request call with its value; the call is then over."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7
    max_bytes: ClassVar[int] = MAX_CALL_BYTES

    call: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendEvent(Request):
    """Send one event of a subscription call."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 8
    max_bytes: ClassVar[int] = MAX_CALL_BYTES

    call: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdoptChip(Request):
    """Give the Bluetooth chip that is there now the device's secret, and start it again.

    The person has said so on the trusted screen. Refused unless a chip is there that failed its
    challenge. Whether it then passes shows in the state: a chip that belongs to another device
    never does.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 11


@dataclass(frozen=True, slots=True)
class EndCall(Request):
    """End a call without (further) answer: a reset code, or CLEAN_END for a subscription."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 9

    call: int
    code: int


@dataclass(frozen=True, slots=True)
class Gone(Message):
    """The companion no longer waits for the answer of a call."""

    for_good: bool
    "It gave the call up or is no longer paired; otherwise its session ended, and it may ask again."


@dataclass(frozen=True, slots=True)
class WaitGone(Request):
    """Wait until the companion no longer waits for the answer of a call."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 10
    reply: ClassVar[type[Message]] = Gone

    call: int


CLEAN_END = 0xFFFF
"""EndCall code that finishes a subscription instead of resetting it."""
