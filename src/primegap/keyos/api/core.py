"""Messages of `os/core`: the supervisor itself.

Core decodes these and nothing else. Whatever names an app does so by its app id; the messages that
change something answer when it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.frame import MAX_OBJECT_BYTES
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
class FeatureInfo(Message):
    """One thing the sandbox needs, as the probe found it: see `sandbox/probe.py`."""

    feature: str
    "Stable name: `namespaces`, `landlock`, `memory-limit` …"
    present: bool
    detail: str
    "What was tried and what happened, for people; empty for nothing to say."


@dataclass(frozen=True, slots=True)
class SwitchInfo(Message):
    """One switch of the device."""

    name: str
    "`bluetooth`, `nfc`, `usb`, `camera`."
    present: bool
    "The device has such hardware."
    chosen: bool
    "Where the person left it."
    on: bool
    "Whether it can work: present, chosen, and not kept off by the air gap."


@dataclass(frozen=True, slots=True)
class SystemInfo(Message):
    """Answer to GetSystemInfo."""

    processes: tuple[ProcessInfo, ...]
    switches: tuple[SwitchInfo, ...]
    air_gap: bool
    "Nothing runs that could carry data by radio or wire, whatever the switches say."
    level: int
    "Support level (keyos-model, 16.5): 1 full, 2 built-in apps only, 3 simulator; 0: not known."
    features: tuple[FeatureInfo, ...]
    "What was measured at the start of this device, in the order of the documentation."
    simulator: bool
    "Runs without isolation: test seeds only, marked on every screen (M-1)."


@dataclass(frozen=True, slots=True)
class GetSystemInfo(Request):
    """State of the processes, and what this machine's isolation is worth."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = SystemInfo


@dataclass(frozen=True, slots=True)
class SetSwitch(Request):
    """Turn one switch: off ends its process before the answer, and stays so after a restart (L-7).

    On has no effect while the air gap is on, but for afterwards.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2

    name: str
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


# -- installed apps -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OfferedMessage(Message):
    """A message of a server that an app offers, with what it takes to obtain it."""

    name: str
    message_id: int
    group: str | None
    "Subgroup of the catalogue; None for a message that only parts of the image may send."
    signature: str
    "`thirdParty` or `foundation`."
    approval: str
    "`autoAllow`, `grantOnFirstUse` or `notUserGrantable`."


@dataclass(frozen=True, slots=True)
class OfferedServer(Message):
    """A server that an app offers; its name begins with `app/`."""

    server: str
    messages: tuple[OfferedMessage, ...]


@dataclass(frozen=True, slots=True)
class NamedMessages(Message):
    """Messages of one server that an app's manifest asks for."""

    server: str
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdmitApp(Request):
    """Take in the verified manifest of an installed app, so that it can be launched.

    Refused as a whole, with DENIED, when a role, app id or server name is taken, or when it asks
    for a message that does not exist or that an installed app cannot obtain.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6

    app_id: bytes
    role: str
    "Short name of its process; begins with `app-`."
    name: str
    entry: str
    "`module:function` inside its image."
    storage: bool
    servers: tuple[OfferedServer, ...]
    permissions: tuple[NamedMessages, ...]


@dataclass(frozen=True, slots=True)
class RemoveApp(Request):
    """End an installed app and forget its manifest; its folder stays for its next version.

    Refused with DENIED when another installed app names its server.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7

    app_id: bytes


@dataclass(frozen=True, slots=True)
class LaunchApp(Request):
    """Start an app; sent by `Process.launch_app`.

    The app id travels in words 0 and 1, and the sealed image of an installed app (a zip of Python
    modules) is the payload itself.
    Core hands the very object on, unread: the bytes that the caller verified are those that run
    (A-6). Refused: not admitted (NOT_FOUND), running (BUSY), level too low (DENIED).
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 8
    max_bytes: ClassVar[int] = MAX_OBJECT_BYTES


@dataclass(frozen=True, slots=True)
class StopApp(Request):
    """End an app's process; answers when it and all it started are gone."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 9

    app_id: bytes


@dataclass(frozen=True, slots=True)
class AppEvent(Message):
    """An app was started or ended."""

    app_id: bytes
    instance: int
    running: bool
    status: int
    "Exit status of its process, once ended: 0 for an orderly end."


@dataclass(frozen=True, slots=True)
class NextAppEvent(Request):
    """Wait for the next start or end of an app; those that nobody asked for are kept, a few."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 10
    reply: ClassVar[type[Message]] = AppEvent


@dataclass(frozen=True, slots=True)
class EraseApp(Request):
    """Do as RemoveApp does, and erase the app's folder; answers when nothing is left of it (A-8).

    An app that is not known any more is no error: what was interrupted can be done again.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 11

    app_id: bytes
    role: str
    "Begins with `app-`: the name of its folder."


# -- permissions -----------------------------------------------------------------------------------


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
    """Let a parked request pass, and all later ones of its app and subgroup; or refuse it.

    Refused, it is refused for as long as the app runs or until RevokePermission lets it ask again.
    """

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


@dataclass(frozen=True, slots=True)
class SetAirGap(Request):
    """End every process that could carry data by radio or wire, before the answer, or allow them.

    Only the trusted screen may: neither an app nor the companion ever reaches this (L-8).
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 19

    on: bool
