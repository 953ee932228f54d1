"""Errors of the operating model, split by who is at fault."""

from __future__ import annotations

import enum
from typing import ClassVar


class Status(enum.IntEnum):
    """Why a request got no reply: the first word of an ERROR frame."""

    DENIED = 1
    NO_SERVER = 2
    BUSY = 3
    SERVER_GONE = 4
    MALFORMED = 5
    FAILED = 6
    LOCKED = 7
    CANCELLED = 8
    NOT_FOUND = 9
    TOO_LARGE = 10


class KeyosError(Exception):
    """Root of every error raised in `primegap.keyos`."""

    code: ClassVar[str] = "keyos-internal"
    "Stable public code: JSON output, logs, docs."
    hint: ClassVar[str] = "Something went wrong inside the device."
    "A sentence that may be shown to a person."


class FrameError(KeyosError):
    """A peer process sent a malformed frame or payload; it is dropped or its channel closed."""

    code = "frame-malformed"
    hint = "An app sent a malformed message."


class ChannelClosedError(KeyosError):
    """The other end of a channel is gone."""

    code = "channel-closed"
    hint = "A part of the device stopped."


class ChannelBrokenError(KeyosError):
    """What came between two apps is not what the other app sent next; the channel is over.

    One error for every cause: forged, altered, lost, repeated, of another channel, malformed.
    """

    code = "app-channel-broken"
    hint = "A message between two apps was not genuine. It was dropped."


class ChannelUseError(KeyosError):
    """Our own side used a channel between apps out of turn, or after it was over: a bug."""

    code = "app-channel-use"
    hint = "Something went wrong inside the device."


class ManifestError(KeyosError):
    """A manifest is malformed or names something that does not exist; it is refused as a whole."""

    code = "manifest-invalid"
    hint = "The manifest of an app is not valid."


class SandboxError(KeyosError):
    """This system cannot give a process the isolation it must have; the process does not start."""

    code = "sandbox-unavailable"
    hint = "This system cannot isolate the device's processes."


class RequestError(KeyosError):
    """A request was answered with an error status instead of a reply."""

    code = "request-failed"
    hint = "The request was refused."

    def __init__(self, status: Status, detail: str = "") -> None:
        """Keep the status and the service's own words (at most one line)."""
        name = status.name.lower().replace("_", " ")
        super().__init__(f"{name}: {detail}" if detail else name)
        self.status = status
        self.detail = detail
