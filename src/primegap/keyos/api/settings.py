"""Messages of `app/settings`: what the settings app tells other apps, over a sealed channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "app/settings"


@dataclass(frozen=True, slots=True)
class DeviceTime(Message):
    """Answer to GetTime."""

    unix_ms: int
    "Milliseconds since 1970, as the person set the clock."
    offset_minutes: int
    "Local time is this much ahead of UTC."


@dataclass(frozen=True, slots=True)
class GetTime(Request):
    """The time of the device and its time zone."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = DeviceTime
