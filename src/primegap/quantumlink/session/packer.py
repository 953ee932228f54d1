"""Choosing what goes into the next session record (session section 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.frames import Ack, Ping
from primegap.quantumlink.records import BodyBuilder
from primegap.quantumlink.session.recovery import RecordContent

if TYPE_CHECKING:
    from primegap.quantumlink.frames import StreamReset
    from primegap.quantumlink.session.ack_tracker import AckChoice, AckTracker
    from primegap.quantumlink.session.recovery import SentData
    from primegap.quantumlink.session.streams import StreamTable

MAX_FRAMES: Final = 64
"""Frames of one kind in a record, so that what must be remembered of a record is bounded even when
a hostile peer has cut our data into the smallest pieces. Large ones fill a record long before."""

MIN_DATA_ROOM: Final = 16
"Room of a record that holds data already in which no more is put: it would be mostly header."


PackedRecord = tuple[bytes, RecordContent]
"The body of a record and what it holds."


def pack_ack(seq: int, max_size: int, acks: AckTracker, now_s: float) -> PackedRecord | None:
    """Pack a record with an ACK and nothing else, or None when no range fits."""
    builder = BodyBuilder(seq, max_size)
    choice = _add_ack(builder, acks)
    if choice is None:
        return None
    acks.commit(choice, now_s)
    return builder.body(), RecordContent(choice.ranges, choice.news)


def pack_record(
    seq: int,
    max_size: int,
    *,
    acks: AckTracker,
    ack_is_due: bool,
    ping: bool,
    streams: StreamTable,
    now_s: float,
) -> PackedRecord | None:
    """Pack all that waits into one record: ACK, resets, ping, window updates, data.

    The ACK comes first, so that the peer credits what arrived before it looks at its time-outs. An
    ACK that is not due yet only rides along.

    Returns:
        None when nothing is to be sent.
    """
    if acks.is_scheduled:
        builder = BodyBuilder(seq, max_size)
        choice = _add_ack(builder, acks)
        content = _fill(builder, choice, ping=ping, streams=streams, now_s=now_s)
        if choice is not None and (content.is_tracked or ack_is_due):
            acks.commit(choice, now_s)
            return builder.body(), content
        if content.is_tracked:
            return builder.body(), content
    builder = BodyBuilder(seq, max_size)
    content = _fill(builder, None, ping=ping, streams=streams, now_s=now_s)
    return (builder.body(), content) if content.is_tracked else None


def _add_ack(builder: BodyBuilder, acks: AckTracker) -> AckChoice | None:
    choice = acks.peek(builder.remaining - 1)
    if choice is not None:
        builder.append(Ack(choice.ranges))
    return choice


def _fill(
    builder: BodyBuilder,
    choice: AckChoice | None,
    *,
    ping: bool,
    streams: StreamTable,
    now_s: float,
) -> RecordContent:
    # Nearly every record holds data and nothing else.
    resets = _add_resets(builder, streams) if streams.has_pending_resets else ()
    pinged = ping and builder.append(Ping())
    windows = _add_windows(builder, streams, now_s) if streams.has_pending_windows else ()
    data = _add_data(builder, streams)
    if choice is None:
        return RecordContent((), (), pinged, resets, windows, data)
    return RecordContent(choice.ranges, choice.news, pinged, resets, windows, data)


def _add_resets(builder: BodyBuilder, streams: StreamTable) -> tuple[StreamReset, ...]:
    resets: list[StreamReset] = []
    for reset in streams.pending_resets():
        if len(resets) == MAX_FRAMES or not builder.append(reset):
            break
        streams.reset_left(reset)
        resets.append(reset)
    return tuple(resets)


def _add_windows(builder: BodyBuilder, streams: StreamTable, now_s: float) -> tuple[int, ...]:
    windows: list[int] = []
    for frame in streams.pending_windows(now_s):
        if len(windows) == MAX_FRAMES or not builder.append(frame):
            break
        streams.window_left(frame)
        windows.append(frame.stream_id)
    return tuple(windows)


def _add_data(builder: BodyBuilder, streams: StreamTable) -> tuple[SentData, ...]:
    data: list[SentData] = []
    room = builder.remaining
    while len(data) < MAX_FRAMES and not (data and room < MIN_DATA_ROOM):
        taken = streams.take_data(room)
        if taken is None:
            break
        frame, sent = taken
        builder.append_encoded(frame)
        room = builder.remaining
        data.append(sent)
    return tuple(data)
