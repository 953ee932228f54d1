"""Messages of `os/core`: the supervisor itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/core"


@dataclass(frozen=True, slots=True)
class ProcessInfo(Message):
    """One process of the device."""

    role: str
    running: bool
    starts: int
    "How often it was started since the device started."


@dataclass(frozen=True, slots=True)
class SystemInfo(Message):
    """Answer to GetSystemInfo."""

    processes: tuple[ProcessInfo, ...]
    radio_on: bool
    radio_present: bool


@dataclass(frozen=True, slots=True)
class GetSystemInfo(Request):
    """State of the processes."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = SystemInfo


@dataclass(frozen=True, slots=True)
class SetRadio(Request):
    """Switch the Bluetooth chip: off ends its process before the answer (L-7)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2

    on: bool


@dataclass(frozen=True, slots=True)
class NextRadio(Request):
    """Wait for the next start of the radio; answered with the host end of its pipe (a socket)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class FirstScreen(Request):
    """The first screen is on the display: core may start what the first screen did not need."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class RestartApps(Request):
    """The seed was erased: end every process that got a key from it, and start it again without."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5
