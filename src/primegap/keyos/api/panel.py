"""Messages of `hw/panel`: display, touch and camera as hardware, driven by the browser page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from primegap.keyos.messages import Message, Request

SERVER = "hw/panel"
LIST, INSTALL, REMOVE = "list", "install", "remove"
"Kinds of jobs that a developer's computer can have for the device."
MAX_FRAME_BYTES: Final = 2 << 20  # 480 x 800 RGB and the screen's tree
MAX_JOB_BYTES: Final = (8 << 20) + 4096  # the largest bundle
MAX_PICTURE_BYTES: Final = (2 << 20) + 4096  # what the page takes, and what CBOR puts around it


@dataclass(frozen=True, slots=True)
class Target(Message):
    """A place on the screen that reacts to touch."""

    id: str
    left: int
    top: int
    right: int
    bottom: int
    hold_ms: int
    "How long it must be held; 0 for a tap."
    guarded: bool
    "Counts only after its page was visible for a moment."
    label: str


@dataclass(frozen=True, slots=True)
class Shown(Message):
    """A frame is on the display."""

    touches: int
    "Touch events so far, those that still wait for NextTouch included."
    when_s: float
    "When the frame was put up, on the machine's monotonic clock."


@dataclass(frozen=True, slots=True)
class ShowFrame(Request):
    """Put a frame on the display."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    max_bytes: ClassVar[int] = MAX_FRAME_BYTES
    reply: ClassVar[type[Message]] = Shown

    number: int
    "Grows with each frame."
    width: int
    height: int
    rgb: bytes = field(repr=False)
    tree: bytes = field(repr=False)
    "Canonical CBOR of the screen, for automation; empty on a device that is not for development."
    page: int
    pages: int
    targets: tuple[Target, ...]
    "Same: empty outside development."
    touches: int
    "Touch events judged before this frame was drawn."


@dataclass(frozen=True, slots=True)
class Touch(Message):
    """One touch event."""

    phase: str
    "`down`, `move`, `up`."
    x: int
    y: int
    frame: int
    "Number of the frame that was on the display."
    when_s: float
    "When it happened, on the machine's monotonic clock."


@dataclass(frozen=True, slots=True)
class NextTouch(Request):
    """Wait for the next touch."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = Touch


@dataclass(frozen=True, slots=True)
class Picture(Message):
    """A picture the camera sees."""

    number: int
    image: bytes = field(repr=False)
    "PNG or JPEG."


@dataclass(frozen=True, slots=True)
class NextPicture(Request):
    """Wait for the next picture in front of the camera."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    max_bytes: ClassVar[int] = MAX_PICTURE_BYTES
    reply: ClassVar[type[Message]] = Picture


@dataclass(frozen=True, slots=True)
class PictureRead(Request):
    """Tell the panel what came of a picture, so that whoever holds it up can go on."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4

    number: int
    verdict: str
    "`read`, `nothing`, `unreadable`, `idle`."


@dataclass(frozen=True, slots=True)
class AppJob(Message):
    """Something a developer's computer wants: nothing in it is trusted."""

    number: int
    kind: str
    "`list`, `install` or `remove`."
    data: bytes = field(repr=False)
    "The bundle to be installed, or which app to remove: its identifier or its id in hex."


@dataclass(frozen=True, slots=True)
class NextAppJob(Request):
    """Wait for the next job from the port that a developer's computer is connected to."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5
    max_bytes: ClassVar[int] = MAX_JOB_BYTES
    reply: ClassVar[type[Message]] = AppJob


@dataclass(frozen=True, slots=True)
class AppJobDone(Request):
    """Answer a job."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6

    number: int
    answer: str
    "One JSON object for the developer's computer; has `error` and `hint` when it failed."
