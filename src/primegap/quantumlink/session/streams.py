"""All streams of a session: who may open one, what waits to be sent, what is over (session 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.frames import (
    OPEN_OVERHEAD,
    ResetCode,
    ResetTarget,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
)
from primegap.quantumlink.records import MIN_RECORD_SIZE
from primegap.quantumlink.session.errors import (
    HeaderTooLargeError,
    MissingStreamError,
    ProtocolViolationError,
    StreamLimitError,
)
from primegap.quantumlink.session.events import Halves
from primegap.quantumlink.session.flow import MemoryBudget
from primegap.quantumlink.session.stream import Stream
from primegap.quantumlink.session.stream_ids import StreamIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from primegap.quantumlink.identity import Qid
    from primegap.quantumlink.session.config import LinkConfig, StreamOptions
    from primegap.quantumlink.session.events import LinkEvent
    from primegap.quantumlink.session.recovery import RecordContent, SentData

MAX_REFUSALS: Final = 1024
"""Refused streams whose reset the peer has not acknowledged, about 100 kB. A peer that opens that
many more than it may, without reading what it is told, has its session ended."""


class StreamTable:
    """The streams of one session.

    Three queues tell the packer what waits: resets, window updates and data; each is served in
    turn, the last served going to the end.

    Args:
        config: settings.
        own, remote: QIDs, whose order decides the parity of stream ids.
        peer_initial_window: credit the peer gives every new stream.
        emit: takes events.
    """

    def __init__(
        self,
        config: LinkConfig,
        own: Qid,
        remote: Qid,
        *,
        peer_initial_window: int,
        emit: Callable[[LinkEvent], None],
    ) -> None:
        self._config = config
        self._ids = StreamIds(own, remote)
        self._peer_initial_window = peer_initial_window
        self._emit = emit
        self._memory = MemoryBudget(config.max_receive_memory)
        self._send_growth = config.max_send_growth  # bytes by which send buffers may still grow
        self._fixed_buffers: set[int] = set()  # streams whose send buffer has a size of its own
        self._streams: dict[int, Stream] = {}
        self.rtt_s: float | None = None  # round trip, when it is known
        self.opening_size = 0  # a record that holds the longest opening of ours, and one byte
        self._peer_streams = 0
        self._refusals: dict[int, int] = {}  # id to code: resets of streams that never came to be
        self._refusals_in_flight = 0
        # Used as ordered sets.
        self._resetting: dict[int, None] = {}
        self._windowing: dict[int, None] = {}
        self._sending: dict[int, None] = {}
        self.may_be_over: dict[int, None] = {}
        "Ids of streams that may have ended, for `forget_over`."

    # --- the application's side -----------------------------------------------------------------

    def __iter__(self) -> Iterator[Stream]:
        return (stream for stream in self._streams.values() if stream.is_announced)

    def get(self, stream_id: int) -> Stream:
        """Return a stream the application knows of.

        Raises:
            MissingStreamError: there is none, or it is over and forgotten.
        """
        stream = self._streams.get(stream_id)
        if stream is None or not stream.is_announced:
            raise MissingStreamError("no such stream")
        return stream

    def open(self, header: bytes, options: StreamOptions) -> Stream:
        """Open a stream. Nothing is sent before its first byte or its end is written.

        Raises:
            HeaderTooLargeError: the header leaves no room for data.
            StreamLimitError: no memory is left for what the peer may send back.
        """
        config = self._config
        if len(header) > config.max_own_header_size:
            raise HeaderTooLargeError("the header leaves no room for data in a record")
        window = options.receive_window or config.initial_stream_receive_window
        window = max(window, config.initial_stream_receive_window)
        window = min(window, config.max_stream_receive_window)
        if not self._memory.reserve(window):
            raise StreamLimitError("no memory is left for one more stream")
        requested = options.requested_peer_receive_window or max(self._peer_initial_window, 1)
        stream = Stream(
            self._ids.allocate(),
            opening=StreamOpening(window, requested, header),
            receive_window=window,
            send_credit=self._peer_initial_window,
            send_buffer_size=options.send_buffer_size or config.stream_send_buffer_size,
            emit=self._emit,
        )
        self._streams[stream.stream_id] = stream
        if options.send_buffer_size is not None:
            self._fixed_buffers.add(stream.stream_id)
        needed = MIN_RECORD_SIZE + 1 + OPEN_OVERHEAD + len(header) + 1
        self.opening_size = max(self.opening_size, needed)
        return stream

    def write(self, stream_id: int, data: bytes) -> int:
        """Queue bytes on a stream; see `Stream.write`."""
        stream = self.get(stream_id)
        accepted = stream.write(data)
        if accepted:
            self._wake(stream)
        return accepted

    def finish(self, stream_id: int) -> None:
        """Mark the end of our lane of a stream."""
        stream = self.get(stream_id)
        stream.finish()
        self._wake(stream)

    def read(self, stream_id: int, max_bytes: int) -> bytes:
        """Consume bytes of a stream; credit follows."""
        stream = self.get(stream_id)
        data = stream.read(max_bytes)
        if stream.should_update_window:
            self._windowing[stream_id] = None
        elif stream.is_inbound_finished:
            self.may_be_over[stream_id] = None
        return data

    def reset(self, stream_id: int, halves: Halves, code: int) -> None:
        """Reset halves of a stream from our side."""
        stream = self.get(stream_id)
        stream.reset(halves, code)
        self._after_reset(stream)
        self.may_be_over[stream_id] = None

    # --- frames of the peer -----------------------------------------------------------------------

    def receive_data(self, frame: StreamData) -> None:
        """Take a StreamData frame (6.3, 6.4).

        Raises:
            ProtocolViolationError: the frame breaks a rule.
        """
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            stream = self._find_or_create(frame.stream_id)
            if stream is None:
                return
        opening = stream.check_data(frame)
        if opening is not None:
            self._receive_opening(stream, opening)
        stream.receive_data(frame)
        if stream.has_pending_resets:  # a lane with too many gaps was reset
            self._after_reset(stream)
        if stream.should_update_window:
            self._windowing[stream.stream_id] = None
        if not stream.references:
            self._forget_if_over(stream)

    def _receive_opening(self, stream: Stream, opening: StreamOpening) -> None:
        if len(opening.header) > self._config.max_header_size:
            stream.reset(Halves.BOTH, ResetCode.LIMIT)
            return
        if stream.inbound.reset_code is not None and stream.outbound.reset_code is not None:
            return  # over before it was announced
        wanted = min(opening.requested_peer_receive_window, self._config.max_stream_receive_window)
        stream.window.grow(self._memory.reserve_growth(wanted - stream.window.size))
        stream.announce(opening)

    def receive_window(self, frame: StreamWindow) -> None:
        """Take a StreamWindow frame; unknown streams are ignored (6.3)."""
        stream = self._streams.get(frame.stream_id)
        if stream is not None:
            stream.receive_window(frame.maximum_offset)
            self._wake(stream)

    def receive_reset(self, frame: StreamReset) -> None:
        """Take a StreamReset frame (6.3, 6.10).

        Raises:
            ProtocolViolationError: the id has our parity and was never allocated.
        """
        stream = self._find_or_create(frame.stream_id, ends_it=frame.target is ResetTarget.BOTH)
        if stream is None:
            return
        stream.receive_reset(frame.target, frame.code)
        self._after_reset(stream)
        self._forget_if_over(stream)

    def _find_or_create(self, stream_id: int, *, ends_it: bool = False) -> Stream | None:
        """Return the stream of a frame, or None when the frame is to be ignored (6.3)."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream
        if self._ids.is_ours(stream_id):
            if not self._ids.was_allocated(stream_id):
                raise ProtocolViolationError("a stream of ours that was never opened")
            return None
        if not self._ids.is_new(stream_id) or ends_it:
            # Known and forgotten, or ended by the very frame that mentions it first.
            return None
        window = self._config.initial_stream_receive_window
        if self._peer_streams >= self._config.max_peer_streams:
            self._refuse(stream_id, ResetCode.REFUSED)
            return None
        if not self._memory.reserve(window):
            self._refuse(stream_id, ResetCode.LIMIT)
            return None
        stream = Stream(
            stream_id,
            opening=None,
            receive_window=window,
            send_credit=self._peer_initial_window,
            send_buffer_size=self._config.stream_send_buffer_size,
            emit=self._emit,
        )
        self._streams[stream_id] = stream
        self._peer_streams += 1
        return stream

    def _refuse(self, stream_id: int, code: int) -> None:
        if len(self._refusals) + self._refusals_in_flight >= MAX_REFUSALS:
            raise ProtocolViolationError("too many streams beyond the limit")
        self._refusals[stream_id] = code

    # --- what waits to be sent --------------------------------------------------------------------

    @property
    def has_pending(self) -> bool:
        """True when there may be something to send."""
        return bool(self._sending or self._windowing or self._resetting or self._refusals)

    @property
    def has_pending_resets(self) -> bool:
        """True when `pending_resets` yields something."""
        return bool(self._resetting or self._refusals)

    @property
    def has_pending_windows(self) -> bool:
        """True when `pending_windows` may yield something."""
        return bool(self._windowing)

    def pending_resets(self) -> Iterator[StreamReset]:
        """Yield the resets to be told; `reset_left` must be called for each that is sent."""
        for stream_id in list(self._resetting):
            yield from self._streams[stream_id].pending_resets()
        for stream_id, code in list(self._refusals.items()):
            yield StreamReset(stream_id, ResetTarget.BOTH, code)

    def reset_left(self, frame: StreamReset) -> None:
        """A reset was put into a tracked record."""
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            del self._refusals[frame.stream_id]
            self._refusals_in_flight += 1
            return
        stream.reset_left(frame)
        stream.references += 1
        if not stream.has_pending_resets:
            del self._resetting[frame.stream_id]

    def pending_windows(self, now_s: float) -> Iterator[StreamWindow]:
        """Yield the limits to be told; `window_left` must be called for each that is sent.

        Streams where more credit is moot are dropped; windows that hold the peer back have grown.
        """
        for stream_id in list(self._windowing):
            stream = self._streams[stream_id]
            if not stream.wants_credit:
                del self._windowing[stream_id]
                continue
            if self.rtt_s is not None:
                wanted = stream.wanted_growth(
                    self._config.max_stream_receive_window, now_s=now_s, rtt_s=self.rtt_s
                )
                stream.window.grow(self._memory.reserve_growth(wanted))
            yield stream.window_frame(now_s)

    def window_left(self, frame: StreamWindow) -> None:
        """A window update was put into a tracked record."""
        del self._windowing[frame.stream_id]
        self._streams[frame.stream_id].references += 1

    def take_data(self, room: int) -> tuple[bytes, SentData] | None:
        """Return the next data frame that fits `room` bytes, from the stream whose turn it is.

        It is encoded; beside it stands what it carries.
        """
        taken: tuple[bytes, SentData] | None = None
        idle: list[int] = []  # nothing of theirs may go
        for stream_id in self._sending:
            stream = self._streams[stream_id]
            offset = stream.next_offset
            if offset is None:
                idle.append(stream_id)
                continue
            taken = stream.take_data(room, offset)
            if taken is not None:
                stream.references += 1
                break
        for stream_id in idle:
            del self._sending[stream_id]
        if taken is not None and len(self._sending) > 1:
            # Behind the others; whether it has more is looked at when its turn is.
            stream_id = taken[1].stream_id
            del self._sending[stream_id]
            self._sending[stream_id] = None
        return taken

    # --- the fate of records ----------------------------------------------------------------------

    def acknowledge(self, content: RecordContent, *, was_lost: bool) -> None:
        """Credit a record that arrived; `was_lost` when it had been given up before."""
        for stream_id, start, stop, fin in content.data:
            stream = self._streams.get(stream_id)
            if stream is not None:
                if stream.acknowledge_data(start, stop, fin=fin):
                    self._grow_send_buffer(stream)
                if stream_id not in self._sending:
                    self._wake(stream)
                self._unreference(stream, 0 if was_lost else 1)
        for reset in content.resets:
            stream = self._streams.get(reset.stream_id)
            if stream is not None:
                stream.acknowledge_reset(reset)
                if not stream.has_pending_resets:
                    self._resetting.pop(reset.stream_id, None)
                self._unreference(stream, 0 if was_lost else 1)
            elif was_lost:
                self._refusals.pop(reset.stream_id, None)
            else:
                self._refusals_in_flight -= 1
        for stream_id in content.windows:
            stream = self._streams.get(stream_id)
            if stream is not None:
                self._unreference(stream, 0 if was_lost else 1)

    def lose(self, content: RecordContent) -> None:
        """Queue again what a lost record carried, as far as it still matters (5.4)."""
        for stream_id, start, stop, fin in content.data:
            stream = self._streams[stream_id]  # referenced by the record, so it is there
            stream.lose_data(start, stop, fin=fin)
            self._wake(stream)
            self._unreference(stream, 1)
        for reset in content.resets:
            held = self._streams.get(reset.stream_id)
            if held is None:
                self._refusals_in_flight -= 1
                self._refusals[reset.stream_id] = reset.code
                continue
            held.lose_reset(reset)
            self._after_reset(held)
            self._unreference(held, 1)
        for stream_id in content.windows:
            stream = self._streams[stream_id]
            if stream.wants_credit:
                self._windowing[stream_id] = None
            self._unreference(stream, 1)

    def forget_over(self) -> None:
        """Forget the streams that ended through calls of the application (6.10)."""
        for stream_id in list(self.may_be_over):
            stream = self._streams.get(stream_id)
            if stream is not None:
                self._forget_if_over(stream)
        self.may_be_over.clear()

    def _grow_send_buffer(self, stream: Stream) -> None:
        """Double a send buffer that holds its stream back, as far as there is memory for it."""
        size = stream.send_buffer_size
        if stream.stream_id in self._fixed_buffers:
            return
        growth = min(size, self._config.max_stream_send_buffer_size - size, self._send_growth)
        if growth > 0:
            self._send_growth -= growth
            stream.grow_send_buffer(growth)

    def _unreference(self, stream: Stream, count: int) -> None:
        stream.references -= count
        if not stream.references:
            self._forget_if_over(stream)

    def _wake(self, stream: Stream) -> None:
        if stream.stream_id not in self._sending and stream.next_offset is not None:
            self._sending[stream.stream_id] = None

    def _after_reset(self, stream: Stream) -> None:
        if stream.has_pending_resets:
            self._resetting[stream.stream_id] = None
        else:
            self._resetting.pop(stream.stream_id, None)

    def _forget_if_over(self, stream: Stream) -> None:
        if not stream.is_over:
            return
        del self._streams[stream.stream_id]
        self._memory.release(stream.window)
        self._send_growth += stream.send_growth
        self._fixed_buffers.discard(stream.stream_id)
        self._windowing.pop(stream.stream_id, None)
        self._sending.pop(stream.stream_id, None)
        if not stream.is_ours:
            self._peer_streams -= 1
