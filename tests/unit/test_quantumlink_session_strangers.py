"""What somebody who is not paired can cost us: a bounded amount of work, whatever they send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.link_forger import TOKEN, forge_first, forge_pairing, kind_of

from primegap.quantumlink import (
    NATIVE,
    HandshakeKind,
    Invite,
    PairingToken,
    Pattern,
    RemoteError,
)
from primegap.quantumlink.kem import KemPrivateKey, XWing
from primegap.quantumlink.session import PeerStatus, PeerStatusChanged, SessionDropped
from primegap.quantumlink.session.simulation import LinkPair
from primegap.quantumlink.session.work_budget import (
    KEM_OPERATIONS,
    MAX_BURST,
    REFILL_PER_S,
    WorkBudget,
)

FLOOD_S = 20.0
FLOOD_PER_S = 50
"More than Bluetooth carries of them."


class CountedKey:
    def __init__(self, key: KemPrivateKey, kem: CountingKem) -> None:
        self._key, self._kem = key, kem

    def decapsulate(self, ciphertext: bytes) -> bytes:
        self._kem.operations += 1
        return self._key.decapsulate(ciphertext)


class CountingKem(XWing):
    """X-Wing that counts what costs: encapsulations and decapsulations."""

    def __init__(self) -> None:
        self.operations = 0

    def keygen(self, seed: bytes) -> tuple[KemPrivateKey, bytes]:
        private_key, public_key = super().keygen(seed)
        return CountedKey(private_key, self), public_key

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        self.operations += 1
        return super().encapsulate(public_key)


def counting_pair() -> tuple[LinkPair, CountingKem]:
    kem = CountingKem()
    return LinkPair(suite=replace(NATIVE, kem=kem)), kem


@pytest.mark.parametrize("start", ["ik", "kk", "xx"])
def test_the_price_of_a_message_is_what_it_costs(start: str) -> None:
    pair, kem = counting_pair()
    costs = Counter[HandshakeKind]()
    if start == "xx":
        pair.b.engine.arm_pairing(PairingToken(TOKEN))
        invite = Invite(pair.b.identity.suite, pair.b.identity.qid, PairingToken(TOKEN))
        pair.a.engine.connect_xx(invite, now_s=0.0)
    else:
        pair.bind_each_other()
        (pair.a.engine.connect_ik if start == "ik" else pair.a.engine.connect_kk)(now_s=0.0)
    sender = pair.a
    while (outgoing := sender.engine.take_write(now_s=0.0)) is not None:
        kind = kind_of(outgoing.record)
        if kind is None:
            break
        before = kem.operations
        sender = pair.other(sender)
        sender.engine.receive(outgoing.record, now_s=0.0)
        costs[kind] += kem.operations - before
    assert costs == {kind: KEM_OPERATIONS[kind] for kind in costs}
    assert len(costs) == (4 if start == "xx" else 2)


def test_a_budget_is_used_up_and_comes_back_with_time() -> None:
    budget = WorkBudget()
    cost = KEM_OPERATIONS[HandshakeKind.IK1]
    taken = sum(budget.take(HandshakeKind.IK1, 5.0) for _ in range(1000))
    assert taken == MAX_BURST // cost
    assert not budget.take(HandshakeKind.IK1, 5.0)
    assert budget.take(HandshakeKind.IK1, 5.0 + cost / REFILL_PER_S)
    assert not budget.take(HandshakeKind.IK1, 5.0 + cost / REFILL_PER_S)
    assert sum(budget.take(HandshakeKind.IK1, 1e6) for _ in range(1000)) == MAX_BURST // cost


def known(pair: LinkPair, number: int) -> bytes:
    return forge_first(pair, (Pattern.IK, Pattern.KK)[number % 2], number)


def pairing(pair: LinkPair, number: int) -> bytes:
    return forge_pairing(pair, number)


def altered_session_record(pair: LinkPair, number: int) -> bytes:
    record = next(record for record in reversed(pair.a.sent) if kind_of(record) is None)
    return record[:-1] + bytes([record[-1] ^ (1 + number % 255)])


@pytest.mark.parametrize("forge", [known, pairing, altered_session_record])
def test_a_flood_costs_a_bounded_amount_and_a_paired_session_moves_on(
    forge: Callable[[LinkPair, int], bytes],
) -> None:
    pair, kem = counting_pair()
    pair.connect()
    pair.b.engine.arm_pairing(PairingToken(TOKEN))  # so that a pairing is looked at, too
    forged = [forge(pair, number) for number in range(int(FLOOD_S * FLOOD_PER_S) // 4)]
    stream_id = pair.a.engine.open_stream(b"long")
    before, received, slowest_s = kem.operations, 0, 0.0
    for number in range(int(FLOOD_S * FLOOD_PER_S)):
        pair.inject(pair.b, forged[number % len(forged)])
        pair.advance(1 / FLOOD_PER_S)
        pair.a.engine.write(stream_id, bytes(200))
        sent_s = pair.now_s
        pair.settle()
        slowest_s = max(slowest_s, pair.now_s - sent_s)
        received += len(pair.b.engine.read(stream_id, 1 << 20))
    assert received == 200 * FLOOD_S * FLOOD_PER_S
    assert slowest_s < 0.2
    assert kem.operations - before <= MAX_BURST + REFILL_PER_S * pair.now_s
    assert pair.b.events_of(SessionDropped) == []
    assert pair.b.events_of(PeerStatusChanged) == []


def test_the_paired_peer_connects_soon_after_a_flood() -> None:
    pair, kem = counting_pair()
    pair.bind_each_other()
    forged = [known(pair, number) for number in range(60)]
    before = kem.operations
    for record in forged:
        pair.inject(pair.b, record)
    assert kem.operations - before <= MAX_BURST
    pair.a.engine.connect_kk(now_s=pair.now_s)
    pair.settle()
    assert pair.b.events_of(PeerStatusChanged) == []  # it goes under in the flood
    pair.advance(1.0)
    pair.a.engine.connect_ik(now_s=pair.now_s)
    pair.settle()
    assert pair.a.engine.status is pair.b.engine.status is PeerStatus.CONNECTED


def test_forged_replies_cost_a_bounded_amount_and_do_not_end_the_attempt() -> None:
    pair, kem = counting_pair()
    pair.bind_each_other()
    pair.a.engine.connect_ik(now_s=pair.now_s)
    outgoing = pair.a.engine.take_write(now_s=pair.now_s)
    assert outgoing is not None
    pair.b.engine.receive(outgoing.record, now_s=pair.now_s)
    genuine = pair.b.engine.take_write(now_s=pair.now_s)
    assert genuine is not None
    before = kem.operations
    for number in range(300):
        noise = genuine.record[:-1] + bytes([genuine.record[-1] ^ (1 + number % 255)])
        pair.inject(pair.a, noise)
    assert kem.operations - before <= MAX_BURST
    pair.advance(1.0)
    assert pair.inject(pair.a, genuine.record) is True
    assert pair.a.engine.status is PeerStatus.CONNECTED


def test_what_is_not_even_well_formed_uses_nothing_up() -> None:
    pair, kem = counting_pair()
    pair.bind_each_other()
    before = kem.operations
    for number in range(200):
        assert isinstance(pair.inject(pair.b, known(pair, number)[:1000]), RemoteError)
    assert kem.operations == before
    pair.a.engine.connect_kk(now_s=pair.now_s)
    pair.settle()
    assert pair.b.engine.status is PeerStatus.CONNECTED
