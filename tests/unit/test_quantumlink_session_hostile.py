"""What a hostile chip between two engines can do (session section 11, #1 and #18): nothing lasting.

The chip sees and forges everything that is not sealed: it replays, alters, invents and delays
records. It may know the public bundles of both sides, but none of their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.link_forger import TOKEN, forge_first, forge_pairing, kind_of

from primegap.quantumlink import (
    NATIVE,
    DecryptFailedError,
    HandshakeKind,
    Invite,
    PairingToken,
    Pattern,
    Qid,
    RemoteError,
)
from primegap.quantumlink.session import (
    LinkConfig,
    NewPeer,
    PeerStatus,
    PeerStatusChanged,
    SessionClosed,
    SessionDropped,
)
from primegap.quantumlink.session.first_messages import MAX_REMEMBERED
from primegap.quantumlink.session.handshaking import MAX_QUEUED_RECORDS
from primegap.quantumlink.session.sessions import MAX_CANDIDATES
from primegap.quantumlink.session.simulation import Endpoint, LinkPair, seeded_rng

FIRST_MESSAGES = [Pattern.IK, Pattern.KK]


def arm_and_pair(pair: LinkPair) -> None:
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    invite = Invite(NATIVE, pair.b.identity.qid, PairingToken(TOKEN))
    pair.a.engine.connect_xx(invite, now_s=pair.now_s)


def exchange(pair: LinkPair, *, at_most_s: float = 5.0) -> None:
    """Send a few bytes each way over the session that is up."""
    for sender in (pair.a, pair.b):
        stream_id = sender.engine.open_stream(b"h")
        sender.engine.write(stream_id, b"still here")
        pair.settle(at_most_s=at_most_s)
        assert pair.other(sender).engine.read(stream_id, 100) == b"still here"


def flip(record: bytes, position: int) -> bytes:
    return record[:position] + bytes([record[position] ^ 0x40]) + record[position + 1 :]


# --- a live session ---


@pytest.mark.parametrize("pattern", FIRST_MESSAGES)
def test_a_forged_first_message_leaves_a_live_session_alone(pattern: Pattern) -> None:
    pair = LinkPair()
    pair.connect()
    hash_before = pair.b.engine.handshake_hash
    stream_id = pair.a.engine.open_stream(b"long")
    pair.a.engine.write(stream_id, b"before ")
    pair.settle()
    assert pair.inject(pair.b, forge_first(pair, pattern)) is True
    pair.a.engine.write(stream_id, b"after")
    pair.advance(40.0)
    assert pair.b.engine.read(stream_id, 100) == b"before after"
    assert pair.b.engine.handshake_hash == hash_before
    assert pair.b.events_of(PeerStatusChanged) == []
    assert pair.b.events_of(SessionDropped) == []
    assert list(pair.b.engine._sessions.all) == [pair.b.engine._sessions.current]
    exchange(pair)


@pytest.mark.parametrize("pattern", FIRST_MESSAGES)
def test_a_flood_of_forged_first_messages_is_bounded(pattern: Pattern) -> None:
    pair = LinkPair()
    pair.connect()
    pair.fate = lambda sender, record: ()
    for number in range(40):
        pair.b.engine.receive(forge_first(pair, pattern, number), now_s=pair.now_s)
    assert len(list(pair.b.engine._sessions.all)) == MAX_CANDIDATES + 1
    taken = 0
    while pair.b.engine.take_write(now_s=pair.now_s) is not None:
        taken += 1
    assert taken <= MAX_QUEUED_RECORDS + MAX_CANDIDATES + 1
    pair.fate = lambda sender, record: (0.01,)
    exchange(pair)
    assert MAX_REMEMBERED == 512


@pytest.mark.parametrize("pattern", FIRST_MESSAGES)
def test_a_forged_first_message_does_not_connect_an_idle_side(pattern: Pattern) -> None:
    pair = LinkPair()
    pair.bind_each_other()
    assert pair.inject(pair.b, forge_first(pair, pattern, 1)) is True
    pair.advance(40.0)
    assert pair.b.events == []
    assert pair.b.engine.handshake_hash is None
    assert list(pair.b.engine._sessions.all) == []
    pair.inject(pair.b, forge_first(pair, pattern, 2))
    pair.a.engine.connect_kk(now_s=pair.now_s)
    pair.settle()
    assert pair.b.engine.status is PeerStatus.CONNECTED
    assert pair.b.engine.handshake_hash == pair.a.engine.handshake_hash is not None


def test_who_saw_the_pairing_code_cannot_pair_in_the_name_of_another() -> None:
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    # Up to XX3 nothing takes the private key of the initiator, only its public bundle.
    pair.fate = lambda sender, record: () if kind_of(record) is HandshakeKind.XX4 else (0.01,)
    pair.a.engine.connect_xx(
        Invite(NATIVE, pair.b.identity.qid, PairingToken(TOKEN)), now_s=pair.now_s
    )
    pair.advance(40.0)
    assert HandshakeKind.XX4 in [kind_of(record) for record in pair.b.sent]
    assert pair.b.events == []
    assert pair.b.engine.peer is None


def test_the_keys_of_every_session_that_ends_are_erased() -> None:
    pair = LinkPair()
    pair.connect()
    old = pair.b.engine._sessions.current
    assert old is not None
    for number in range(MAX_CANDIDATES + 1):
        pair.inject(pair.b, forge_first(pair, Pattern.KK, number))
    forged = [held.session for held in pair.b.engine._sessions._candidates]
    pair.b.engine.close_session(0, now_s=pair.now_s)
    for session in (old, *forged):
        assert len(session._sealer._current.key) == len(session._opener._newest.key) == 0


def test_a_forged_message_that_does_not_verify_changes_nothing() -> None:
    pair = LinkPair()
    pair.connect()
    genuine = forge_first(pair, Pattern.IK)
    for position in (35, 39, 50, 1200, 2400, len(genuine) - 1):
        assert isinstance(pair.inject(pair.b, flip(genuine, position)), RemoteError)
    assert isinstance(pair.inject(pair.b, genuine[:2000]), RemoteError)
    assert list(pair.b.engine._sessions.all) == [pair.b.engine._sessions.current]
    exchange(pair)


def test_a_first_message_is_answered_once() -> None:
    pair = LinkPair()
    pair.connect()
    replayed = next(record for record in pair.a.sent if kind_of(record) is HandshakeKind.IK1)
    assert pair.inject(pair.b, replayed) is False
    forged = forge_first(pair, Pattern.KK)
    assert pair.inject(pair.b, forged) is True
    assert pair.inject(pair.b, forged) is False
    pair.b.engine.close_session(0, now_s=pair.now_s)
    pair.settle()
    assert pair.inject(pair.b, replayed) is False
    assert pair.b.engine.status is PeerStatus.DISCONNECTED


def test_the_genuine_peer_connects_again_through_a_flood() -> None:
    pair = LinkPair()
    pair.connect()
    pair.b.engine.open_stream(b"lost with the old session")
    old_hash = pair.b.engine.handshake_hash
    pair.inject(pair.b, forge_first(pair, Pattern.KK, 1))
    pair.a.engine.connect_kk(now_s=pair.now_s)
    pair.pump(pair.a)
    pair.advance(0.011)
    for number in (2, 3):
        pair.inject(pair.b, forge_first(pair, Pattern.KK, number))
    pair.settle()
    assert pair.b.engine.handshake_hash == pair.a.engine.handshake_hash != old_hash
    assert pair.b.events == [SessionDropped(), PeerStatusChanged(PeerStatus.CONNECTED)]
    exchange(pair)


def test_a_new_session_is_proven_although_the_first_records_are_lost() -> None:
    pair = LinkPair()
    pair.connect()
    pair.a.engine.connect_ik(now_s=pair.now_s)
    dropped: list[bytes] = []

    def fate(sender: Endpoint, record: bytes) -> Sequence[float]:
        if kind_of(record) is None and len(dropped) < 4:
            dropped.append(record)
            return ()
        return (0.01,)

    pair.fate = fate
    pair.advance(20.0)
    assert len(dropped) == 4
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash
    exchange(pair)


def test_a_close_that_comes_late_does_not_hurt_the_new_session() -> None:
    pair = LinkPair()
    pair.connect()
    held: list[bytes] = []

    def hold(sender: Endpoint, record: bytes) -> Sequence[float]:
        if sender is pair.a and kind_of(record) is None:
            held.append(record)
            return ()
        return (0.01,)

    pair.fate = hold
    pair.a.engine.close_session(0, now_s=pair.now_s)
    pair.pump(pair.a)
    pair.a.engine.connect_ik(now_s=pair.now_s)
    pair.advance(0.011)
    assert pair.inject(pair.b, held[0]) is True
    assert pair.b.engine.status is PeerStatus.DISCONNECTED
    pair.fate = lambda sender, record: (0.01,)
    pair.advance(5.0)
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash is not None
    exchange(pair)


def test_a_closed_link_does_not_rise_again_from_a_forged_candidate() -> None:
    pair = LinkPair()
    pair.connect()
    pair.inject(pair.b, forge_first(pair, Pattern.KK))
    pair.a.engine.close_session(0, now_s=pair.now_s)
    pair.advance(60.0)
    assert pair.b.events_of(PeerStatusChanged) == [PeerStatusChanged(PeerStatus.DISCONNECTED)]
    assert pair.b.engine.next_timeout_s() is None


# --- connecting ---


@pytest.mark.parametrize("pattern", FIRST_MESSAGES)
@pytest.mark.parametrize("forged", FIRST_MESSAGES)
def test_a_forged_first_message_cannot_end_an_attempt(pattern: Pattern, forged: Pattern) -> None:
    pair = LinkPair()
    pair.bind_each_other()
    swapped = LinkPair()  # the same identities, seen from the other side
    swapped.a, swapped.b = swapped.b, swapped.a
    engine = pair.a.engine
    connect = engine.connect_ik if pattern is Pattern.IK else engine.connect_kk
    connect(now_s=pair.now_s)
    pair.pump(pair.a)
    for number in range(4):  # whichever side the tie break favours
        pair.inject(pair.a, forge_first(swapped, forged, number))
    pair.settle()
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash is not None
    exchange(pair)


@pytest.mark.parametrize(
    ("start", "forged_kind"),
    [
        ("ik", HandshakeKind.IK2),
        ("kk", HandshakeKind.KK2),
        ("xx", HandshakeKind.XX2),
        ("xx", HandshakeKind.XX3),
        ("xx", HandshakeKind.XX4),
    ],
)
def test_a_forged_reply_does_not_spoil_an_attempt(start: str, forged_kind: HandshakeKind) -> None:
    """Each byte altered alone is refused, and the genuine reply is still accepted."""
    pair = LinkPair()
    if start == "xx":
        arm_and_pair(pair)
    else:
        pair.bind_each_other()
        connect = pair.a.engine.connect_ik if start == "ik" else pair.a.engine.connect_kk
        connect(now_s=pair.now_s)
    forged = []

    def fate(sender: Endpoint, record: bytes) -> Sequence[float]:
        if kind_of(record) is forged_kind:
            receiver = pair.other(sender)
            for position in (39, 45, 700, len(record) - 1):
                outcome = pair.inject(receiver, flip(record, position))
                assert isinstance(outcome, RemoteError)
                forged.append(outcome)
            noise = record[:39] + seeded_rng("noise")(len(record) - 39)
            assert isinstance(pair.inject(receiver, noise), RemoteError)
        return (0.01,)

    pair.fate = fate
    pair.settle()
    assert len(forged) == 4
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash is not None
    exchange(pair)


# --- pairing ---


@pytest.mark.guarantee("L-4", tried="a forged pairing while paired")
def test_a_forged_pairing_leaves_a_live_session_alone() -> None:
    pair = LinkPair()
    pair.connect()
    hash_before = pair.b.engine.handshake_hash
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    assert pair.inject(pair.b, forge_pairing(pair)) is True
    exchange(pair)
    pair.advance(6.0)
    assert pair.b.engine.handshake_hash == hash_before
    assert pair.b.events_of(PeerStatusChanged) == []
    assert pair.b.engine.armed


def test_the_bound_peer_may_pair_again_while_connected() -> None:
    pair = LinkPair()
    pair.connect()
    old_hash = pair.b.engine.handshake_hash
    arm_and_pair(pair)
    pair.settle()
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash != old_hash
    assert pair.b.events_of(NewPeer) == []
    assert not pair.b.engine.armed
    exchange(pair)


def test_a_forged_pairing_cannot_end_ours() -> None:
    """Both sides pair with each other; the chip answers with an XX1 that wins the tie break."""
    pair = LinkPair()
    swapped = LinkPair()
    swapped.a, swapped.b = swapped.b, swapped.a
    arm_and_pair(pair)
    pair.a.engine.arm_pairing(PairingToken(TOKEN))
    pair.pump(pair.a)
    outcomes = [pair.inject(pair.a, forge_pairing(swapped, number)) for number in range(8)]
    assert True in outcomes
    pair.settle()
    assert pair.a.engine.handshake_hash == pair.b.engine.handshake_hash is not None
    exchange(pair)


@pytest.mark.guarantee("L-3", "L-4", tried="a replayed pairing")
def test_a_replayed_pairing_is_ignored_even_with_bytes_behind_it() -> None:
    pair = LinkPair()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))
    forged = forge_pairing(pair)
    assert pair.inject(pair.b, forged) is True
    pair.advance(6.0)
    assert pair.inject(pair.b, forged) is False
    assert pair.inject(pair.b, forged + b"more") is False
    arm_and_pair(pair)
    pair.settle()
    assert pair.b.engine.peer == pair.a.identity.bundle


# --- every kind in every state ---


def idle(pair: LinkPair) -> None:
    pair.bind_each_other()


def unbound(pair: LinkPair) -> None:
    pair.b.engine.disarm_pairing()


def armed(pair: LinkPair) -> None:
    pair.b.engine.arm_pairing(PairingToken(TOKEN))


def initiating(pair: LinkPair) -> None:
    pair.bind_each_other()
    pair.b.engine.connect_ik(now_s=pair.now_s)
    pair.b.engine.take_write(now_s=pair.now_s)


def pairing(pair: LinkPair) -> None:
    armed(pair)
    pair.inject(pair.b, forge_pairing(pair, 99))


def connected(pair: LinkPair) -> None:
    pair.connect()


@pytest.mark.parametrize("state", [idle, unbound, armed, initiating, pairing, connected])
def test_noise_of_every_kind_raises_only_remote_errors(state: Callable[[LinkPair], None]) -> None:
    pair = LinkPair(config_b=LinkConfig(accept_unknown_ik=True))
    state(pair)
    before = pair.b.engine.status
    pair.b.engine.take_events()
    header = bytes((NATIVE.version,)) + pair.a.identity.qid + pair.b.identity.qid
    rng = seeded_rng("kinds")
    for kind in HandshakeKind:
        for size in (0, 3, 4, 24, 700, 2400, 2600, 3000, 9000):
            record = header + bytes((1, kind)) + rng(size)
            outcome = pair.inject(pair.b, record)
            assert outcome is False or isinstance(outcome, RemoteError), (kind, size)
    for size in (0, 1, 17, 500):
        assert isinstance(pair.inject(pair.b, header + b"\x02" + rng(size)), RemoteError)
    assert pair.b.engine.status is before
    assert pair.b.engine.take_events() == []


@pytest.mark.parametrize("state", [idle, armed, initiating, pairing, connected])
def test_genuine_messages_of_another_attempt_do_no_harm(
    state: Callable[[LinkPair], None],
) -> None:
    """Records of a complete pairing and of a session of the same two, replayed elsewhere."""
    past = LinkPair()
    arm_and_pair(past)
    past.settle()
    past.a.engine.connect_kk(now_s=past.now_s)
    past.settle()
    exchange(past)
    past.a.engine.close_session(1, now_s=past.now_s)
    past.settle()
    pair = LinkPair()
    state(pair)
    connected_before = pair.b.engine.handshake_hash
    events = len(pair.b.events)
    for record in past.a.sent + past.b.sent:
        pair.inject(pair.b, record)
    pair.advance(0.5)
    assert [e for e in pair.b.events[events:] if isinstance(e, NewPeer | SessionClosed)] == []
    if connected_before is not None:
        assert pair.b.engine.handshake_hash == connected_before
        exchange(pair)


def test_records_of_an_old_session_do_not_open_in_a_new_one() -> None:
    pair = LinkPair()
    pair.connect()
    old = [record for record in pair.a.sent if kind_of(record) is None]
    pair.a.engine.connect_kk(now_s=pair.now_s)
    pair.settle()
    for record in old:
        outcome = pair.inject(pair.b, record)
        assert outcome is False or isinstance(outcome, DecryptFailedError)
    exchange(pair)


def test_a_peer_without_an_identity_in_common_is_nobody() -> None:
    pair = LinkPair()
    pair.connect()
    header = bytes((NATIVE.version,)) + Qid(bytes(16)) + pair.b.identity.qid
    assert isinstance(pair.inject(pair.b, header + b"\x02" + bytes(40)), RemoteError)
    exchange(pair)
