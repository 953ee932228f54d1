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


@dataclass(frozen=True, slots=True)
class PermissionRequest(Message):
    """A parked request, as core knows its sender: nothing in it is the app's choice (R-3)."""

    number: int
    app_id: bytes
    "16 bytes."
    name: str
    "From the verified manifest, at most 24 characters."
    instance: int
    subgroup: str
    "Of the catalogue of permissions."


@dataclass(frozen=True, slots=True)
class NextPermissionRequest(Request):
    """From the broker of permissions only: wait for the next request that needs a grant."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 16
    reply: ClassVar[type[Message]] = PermissionRequest


@dataclass(frozen=True, slots=True)
class AnswerPermissionRequest(Request):
    """Let a parked request pass, and all later ones of its app and subgroup; or refuse it."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 17

    number: int
    allow: bool


@dataclass(frozen=True, slots=True)
class RevokePermission(Request):
    """Take a grant back: the next message of the app is asked about again (P-9)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 18

    app_id: bytes
    subgroup: str
