"""Arbitrary bytes from the air, and arbitrary frames from a paired peer gone bad.

Nothing but remote errors may come out, nothing unauthenticated may have an effect, and what a peer
can make an engine hold stays within the limits.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.quantumlink import (
    Ack,
    Close,
    Frame,
    Ping,
    RemoteError,
    ResetTarget,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    encode_frame,
)
from primegap.quantumlink.codec import MAX_U32, MAX_U64
from primegap.quantumlink.session import (
    Halves,
    LinkConfig,
    MissingStreamError,
    PeerStatus,
    StreamLimitError,
    StreamOpened,
)
from primegap.quantumlink.session.congestion import MAX_TRACKED_RECORDS
from primegap.quantumlink.session.receive_buffer import MAX_PIECES
from primegap.quantumlink.session.recovery import MAX_REMEMBERED_LOSSES
from primegap.quantumlink.session.simulation import LinkPair, ScriptedPeer
from primegap.quantumlink.session.stream_ids import MAX_ID_RANGES
from primegap.quantumlink.session.streams import MAX_REFUSALS

SOME = settings(max_examples=40, deadline=None)

CONFIG = LinkConfig(
    record_max_size=300,
    initial_stream_receive_window=100,
    max_stream_receive_window=200,
    max_peer_streams=5,
    max_receive_memory=900,
    stream_send_buffer_size=200,
)

ids = st.integers(0, 24) | st.sampled_from([MAX_U64, MAX_U64 - 1, 1 << 40])
offsets = st.integers(0, 130) | st.sampled_from([0, 0, 0, MAX_U64, MAX_U64 - 10])
codes = st.integers(0, 9) | st.just(MAX_U64)
windows = st.integers(0, 300) | st.just(MAX_U32)
openings = st.builds(StreamOpening, windows, windows, st.binary(max_size=12))


@st.composite
def data_frames(draw: st.DrawFn) -> StreamData:
    opening = draw(st.none() | openings)
    offset = 0 if opening is not None else draw(offsets)
    return StreamData(draw(ids), offset, draw(st.booleans()), opening, draw(st.binary(max_size=40)))


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    numbers = sorted(draw(st.sets(st.integers(0, 60), min_size=2, max_size=8)), reverse=True)
    pairs = zip(numbers[1::2], numbers[::2], strict=False)
    ranges = [draw(st.sampled_from([(MAX_U64, MAX_U64), (1000, 5000), (60, 60)]))]
    for low, high in pairs:
        if high + 1 < ranges[-1][0]:
            ranges.append((low, high))
    return Ack(tuple(ranges))


frames: st.SearchStrategy[Frame] = (
    data_frames()
    | data_frames()
    | acks()
    | st.builds(StreamWindow, ids, offsets)
    | st.builds(StreamReset, ids, st.sampled_from(ResetTarget), codes)
    | st.just(Ping())
)


def assert_bounded(peer: ScriptedPeer) -> None:
    session = peer.engine._sessions.current
    if session is None:
        return
    table, recovery, acks_owed = session.streams, session._recovery, session._acks
    held = list(table._streams.values())
    assert sum(not stream.is_ours for stream in held) == table._peer_streams <= 5
    assert sum(stream.window.size for stream in held) + table._memory.free == 900
    for stream in held:
        assert len(stream._inbound._data) <= stream.window.size
        assert len(stream._inbound._pieces) <= MAX_PIECES
        assert len(stream._outbound._data) <= 200
        assert len(stream._deferred) <= 2
        assert stream.references >= 0
    for queue in (table._sending, table._windowing, table._resetting):
        assert queue.keys() <= table._streams.keys()
    assert len(table._refusals) + table._refusals_in_flight <= MAX_REFUSALS
    assert len(table._ids._seen) <= MAX_ID_RANGES
    assert recovery.in_flight <= MAX_TRACKED_RECORDS
    assert len(recovery._lost) <= MAX_REMEMBERED_LOSSES
    assert len(acks_owed._fresh) <= 64
    mentioned = sum(
        len(record.content.data) + len(record.content.windows) + len(record.content.resets)
        for record in recovery._tracked.values()
    )
    assert sum(s.references for s in held) + table._refusals_in_flight == mentioned


def use_streams(peer: ScriptedPeer, number: int) -> None:
    """Do what an application might do with whatever streams there are."""
    engine = peer.engine
    if engine.status is not PeerStatus.CONNECTED:
        return
    try:
        stream_id = (engine.streams() or [engine.open_stream(b"ours")])[number % 3 - 1]
        if number % 5 == 0:
            engine.reset(stream_id, (Halves.READER, Halves.WRITER, Halves.BOTH)[number % 3], number)
        elif number % 5 == 1:
            engine.finish(stream_id)
        elif number % 5 == 2:
            engine.read(stream_id, number)
        elif engine.outbound_state(stream_id).capacity:
            engine.write(stream_id, bytes(number))
    except (IndexError, MissingStreamError, StreamLimitError):
        pass


@pytest.mark.guarantee("L-9", tried="random frames of a paired peer")
@SOME
@given(
    script=st.lists(
        st.tuples(st.lists(frames, max_size=6), st.integers(0, 100), st.booleans(), st.booleans()),
        max_size=40,
    )
)
def test_arbitrary_frames_of_a_paired_peer(
    script: list[tuple[list[Frame], int, bool, bool]],
) -> None:
    peer = ScriptedPeer(CONFIG)
    for spoken, number, listen, wait in script:
        if peer.engine.status is not PeerStatus.CONNECTED:
            break
        assert peer.say(*spoken) is True
        use_streams(peer, number)
        assert_bounded(peer)
        if wait:
            peer.wait(1.0)
        if listen:
            peer.take(confirm=bool(number % 4))
        assert_bounded(peer)
    events = peer.engine.take_events()
    opened = [event.stream_id for event in events if isinstance(event, StreamOpened)]
    assert len(opened) == len(set(opened))
    while (outgoing := peer.engine.take_write(now_s=peer.now_s)) is not None:
        assert len(outgoing.record) <= 300
        peer.read(outgoing.record)


@SOME
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_arbitrary_bodies_of_a_paired_peer(bodies: list[bytes]) -> None:
    peer = ScriptedPeer(CONFIG)
    for body in bodies:
        if peer.engine.status is PeerStatus.CONNECTED:
            assert peer.say_body(body) is True
            assert_bounded(peer)


@SOME
@given(
    spoken=st.lists(frames | st.builds(Close, codes), max_size=5),
    cut=st.integers(0, 200),
    position=st.integers(0, 200),
    value=st.integers(1, 255),
)
def test_a_damaged_body_of_a_paired_peer(
    spoken: list[Frame], cut: int, position: int, value: int
) -> None:
    body = bytearray(b"".join(encode_frame(frame) for frame in spoken))
    if body:
        body[position % len(body)] ^= value
    peer = ScriptedPeer(CONFIG)
    assert peer.say_body(bytes(body[:cut])) is True
    assert_bounded(peer)


@pytest.mark.guarantee("L-3", tried="random records of nobody")
@SOME
@given(
    st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 5000), st.integers(1, 255), st.booleans()),
        max_size=20,
    ),
    st.lists(st.binary(max_size=200), max_size=10),
)
def test_nothing_unauthenticated_has_an_effect(
    mutations: list[tuple[int, int, int, bool]], noise: list[bytes]
) -> None:
    pair = LinkPair()
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"h")
    pair.a.engine.write(stream_id, b"payload")
    pair.settle()
    records = pair.a.sent + pair.b.sent
    engine = pair.b.engine
    before = (engine.next_timeout_s(), engine.handshake_hash, len(pair.b.events))
    for number, position, value, cut in mutations:
        record = bytearray(records[number % len(records)])
        record[position % len(record)] ^= value
        damaged = bytes(record[: position % len(record)] if cut else record)
        outcome = pair.inject(pair.b, damaged)
        assert outcome is False or isinstance(outcome, RemoteError)
    for record_bytes in noise:
        assert isinstance(pair.inject(pair.b, record_bytes), RemoteError)
    assert (engine.next_timeout_s(), engine.handshake_hash, len(pair.b.events)) == before
    pair.a.engine.write(stream_id, b" and more")
    pair.settle()
    assert engine.read(stream_id, 100) == b"payload and more"
