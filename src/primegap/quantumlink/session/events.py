"""What the engine tells its driver, and the states it can be asked for (session section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Flag, StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from primegap.quantumlink.identity import PeerBundle


class PeerStatus(StrEnum):
    """How we stand with the peer."""

    DISCONNECTED = "disconnected"
    INITIATOR = "initiator"
    "An attempt of ours to connect is running."
    CONNECTED = "connected"
    UNPAIRED = "unpaired"
    "Only in the event: the pairing was forgotten. The engine itself then says disconnected."


class Halves(Flag):
    """Which halves of a stream, seen from our side."""

    READER = 1
    "The inbound lane: bytes of the peer."
    WRITER = 2
    "The outbound lane: our bytes."
    BOTH = 3


class LanePhase(StrEnum):
    """How far a lane has come."""

    OPEN = "open"
    FINISHED = "finished"
    "Inbound: every byte up to the end has arrived. Outbound: the end was marked with `finish`."
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class InboundState:
    """State of the inbound lane of a stream."""

    phase: LanePhase
    readable_bytes: int
    "Contiguous bytes that `read` would return."
    reset_code: int | None = None

    @property
    def is_at_end(self) -> bool:
        """True when every byte was read and no more will come."""
        return self.phase is LanePhase.FINISHED and not self.readable_bytes


@dataclass(frozen=True, slots=True)
class OutboundState:
    """State of the outbound lane of a stream."""

    phase: LanePhase
    capacity: int
    "Bytes that `write` would accept now."
    is_acknowledged: bool
    "True when the peer has acknowledged every byte and the end."
    reset_code: int | None = None


@dataclass(frozen=True, slots=True)
class NewPeer:
    """A handshake finished while no peer was bound; this one is now. To be stored."""

    bundle: PeerBundle


@dataclass(frozen=True, slots=True)
class PeerStatusChanged:
    """The status changed, or (connected) a new session has taken the place of another."""

    status: PeerStatus


@dataclass(frozen=True, slots=True)
class SessionDropped:
    """A session ended without a closing record: replaced, or given up by a call of ours.

    All its streams are gone; whoever waits for one must be told.
    """


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The session ended, by either side; all its streams are gone."""

    code: int
    "A `CloseCode` or any other u64."
    last_record: bytes = field(repr=False)
    "To be sent once, without waiting for anything."


@dataclass(frozen=True, slots=True)
class Unpaired:
    """The pairing was forgotten, by either side; what is stored of the peer must go."""

    last_record: bytes | None = field(repr=False)
    "To be sent once, without waiting for anything; None when there was no session."


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream. It may be over again when this is read."""

    stream_id: int
    header: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamReadable:
    """There was nothing to read on a stream, now there is."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A full send buffer has room again."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class InboundFinished:
    """Every byte of the peer up to its end has arrived, though perhaps not been read. Once."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class OutboundFinished:
    """The peer has acknowledged everything up to our end. Once."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamResetReceived:
    """The peer reset halves of a stream that were not reset before."""

    stream_id: int
    halves: Halves
    "Seen from our side."
    code: int
    "A `ResetCode` or any other u64."
    by_peer: bool = field(default=True, init=False)


@dataclass(frozen=True, slots=True)
class StreamResetLocal:
    """We reset halves of a stream that were not reset before."""

    stream_id: int
    halves: Halves
    code: int
    by_peer: bool = field(default=False, init=False)


LinkEvent = (
    NewPeer
    | PeerStatusChanged
    | SessionDropped
    | SessionClosed
    | Unpaired
    | StreamOpened
    | StreamReadable
    | StreamWritable
    | InboundFinished
    | OutboundFinished
    | StreamResetReceived
    | StreamResetLocal
)
"Any event."


class OutgoingRecord(NamedTuple):
    """A record to be handed to the transport."""

    record: bytes
    write_id: int | None
    "When present, `complete_write` must be called once with the fate of the record."

    def __repr__(self) -> str:
        return f"<OutgoingRecord {len(self.record)} bytes, write {self.write_id}>"
