"""The same message twice: to a server of the system, and to one of an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.messages import Message, Request


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
