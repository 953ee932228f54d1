"""Frames: what a session record carries (wire sections 11 and 12).

A body is zero or more frames back to back. Codes are open: a code nobody has named yet survives
parsing and encodes to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from primegap.quantumlink.acks import AckRange, encode_ack_fields, parse_ack_fields_untrusted
from primegap.quantumlink.codec import MAX_U32, Reader, put_byte_string, put_varint
from primegap.quantumlink.errors import InvalidDiscriminantError, LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA_OVERHEAD: Final = 26
"Most bytes of a StreamData without opening, kind byte and payload not counted (wire 11.1)."
OPEN_OVERHEAD: Final = 41
"The same with an opening; kind byte, header and payload not counted."

_PING: Final = 1
_ACK: Final = 2
_STREAM_DATA: Final = 3
_STREAM_WINDOW: Final = 4
_STREAM_RESET: Final = 5
_CLOSE: Final = 6
_UNPAIR: Final = 7

_FLAG_FIN: Final = 0x01
_FLAG_OPEN: Final = 0x02

_STREAM_DATA_BYTE: Final = bytes((_STREAM_DATA,))
_FLAG_BYTES: Final = tuple(bytes((flags,)) for flags in range(4))


class ResetTarget(IntEnum):
    """Which lane of a stream a StreamReset ends (wire 11.2)."""

    ORIGIN = 1
    "Bytes sent by the peer that opened the stream."
    RETURN = 2
    "Bytes sent back to the opener."
    BOTH = 3


class ResetCode(IntEnum):
    """Names of the known reset codes; on the wire any 64-bit number is legal (wire 11.2)."""

    CANCELLED = 0
    DROPPED = 1
    DISCONNECTED = 2
    INTERNAL = 3
    PROTOCOL = 4
    CODEC = 5
    REFUSED = 6
    TIMEOUT = 7
    LIMIT = 8
    UNKNOWN_ROUTE = 9


class CloseCode(IntEnum):
    """Names of the known close codes; on the wire any 64-bit number is legal (wire 11.3)."""

    CANCELLED = 0
    PROTOCOL = 1
    TIMEOUT = 2


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for an acknowledgement, carries nothing."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Tells which records arrived."""

    ranges: tuple[AckRange, ...]
    "Inclusive `(low, high)` pairs, descending, at least one number missing between neighbours."


@dataclass(frozen=True, slots=True)
class StreamOpening:
    """The part that only the first data of a stream carries (wire 11.1)."""

    receive_window: int
    "Bytes the opener is ready to receive on this stream, u32."
    requested_peer_receive_window: int
    "Bytes the opener would like to be allowed to send, u32."
    header: bytes = field(repr=False)
    "Opaque here; the RPC layer keeps its route in it. May be empty."


class StreamData(NamedTuple):
    """A piece of one lane of a stream.

    The one frame that every full record holds: a tuple is made in a third of the time that a frozen
    dataclass takes.
    """

    stream_id: int
    "u64; the parity tells which side opened it."
    offset: int
    "Position of the first payload byte in this lane, u64."
    fin: bool
    "True when this lane ends behind the payload."
    opening: StreamOpening | None
    "Present on data at offset 0 of the opener; the session layer refuses it elsewhere."
    payload: bytes
    "May be empty."

    def __repr__(self) -> str:
        return f"<StreamData {self.stream_id} {self.offset}+{len(self.payload)} fin={self.fin}>"


