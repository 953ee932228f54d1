"""The same message twice, to a server of the system and to one of an app; and a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from primegap.keyos.messages import Message, Request

BODY: Final = bytes(64)
OBJECT_BYTES: Final = (1 << 20) - 64


@dataclass(frozen=True, slots=True)
class Pong(Message):
    body: bytes


@dataclass(frozen=True, slots=True)
class RoutedPing(Request):
    server: ClassVar[str] = "os/echo"
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = Pong

    body: bytes


@dataclass(frozen=True, slots=True)
class SealedPing(Request):
    server: ClassVar[str] = "app/echo"
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = Pong

    body: bytes


@dataclass(frozen=True, slots=True)
class Taken(Message):
    size: int


@dataclass(frozen=True, slots=True)
class Take(Request):
    server: ClassVar[str] = "os/echo"
    message_id: ClassVar[int] = 3
    reply: ClassVar[type[Message]] = Taken

    body: bytes
