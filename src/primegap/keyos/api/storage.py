"""Messages of `os/storage`: the files of an app, one flat set for each, encrypted at rest.

Which app's files are meant is what core says of the caller, never a field of a message (F-1, F-5).
Nothing is open between two messages: there are no handles, and while the device is locked every
message but EraseApp and GetUsage is refused with LOCKED (F-7).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/storage"


@dataclass(frozen=True, slots=True)
class FileContent(Message):
    """Answer to ReadFile."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadFile(Request):
    """Read a file of the calling app; NOT_FOUND when there is none."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = FileContent
    repeats: ClassVar[bool] = True

    name: str
    """1 to 64 characters: letters and digits of ASCII, dot, dash, underscore; a letter or digit
    first. With `no_backup/` before it, it is left out of backups."""


@dataclass(frozen=True, slots=True)
class WriteFile(Request):
    """Replace a file of the calling app in one step; the answer comes when it is on the medium.

    Refused with TOO_LARGE when the file or the app's quota would be exceeded (F-9).
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    repeats: ClassVar[bool] = True

    name: str
    data: bytes = field(repr=False)
    "At most 960 KiB."


@dataclass(frozen=True, slots=True)
class RemoveFile(Request):
    """Remove a file of the calling app, if it is there."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    repeats: ClassVar[bool] = True

    name: str


@dataclass(frozen=True, slots=True)
class FileInfo(Message):
    """One file."""

    name: str
    size: int
    "Bytes."


@dataclass(frozen=True, slots=True)
class FileList(Message):
    """Answer to ListFiles."""

    files: tuple[FileInfo, ...]
    "By name."
    used: int
    "Bytes that count towards the quota."
    quota: int


@dataclass(frozen=True, slots=True)
class ListFiles(Request):
    """The files of the calling app."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4
    reply: ClassVar[type[Message]] = FileList
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class EraseApp(Request):
    """Remove every file of an app; it was uninstalled (A-8). Works while locked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5
    repeats: ClassVar[bool] = True

    app_id: bytes


@dataclass(frozen=True, slots=True)
class AppUsage(Message):
    """What one app has stored."""

    app_id: bytes
    used: int
    files: int


@dataclass(frozen=True, slots=True)
class Usage(Message):
    """Answer to GetUsage."""

    apps: tuple[AppUsage, ...]
    quota: int
    "Of each app."


@dataclass(frozen=True, slots=True)
class GetUsage(Request):
    """For system information; works while locked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6
    reply: ClassVar[type[Message]] = Usage
    repeats: ClassVar[bool] = True