@dataclass(frozen=True, slots=True)
class StreamWindow:
    """Grants credit: the peer may send up to `maximum_offset`, exclusive."""

    stream_id: int
    maximum_offset: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """Ends one or both lanes of a stream at once."""

    stream_id: int
    target: ResetTarget
    code: int
    "A `ResetCode` or any other u64."


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the session."""

    code: int
    "A `CloseCode` or any other u64."


@dataclass(frozen=True, slots=True)
class Unpair:
    """Ends the session and asks the peer to forget the pairing."""


Frame = Ping | Ack | StreamData | StreamWindow | StreamReset | Close | Unpair
"Any frame."


def encode_frame(frame: Frame) -> bytes:
    """Encode one frame, kind byte included.

    Raises:
        LocalError: a field is out of range, an ACK is not canonical, or an opening stands at
            another offset than 0.
    """
    match frame:
        case StreamData(stream_id, offset, fin, opening, payload):
            size = len(payload)
            return encode_data_head(stream_id, offset, size, fin=fin, opening=opening) + payload
        case Ack(ranges):
            return put_varint(_ACK) + encode_ack_fields(ranges)
        case Ping():
            return put_varint(_PING)
        case StreamWindow(stream_id, maximum_offset):
            return _varints(_STREAM_WINDOW, stream_id, maximum_offset)
        case StreamReset(stream_id, target, code):
            return _varints(_STREAM_RESET, stream_id, ResetTarget(target), code)
        case Close(code):
            return _varints(_CLOSE, code)
        case Unpair():
            return put_varint(_UNPAIR)


def _varints(*values: int) -> bytes:
    return b"".join(map(put_varint, values))


def encode_data_head(
    stream_id: int, offset: int, size: int, *, fin: bool, opening: StreamOpening | None
) -> bytes:
    """Encode what stands in front of the payload of a StreamData, kind byte included.

    `size` is that of the payload that follows; all else is as in `StreamData`.

    Raises:
        LocalError: a field is out of range, or an opening stands at another offset than 0.
    """
    flags = _FLAG_FIN if fin else 0
    middle = b""
    if opening is not None:
        if offset != 0:
            raise LocalError("an opening belongs to offset 0")
        if max(opening.receive_window, opening.requested_peer_receive_window) > MAX_U32:
            raise LocalError("a window holds at most 2^32 - 1 bytes")
        flags |= _FLAG_OPEN
        middle = (
            put_varint(opening.receive_window)
            + put_varint(opening.requested_peer_receive_window)
            + put_byte_string(opening.header)
        )
    return b"".join(
        (
            _STREAM_DATA_BYTE,
            put_varint(stream_id),
            put_varint(offset),
            _FLAG_BYTES[flags],
            middle,
            put_varint(size),
        )
    )


def parse_frames_untrusted(body: bytes) -> Iterator[Frame]:
    """Yield the frames of a body in order.

    Frames in front of a bad one have been yielded when the error comes (wire 10.3).

    Raises:
        RemoteError: at the first frame that does not decode.
    """
    reader, end = Reader(body), len(body)
    while reader.position < end:
        yield _parse_frame(reader)


def _parse_frame(reader: Reader) -> Frame:
    kind = reader.varint(32)
    if kind == _STREAM_DATA:
        return _parse_stream_data(reader)
    if kind == _ACK:
        return Ack(parse_ack_fields_untrusted(reader))
    if kind == _STREAM_WINDOW:
        return StreamWindow(reader.varint(64), reader.varint(64))
    if kind == _STREAM_RESET:
        return _parse_stream_reset(reader)
    if kind == _PING:
        return Ping()
    if kind == _CLOSE:
        return Close(reader.varint(64))
    if kind == _UNPAIR:
        return Unpair()
    raise InvalidDiscriminantError("unknown frame kind")


def _parse_stream_data(reader: Reader) -> StreamData:
    stream_id = reader.varint(64)
    offset = reader.varint(64)
    flags = reader.u8()  # bits other than FIN and OPEN are ignored (wire 11.1)
    opening = None
    if flags & _FLAG_OPEN:
        opening = StreamOpening(reader.varint(32), reader.varint(32), reader.byte_string())
    return StreamData(stream_id, offset, bool(flags & _FLAG_FIN), opening, reader.byte_string())


def _parse_stream_reset(reader: Reader) -> StreamReset:
    stream_id = reader.varint(64)
    target = reader.varint(32)
    if not ResetTarget.ORIGIN <= target <= ResetTarget.BOTH:
        raise InvalidDiscriminantError("unknown reset target")
    return StreamReset(stream_id, ResetTarget(target), reader.varint(64))
