"""Sessions and streams, one engine against a peer written by hand (session section 10.1)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from primegap.quantumlink import (
    REFERENCE,
    Ack,
    Close,
    Frame,
    Ping,
    ResetTarget,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    Unpair,
)
from primegap.quantumlink.session import (
    Halves,
    HeaderTooLargeError,
    InboundFinished,
    LaneFinishedError,
    LanePhase,
    LinkConfig,
    MissingStreamError,
    NoSessionError,
    OutboundFinished,
    PeerStatus,
    PeerStatusChanged,
    SessionClosed,
    StreamLimitError,
    StreamOpened,
    StreamOptions,
    StreamReadable,
    StreamResetLocal,
    StreamResetReceived,
    StreamWritable,
    Unpaired,
)
from primegap.quantumlink.session.simulation import ScriptedPeer

QUIET = {"keepalive_interval_s": 0.0, "peer_timeout_s": 0.0}


def peer_with(window: int = 16_384, **settings: float) -> ScriptedPeer:
    config = LinkConfig(**(QUIET | settings))  # type: ignore[arg-type]  # checked by the call
    peer = ScriptedPeer(config, suite=REFERENCE, window=window)
    peer.hear()
    return peer


def data(
    stream_id: int,
    payload: bytes = b"",
    *,
    offset: int = 0,
    fin: bool = False,
    header: bytes | None = None,
    windows: tuple[int, int] = (16_384, 16_384),
) -> StreamData:
    opening = None if header is None else StreamOpening(*windows, header)
    return StreamData(stream_id, offset, fin, opening, payload)


def sent_data(frames: Sequence[Frame]) -> list[tuple[int, int, bytes, bool]]:
    return [
        (frame.stream_id, frame.offset, frame.payload, frame.fin)
        for frame in frames
        if isinstance(frame, StreamData)
    ]


def write_new(peer: ScriptedPeer, payload: bytes, **options: int) -> int:
    stream_id = peer.engine.open_stream(b"h", StreamOptions(**options))
    assert peer.engine.write(stream_id, payload) == len(payload)
    return stream_id


def expect_close(peer: ScriptedPeer, code: int = 1) -> None:
    """The engine has ended the session with this code, and says nothing but that."""
    events = peer.engine.take_events()
    closed, status = events[-2:]
    assert isinstance(closed, SessionClosed)
    assert closed.code == code
    assert peer.read(closed.last_record)[1] == [Close(code)]
    assert status == PeerStatusChanged(PeerStatus.DISCONNECTED)
    assert peer.engine.take_write(now_s=peer.now_s) is None


# --- sending -------------------------------------------------------------------------------------


@pytest.mark.scenario("session", 1)
def test_records_are_numbered_one_after_another() -> None:
    peer = peer_with()
    write_new(peer, b"one")
    first = peer.take()
    write_new(peer, b"two")
    second = peer.take()
    assert first is not None
    assert second is not None
    assert second.seq == first.seq + 1


@pytest.mark.scenario("session", 2)
def test_streams_take_turns() -> None:
    peer = peer_with(record_max_size=150, stream_send_buffer_size=400)
    a, idle, c, d = (peer.engine.open_stream(b"h") for _ in range(4))
    for stream_id in (a, c, d):
        peer.engine.write(stream_id, bytes(200))
    peer.engine.reset(idle, Halves.BOTH, 0)
    served = []
    while (record := peer.take()) is not None:
        served += [frame.stream_id for frame in record.frames if isinstance(frame, StreamData)]
    assert served[:4] == [a, c, d, a]


@pytest.mark.scenario("session", 3, 4)
def test_a_lost_record_comes_again_under_another_number() -> None:
    peer = peer_with()
    stream_id = write_new(peer, b"data")
    first = peer.take()
    assert peer.take() is None
    peer.wait(0.999)
    assert peer.take() is None
    peer.wait(0.001)
    second = peer.take()
    assert first is not None
    assert second is not None
    assert first.frames == second.frames
    assert first.seq < second.seq
    assert peer.engine.outbound_state(stream_id).capacity == 16_384 - 4
    peer.say(Ack(((second.seq, second.seq),)))
    assert peer.engine.outbound_state(stream_id).capacity == 16_384


@pytest.mark.scenario("session", 5)
def test_the_time_out_follows_the_round_trip() -> None:
    peer = peer_with(retransmit_timeout_s=0.1)
    write_new(peer, b"x")
    first = peer.take()
    assert first is not None
    peer.now_s += 0.08
    peer.say(Ack(((first.seq, first.seq),)))
    write_new(peer, b"y")
    peer.hear()
    peer.wait(0.101)
    assert peer.hear() == []
    peer.wait(0.14)
    assert len(peer.hear()) == 1


@pytest.mark.scenario("session", 6)
def test_repeated_losses_back_off() -> None:
    peer = peer_with(retransmit_timeout_s=0.02)
    write_new(peer, b"x")
    assert peer.hear()
    peer.wait(0.021)
    assert peer.hear()
    peer.wait(0.021)
    assert not peer.hear()
    peer.wait(0.02)
    assert peer.hear()


@pytest.mark.scenario("session", 7)
def test_64_records_may_be_on_their_way() -> None:
    peer = peer_with(record_max_size=120)
    write_new(peer, bytes(10_000))
    records = []
    while (record := peer.take()) is not None:
        records.append(record)
    assert len(records) == 64
    peer.say(Ping())
    peer.wait(0.005)
    only_ack = peer.take()
    assert only_ack is not None
    assert only_ack.write_id is None
    assert [type(frame) for frame in only_ack.frames] == [Ack]
    peer.say(Ack(((records[0].seq, records[0].seq),)))
    assert len(peer.hear()) == 1


@pytest.mark.scenario("session", 8)
def test_a_lost_record_of_one_stream_does_not_stop_another() -> None:
    peer = peer_with()
    write_new(peer, b"lost")
    peer.hear()
    other = write_new(peer, b"one")
    record = peer.take()
    assert record is not None
    peer.say(Ack(((record.seq, record.seq),)))
    peer.engine.write(other, b"two")
    assert sent_data(peer.hear()) == [(other, 3, b"two", False)]


@pytest.mark.scenario("session", 9)
def test_a_full_buffer_that_is_freed_tells_once() -> None:
    peer = peer_with(stream_send_buffer_size=4)
    stream_id = write_new(peer, b"abcd")
    assert peer.engine.write(stream_id, b"e") == 0
    record = peer.take()
    assert record is not None
    peer.say(Ack(((record.seq, record.seq),)))
    assert peer.engine.take_events() == [StreamWritable(stream_id)]
    assert peer.engine.write(stream_id, b"e") == 1
    assert peer.engine.outbound_state(stream_id).capacity == 3


@pytest.mark.scenario("session", 10)
def test_the_end_is_reported_once_and_only_when_all_arrived() -> None:  # session 11, #8
    peer = peer_with(record_max_size=120)
    stream_id = write_new(peer, bytes(80))
    peer.engine.finish(stream_id)
    first, second = peer.take(), peer.take()
    assert first is not None
    assert second is not None
    peer.say(Ack(((second.seq, second.seq),)))
    assert peer.engine.take_events() == []
    assert not peer.engine.outbound_state(stream_id).is_acknowledged
    peer.say(Ack(((first.seq, second.seq),)))
    assert peer.engine.take_events() == [OutboundFinished(stream_id)]
    assert peer.engine.outbound_state(stream_id).is_acknowledged
    peer.say(Ack(((first.seq, second.seq),)))
    assert peer.engine.take_events() == []


@pytest.mark.scenario("session", 11)
def test_only_reading_gives_credit() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, bytes(8000), header=b"h"))
    peer.wait(0.005)
    only_ack = peer.take()
    assert only_ack is not None
    assert only_ack.write_id is None
    assert peer.engine.readable_bytes(stream_id) == 8000
    assert peer.hear() == []
    peer.engine.read(stream_id, 8000)
    assert peer.hear() == [StreamWindow(stream_id, 16_384 + 8000)]


@pytest.mark.scenario("session", 12)
def test_a_lost_window_update_comes_again() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, bytes(8000), header=b"h"))
    peer.engine.read(stream_id, 8000)
    assert peer.hear() == [StreamWindow(stream_id, 24_384)]
    peer.wait(1.0)
    assert peer.hear() == [StreamWindow(stream_id, 24_384)]


@pytest.mark.scenario("session", 13, 14)
def test_a_lost_ping_comes_again_and_an_ack_does_not() -> None:
    peer = peer_with()
    peer.engine.queue_ping()
    assert peer.hear() == [Ping()]
    peer.wait(1.0)
    assert peer.hear() == [Ping()]
    quiet = peer_with()
    quiet.say(Ping())
    quiet.wait(0.005)
    assert quiet.take() is not None
    quiet.wait(10.0)
    assert quiet.take() is None


# --- receiving -----------------------------------------------------------------------------------


@pytest.mark.scenario("session", 15)
def test_opening_data_and_end_in_one_frame() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"hello", header=b"route", fin=True))
    assert peer.engine.take_events() == [
        StreamOpened(stream_id, b"route"),
        StreamReadable(stream_id),
        InboundFinished(stream_id),
    ]
    assert peer.engine.inbound_state(stream_id).phase is LanePhase.FINISHED
    assert peer.engine.read(stream_id, 3) == b"hel"
    assert peer.engine.read(stream_id, 100) == b"lo"
    assert peer.engine.read(stream_id, 100) == b""
    assert peer.engine.inbound_state(stream_id).is_at_end


@pytest.mark.scenario("session", 61)
def test_no_more_is_read_than_there_is() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"hello", header=b"h"))
    assert peer.engine.read(stream_id, 6) == b"hello"
    assert peer.engine.read(stream_id, 6) == b""
    peer.say(data(stream_id, b"!", offset=5))
    assert peer.engine.read(stream_id, 6) == b"!"  # credit was given for what was read, no more


@pytest.mark.scenario("session", 17)
def test_an_empty_stream_opens_and_finishes_at_once() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, header=b"", fin=True))
    assert peer.engine.take_events() == [
        StreamOpened(stream_id, b""),
        InboundFinished(stream_id),
    ]
    assert peer.engine.stream_header(stream_id) == b""
    assert peer.engine.streams() == [stream_id]


@pytest.mark.scenario("session", 18)
def test_a_local_reset_is_repeated_until_it_arrives() -> None:
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    peer.hear()
    peer.engine.reset(stream_id, Halves.BOTH, 7)
    assert peer.engine.take_events() == [StreamResetLocal(stream_id, Halves.BOTH, 7)]
    assert peer.hear() == [StreamReset(stream_id, ResetTarget.BOTH, 7)]
    peer.wait(1.0)
    assert peer.hear() == [StreamReset(stream_id, ResetTarget.BOTH, 7)]
    peer.engine.reset(stream_id, Halves.BOTH, 8)
    assert peer.engine.take_events() == []


@pytest.mark.scenario("session", 19)
def test_ids_have_the_parity_of_their_side() -> None:
    for seed in range(4):
        peer = ScriptedPeer(suite=REFERENCE, seed=seed)
        even = peer.engine.identity.qid <= peer.identity.qid
        ids = [peer.engine.open_stream(b"") for _ in range(3)]
        assert ids == ([0, 2, 4] if even else [1, 3, 5])


@pytest.mark.scenario("session", 20, 26)
def test_repeated_data_is_delivered_once() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    frame = data(stream_id, b"hello", header=b"h", fin=True)
    peer.say(frame)
    peer.say(frame)
    assert peer.engine.read(stream_id, 100) == b"hello"
    peer.say(frame)
    assert peer.engine.read(stream_id, 100) == b""
    assert len(peer.engine.take_events()) == 3


@pytest.mark.scenario("session", 21, 22, 27)
def test_resets_of_unknown_streams_are_quiet_and_swallow_what_is_late() -> None:
    peer = peer_with()
    for ordinal in (3, 1, 3):
        peer.say(StreamReset(peer.stream_id(ordinal), ResetTarget.BOTH, 7))
    peer.say(data(peer.stream_id(3), b"late", header=b"h"))
    assert peer.engine.take_events() == []
    assert peer.engine.streams() == []
    assert peer.hear() == []


@pytest.mark.scenario("session", 23)
def test_a_stream_opened_and_reset_in_one_record_is_reported() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"x", header=b"h"), StreamReset(stream_id, ResetTarget.BOTH, 4))
    assert peer.engine.take_events() == [
        StreamOpened(stream_id, b"h"),
        StreamReadable(stream_id),
        StreamResetReceived(stream_id, Halves.BOTH, 4),
    ]
    with pytest.raises(MissingStreamError):
        peer.engine.read(stream_id, 1)


@pytest.mark.scenario("session", 24)
def test_a_reset_of_one_lane_leaves_the_other() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"x", header=b"h"))
    peer.engine.take_events()
    peer.say(StreamReset(stream_id, ResetTarget.ORIGIN, 9))
    assert peer.engine.take_events() == [StreamResetReceived(stream_id, Halves.READER, 9)]
    assert peer.engine.inbound_state(stream_id).reset_code == 9
    assert peer.engine.write(stream_id, b"answer") == 6


@pytest.mark.scenario("session", 25)
def test_a_stream_is_forgotten_after_the_last_read() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(
        data(stream_id, b"x", header=b"h", fin=True),
        StreamReset(stream_id, ResetTarget.RETURN, 0),
    )
    assert peer.engine.read(stream_id, 10) == b"x"
    assert peer.engine.streams() == [stream_id]
    peer.take()
    assert peer.engine.streams() == []


@pytest.mark.scenario("session", 28, 29)
@pytest.mark.parametrize("own_id_frame", ["reset", "data"])
def test_a_frame_for_an_id_of_ours_never_used_ends_the_session(own_id_frame: str) -> None:
    peer = peer_with()
    stream_id = peer.engine_stream_id(0)
    if own_id_frame == "reset":
        peer.say(StreamReset(stream_id, ResetTarget.BOTH, 7))
    else:
        peer.say(data(stream_id, b"x"))
    expect_close(peer)


def test_frames_for_an_id_of_ours_that_is_over_are_ignored() -> None:
    peer = peer_with()
    stream_id = peer.engine.open_stream(b"h")
    peer.engine.reset(stream_id, Halves.BOTH, 0)
    record = peer.take()
    assert record is not None
    peer.say(Ack(((record.seq, record.seq),)))
    assert peer.engine.streams() == []
    peer.say(data(stream_id, b"late"), StreamReset(stream_id, ResetTarget.BOTH, 7))
    assert peer.engine.status is PeerStatus.CONNECTED


@pytest.mark.scenario("session", 30)
def test_an_unpair_of_the_peer_forgets_it() -> None:
    peer = peer_with()
    peer.say(Unpair())
    unpaired, status = peer.engine.take_events()
    assert isinstance(unpaired, Unpaired)
    assert unpaired.last_record is not None
    assert peer.read(unpaired.last_record)[1] == [Unpair()]
    assert status == PeerStatusChanged(PeerStatus.UNPAIRED)
    assert peer.engine.peer is None
    assert peer.engine.status is PeerStatus.DISCONNECTED


def test_a_close_of_the_peer_is_echoed() -> None:
    peer = peer_with()
    peer.say(Close(77))
    expect_close(peer, 77)
    with pytest.raises(NoSessionError):
        peer.engine.open_stream(b"")


# --- credit --------------------------------------------------------------------------------------


@pytest.mark.scenario("session", 31)
def test_sending_obeys_the_credit_of_the_peer() -> None:
    peer = peer_with(window=3)
    stream_id = write_new(peer, b"hello")
    assert sent_data(peer.hear()) == [(stream_id, 0, b"hel", False)]
    peer.say(StreamWindow(stream_id, 2))
    assert peer.hear() == []
    peer.say(StreamWindow(stream_id, 5))
    assert sent_data(peer.hear()) == [(stream_id, 3, b"lo", False)]


@pytest.mark.scenario("session", 32, 33)
def test_an_opening_names_both_windows() -> None:
    peer = peer_with(window=12, initial_stream_receive_window=8)
    write_new(peer, b"x")
    write_new(peer, b"y", receive_window=65_536, requested_peer_receive_window=49_152)
    openings = [frame.opening for frame in peer.hear() if isinstance(frame, StreamData)]
    assert openings == [StreamOpening(8, 12, b"h"), StreamOpening(32_768, 49_152, b"h")]


@pytest.mark.scenario("session", 34)
def test_an_opening_asks_and_grants() -> None:
    peer = peer_with(window=8, initial_stream_receive_window=8, max_stream_receive_window=32)
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"x", header=b"h", windows=(64, 64)))
    assert peer.hear() == [StreamWindow(stream_id, 32)]
    peer.engine.write(stream_id, bytes(100))
    assert sum(len(payload) for _, _, payload, _ in sent_data(peer.hear())) == 64


@pytest.mark.scenario("session", 35)
def test_an_opening_cannot_use_the_credit_it_asks_for() -> None:
    peer = peer_with(initial_stream_receive_window=8, max_stream_receive_window=32)
    peer.say(data(peer.stream_id(0), bytes(8), header=b"h", windows=(32, 32)))
    assert peer.engine.status is PeerStatus.CONNECTED
    peer.say(data(peer.stream_id(1), bytes(9), header=b"h", windows=(32, 32)))
    expect_close(peer)


@pytest.mark.scenario("session", 36)
def test_streams_may_have_send_buffers_of_their_own() -> None:
    peer = peer_with()
    for size in (4, 9):
        stream_id = peer.engine.open_stream(b"h", StreamOptions(send_buffer_size=size))
        assert peer.engine.write(stream_id, bytes(100)) == size


@pytest.mark.scenario("session", 37)
def test_acks_come_in_pages_and_end() -> None:
    peer = peer_with(record_max_size=64)
    for seq in range(1001, 1101, 2):
        peer.say(Ping(), seq=seq)
    peer.wait(0.005)
    acked: list[tuple[int, int]] = []
    while (record := peer.take()) is not None:
        assert record.write_id is None
        (frame,) = record.frames
        assert isinstance(frame, Ack)
        acked += frame.ranges
    assert acked == [*((seq, seq) for seq in range(1099, 1000, -2)), (0, 0)]
    due_s = peer.engine.next_timeout_s()
    assert due_s is None


@pytest.mark.scenario("session", 38)
def test_a_header_must_leave_room_for_data() -> None:
    peer = peer_with(record_max_size=200)
    with pytest.raises(HeaderTooLargeError):
        peer.engine.open_stream(bytes(98))
    stream_id = peer.engine.open_stream(bytes(97))
    peer.engine.write(stream_id, bytes(300))
    peer.say(Ping())  # an ACK that could ride along must not keep the stream from opening
    first = sent_data(peer.hear())[0]
    assert first[1] == 0
    assert len(first[2]) >= 1


# --- what goes together --------------------------------------------------------------------------


def test_an_ack_rides_along_and_comes_first() -> None:
    peer = peer_with()
    peer.say(Ping())
    assert peer.take() is None  # not due, and nothing else to send
    write_new(peer, b"x")
    record = peer.take()
    assert record is not None
    assert [type(frame) for frame in record.frames] == [Ack, StreamData]


def test_an_ack_that_fits_in_no_record_is_given_up() -> None:
    peer = peer_with(record_max_size=61)
    peer.say(Ping(), seq=2**62)
    peer.wait(0.005)
    assert peer.take() is None
    assert peer.engine.next_timeout_s() is None


def test_an_ack_that_fits_beside_nothing_goes_first() -> None:
    peer = peer_with(record_max_size=200)
    peer.engine.write(peer.engine.open_stream(bytes(97)), bytes(300))
    for seq in range(10, 80, 2):
        peer.say(Ping(), seq=seq)
    first = peer.take()
    assert first is not None
    assert [type(frame) for frame in first.frames] == [StreamData]
    peer.wait(0.005)
    second = peer.take()
    assert second is not None
    assert isinstance(second.frames[0], Ack)


def test_many_resets_leave_in_several_records() -> None:
    peer = peer_with(max_peer_streams=100)
    for ordinal in range(100):
        peer.say(data(peer.stream_id(ordinal), b"x", header=b"h"))
    for stream_id in peer.engine.streams():
        peer.engine.reset(stream_id, Halves.BOTH, 0)
    counts = []
    while (record := peer.take()) is not None:
        counts.append(sum(isinstance(frame, StreamReset) for frame in record.frames))
    assert counts == [64, 36]
    peer.say(Ack(((0, 100),)))
    assert peer.engine.streams() == []


def test_a_lost_ack_is_repeated_with_the_data_it_rode_on() -> None:
    peer = peer_with()
    peer.say(Ping())
    write_new(peer, b"x")
    first = peer.take()
    peer.wait(1.0)
    second = peer.take()
    assert first is not None
    assert second is not None
    assert first.frames == second.frames


def test_a_lost_ack_is_made_good_by_the_next_one() -> None:  # session 11, #2
    peer = peer_with()
    peer.say(Ping())
    peer.wait(0.005)
    lost = peer.take()
    peer.say(Ping())
    peer.wait(0.005)
    heard = peer.take()
    assert lost is not None
    assert heard is not None
    ((low, high),) = [r for frame in heard.frames if isinstance(frame, Ack) for r in frame.ranges]
    assert (low, high) == (0, 2)


def test_an_ack_that_comes_with_the_time_out_counts() -> None:  # session 11, #3
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    record = peer.take()
    assert record is not None
    peer.now_s += 1.0
    peer.say(Ack(((record.seq, record.seq),)))
    assert peer.engine.outbound_state(stream_id).capacity == 16_384
    assert peer.hear() == []


def test_a_late_ack_counts_and_stops_the_repetition() -> None:  # session 11, #3
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    record = peer.take()
    assert record is not None
    peer.wait(1.0)  # given up, but not sent again yet
    peer.say(Ack(((record.seq, record.seq),)))
    assert peer.hear() == []
    assert peer.engine.outbound_state(stream_id).capacity == 16_384


def test_resets_with_two_codes_both_arrive() -> None:  # session 11, #9
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    peer.hear()
    peer.engine.reset(stream_id, Halves.READER, 1)
    peer.engine.reset(stream_id, Halves.WRITER, 2)
    assert peer.hear() == [
        StreamReset(stream_id, ResetTarget.RETURN, 1),
        StreamReset(stream_id, ResetTarget.ORIGIN, 2),
    ]


def test_a_reset_of_the_peer_leaves_ours_of_the_other_lane() -> None:  # session 11, #9
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    peer.hear()
    peer.engine.reset(stream_id, Halves.READER, 1)
    peer.say(StreamReset(stream_id, ResetTarget.ORIGIN, 5))
    assert peer.hear() == [StreamReset(stream_id, ResetTarget.RETURN, 1)]


def test_a_reset_that_crosses_ours_need_not_be_told() -> None:
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    peer.hear()
    peer.engine.reset(stream_id, Halves.BOTH, 1)
    peer.say(StreamReset(stream_id, ResetTarget.BOTH, 5))
    assert peer.hear() == []
    peer.wait(1.0)
    assert peer.hear() == []


def test_origin_bytes_taken_back_before_the_opening() -> None:  # session 11, #10
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(StreamReset(stream_id, ResetTarget.ORIGIN, 4))
    assert peer.hear() == [StreamReset(stream_id, ResetTarget.RETURN, 4)]
    peer.say(data(stream_id, b"x", header=b"h"))
    assert peer.engine.take_events() == []
    peer.say(Ack(((0, 10),)))
    peer.say(data(stream_id, b"x", header=b"h"))
    assert peer.engine.take_events() == []
    assert peer.engine.streams() == []


def test_a_return_lane_refused_before_the_opening_is_told_with_it() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(
        StreamReset(stream_id, ResetTarget.RETURN, 0),
        data(stream_id, b"note", header=b"h", fin=True),
    )
    assert peer.engine.take_events() == [
        StreamOpened(stream_id, b"h"),
        StreamResetReceived(stream_id, Halves.WRITER, 0),
        StreamReadable(stream_id),
        InboundFinished(stream_id),
    ]
    assert peer.engine.write(stream_id, b"nobody listens") == 0


def test_bytes_that_arrived_whole_survive_a_reset() -> None:  # session 11, #11
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"whole", header=b"h", fin=True))
    peer.say(StreamReset(stream_id, ResetTarget.BOTH, 3))
    assert StreamResetReceived(stream_id, Halves.WRITER, 3) in peer.engine.take_events()
    assert peer.engine.read(stream_id, 100) == b"whole"


def test_data_in_front_of_its_opening_waits() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"lo", offset=3, fin=True))
    assert peer.engine.take_events() == []
    with pytest.raises(MissingStreamError):
        peer.engine.read(stream_id, 1)
    peer.say(data(stream_id, b"hel", header=b"h"))
    assert peer.engine.take_events() == [
        StreamOpened(stream_id, b"h"),
        StreamReadable(stream_id),
        InboundFinished(stream_id),
    ]
    assert peer.engine.read(stream_id, 100) == b"hello"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(
            [data(0, b"x", offset=1, header=None)], id="no error: data before its opening"
        ),
        pytest.param([data(0, b"x")], id="first byte without an opening"),
        pytest.param([data(0, b"x", header=b"h"), data(0, b"y", offset=16_384)], id="credit"),
        pytest.param([data(0, b"x", header=b"h", fin=True), data(0, b"y", offset=1)], id="end"),
        pytest.param([data(0, b"x", offset=2**64 - 1)], id="overflow"),
        pytest.param([data(0, b"", offset=16_385, fin=True)], id="an end beyond the credit"),
    ],
)
def test_rules_of_data(frames: list[StreamData], request: pytest.FixtureRequest) -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(*(StreamData(stream_id, f.offset, f.fin, f.opening, f.payload) for f in frames))
    if "no error" in request.node.name:
        assert peer.engine.status is PeerStatus.CONNECTED
    else:
        expect_close(peer)


def test_frames_in_front_of_a_bad_one_count() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    good = peer.stream_id(0)
    assert peer.say_body(b"\x03" + bytes([good, 0, 2, 5, 5, 1]) + b"h" + b"\x01x" + b"\x09")
    assert peer.engine.take_events()[0] == StreamOpened(stream_id, b"h")
    assert peer.engine.status is PeerStatus.DISCONNECTED


# --- limits (11, #12) ----------------------------------------------------------------------------


def test_streams_beyond_the_limit_are_refused() -> None:
    peer = peer_with(max_peer_streams=2)
    ids = [peer.stream_id(ordinal) for ordinal in range(3)]
    for stream_id in ids:
        peer.say(data(stream_id, b"x", header=b"h"))
    assert peer.engine.streams() == ids[:2]
    assert peer.hear() == [StreamReset(ids[2], ResetTarget.BOTH, 6)]
    peer.wait(1.0)
    assert peer.hear() == [StreamReset(ids[2], ResetTarget.BOTH, 6)]
    peer.say(Ack(((0, 100),)))
    peer.say(StreamReset(ids[0], ResetTarget.BOTH, 0))
    peer.say(data(peer.stream_id(3), b"x", header=b"h"))
    assert peer.engine.streams() == [ids[1], peer.stream_id(3)]


def test_a_long_header_is_refused() -> None:
    peer = peer_with(max_header_size=10)
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"x", header=bytes(11)))
    assert peer.engine.take_events() == []
    assert peer.hear() == [StreamReset(stream_id, ResetTarget.BOTH, 8)]


def test_memory_of_all_streams_is_bounded() -> None:
    peer = peer_with(
        initial_stream_receive_window=1000,
        max_stream_receive_window=2000,
        max_receive_memory=4000,
    )
    first, second, third, fourth = (peer.stream_id(ordinal) for ordinal in range(4))
    peer.say(data(first, b"x", header=b"h", windows=(9, 1500)))
    peer.say(data(second, b"x", header=b"h", windows=(9, 9999)))
    # A quarter of the memory is for windows beyond the initial one.
    assert peer.hear() == [StreamWindow(first, 1500), StreamWindow(second, 1500)]
    peer.say(data(third, b"x", header=b"h"))
    peer.say(data(fourth, b"x", header=b"h"))
    assert peer.hear() == [StreamReset(fourth, ResetTarget.BOTH, 8)]
    with pytest.raises(StreamLimitError):
        peer.engine.open_stream(b"h")
    peer.say(Ack(((0, 100),)), StreamReset(first, ResetTarget.BOTH, 0))
    assert peer.engine.open_stream(b"h") == peer.engine_stream_id(0)


def test_a_peer_that_ignores_refusals_is_cut_off() -> None:
    peer = peer_with(max_peer_streams=1)
    for ordinal in range(2000):
        if peer.engine.status is not PeerStatus.CONNECTED:
            break
        peer.say(data(peer.stream_id(ordinal), b"x", header=b"h"))
    expect_close(peer)


def test_a_lane_with_too_many_gaps_is_reset() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(data(stream_id, b"x", header=b"h"))
    for offset in range(2, 2000, 2):
        peer.say(data(stream_id, b"x", offset=offset))
    assert StreamResetLocal(stream_id, Halves.READER, 8) in peer.engine.take_events()
    assert StreamReset(stream_id, ResetTarget.ORIGIN, 8) in peer.hear()


def test_credit_in_crumbs_does_not_pile_up() -> None:
    """Credit for one byte at a time, and every other byte acknowledged, never the first."""
    peer = peer_with(window=0)
    stream_id = write_new(peer, bytes(5000))
    highest = 0
    for offset in range(1, 2000):
        peer.say(StreamWindow(stream_id, offset))
        while (record := peer.take()) is not None:
            pieces = [frame for frame in record.frames if isinstance(frame, StreamData)]
            assert len(pieces) <= 64
            highest = max([highest, *(piece.offset for piece in pieces)])
            if all(piece.offset % 2 for piece in pieces):
                peer.say(Ack(((record.seq, record.seq),)))
        if offset % 60 == 0:
            peer.wait(0.05)  # the others are lost, so they do not use up the 64 records
    assert 1000 < highest < 1100
    session = peer.engine._sessions.current
    assert session is not None
    (stream,) = session.streams
    assert len(stream._outbound._acked) == 512
    peer.say(Ack(((0, 100_000),)))
    assert highest + 1 in [offset for _, offset, _, _ in sent_data(peer.hear())]


# --- the application's mistakes ------------------------------------------------------------------


def test_an_opening_on_a_stream_of_ours_ends_the_session() -> None:
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    peer.hear()
    peer.engine.take_events()
    peer.say(StreamData(stream_id, 0, False, StreamOpening(1, 1, b""), b"y"))
    expect_close(peer)


def test_the_end_is_told_while_bytes_in_front_of_it_wait_to_be_read() -> None:
    peer = peer_with()
    stream_id = peer.stream_id(0)
    peer.say(StreamData(stream_id, 0, False, StreamOpening(1, 1, b"h"), b"a"))
    peer.engine.take_events()
    peer.say(StreamData(stream_id, 1, True, None, b"b"))
    assert peer.engine.take_events() == [InboundFinished(stream_id)]


def test_a_finished_send_buffer_does_not_grow() -> None:
    peer = peer_with(stream_send_buffer_size=4, max_stream_send_buffer_size=64)
    growing, finished = write_new(peer, b"abcd"), write_new(peer, b"abcd")
    peer.engine.finish(finished)
    peer.hear()
    assert peer.engine.write(growing, b"efgh") == 0
    peer.say(Ack(((0, 100),)))
    assert [stream.send_growth for stream in peer.engine._streams][:2] == [4, 0]


def test_a_writer_hears_of_the_room_when_its_buffer_grows_behind_a_gap() -> None:
    peer = peer_with(stream_send_buffer_size=8, max_stream_send_buffer_size=16)
    stream_id = write_new(peer, b"abcd")
    first = peer.take()
    peer.engine.write(stream_id, b"efgh")
    second = peer.take()
    assert first is not None
    assert second is not None
    peer.engine.take_events()
    peer.say(Ack(((second.seq, second.seq),)))
    # Nothing was freed, yet the buffer is larger: a writer that waits must not sleep on.
    assert peer.engine.take_events() == [StreamWritable(stream_id)]
    assert peer.engine.write(stream_id, b"0123456789") == 8
    peer.say(Ack(((first.seq, first.seq),)))
    assert peer.engine.take_events() == [StreamWritable(stream_id)]
    assert peer.engine.outbound_state(stream_id).capacity == 8


def test_nothing_is_written_behind_the_end() -> None:
    peer = peer_with()
    stream_id = write_new(peer, b"x")
    peer.engine.finish(stream_id)
    peer.engine.finish(stream_id)
    with pytest.raises(LaneFinishedError):
        peer.engine.write(stream_id, b"y")
    peer.engine.reset(stream_id, Halves.WRITER, 3)
    assert peer.engine.write(stream_id, b"y") == 0
    peer.engine.finish(stream_id)
    assert peer.engine.outbound_state(stream_id).reset_code == 3


def test_nothing_is_sent_before_the_first_byte_or_the_end() -> None:
    peer = peer_with()
    stream_id = peer.engine.open_stream(b"h")
    assert peer.hear() == []
    peer.engine.finish(stream_id)
    assert peer.hear() == [StreamData(stream_id, 0, True, StreamOpening(16_384, 16_384, b"h"), b"")]
