"""Messages of `os/airlock`: files on the microSD card, which everybody can read.

While the device is locked, every message waits. What is on the card came from outside: names and
contents are untrusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from primegap.keyos.messages import Message, Request

SERVER = "os/airlock"
MAX_BUNDLE_REPLY: Final = (8 << 20) + 4096  # the largest app, and what stands around it


@dataclass(frozen=True, slots=True)
class CardState(Message):
    """Answer to GetCard."""

    usable: bool
    "There is a card, and it can be read."
    trouble: str
    "Why not, as a sentence for a person."
    free: int
    "Bytes."
    total: int
    lent: bool
    "A computer has it."


@dataclass(frozen=True, slots=True)
class LendCard(Request):
    """Let a computer have the card, or take it back; it stays so over a restart (F-8).

    While a computer has it, every other message is answered with DENIED, and the device keeps no
    descriptor of it: two that write one file system destroy it.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7

    lent: bool


@dataclass(frozen=True, slots=True)
class GetCard(Request):
    """Whether there is a card, and how much room it has."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = CardState
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CardEntry(Message):
    """A file or folder on the card."""

    name: str
    "Untrusted."
    folder: bool
    size: int


@dataclass(frozen=True, slots=True)
class FolderContent(Message):
    """Answer to ListFolder."""

    entries: tuple[CardEntry, ...]
    "At most 512."
    more: bool
    "There are others, which are not listed."


@dataclass(frozen=True, slots=True)
class ListFolder(Request):
    """What is in a folder; NOT_FOUND when there is none."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = FolderContent
    repeats: ClassVar[bool] = True

    path: str
    "Parts with `/` between them; empty for the root."


@dataclass(frozen=True, slots=True)
class CardFile(Message):
    """Answer to ReadCardFile."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadCardFile(Request):
    """Read a file of at most 960 KiB; TOO_LARGE when it has more."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    reply: ClassVar[type[Message]] = CardFile
    repeats: ClassVar[bool] = True

    path: str


@dataclass(frozen=True, slots=True)
class WriteCardFile(Request):
    """Make or replace a file; at every moment the old one or the new one is on the card, whole."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4
    repeats: ClassVar[bool] = True

    path: str
    data: bytes = field(repr=False)
    "At most 960 KiB."


@dataclass(frozen=True, slots=True)
class RemoveCardFile(Request):
    """Remove a file, or a folder that is empty."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5

    path: str
    shred: bool = False
    "Overwrite content and name first."


@dataclass(frozen=True, slots=True)
class MakeFolder(Request):
    """Make a folder, if it is not there."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6
    repeats: ClassVar[bool] = True

    path: str


@dataclass(frozen=True, slots=True)
class ReadBundle(Request):
    """Read a file of at most 8 MiB whole: for the app manager, which verifies what it gets."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 8
    reply: ClassVar[type[Message]] = CardFile
    repeats: ClassVar[bool] = True
    max_bytes: ClassVar[int] = MAX_BUNDLE_REPLY

    path: str
