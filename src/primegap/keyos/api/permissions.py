"""Messages of `os/permissions`: what the person has granted to apps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/permissions"


@dataclass(frozen=True, slots=True)
class Grant(Message):
    """What the person decided about one app and one subgroup."""

    app_id: bytes
    name: str
    "As it was when the person decided: from the verified manifest."
    subgroup: str
    allowed: bool
    "Allow always; False is never allow."


@dataclass(frozen=True, slots=True)
class GrantList(Message):
    """Answer to ListGrants."""

    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class ListGrants(Request):
    """Every stored decision; waits while the device is locked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = GrantList


@dataclass(frozen=True, slots=True)
class RevokeGrant(Request):
    """Forget a decision: in effect for the very next message; the person will be asked again."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2

    app_id: bytes
    subgroup: str


@dataclass(frozen=True, slots=True)
class ForgetApp(Request):
    """Forget every decision about an app that is being removed (A-8)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3

    app_id: bytes
