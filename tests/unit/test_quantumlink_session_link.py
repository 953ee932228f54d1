"""Two engines on one link: handshakes, pairing, closing, timers (session section 10.3)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.link_forger import TOKEN, kind_of

from primegap.quantumlink import (
    NATIVE,
    REFERENCE,
    CloseCode,
    DecryptFailedError,
    HandshakeKind,
    HandshakeRecord,
    InvalidPairingIdError,
    InvalidRemoteBundleError,
    InvalidRouteError,
    InvalidVersionError,
    Invite,
    LocalError,
    PairingToken,
    SessionRecord,
    Suite,
    parse_record_untrusted,
)
from primegap.quantumlink.session import (
    Halves,
    InboundFinished,
    LinkConfig,
    LinkEngine,
    LinkEvent,
    NewPeer,
    NoPeerError,
    NoSessionError,
    NoSessionForRecordError,
    NotPairingError,
    OutboundFinished,
    PeerStatus,
    PeerStatusChanged,
    RecordTooLongError,
    SessionClosed,
    SessionDropped,
    StreamOpened,
    StreamReadable,
    StreamWritable,
    TraceValue,
    UnknownPeerError,
    Unpaired,
)
from primegap.quantumlink.session.config import TUNED_ACK_DELAY_S
from primegap.quantumlink.session.simulation import Endpoint, LinkPair, seeded_rng


def statuses(side: Endpoint) -> list[PeerStatus]:
    return [event.status for event in side.events_of(PeerStatusChanged)]


def invite_of(side: Endpoint, token: bytes = TOKEN) -> Invite:
    return Invite(side.identity.suite, side.identity.qid, PairingToken(token))


def is_session_record(record: bytes) -> bool:
    return isinstance(parse_record_untrusted(record), SessionRecord)


def kinds_sent(side: Endpoint) -> list[HandshakeKind]:
    parsed = [parse_record_untrusted(record) for record in side.sent]
    return [record.kind for record in parsed if isinstance(record, HandshakeRecord)]


def loses_last_message(sender: Endpoint, record: bytes) -> Sequence[float]:
    del sender
    return () if kind_of(record) is HandshakeKind.XX4 else (0.01,)


def assert_connected(pair: LinkPair) -> None:
    assert pair.a.engine.status is pair.b.engine.status is PeerStatus.CONNECTED
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash is not None
    stream_id = pair.a.engine.open_stream(b"check")
    pair.a.engine.write(stream_id, b"both ways")
    pair.a.engine.finish(stream_id)
    pair.settle()
    assert pair.b.engine.read(stream_id, 100) == b"both ways"
    pair.b.engine.write(stream_id, b"indeed")
    pair.b.engine.finish(stream_id)
    pair.settle()
    assert pair.a.engine.read(stream_id, 100) == b"indeed"
    pair.settle()
    assert pair.a.engine.streams() == pair.b.engine.streams() == []


# --- handshakes ---


@pytest.mark.scenario("session", 45, 49)
@pytest.mark.parametrize("suite", [NATIVE, REFERENCE], ids=lambda suite: suite.name)
@pytest.mark.parametrize("pattern", ["ik", "kk"])
def test_known_peers_connect(suite: Suite, pattern: str) -> None:
    pair = LinkPair(suite=suite)
    pair.bind_each_other()
    connect = pair.a.engine.connect_ik if pattern == "ik" else pair.a.engine.connect_kk
    connect(now_s=pair.now_s)
    assert pair.a.engine.status is PeerStatus.INITIATOR
    pair.settle()
    assert statuses(pair.a) == [PeerStatus.INITIATOR, PeerStatus.CONNECTED]
    assert statuses(pair.b) == [PeerStatus.CONNECTED]
    assert_connected(pair)


@pytest.mark.parametrize("start", ["ik", "kk", "xx"])
def test_a_responder_is_connected_by_the_first_record_of_the_initiator(start: str) -> None:
    pair = LinkPair()
    if start == "xx":
        pair.b.engine.arm_pairing(PairingToken(TOKEN))
        pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    else:
        pair.bind_each_other()
        connect = pair.a.engine.connect_ik if start == "ik" else pair.a.engine.connect_kk
        connect(now_s=pair.now_s)
    while not pair.a.events_of(PeerStatusChanged)[1:]:
        assert pair.b.events == []
        assert pair.b.engine.status is PeerStatus.DISCONNECTED
        assert pair.b.engine.armed is (start == "xx")
        pair.advance(0.001)
    assert pair.b.events == []
    assert pair.b.engine.handshake_hash is None
    pair.settle()
    assert [type(event) for event in pair.b.events] == [
        *([NewPeer] if start == "xx" else []),
        PeerStatusChanged,
    ]
    assert pair.b.engine.peer == pair.a.identity.bundle
    assert not pair.b.engine.armed
    assert_connected(pair)


def test_a_pairing_whose_last_message_is_lost_starts_over_with_the_same_code() -> None:
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.fate = loses_last_message
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.advance(6.0)
    assert pair.a.engine.status is PeerStatus.DISCONNECTED
    assert pair.b.engine.peer is None
    pair.fate = lambda sender, record: (0.01,)
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.settle()
    assert_connected(pair)
    assert not pair.b.engine.armed


def test_disarming_ends_a_pairing_that_is_not_proven_yet() -> None:
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.fate = loses_last_message
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.advance(0.1)
    assert list(pair.b.engine._sessions.all) != []
    pair.b.engine.disarm_pairing()
    assert list(pair.b.engine._sessions.all) == []


def test_facts_are_traced_in_public_values() -> None:
    pair = LinkPair()
    facts: list[tuple[str, float, dict[str, TraceValue]]] = []

    def trace(fact: str, /, *, now_s: float, **values: TraceValue) -> None:
        facts.append((fact, now_s, values))

    engine = LinkEngine(
        LinkConfig(), pair.a.identity, rng=seeded_rng("traced"), now_s=0.0, trace=trace
    )
    pair.a.engine = engine
    pair.connect()
    engine.close_session(0, now_s=pair.now_s)
    names = [name for name, _, _ in facts]
    assert names[:3] == ["engine-created", "handshake-started", "session-connected"]
    assert {"record-sent", "record-received"} < set(names)
    assert names[-1] == "session-closed"
    assert not any(isinstance(value, bytes) for _, _, v in facts for value in v.values())


@pytest.mark.scenario("session", 45, 46, 48)
@pytest.mark.parametrize("suite", [NATIVE, REFERENCE], ids=lambda suite: suite.name)
def test_strangers_pair(suite: Suite) -> None:  # session 11, #14
    pair = LinkPair(suite=suite)
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    assert pair.a.engine.status is PeerStatus.INITIATOR
    assert pair.a.engine.remote_qid == pair.b.identity.qid
    pair.advance(0.015)
    assert pair.b.engine.status is PeerStatus.DISCONNECTED
    assert pair.b.engine.remote_qid == pair.a.identity.qid
    pair.settle()
    assert pair.a.events_of(NewPeer) == [NewPeer(pair.b.identity.bundle)]
    assert pair.b.events_of(NewPeer) == [NewPeer(pair.a.identity.bundle)]
    assert pair.a.engine.peer == pair.b.identity.bundle
    assert not pair.b.engine.armed
    assert_connected(pair)


@pytest.mark.scenario("session", 47, 71)
def test_each_side_learns_the_window_of_the_other() -> None:
    pair = LinkPair(
        config_a=LinkConfig(initial_stream_receive_window=9),
        config_b=LinkConfig(initial_stream_receive_window=3),
    )
    pair.connect()
    for side, other, credit in ((pair.a, pair.b, 3), (pair.b, pair.a, 9)):
        stream_id = side.engine.open_stream(b"h")
        side.engine.write(stream_id, bytes(20))
        pair.settle()
        assert other.engine.readable_bytes(stream_id) == credit


@pytest.mark.scenario("session", 48)
def test_connecting_needs_a_peer() -> None:
    pair = LinkPair()
    with pytest.raises(NoPeerError):
        pair.a.engine.connect_ik(now_s=0.0)
    with pytest.raises(NoPeerError):
        pair.a.engine.connect_kk(now_s=0.0)
    assert pair.a.engine.take_events() == []


@pytest.mark.scenario("session", 50)
def test_pairing_needs_the_armed_token() -> None:
    pair = LinkPair()
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=0.0)
    pair.settle()
    assert [type(error) for error in pair.b.errors] == [NotPairingError]
    pair.b.engine.arm_pairing(PairingToken(bytes(16)))
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.settle()
    assert [type(error) for error in pair.b.errors[1:]] == [InvalidPairingIdError]
    assert pair.b.engine.status is PeerStatus.DISCONNECTED
    assert (pair.b.events, pair.b.sent) == ([], [])
    assert pair.b.engine.armed


@pytest.mark.scenario("session", 51)
def test_disarming_ends_a_pairing() -> None:
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=0.0)
    pair.advance(0.015)
    pair.b.engine.disarm_pairing()
    pair.advance(1.0)
    assert pair.b.results == [True, False]
    assert kinds_sent(pair.b) == [HandshakeKind.XX2]
    pair.advance(5.0)
    assert statuses(pair.a)[-1] is PeerStatus.DISCONNECTED


def test_an_invitation_of_another_suite_is_a_mistake_of_ours() -> None:
    pair = LinkPair(suite=NATIVE)
    other = LinkPair(suite=REFERENCE)
    with pytest.raises(LocalError):
        pair.a.engine.connect_xx(invite_of(other.b), now_s=0.0)
    with pytest.raises(LocalError):
        pair.a.engine.bind_peer(other.b.identity.bundle)


@pytest.mark.scenario("session", 52)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("start", ["ik", "kk", "ik against kk", "xx"])
def test_both_may_start_at_once(start: str, seed: int) -> None:
    pair = LinkPair(seed=seed)
    a, b = pair.a.engine, pair.b.engine
    if start == "xx":
        for side in (pair.a, pair.b):
            side.engine.arm_pairing(PairingToken(TOKEN))
            side.engine.connect_xx(invite_of(pair.other(side)), now_s=0.0)
    else:
        pair.bind_each_other()
        (a.connect_kk if start == "kk" else a.connect_ik)(now_s=0.0)
        (b.connect_ik if start == "ik" else b.connect_kk)(now_s=0.0)
    pair.settle()
    assert_connected(pair)
    pair.advance(20.0)
    assert_connected(pair)
    assert [statuses(side)[-1] for side in (pair.a, pair.b)] == [PeerStatus.CONNECTED] * 2


@pytest.mark.scenario("session", 53)
def test_a_second_attempt_replaces_the_first() -> None:
    pair = LinkPair()
    pair.bind_each_other()
    pair.a.engine.connect_ik(now_s=pair.now_s)
    pair.advance(0.003)
    pair.a.engine.connect_ik(now_s=pair.now_s)
    pair.settle()
    assert pair.a.results[:2] == [False, True]
    assert_connected(pair)


@pytest.mark.scenario("session", 54)
def test_an_unknown_initiator_is_refused_unless_asked_for() -> None:
    pair = LinkPair()
    pair.a.engine.bind_peer(pair.b.identity.bundle)
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.a.engine.connect_ik(now_s=0.0)
    pair.settle()
    assert [type(error) for error in pair.b.errors] == [UnknownPeerError]
    welcoming = LinkPair(config_b=LinkConfig(accept_unknown_ik=True))
    welcoming.a.engine.bind_peer(welcoming.b.identity.bundle)
    welcoming.a.engine.connect_kk(now_s=0.0)
    welcoming.settle()
    assert [type(error) for error in welcoming.b.errors] == [UnknownPeerError]
    welcoming.a.engine.connect_ik(now_s=welcoming.now_s)
    welcoming.settle()
    assert welcoming.b.events[:2] == [
        NewPeer(welcoming.a.identity.bundle),
        PeerStatusChanged(PeerStatus.CONNECTED),
    ]
    assert_connected(welcoming)


def test_another_than_the_paired_peer_is_refused() -> None:
    pair, stranger = LinkPair(seed=1), LinkPair(seed=2)
    pair.bind_each_other()
    stranger.a.engine.bind_peer(pair.b.identity.bundle)
    stranger.a.engine.connect_ik(now_s=0.0)
    first = stranger.a.engine.take_write(now_s=0.0)
    assert first is not None
    assert isinstance(pair.inject(pair.b, first.record), InvalidRouteError)
    pair.b.engine.connect_ik(now_s=0.0)
    assert isinstance(pair.inject(pair.b, first.record), InvalidRouteError)


@pytest.mark.scenario("session", 55)
def test_an_attempt_without_an_answer_ends() -> None:
    pair = LinkPair()
    pair.bind_each_other()
    pair.fate = lambda sender, record: ()
    pair.a.engine.connect_ik(now_s=0.0)
    pair.advance(4.99)
    assert statuses(pair.a) == [PeerStatus.INITIATOR]
    pair.advance(0.02)
    assert statuses(pair.a) == [PeerStatus.INITIATOR, PeerStatus.DISCONNECTED]
    assert len(pair.a.sent) == 1
    pair.a.engine.connect_ik(now_s=pair.now_s)
    pair.a.engine.on_timeout(now_s=pair.now_s + 5.0)
    assert pair.a.engine.take_write(now_s=pair.now_s) is None


def test_a_pairing_that_is_answered_and_not_continued_ends() -> None:
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.fate = lambda sender, record: (0.01,) if sender is pair.a else ()
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=0.0)
    pair.advance(5.1)
    assert statuses(pair.b) == [PeerStatus.DISCONNECTED]
    pair.fate = lambda sender, record: (0.01,)
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.settle()
    assert_connected(pair)


def test_a_lost_pairing_may_start_over_after_a_second() -> None:  # session 11, #15
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    lost = {pair.b: 1}

    def fate(sender: Endpoint, record: bytes) -> Sequence[float]:
        lost[sender] = lost.get(sender, 0) - 1
        return () if lost[sender] >= 0 else (0.01,)

    pair.fate = fate
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=0.0)
    pair.advance(0.5)
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.advance(0.6)
    assert pair.b.results == [True, False]
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=pair.now_s)
    pair.settle()
    assert_connected(pair)


@pytest.mark.scenario("session", 56)
def test_binding_a_peer_drops_what_was_running() -> None:
    pair = LinkPair()
    pair.bind_each_other()
    pair.a.engine.connect_ik(now_s=0.0)
    pair.a.engine.take_events()
    pair.a.engine.bind_peer(pair.b.identity.bundle)
    assert pair.a.engine.take_events() == []
    assert pair.a.engine.take_write(now_s=0.0) is None
    assert pair.a.engine.status is PeerStatus.DISCONNECTED
    pair.connect()
    pair.a.engine.bind_peer(pair.b.identity.bundle)
    assert pair.a.engine.take_events() == [SessionDropped()]


def test_a_bundle_that_contradicts_the_bound_peer_is_refused() -> None:
    pair, other = LinkPair(seed=1), LinkPair(seed=2)
    pair.b.engine.bind_peer(other.a.identity.bundle)
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=0.0)
    pair.advance(6.0)
    assert [type(error) for error in pair.b.errors] == [InvalidRemoteBundleError]
    assert pair.b.engine.peer == other.a.identity.bundle
    assert pair.b.engine.armed
    assert statuses(pair.a) == [PeerStatus.INITIATOR, PeerStatus.DISCONNECTED]
    assert HandshakeKind.XX4 not in kinds_sent(pair.b)


def test_an_initiator_refuses_another_than_the_bound_peer() -> None:
    pair, other = LinkPair(seed=1), LinkPair(seed=2)
    pair.a.engine.bind_peer(other.b.identity.bundle)
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    pair.a.engine.connect_xx(invite_of(pair.b), now_s=0.0)
    pair.settle()
    assert [type(error) for error in pair.a.errors][:1] == [InvalidRemoteBundleError]
    assert statuses(pair.a) == [PeerStatus.INITIATOR, PeerStatus.DISCONNECTED]
    assert pair.a.engine.peer == other.b.identity.bundle


# --- streams ---


@pytest.mark.scenario("session", 57)
def test_data_and_the_end_arrive() -> None:
    pair = LinkPair()
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"route")
    pair.a.engine.write(stream_id, b"payload")
    pair.a.engine.finish(stream_id)
    pair.settle()
    assert pair.b.events == [
        StreamOpened(stream_id, b"route"),
        StreamReadable(stream_id),
        InboundFinished(stream_id),
    ]
    assert pair.a.events == [OutboundFinished(stream_id)]
    assert pair.b.engine.read(stream_id, 100) == b"payload"


@pytest.mark.scenario("session", 16)
def test_bytes_may_be_read_the_moment_they_are_told() -> None:
    pair = LinkPair()
    pair.connect()
    taken: list[bytes] = []

    def read(event: LinkEvent) -> None:
        if isinstance(event, StreamReadable):
            taken.append(pair.b.engine.read(event.stream_id, 100))

    pair.b.on_event = read
    stream_id = pair.a.engine.open_stream(b"h")
    pair.a.engine.write(stream_id, b"hello")
    pair.a.engine.finish(stream_id)
    pair.settle()
    assert taken == [b"hello"]
    assert pair.b.events_of(InboundFinished) == [InboundFinished(stream_id)]
    assert pair.b.engine.inbound_state(stream_id).is_at_end


class PublishedFaults:
    """The faults of the published test: to `b` few, back from it many until they are healed.

    Args:
        heals_s: after how long the way back is good; infinity for never.
    """

    def __init__(self, pair: LinkPair, heals_s: float) -> None:
        self._pair = pair
        self._heals_at_s = pair.now_s + heals_s
        self._forth = 0
        self._back = 0

    def fate(self, sender: Endpoint, record: bytes) -> Sequence[float]:
        del record
        if sender is self._pair.a:
            self._forth += 1
            late_s = 0.012 if self._forth % 13 == 0 else 0.0
            return () if self._forth % 41 == 0 else (0.001 + late_s,)
        if self._pair.now_s >= self._heals_at_s:
            return (0.003,)
        self._back += 1
        if self._back % 7 == 0:
            return ()
        delay_s = 0.028 if self._back % 3 == 0 else 0.003
        return (delay_s, delay_s) if self._back % 19 == 0 else (delay_s,)


@pytest.mark.scenario("session", 97, 98)
@pytest.mark.parametrize("heals_s", [0.3, float("inf")], ids=["healed", "for ever"])
@pytest.mark.parametrize("config", [LinkConfig.tuned(), LinkConfig()], ids=["tuned", "published"])
def test_two_mebibytes_over_the_published_faults(config: LinkConfig, heals_s: float) -> None:
    pair = LinkPair(config_a=config, config_b=config)
    pair.connect()
    pair.fate = PublishedFaults(pair, heals_s).fate
    payload = bytes(range(251)) * (2 * 1024 * 1024 // 251 + 1)
    started_s, left, received = pair.now_s, payload, bytearray()
    stream_id = pair.a.engine.open_stream(b"h")

    def write(_event: LinkEvent | None) -> None:
        nonlocal left
        if left:
            left = left[pair.a.engine.write(stream_id, left) :]
            if not left:
                pair.a.engine.finish(stream_id)

    def read(event: LinkEvent) -> None:
        if isinstance(event, StreamReadable):
            received.extend(pair.b.engine.read(stream_id, 1 << 20))

    pair.a.on_event, pair.b.on_event = write, read
    write(None)
    while not pair.a.events_of(OutboundFinished) and pair.now_s - started_s < 10:
        pair.advance(0.05)
    assert pair.a.events_of(OutboundFinished)
    assert received == payload
    assert pair.a.errors == pair.b.errors == []


@pytest.mark.scenario("session", 58)
def test_a_lost_record_is_repeated_and_then_all_is_quiet() -> None:
    pair = LinkPair()
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"h")
    pair.a.engine.write(stream_id, b"once")
    pair.fate = lambda sender, record: ()
    pair.pump(pair.a)
    pair.fate = lambda sender, record: (0.01,)
    pair.advance(2.0)
    assert pair.b.engine.read(stream_id, 100) == b"once"
    sent = len(pair.a.sent), len(pair.b.sent)
    pair.advance(5.0)
    assert (len(pair.a.sent), len(pair.b.sent)) == sent


@pytest.mark.scenario("session", 59)
def test_both_may_open_streams_at_once() -> None:
    pair = LinkPair()
    pair.connect()
    ids = []
    for side in (pair.a, pair.b):
        stream_id = side.engine.open_stream(side.name.encode())
        side.engine.write(stream_id, side.name.encode())
        ids.append(stream_id)
    assert sorted(ids) == [0, 1]
    pair.settle()
    assert pair.b.engine.read(ids[0], 10) == b"a"
    assert pair.a.engine.read(ids[1], 10) == b"b"


@pytest.mark.scenario("session", 60)
def test_calls_without_a_session_fail() -> None:
    engine = LinkPair().a.engine
    with pytest.raises(NoSessionError):
        engine.open_stream(b"h")
    with pytest.raises(NoSessionError):
        engine.read(0, 1)
    with pytest.raises(NoSessionError):
        engine.reset(0, Halves.BOTH, 0)
    with pytest.raises(NoSessionError):
        engine.queue_ping()
    assert engine.streams() == []
    engine.close_session(0, now_s=0.0)
    assert engine.take_events() == []
    assert engine.next_timeout_s() is None


@pytest.mark.scenario("session", 62)
def test_a_refused_write_is_offered_again_after_a_wait() -> None:  # session 11, #13
    pair = LinkPair()
    pair.connect()
    engine = pair.a.engine
    stream_id = engine.open_stream(b"h")
    engine.write(stream_id, b"x")
    first = engine.take_write(now_s=pair.now_s)
    assert first is not None
    assert first.write_id is not None
    engine.complete_write(first.write_id, ok=False, now_s=pair.now_s)
    assert engine.take_write(now_s=pair.now_s) is None
    due_s = engine.next_timeout_s()
    assert due_s == pytest.approx(pair.now_s + 0.01)
    engine.on_timeout(now_s=pair.now_s + 0.01)
    second = engine.take_write(now_s=pair.now_s + 0.01)
    assert second is not None
    assert second.write_id != first.write_id
    assert len(second.record) == len(first.record)
    assert second.record != first.record
    assert pair.inject(pair.b, second.record) is True
    assert pair.b.engine.read(stream_id, 10) == b"x"
    engine.complete_write(first.write_id, ok=True, now_s=pair.now_s)  # late and unknown


@pytest.mark.scenario("session", 63)
def test_an_unconfirmed_write_never_times_out() -> None:
    pair = LinkPair()
    pair.connect()
    engine = pair.a.engine
    engine.queue_ping()
    assert engine.take_write(now_s=pair.now_s) is not None
    engine.on_timeout(now_s=pair.now_s + 9.0)
    assert engine.take_write(now_s=pair.now_s + 9.0) is None


@pytest.mark.scenario("session", 64)
def test_an_ack_frees_the_buffer() -> None:
    pair = LinkPair(config_a=LinkConfig(stream_send_buffer_size=4))
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"h")
    assert pair.a.engine.write(stream_id, b"abcdef") == 4
    pair.settle()
    assert pair.a.events == [StreamWritable(stream_id)]


# --- ends ---


@pytest.mark.scenario("session", 65)
def test_a_close_is_seen_by_both() -> None:
    pair = LinkPair()
    pair.connect()
    pair.a.engine.close_session(42, now_s=pair.now_s)
    assert pair.a.engine.remote_qid == pair.b.identity.qid
    pair.settle()
    for side in (pair.a, pair.b):
        (closed,) = side.events_of(SessionClosed)
        assert closed.code == 42
        assert statuses(side) == [PeerStatus.DISCONNECTED]
    assert [type(error) for error in pair.a.errors] == [NoSessionForRecordError]
    pair.a.engine.connect_kk(now_s=pair.now_s)
    pair.settle()
    assert_connected(pair)


@pytest.mark.scenario("session", 66, 67)
def test_unpairing_is_seen_by_both() -> None:
    pair = LinkPair()
    pair.connect()
    pair.a.engine.unpair(now_s=pair.now_s)
    pair.settle()
    for side in (pair.a, pair.b):
        assert side.engine.peer is None
        assert side.engine.remote_qid is None
        assert len(side.events_of(Unpaired)) == 1
        assert statuses(side) == [PeerStatus.UNPAIRED]
        with pytest.raises(NoPeerError):
            side.engine.connect_ik(now_s=pair.now_s)
        side.engine.unpair(now_s=pair.now_s)
        assert side.engine.take_events() == []


@pytest.mark.scenario("session", 66)
def test_unpairing_without_a_session_has_nothing_to_send() -> None:
    pair = LinkPair()
    pair.bind_each_other()
    pair.a.engine.connect_ik(now_s=0.0)
    pair.a.engine.take_events()
    pair.a.engine.unpair(now_s=0.0)
    assert pair.a.engine.take_events() == [
        Unpaired(None),
        PeerStatusChanged(PeerStatus.UNPAIRED),
    ]
    assert pair.a.engine.take_write(now_s=0.0) is None


@pytest.mark.scenario("session", 68)
def test_an_ack_leaves_after_its_delay() -> None:
    pair = LinkPair()
    pair.connect()
    pair.a.engine.queue_ping()
    before = len(pair.b.sent)
    pair.advance(pair.delay_s + TUNED_ACK_DELAY_S - 0.0001)
    assert len(pair.b.sent) == before
    pair.advance(0.0002)
    assert len(pair.b.sent) == before + 1


@pytest.mark.scenario("session", 69, 70)
def test_a_replayed_record_changes_nothing() -> None:
    pair = LinkPair()
    pair.connect()
    pair.a.engine.queue_ping()
    pair.settle()
    replayed = pair.a.sent[-1]
    assert is_session_record(replayed)
    before = pair.b.engine.next_timeout_s()
    pair.advance(0.5)
    assert pair.inject(pair.b, replayed) is False
    assert pair.b.engine.next_timeout_s() == before
    pair.advance(1.0)
    assert pair.b.events == []


def test_a_duplicate_is_acknowledged_again_at_a_limited_rate() -> None:  # session 11, #2
    pair = LinkPair()
    pair.connect()
    pair.a.engine.queue_ping()
    pair.settle()
    replayed = pair.a.sent[-1]
    quiet_from = len(pair.b.sent)
    silence_ends_s = pair.now_s + 30.0
    for _ in range(500):  # five seconds of a hundred duplicates each
        pair.advance(0.01)
        pair.inject(pair.b, replayed)
    pair.settle()
    repeated = len(pair.b.sent) - quiet_from
    assert 4 <= repeated <= 6
    assert pair.a.errors == []
    pair.fate = lambda sender, record: ()
    while not pair.b.events_of(SessionClosed):
        pair.advance(0.5)
        pair.inject(pair.b, replayed)
    assert pair.now_s < silence_ends_s + 0.6  # no sign of life


def test_an_ack_that_was_confirmed_is_not_repeated() -> None:
    pair = LinkPair()
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"h")
    pair.a.engine.write(stream_id, b"x")
    pair.pump(pair.a)
    asked = pair.a.sent[-1]
    pair.advance(0.011)
    pair.b.engine.write(stream_id, b"y")  # the ACK rides on it, and is confirmed with it
    pair.settle()
    before = len(pair.b.sent)
    pair.advance(5.0)
    pair.inject(pair.b, asked)
    pair.settle()
    assert len(pair.b.sent) == before


@pytest.mark.scenario("session", 72)
def test_silence_ends_a_session() -> None:
    pair = LinkPair()
    pair.connect()
    pair.fate = lambda sender, record: () if sender is pair.b else (0.01,)
    pair.advance(31.0)
    (closed,) = pair.a.events_of(SessionClosed)
    assert closed.code == CloseCode.TIMEOUT
    assert statuses(pair.a) == [PeerStatus.DISCONNECTED]


def test_an_idle_session_is_kept_alive_by_pings() -> None:  # session 11, #16
    pair = LinkPair()
    pair.connect()
    pair.advance(300.0)
    assert pair.a.engine.status is pair.b.engine.status is PeerStatus.CONNECTED
    assert pair.a.events == pair.b.events == []
    assert len(pair.a.sent) + len(pair.b.sent) < 100


def test_only_one_ping_waits_for_its_write() -> None:  # session 11, #16
    pair = LinkPair(config_a=LinkConfig(peer_timeout_s=0.0))
    pair.connect()
    engine, now_s = pair.a.engine, pair.now_s + 10.0
    engine.on_timeout(now_s=now_s)
    assert engine.take_write(now_s=now_s) is not None
    engine.on_timeout(now_s=now_s + 10)
    assert engine.take_write(now_s=now_s + 10) is None
    assert engine.next_timeout_s() is None


# --- records that are not for us ---


def test_records_that_do_not_hold_change_nothing() -> None:
    pair, reference = LinkPair(), LinkPair(suite=REFERENCE)
    pair.connect()
    reference.connect()
    genuine = pair.a.sent[-1]
    too_long = genuine + bytes(16_384)
    assert isinstance(pair.inject(pair.b, too_long), RecordTooLongError)
    assert isinstance(pair.inject(pair.b, reference.a.sent[-1]), InvalidVersionError)
    assert isinstance(pair.inject(pair.a, genuine), InvalidRouteError)
    foreign = genuine[:1] + bytes(16) + genuine[17:]
    assert isinstance(pair.inject(pair.b, foreign), InvalidRouteError)
    pair.a.engine.queue_ping()
    pair.pump(pair.a)
    damaged = pair.a.sent[-1][:-1] + bytes([pair.a.sent[-1][-1] ^ 1])
    assert isinstance(pair.inject(pair.b, damaged), DecryptFailedError)
    pair.settle()
    assert_connected(pair)


def test_a_session_record_in_front_of_message_2_is_made_good() -> None:
    pair = LinkPair()
    pair.bind_each_other()

    def fate(sender: Endpoint, record: bytes) -> Sequence[float]:
        return (0.01,) if sender is pair.a or is_session_record(record) else (0.05,)

    pair.fate = fate
    pair.a.engine.connect_ik(now_s=0.0)
    pair.advance(2.0)
    assert [type(error) for error in pair.a.errors] == [NoSessionForRecordError]
    assert_connected(pair)


def test_readable_is_told_once_per_run_of_bytes() -> None:
    pair = LinkPair()
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"h")
    for piece in (b"a", b"b"):
        pair.a.engine.write(stream_id, piece)
        pair.settle()
    assert pair.b.events_of(StreamReadable) == [StreamReadable(stream_id)]
    pair.b.engine.read(stream_id, 2)
    pair.a.engine.write(stream_id, b"c")
    pair.settle()
    assert len(pair.b.events_of(StreamReadable)) == 2
