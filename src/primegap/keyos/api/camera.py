"""Messages of `os/camera`: codes read from pictures; the pictures themselves stay there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/camera"


@dataclass(frozen=True, slots=True)
class Code(Message):
    """One QR code."""

    text: str = field(repr=False)
    raw: bytes = field(default=b"", repr=False)
    "Content as it stands in the symbol; formats of bare bytes need it."


@dataclass(frozen=True, slots=True)
class NextCode(Request):
    """Wait for the next QR code in front of the camera; the camera is on only while one waits."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = Code
