"""One stream: two independent lanes, the credit of each, and how it ends (session section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.codec import MAX_U64, varint_size
from primegap.quantumlink.frames import (
    ResetCode,
    ResetTarget,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    encode_data_head,
)
from primegap.quantumlink.session.errors import LaneFinishedError, ProtocolViolationError
from primegap.quantumlink.session.events import (
    Halves,
    InboundFinished,
    InboundState,
    LanePhase,
    OutboundFinished,
    OutboundState,
    StreamOpened,
    StreamReadable,
    StreamResetLocal,
    StreamResetReceived,
    StreamWritable,
)
from primegap.quantumlink.session.flow import ReceiveWindow
from primegap.quantumlink.session.receive_buffer import ReceiveBuffer
from primegap.quantumlink.session.recovery import SentData
from primegap.quantumlink.session.send_buffer import SendBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.quantumlink.session.events import LinkEvent

_EACH_HALF: Final = (Halves.READER, Halves.WRITER)
_NOTHING: Final = Halves(0)


class Stream:
    """State of one stream. Events go to `emit`; a peer's stream is silent until it was announced.

    Args:
        stream_id: its id, u64.
        opening: what we announce when the stream is ours, None when the peer opened it.
        receive_window: most bytes buffered for the application.
        send_credit: bytes the peer allows from the start.
        send_buffer_size: most bytes held until acknowledged.
        emit: takes events.
    """

    __slots__ = (
        "_deferred",
        "_emit",
        "_id_size",
        "_inbound",
        "_inbound_reported",
        "_inbound_reset",
        "_opening",
        "_outbound",
        "_outbound_reported",
        "_outbound_reset",
        "_pending_resets",
        "_resets_known",
        "_send_credit",
        "header",
        "references",
        "send_growth",
        "stream_id",
        "window",
    )

    def __init__(
        self,
        stream_id: int,
        *,
        opening: StreamOpening | None,
        receive_window: int,
        send_credit: int,
        send_buffer_size: int,
        emit: Callable[[LinkEvent], None],
    ) -> None:
        self.stream_id = stream_id
        self._id_size = varint_size(stream_id)
        self.header = None if opening is None else opening.header
        self.window = ReceiveWindow(receive_window)
        self.references = 0  # tracked records that mention the stream
        self.send_growth = 0  # bytes by which the send buffer grew
        self._opening = opening
        self._emit = emit
        self._outbound = SendBuffer(send_buffer_size)
        self._send_credit = send_credit
        self._outbound_reset: int | None = None
        self._outbound_reported = False
        self._inbound = ReceiveBuffer()
        self._inbound_reset: int | None = None
        self._inbound_reported = False
        self._pending_resets: dict[Halves, int] = {}
        self._resets_known = _NOTHING  # halves whose reset the peer is known to know
        self._deferred: list[StreamResetReceived] = []  # until the stream is announced

    # --- what it is ---------------------------------------------------------------------------

    @property
    def is_ours(self) -> bool:
        """True when we opened it."""
        return self._opening is not None

    @property
    def is_announced(self) -> bool:
        """True when the application knows of the stream."""
        return self.header is not None

    @property
    def inbound(self) -> InboundState:
        """State of the lane from the peer."""
        if self._inbound_reset is not None:
            return InboundState(LanePhase.RESET, 0, self._inbound_reset)
        phase = LanePhase.FINISHED if self._inbound.is_complete else LanePhase.OPEN
        return InboundState(phase, self._inbound.readable)

    @property
    def is_inbound_finished(self) -> bool:
        """True when every byte of the peer has arrived."""
        return self._inbound_reset is None and self._inbound.is_complete

    @property
    def outbound(self) -> OutboundState:
        """State of the lane to the peer."""
        if self._outbound_reset is not None:
            return OutboundState(LanePhase.RESET, 0, False, self._outbound_reset)
        buffer = self._outbound
        phase = LanePhase.FINISHED if buffer.is_finished else LanePhase.OPEN
        return OutboundState(phase, buffer.capacity, buffer.is_acknowledged)

    @property
    def is_over(self) -> bool:
        """True when nothing can happen on the stream any more and it may be forgotten (6.10)."""
        return (
            not self.references
            and not self._pending_resets
            and (self._inbound_reset is not None or self._inbound.is_drained)
            and (self._outbound_reset is not None or self._outbound.is_acknowledged)
        )

    # --- the application's side -----------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """Queue bytes; return how many were taken, 0 on a lane that was reset.

        Raises:
            LaneFinishedError: `finish` was called before.
        """
        if self._outbound_reset is not None:
            return 0
        if self._outbound.is_finished:
            raise LaneFinishedError("the stream was finished")
        return self._outbound.write(data)

    def finish(self) -> None:
        """Mark the end of the outbound lane."""
        if self._outbound_reset is None:
            self._outbound.finish()

    def read(self, max_bytes: int) -> bytes:
        """Consume up to `max_bytes`."""
        return self._inbound.read(max_bytes)

    def reset(self, halves: Halves, code: int) -> Halves:
        """Reset halves from our side and return those that changed.

        A writer whose every byte is acknowledged stays finished: there is nothing to take back.
        """
        changed = _NOTHING
        if Halves.READER in halves and self._inbound_reset is None:
            self._inbound_reset = code
            self._inbound.discard()
            changed |= Halves.READER
        if (
            Halves.WRITER in halves
            and self._outbound_reset is None
            and not self._outbound.is_acknowledged
        ):
            self._outbound_reset = code
            self._outbound.discard()
            changed |= Halves.WRITER
        for half in _EACH_HALF:
            if half in changed:
                self._pending_resets[half] = code
        if changed and self.is_announced:
            self._emit(StreamResetLocal(self.stream_id, changed, code))
        return changed

    # --- frames of the peer -----------------------------------------------------------------------

    def check_data(self, frame: StreamData) -> StreamOpening | None:
        """Hold data against the rules; return the opening if this frame opens the stream (6.4).

        Raises:
            ProtocolViolationError: an opening where none may be, or none where one must be, or data
                beyond the credit.
        """
        stop = frame.offset + len(frame.payload)
        if stop > MAX_U64:
            raise ProtocolViolationError("data ends beyond 2^64 - 1")
        opening = None
        if self.header is None or frame.opening is not None:
            opening = self._check_opening(frame)
        if self._inbound_reset is None and not self.window.allows(stop, self._inbound.consumed):
            raise ProtocolViolationError("data beyond the credit of its stream")
        return opening

    def _check_opening(self, frame: StreamData) -> StreamOpening | None:
        if self.is_ours:
            if frame.opening is not None:
                raise ProtocolViolationError("an opening on a stream that we opened")
            return None
        if self.is_announced:
            return None  # a repeated opening does not count, its data does
        if frame.opening is None:
            if frame.offset == 0:
                raise ProtocolViolationError("the first byte of a stream without an opening")
        elif frame.offset != 0:
            raise ProtocolViolationError("an opening at an offset other than 0")
        return frame.opening

    def announce(self, opening: StreamOpening) -> None:
        """Take the opening of the peer and tell the application (6.4, step 2)."""
        self.header = opening.header
        self._send_credit = max(self._send_credit, opening.receive_window)
        self._emit(StreamOpened(self.stream_id, opening.header))
        for event in self._deferred:
            self._emit(event)
        self._deferred.clear()
        self._report_inbound(0)

    def receive_data(self, frame: StreamData) -> None:
        """Take data that is within the credit (6.4, steps 3 to 7).

        Raises:
            ProtocolViolationError: the data contradicts the final offset.
        """
        if self._inbound_reset is not None:
            return
        inbound = self._inbound
        readable = inbound.readable
        inbound.insert(frame.offset, frame.payload, fin=frame.fin)
        if inbound.is_too_fragmented:
            self.reset(Halves.READER, ResetCode.LIMIT)
        elif self.is_announced and (not readable or inbound.has_end):
            self._report_inbound(readable)

    def _report_inbound(self, readable_before: int) -> None:
        if self._inbound.readable and not readable_before:
            self._emit(StreamReadable(self.stream_id))
        if self._inbound.is_complete and not self._inbound_reported:
            self._inbound_reported = True
            self._emit(InboundFinished(self.stream_id))

    def receive_window(self, maximum_offset: int) -> None:
        """Take credit; it never shrinks (6.6)."""
        self._send_credit = max(self._send_credit, maximum_offset)

    def receive_reset(self, target: ResetTarget, code: int) -> None:
        """Take a reset of the peer (6.10).

        A lane that has arrived whole stays readable: its bytes are ours already (11, #11). Our own
        pending reset of the other lane stays pending (11, #9).
        """
        halves = self._halves_of(target)
        self._reset_is_known(halves)
        changed = _NOTHING
        if (
            Halves.READER in halves
            and self._inbound_reset is None
            and not self._inbound.is_complete
        ):
            self._inbound_reset = code
            self._inbound.discard()
            changed |= Halves.READER
        if Halves.WRITER in halves and self._outbound_reset is None:
            self._outbound_reset = code
            self._outbound.discard()
            changed |= Halves.WRITER
        if not self.is_announced and Halves.READER in changed:
            # The opener took its bytes back before the opening arrived, and will not send it again:
            # nobody here will ever answer, so the return lane ends too (11, #10).
            self.reset(Halves.WRITER, code)
        if changed:
            event = StreamResetReceived(self.stream_id, changed, code)
            if self.is_announced:
                self._emit(event)
            else:
                self._deferred.append(event)

    # --- records on their way -------------------------------------------------------------------

    @property
    def next_offset(self) -> int | None:
        """Where the data or the end that could leave now starts; None when nothing could."""
        if self._outbound_reset is not None:
            return None
        return self._outbound.next_offset(self._send_credit)

    def take_data(self, room: int, offset: int) -> tuple[bytes, SentData] | None:
        """Return the next data frame, encoded, and what it carries; None when `room` is too small.

        Args:
            room: in bytes, kind byte included.
            offset: the `next_offset` of this moment.
        """
        # Kind and flags, id, offset, and the length of the payload, at most.
        payload_room = room - 2 - self._id_size - varint_size(offset) - varint_size(room)
        opening = self._opening if offset == 0 else None
        if opening is not None:
            payload_room -= (
                varint_size(opening.receive_window)
                + varint_size(opening.requested_peer_receive_window)
                + varint_size(len(opening.header))
                + len(opening.header)
            )
        if payload_room < 0:
            return None
        outbound, stream_id = self._outbound, self.stream_id
        chosen = outbound.take(payload_room, self._send_credit, offset)
        if chosen is None:
            return None
        stop, fin = chosen
        head = encode_data_head(stream_id, offset, stop - offset, fin=fin, opening=opening)
        frame = outbound.copy_behind(head, offset, stop)
        return frame, SentData(stream_id, offset, stop, fin)

    @property
    def send_buffer_size(self) -> int:
        """Most bytes held until acknowledged."""
        return self._outbound.size

    def grow_send_buffer(self, growth: int) -> None:
        """Hold more bytes until acknowledged.

        The writer of a full buffer hears of the room here: what was acknowledged behind a gap has
        freed none, and when the gap closes the buffer is not full any more.
        """
        was_full = not self._outbound.capacity
        self._outbound.grow(growth)
        self.send_growth += growth
        if was_full and self._outbound.capacity:
            self._emit(StreamWritable(self.stream_id))

    def acknowledge_data(self, start: int, stop: int, *, fin: bool) -> bool:
        """A record with this data arrived; True when a larger send buffer would have helped."""
        if self._outbound_reset is not None:
            return False
        outbound = self._outbound
        was_full = not outbound.capacity
        was_short = was_full and outbound.is_all_sent and not outbound.is_finished
        outbound.acknowledge(start, stop, fin=fin)
        if was_full and outbound.capacity:
            self._emit(StreamWritable(self.stream_id))
        if outbound.is_acknowledged and not self._outbound_reported:
            self._outbound_reported = True
            self._emit(OutboundFinished(self.stream_id))
        return was_short

    def lose_data(self, start: int, stop: int, *, fin: bool) -> None:
        """A record with this data did not arrive."""
        if self._outbound_reset is None:
            self._outbound.lose(start, stop, fin=fin)

    @property
    def has_pending_resets(self) -> bool:
        """True when the peer must be told of a reset."""
        return bool(self._pending_resets)

    def pending_resets(self) -> list[StreamReset]:
        """Return the frames that tell of our resets: one, or two when the codes differ."""
        codes = self._pending_resets
        if len(codes) == 2 and codes[Halves.READER] == codes[Halves.WRITER]:
            return [StreamReset(self.stream_id, ResetTarget.BOTH, codes[Halves.READER])]
        return [
            StreamReset(self.stream_id, self._target_of(half), code) for half, code in codes.items()
        ]

    def reset_left(self, frame: StreamReset) -> None:
        """A frame of `pending_resets` was put into a record."""
        for half in _EACH_HALF:
            if half in self._halves_of(frame.target):
                self._pending_resets.pop(half, None)

    def acknowledge_reset(self, frame: StreamReset) -> None:
        """A record with this reset arrived."""
        self._reset_is_known(self._halves_of(frame.target))

    def lose_reset(self, frame: StreamReset) -> None:
        """A record with this reset did not arrive."""
        for half in _EACH_HALF:
            if half in self._halves_of(frame.target) and half not in self._resets_known:
                self._pending_resets[half] = frame.code

    @property
    def wants_credit(self) -> bool:
        """True while more credit can be of use to the peer."""
        return self._inbound_reset is None and not self._inbound.has_end

    @property
    def should_update_window(self) -> bool:
        """True when the peer should hear of more credit now."""
        inbound = self._inbound
        return (
            self._inbound_reset is None
            and not inbound.has_end
            and self.window.should_update(inbound.consumed, inbound.highest)
        )

    def wanted_growth(self, max_size: int, *, now_s: float, rtt_s: float) -> int:
        """Return by how much the window should grow; see `ReceiveWindow.wanted_growth`."""
        consumed = self._inbound.consumed
        return self.window.wanted_growth(consumed, max_size, now_s=now_s, rtt_s=rtt_s)

    def window_frame(self, now_s: float) -> StreamWindow:
        """Return the frame with the limit of this moment, and count it as announced."""
        return StreamWindow(self.stream_id, self.window.advertise(self._inbound.consumed, now_s))

    def _reset_is_known(self, halves: Halves) -> None:
        self._resets_known |= halves
        for half in _EACH_HALF:
            if half in halves:
                self._pending_resets.pop(half, None)

    def _halves_of(self, target: ResetTarget) -> Halves:
        if target is ResetTarget.BOTH:
            return Halves.BOTH
        return Halves.WRITER if (target is ResetTarget.ORIGIN) == self.is_ours else Halves.READER

    def _target_of(self, half: Halves) -> ResetTarget:
        return ResetTarget.ORIGIN if (half is Halves.WRITER) == self.is_ours else ResetTarget.RETURN
