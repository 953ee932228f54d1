"""Messages of `os/app-manager`: installed apps, their publishers, developer mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/app-manager"


@dataclass(frozen=True, slots=True)
class AppInfo(Message):
    """One installed app."""

    app_id: bytes
    role: str
    "Name of its process; begins with `app-`."
    name: str
    "For people, from the verified manifest, at most 24 characters."
    description: str
    version: str
    publisher: str
    "Claimed by the publisher; the fingerprint is what tells publishers apart."
    fingerprint: bytes
    "32 bytes: SHA-256 over the publisher's keys."


@dataclass(frozen=True, slots=True)
class AppList(Message):
    """What is installed."""

    version: int
    "Grows with each change; new after each start of the app manager."
    developer: bool
    "Developer mode is on: the screen has to say so for as long as it is (A-9)."
    apps: tuple[AppInfo, ...]


@dataclass(frozen=True, slots=True)
class WaitApps(Request):
    """Answered as soon as the list's version is not `version`; -1 for at once.

    While the device is locked after a start the list is empty: it is stored sealed.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = AppList

    version: int


@dataclass(frozen=True, slots=True)
class OpenApp(Request):
    """Verify an installed app anew and start it; answered when it runs (A-6).

    Fails with a sentence for a person when it may not run.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2

    app_id: bytes


@dataclass(frozen=True, slots=True)
class RemoveApp(Request):
    """Ask the person, then erase an app with its data and everything granted to it (A-8)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3

    app_id: bytes


@dataclass(frozen=True, slots=True)
class SetDeveloper(Request):
    """Switch developer mode; the person is asked before it goes on (A-9)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4

    on: bool


@dataclass(frozen=True, slots=True)
class PublisherInfo(Message):
    """A publisher whose certificate the person accepted."""

    fingerprint: bytes
    name: str
    not_after_s: int
    "End of the certificate's validity, Unix time."
    apps: int
    "How many of its apps are installed."


@dataclass(frozen=True, slots=True)
class PublisherList(Message):
    """Answer to ListPublishers."""

    publishers: tuple[PublisherInfo, ...]


@dataclass(frozen=True, slots=True)
class ListPublishers(Request):
    """Every accepted publisher; waits while the device is locked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5
    reply: ClassVar[type[Message]] = PublisherList


@dataclass(frozen=True, slots=True)
class RemovePublisher(Request):
    """Stop accepting a publisher: its apps stay, and no longer start (A-7)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6

    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class InstallFromCard(Request):
    """Verify a bundle on the microSD card and install it, as from anywhere; the person is asked.

    Developer mode is not needed: whoever asks has chosen the file on the trusted screen.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7

    path: str
    "On the card."
