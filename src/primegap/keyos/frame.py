"""The router frame: a fixed header and at most 4096 inline bytes (keyos-model, section 16.3).

Layout, big endian, 64 bytes::

    0  version u8     1  kind u8       2  flags u16      4  message id u32
    8  correlation u64                 16 words 4 x u64
    48 inline length u32               52 object count u8 53 reserved, zero (11)

The message id stands at a fixed offset in network byte order, so that a kernel socket filter needs
one load to see it. Identity is never in this frame: core puts a `CallerHeader` in front of it on
the one socket that only core can write to.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

APP_SERVERS: Final = "app/"
"""Servers of apps: messages to them travel signed and encrypted from app to app."""
OPEN_CHANNEL: Final = 0
"""Message id by which a channel between apps is opened: every `app/` server has it, and whoever may
send any message to the server may send it."""
FRAME_VERSION: Final = 1
HEADER: Final = struct.Struct(">BBHIQ4QIB11s")
CALLER: Final = struct.Struct(">16sQB7s")
MAX_INLINE_BYTES: Final = 4096  # one page, as a lent page of the original (section 15)
MAX_OBJECTS: Final = 1  # sealed memory objects a frame: the payload, when it is larger than a page
DEFAULT_OBJECT_BYTES: Final = 1 << 20  # keyos-model, section 15; a manifest may say otherwise
MAX_OBJECT_BYTES: Final = 16 << 20  # that a manifest may say: also the largest file of a process
MAX_FRAME_BYTES: Final = CALLER.size + HEADER.size + MAX_INLINE_BYTES
MAX_DETAIL_BYTES: Final = 256  # of a service's own words about an error: one line
MAX_LOG_LINE: Final = 400  # of what a process writes to the journal, in characters
NO_WORDS: Final = (0, 0, 0, 0)


class Kind(enum.IntEnum):
    """What a frame is."""

    REQUEST = 1
    REPLY = 2
    ERROR = 3
    CANCEL = 4
    "Core to service: the caller of this correlation is gone; no reply is wanted."
    CONNECT = 5
    "Process to core, on its control channel: open a connection to the server named inline."
    CONNECTED = 6
    """Core to process: the connection's descriptor is the object of this frame; the words say which
    process it leads to (`parse_connected`)."""
    LOG = 7
    "Process to core, on its control channel: one line for the device's journal."
    READY = 8
    "Process to core: the process has confined itself and serves."


class Trust(enum.IntEnum):
    """Trust class of a caller, as core knows it."""

    SYSTEM = 1
    BUILT_IN_APP = 2
    INSTALLED_APP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message between a process and core."""

    kind: Kind
    message_id: int = 0
    correlation: int = 0
    words: tuple[int, int, int, int] = NO_WORDS
    payload: bytes = b""
    "Inline bytes, at most MAX_INLINE_BYTES; empty when the payload travels as an object."
    objects: int = 0
    "How many sealed memory objects come with the frame."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: set by core from the channel, never from the message (ID-1, ID-2)."""

    app_id: bytes
    "16 bytes."
    instance: int
    "Number of this start of the process, never reused while core lives."
    trust: Trust


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    if len(frame.payload) > MAX_INLINE_BYTES:
        raise ValueError("inline payload is larger than a page")
    return (
        HEADER.pack(
            FRAME_VERSION,
            frame.kind,
            0,
            frame.message_id,
            frame.correlation,
            *frame.words,
            len(frame.payload),
            frame.objects,
            bytes(11),
        )
        + frame.payload
    )


def error_frame(correlation: int, status: int, detail: str = "") -> Frame:
    """Return the frame that answers a request with an error: a `Status`, and words about it."""
    return Frame(
        kind=Kind.ERROR,
        correlation=correlation,
        words=(status, 0, 0, 0),
        payload=detail.encode(errors="replace")[:MAX_DETAIL_BYTES],
    )


def parse_frame_untrusted(data: bytes) -> Frame:
    """Parse one datagram; raise only FrameError.

    Everything that is not exactly the layout is refused: unknown version or kind, flags, non-zero
    reserved bytes, a length that is not the rest of the datagram (P-8).
    """
    from primegap.keyos.errors import FrameError

    if not HEADER.size <= len(data) <= HEADER.size + MAX_INLINE_BYTES:
        raise FrameError("frame size")
    version, kind, flags, message_id, correlation, w0, w1, w2, w3, length, objects, rest = (
        HEADER.unpack_from(data)
    )
    if version != FRAME_VERSION or flags or rest != bytes(11) or objects > MAX_OBJECTS:
        raise FrameError("frame header")
    if length != len(data) - HEADER.size or (length and objects):
        raise FrameError("frame length")
    try:
        known = Kind(kind)
    except ValueError:
        raise FrameError("frame kind") from None
    return Frame(
        kind=known,
        message_id=message_id,
        correlation=correlation,
        words=(w0, w1, w2, w3),
        payload=data[HEADER.size :],
        objects=objects,
    )


def encode_caller(caller: Caller) -> bytes:
    """Return the 32-byte identity header that core puts in front of a request."""
    return CALLER.pack(caller.app_id, caller.instance, caller.trust, bytes(7))


def encode_connected(correlation: int, owner: Caller) -> Frame:
    """Return the frame that brings a connection, and says in the words of core where it leads."""
    high, low = struct.unpack(">QQ", owner.app_id)
    words = (high, low, owner.instance, int(owner.trust))
    return Frame(kind=Kind.CONNECTED, correlation=correlation, words=words, objects=1)


def parse_connected(frame: Frame) -> Caller:
    """Return the identity of the process that a connection leads to; it comes from core."""
    high, low, instance, trust = frame.words
    return Caller(struct.pack(">QQ", high, low), instance, Trust(trust))


def parse_caller(data: bytes) -> Caller:
    """Parse the identity header; it comes from core and is trusted."""
    app_id, instance, trust, _ = CALLER.unpack_from(data)
    return Caller(app_id, instance, Trust(trust))
