"""Messages of the test service `os/vault`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/vault"
MESSAGES = {
    "Ping": 1,
    "Hold": 2,
    "Big": 3,
    "Take": 4,
    "Log": 5,
    "Release": 6,
    "Misbehave": 7,
    "Secret": 8,
}


@dataclass(frozen=True, slots=True)
class Number(Message):
    """A reply with a number."""

    value: int


@dataclass(frozen=True, slots=True)
class Text(Message):
    """A reply with text."""

    value: str


@dataclass(frozen=True, slots=True)
class Blob(Message):
    """A reply with bytes."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Ping(Request):
    """Answered at once, with the instance of the caller."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = Number


@dataclass(frozen=True, slots=True)
class Hold(Request):
    """Answered when somebody sends Release."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = Number


@dataclass(frozen=True, slots=True)
class Big(Request):
    """Answered with so many bytes."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    reply: ClassVar[type[Message]] = Blob

    size: int


@dataclass(frozen=True, slots=True)
class Take(Request):
    """Takes bytes; answered with their number."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4
    reply: ClassVar[type[Message]] = Number

    value: bytes


@dataclass(frozen=True, slots=True)
class Log(Request):
    """What reached the service so far, as JSON."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5
    reply: ClassVar[type[Message]] = Text


@dataclass(frozen=True, slots=True)
class Release(Request):
    """Answer everything that is held; answered with how many that were."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6
    reply: ClassVar[type[Message]] = Number


@dataclass(frozen=True, slots=True)
class Misbehave(Request):
    """Let the service itself break a rule: see `vault.py`."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7
    reply: ClassVar[type[Message]] = Number

    how: str
