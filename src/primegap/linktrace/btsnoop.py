"""Reading captures in the btsnoop format, version 1, with HCI packets of data link H4 or H1."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.linktrace.errors import RemoteTraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"btsnoop\x00"
COMMAND: Final = 0x01
ACL: Final = 0x02
EVENT: Final = 0x04

_HEADER: Final = struct.Struct(">8sII")
_RECORD: Final = struct.Struct(">IIIIq")
_H1: Final = 1001
"Packets without their type byte; the flags of the record tell it."
_H4: Final = 1002
_FROM_CONTROLLER: Final = 1
_IS_COMMAND_OR_EVENT: Final = 2


@dataclass(frozen=True, slots=True)
class HciPacket:
    """One packet between a host and its controller."""

    at_us: int
    "Microseconds, from whatever point the file counts."
    from_controller: bool
    type: int
    body: bytes
    "Everything behind the type byte."
    is_whole: bool
    "False when the capture kept only its beginning."


def packets_untrusted(data: bytes) -> Iterator[HciPacket | None]:
    """Return the packets of a capture; None at the end when the file stops inside a packet.

    Raises:
        RemoteTraceError: not such a file.
    """
    if len(data) < _HEADER.size:
        raise RemoteTraceError("the file is too short for a capture")
    magic, version, link = _HEADER.unpack_from(data)
    if magic != MAGIC or version != 1:
        raise RemoteTraceError("the file is no btsnoop capture of version 1")
    if link not in {_H1, _H4}:
        raise RemoteTraceError("the capture is of a kind of data link that is not known here")
    return _packets(data, has_type=link == _H4)


def _packets(data: bytes, *, has_type: bool) -> Iterator[HciPacket | None]:
    at = _HEADER.size
    while at < len(data):
        if len(data) - at < _RECORD.size:
            yield None
            return
        original, included, flags, _dropped, stamp = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if included > len(data) - at:
            yield None
            return
        body = data[at : at + included]
        at += included
        from_controller = bool(flags & _FROM_CONTROLLER)
        kind = ACL
        if has_type:
            if not body:
                continue
            kind, body = body[0], body[1:]
        elif flags & _IS_COMMAND_OR_EVENT:
            kind = EVENT if from_controller else COMMAND
        yield HciPacket(stamp, from_controller, kind, body, included >= original)
