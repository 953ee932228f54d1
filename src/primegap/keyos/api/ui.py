"""Messages of `os/ui`: the trusted screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.api.security import KeyChoice  # noqa: TC001 - read at run time by the codec
from primegap.keyos.messages import Message, Request

SERVER = "os/ui"


@dataclass(frozen=True, slots=True)
class Pressed(Message):
    """What the person did on a presented screen."""

    action: str
    "Id of the button or choice; empty when the person left the app."


@dataclass(frozen=True, slots=True)
class Present(Request):
    """Show a screen of the calling app; answered when the person acts on it.

    A later Present or Confirm of the same app takes its place and ends it with an empty action.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = Pressed

    screen: bytes
    "Canonical CBOR of a Screen."


@dataclass(frozen=True, slots=True)
class Decision(Message):
    """The person's decision on a confirmation."""

    approved: bool
    confirmation: bytes
    "16 bytes, valid once and for a short time at `os/security`; empty when not approved."
    digest: bytes
    "SHA-256 of the screen value that was on the display."


@dataclass(frozen=True, slots=True)
class Confirm(Request):
    """Ask the person to approve what the screen says; only a touch on the device can (U-5, U-7)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = Decision

    screen: bytes
    content: bytes
    "SHA-256 of the bytes that will be acted upon."
    opens: KeyChoice | None
    """The key that approval opens for one signature, which the trusted screen says in words of its
    own; None when it opens none."""
    session_s: int = 0
    """With a key: 0 to open it once, else the seconds for which it is opened without asking again,
    60 s to 12 h, which the trusted screen says too."""


@dataclass(frozen=True, slots=True)
class Update(Request):
    """Replace the content of the presented screen (progress), keeping the pending Present."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3

    screen: bytes


@dataclass(frozen=True, slots=True)
class WaitOpened(Request):
    """Answered when the person opens the calling app from the home screen."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class Notify(Request):
    """Show a screen that only tells something; answered at once."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5

    screen: bytes


@dataclass(frozen=True, slots=True)
class Close(Request):
    """The app is done: go back to the home screen."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6


@dataclass(frozen=True, slots=True)
class PermissionChoice(Message):
    """Answer to AskPermission."""

    choice: str
    "`always`, `not-now` or `never`."


@dataclass(frozen=True, slots=True)
class AskPermission(Request):
    """From the broker of permissions only: ask the person whether an app may do something."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 16
    reply: ClassVar[type[Message]] = PermissionChoice

    name: str
    "Of the app, from its verified manifest."
    subgroup: str
    "Of the catalogue, which has the words for the screen."


@dataclass(frozen=True, slots=True)
class Foreground(Message):
    """Answer to IsForeground."""

    yes: bool


@dataclass(frozen=True, slots=True)
class IsForeground(Request):
    """From the services of input only: whether the person has an app in front of them now (U-3)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 17
    reply: ClassVar[type[Message]] = Foreground

    app_id: bytes
