"""Messages of `os/calls`: what the companion asks of the apps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from primegap.keyos.messages import Message, Request

SERVER = "os/calls"
MAX_CALL_BYTES: Final = (1 << 20) + (64 << 10)  # a PSBT of 1 MiB and what stands around it


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
    message_id: ClassVar[int] = 1
    max_bytes: ClassVar[int] = MAX_CALL_BYTES
    reply: ClassVar[type[Message]] = RemoteCall


@dataclass(frozen=True, slots=True)
class Answer(Request):
    """Answer a request call with its value; the call is then over."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    max_bytes: ClassVar[int] = MAX_CALL_BYTES

    call: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendEvent(Request):
    """Send one event of a subscription call."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    max_bytes: ClassVar[int] = MAX_CALL_BYTES

    call: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndCall(Request):
    """End a call without (further) answer: a reset code, or CLEAN_END for a subscription."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4

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
    message_id: ClassVar[int] = 5
    reply: ClassVar[type[Message]] = Gone

    call: int


CLEAN_END = 0xFFFF
"""EndCall code that finishes a subscription instead of resetting it."""
