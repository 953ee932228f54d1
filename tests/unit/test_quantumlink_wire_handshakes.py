"""Handshakes of both suites: independent transcripts, sizes, forged messages, misuse."""

from __future__ import annotations

import hashlib
import hmac
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from primegap.quantumlink import (
    MAX_NAME_BYTES,
    MAX_RECORD_SIZE,
    NATIVE,
    REFERENCE,
    SUITES,
    DecryptFailedError,
    Handshake,
    HandshakeRecord,
    Identity,
    InvalidHandshakeIdError,
    InvalidPairingIdError,
    InvalidPayloadError,
    InvalidRemoteBundleError,
    InvalidRouteError,
    InvalidStateError,
    LocalError,
    PairingToken,
    Pattern,
    PeerBundle,
    Qid,
    RemoteError,
    SecretBytes,
    Suite,
    TransportParams,
    derive_qid,
    parse_record_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from primegap.quantumlink import Rng

ALICE_WINDOW = 4096
BOB_WINDOW = 70000
HANDSHAKE_ID = 0x01020304
TOKEN = bytes(range(16))


def rng_of(seed: int) -> Rng:
    return random.Random(seed).randbytes


def seed_of(suite: Suite, name: str) -> bytes:
    return hashlib.shake_256(name.encode()).digest(suite.kem.seed_size)


def identity(suite: Suite, name: str) -> Identity:
    return Identity.from_seed(suite, name, seed_of(suite, name))


def record_of(data: bytes) -> HandshakeRecord:
    record = parse_record_untrusted(data)
    assert isinstance(record, HandshakeRecord)
    return record


def start(
    suite: Suite, pattern: Pattern, *, alice: Identity | None = None, bob: Identity | None = None
) -> tuple[Handshake, bytes]:
    alice, bob = alice or identity(suite, "alice"), bob or identity(suite, "bob")
    xx = pattern is Pattern.XX
    return Handshake.initiate(
        pattern,
        suite=suite,
        identity=alice,
        remote=bob.qid if xx else bob.bundle,
        token=PairingToken(TOKEN) if xx else None,
        handshake_id=HANDSHAKE_ID,
        params=TransportParams(ALICE_WINDOW),
        rng=rng_of(1),
    )


def answer(
    suite: Suite,
    data: bytes,
    *,
    bob: Identity | None = None,
    expected: PeerBundle | None = None,
    token: bytes | None = TOKEN,
) -> tuple[Handshake, bytes]:
    record = record_of(data)
    if record.pattern is Pattern.KK and expected is None:
        expected = identity(suite, "alice").bundle
    return Handshake.respond(
        record,
        suite=suite,
        identity=bob or identity(suite, "bob"),
        expected=expected,
        token=None if token is None else PairingToken(token),
        params=TransportParams(BOB_WINDOW),
        rng=rng_of(2),
    )


@dataclass
class Run:
    initiator: Handshake
    responder: Handshake
    messages: list[bytes]


def run(suite: Suite, pattern: Pattern, alice: Identity | None = None) -> Run:
    initiator, message = start(suite, pattern, alice=alice)
    messages = [message]
    expected = alice.bundle if alice is not None and pattern is Pattern.KK else None
    responder, message = answer(suite, message, expected=expected)
    messages.append(message)
    initiator, reply = initiator.receive(record_of(message))
    if reply is not None:
        responder, fourth = responder.receive(record_of(reply))
        assert fourth is not None
        messages += [reply, fourth]
        initiator, reply = initiator.receive(record_of(fourth))
        assert reply is None
    return Run(initiator, responder, messages)


every_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: str(suite.name))
every_pattern = pytest.mark.parametrize("pattern", Pattern)


@every_suite
@every_pattern
def test_both_sides_agree(suite: Suite, pattern: Pattern) -> None:
    done = run(suite, pattern)
    alice, bob = done.initiator.result, done.responder.result
    assert alice is not None
    assert bob is not None
    assert alice.tx_key == bob.rx_key
    assert alice.rx_key == bob.tx_key
    assert alice.tx_key != alice.rx_key
    assert alice.handshake_hash == bob.handshake_hash
    assert alice.remote_bundle == identity(suite, "bob").bundle
    assert bob.remote_bundle == identity(suite, "alice").bundle
    assert alice.remote_params == TransportParams(BOB_WINDOW)
    assert bob.remote_params == TransportParams(ALICE_WINDOW)
    assert done.initiator.remote_qid == identity(suite, "bob").qid
    assert done.responder.remote_qid == identity(suite, "alice").qid
    assert done.responder.handshake_id == HANDSHAKE_ID
    for number, message in enumerate(done.messages):
        record = record_of(message)
        assert record.version == suite.version
        assert record.pattern is pattern
        assert record.kind.number == number + 1


# --- an independent calculation of the transcript -------------------------------------------------


class Transcript:
    """Wire section 7 once more, over other building blocks."""

    def __init__(
        self, name: bytes, new_cipher: Callable[[bytes], AESGCM | ChaCha20Poly1305]
    ) -> None:
        self.h = self.ck = hashlib.sha256(name).digest()
        self.new_cipher = new_cipher
        self.k = b""
        self.n = 0

    def mix(self, *parts: bytes) -> None:
        for part in parts:
            self.h = hashlib.sha256(self.h + part).digest()

    def expand(self, secret: bytes, count: int) -> list[bytes]:
        out = HKDF(SHA256(), 32 * count, salt=self.ck, info=None).derive(secret)
        return [out[at : at + 32] for at in range(0, len(out), 32)]

    def key(self, secret: bytes) -> None:
        self.ck, self.k = self.expand(secret, 2)
        self.n = 0

    def key_and_hash(self, secret: bytes) -> None:
        self.ck, hashed, self.k = self.expand(secret, 3)
        self.n = 0
        self.mix(hashed)

    def open(self, sealed: bytes) -> bytes:
        nonce = bytes(4) + self.n.to_bytes(8, "little")
        plain = self.new_cipher(self.k).decrypt(nonce, sealed, self.h)
        self.n += 1
        self.mix(sealed)
        return plain

    def preamble(self, kind: int, route: bytes, window: int) -> None:
        self.mix(b"ql-wire:handshake-preamble:v1", route, bytes([kind]))
        self.mix(HANDSHAKE_ID.to_bytes(4, "little"), window.to_bytes(4, "little"))

    def split(self) -> tuple[bytes, bytes]:
        first, second = self.expand(b"", 2)
        return first, second


def open_xwing(seed: bytes, ciphertext: bytes) -> bytes:
    expanded = hashlib.shake_256(seed).digest(96)
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    parts = [
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(ciphertext[:1088]),
        x25519.exchange(X25519PublicKey.from_public_bytes(ciphertext[1088:])),
        ciphertext[1088:],
        x25519.public_key().public_bytes_raw(),
        bytes.fromhex("5c2e2f2f5e5c"),
    ]
    return hashlib.sha3_256(b"".join(parts)).digest()


def open_ml_kem_1024(seed: bytes, ciphertext: bytes) -> bytes:
    return MLKEM1024PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)


@dataclass
class Facts:
    """A suite in plain numbers and functions."""

    ct: int
    pk: int
    names: dict[Pattern, bytes]
    open: Callable[[bytes, bytes], bytes]
    new_cipher: Callable[[bytes], AESGCM | ChaCha20Poly1305]


FACTS = {
    "native": Facts(
        1120,
        1216,
        {
            Pattern.IK: b"primegap:ik:xwing-chachapoly-sha256:v1",
            Pattern.KK: b"primegap:kk:xwing-chachapoly-sha256:v1",
            Pattern.XX: b"primegap:xx:xwing-chachapoly-sha256:v1",
        },
        open_xwing,
        ChaCha20Poly1305,
    ),
    "reference": Facts(
        1568,
        1568,
        {
            Pattern.IK: b"ql-wire:pq-ik:v1",
            Pattern.KK: b"ql-wire:pq-kk:v1",
            Pattern.XX: b"ql-wire:pq-xx:v1",
        },
        open_ml_kem_1024,
        AESGCM,
    ),
}


def follow_known(suite: Suite, pattern: Pattern, messages: Sequence[bytes]) -> Transcript:
    """Follow IK or KK over the bytes on the wire, knowing every private key (wire 8.2, 8.3)."""
    facts = FACTS[suite.name]
    alice, bob = identity(suite, "alice"), identity(suite, "bob")
    ephemeral = rng_of(1)(suite.kem.seed_size)
    there, back = alice.qid + bob.qid, bob.qid + alice.qid
    first_kind = 1 if pattern is Pattern.IK else 3
    first, second = (message[35:] for message in messages)
    t = Transcript(facts.names[pattern], facts.new_cipher)
    if pattern is Pattern.KK:
        t.mix(alice.bundle_bytes)
    t.mix(bob.bundle_bytes)
    t.preamble(first_kind, there, ALICE_WINDOW)
    ct, epk, eb = (
        first[8 : 8 + facts.ct],
        first[8 + facts.ct :][: facts.pk],
        first[8 + facts.ct + facts.pk :],
    )
    t.mix(ct)
    t.key_and_hash(facts.open(seed_of(suite, "bob"), ct))
    t.mix(epk)
    if pattern is Pattern.IK:
        assert t.open(eb) == alice.bundle_bytes
    else:
        assert eb == b""
    t.preamble(first_kind + 1, back, BOB_WINDOW)
    ct, ect = second[8 : 8 + facts.ct], second[8 + facts.ct :]
    t.mix(ct)
    t.key(facts.open(ephemeral, ct))
    t.key_and_hash(facts.open(seed_of(suite, "alice"), t.open(ect)))
    return t


def follow_pairing(suite: Suite, messages: Sequence[bytes]) -> Transcript:
    """Follow XX over the bytes on the wire, knowing every private key (wire 8.4)."""
    facts = FACTS[suite.name]
    alice, bob = identity(suite, "alice"), identity(suite, "bob")
    ephemeral = rng_of(1)(suite.kem.seed_size)
    pairing_id = hashlib.sha256(b"ql-wire:pairing-id:v1" + TOKEN).digest()[:16]
    there, back = alice.qid + bob.qid + pairing_id, bob.qid + alice.qid + pairing_id
    first, second, third, fourth = (message[35:] for message in messages)
    ect_size = facts.ct + 16
    assert first[4:20] == pairing_id
    t = Transcript(facts.names[Pattern.XX], facts.new_cipher)
    t.preamble(5, there, ALICE_WINDOW)
    t.key_and_hash(hashlib.sha256(b"ql-wire:pairing-psk:v1" + TOKEN).digest())
    t.mix(first[24:])
    t.preamble(6, back, BOB_WINDOW)
    ct = second[8 : 8 + facts.ct]
    t.mix(ct)
    t.key(facts.open(ephemeral, ct))
    assert t.open(second[8 + facts.ct :]) == bob.bundle_bytes
    t.preamble(7, there, ALICE_WINDOW)
    t.key_and_hash(facts.open(seed_of(suite, "bob"), t.open(third[4 : 4 + ect_size])))
    assert t.open(third[4 + ect_size :]) == alice.bundle_bytes
    t.preamble(8, back, BOB_WINDOW)
    t.key_and_hash(facts.open(seed_of(suite, "alice"), t.open(fourth[4:])))
    return t


@every_suite
@every_pattern
def test_transcript_and_keys_match_an_independent_calculation(
    suite: Suite, pattern: Pattern
) -> None:
    done = run(suite, pattern)
    if pattern is Pattern.XX:
        t = follow_pairing(suite, done.messages)
    else:
        t = follow_known(suite, pattern, done.messages)
    result = done.initiator.result
    assert result is not None
    assert result.handshake_hash == t.h
    first, second = t.split()
    assert hmac.compare_digest(result.tx_key.reveal(), first)
    assert hmac.compare_digest(result.rx_key.reveal(), second)


@pytest.mark.scenario("wire", 14)
@every_suite
def test_sizes_follow_from_the_suite(suite: Suite) -> None:
    ct, pk = FACTS[suite.name].ct, FACTS[suite.name].pk
    ect = ct + 16
    alice_bundle, bob_bundle = 22 + pk + 1 + 5 + 16, 22 + pk + 1 + 3 + 16
    assert [len(message) for message in run(suite, Pattern.IK).messages] == [
        35 + 8 + ct + pk + alice_bundle,
        35 + 8 + ct + ect,
    ]
    assert [len(message) for message in run(suite, Pattern.KK).messages] == [
        35 + 8 + ct + pk,
        35 + 8 + ct + ect,
    ]
    assert [len(message) for message in run(suite, Pattern.XX).messages] == [
        35 + 24 + pk,
        35 + 8 + ct + bob_bundle,
        35 + 4 + ect + alice_bundle,
        35 + 4 + ect,
    ]


@every_suite
@every_pattern
def test_longest_name_keeps_records_within_the_limit(suite: Suite, pattern: Pattern) -> None:
    alice = identity(suite, "n" * MAX_NAME_BYTES)
    assert max(len(message) for message in run(suite, pattern, alice).messages) < MAX_RECORD_SIZE


def test_suites_are_bound_into_the_handshake() -> None:
    assert {suite.version for suite in SUITES} == {0x82, 0x02}
    names = [name for suite in SUITES for name in suite.protocol_names.values()]
    assert len(set(names)) == 6
    same_key = bytes(1216)
    assert derive_qid(NATIVE, same_key) != derive_qid(REFERENCE, same_key)


# --- messages that do not hold --------------------------------------------------------------------


def replies(suite: Suite, pattern: Pattern) -> list[tuple[Handshake, bytes]]:
    """Return every state that waits for a message, with the genuine message."""
    initiator, first = start(suite, pattern)
    responder, second = answer(suite, first)
    waiting = [(initiator, second)]
    if pattern is Pattern.XX:
        initiator, third = initiator.receive(record_of(second))
        assert third is not None
        waiting.append((responder, third))
        _, fourth = responder.receive(record_of(third))
        assert fourth is not None
        waiting.append((initiator, fourth))
    return waiting


@every_suite
@every_pattern
def test_forged_message_does_not_spoil_the_attempt(suite: Suite, pattern: Pattern) -> None:
    for state, genuine in replies(suite, pattern):
        record = record_of(genuine)
        noise = record.message[:8] + rng_of(3)(len(record.message) - 8)
        flipped = record.message[:-1] + bytes([record.message[-1] ^ 1])
        for forged in (noise, flipped):
            with pytest.raises(DecryptFailedError):
                state.receive(replace(record, message=forged))
        with pytest.raises(InvalidRouteError):
            state.receive(replace(record, sender=Qid(bytes(16))))
        with pytest.raises(InvalidRouteError):
            state.receive(replace(record, recipient=Qid(bytes(16))))
        other_id = b"\xff" + record.message[1:]
        with pytest.raises(InvalidHandshakeIdError):
            state.receive(replace(record, message=other_id))
        assert state.result is None
        state.receive(record)
        state.receive(record)  # the state is a value: it can be continued as often as one likes


@every_suite
def test_finished_handshake_reads_nothing_more(suite: Suite) -> None:
    done = run(suite, Pattern.XX)
    for side in (done.initiator, done.responder):
        for message in done.messages:
            with pytest.raises(InvalidStateError):
                side.receive(record_of(message))


@every_suite
@every_pattern
def test_message_of_a_later_step_does_not_start_a_handshake(suite: Suite, pattern: Pattern) -> None:
    for message in run(suite, pattern).messages[1:]:
        with pytest.raises(InvalidStateError):
            answer(suite, message)


@every_suite
def test_responder_checks_who_asks(suite: Suite) -> None:
    carol = identity(suite, "carol")
    for pattern in Pattern:
        _, first = start(suite, pattern)
        with pytest.raises(InvalidRouteError):
            answer(suite, first, expected=carol.bundle)
        with pytest.raises(InvalidRouteError):
            answer(suite, first, bob=carol)
    renamed = Identity.from_seed(suite, "alicia", seed_of(suite, "alice"))
    _, first = start(suite, Pattern.IK)
    with pytest.raises(InvalidRemoteBundleError):
        answer(suite, first, expected=renamed.bundle)
    _, first = start(suite, Pattern.KK)
    with pytest.raises(InvalidRouteError):
        Handshake.respond(
            record_of(first),
            suite=suite,
            identity=identity(suite, "bob"),
            expected=None,
            token=None,
            params=TransportParams(),
            rng=rng_of(2),
        )


@every_suite
def test_pairing_needs_the_same_token(suite: Suite) -> None:
    _, first = start(suite, Pattern.XX)
    for token in (None, bytes(16)):
        with pytest.raises(InvalidPairingIdError):
            answer(suite, first, token=token)
    # The right pairing id without the token behind it gets no further than the second message.
    initiator, first = start(suite, Pattern.XX)
    forged = first[:39] + PairingToken(bytes(16)).pairing_id + first[55:]
    _, second = answer(suite, forged, token=bytes(16))
    with pytest.raises(DecryptFailedError):
        initiator.receive(record_of(second))


@every_suite
def test_pairing_with_a_known_bundle_must_show_that_bundle(suite: Suite) -> None:
    renamed = Identity.from_seed(suite, "robert", seed_of(suite, "bob"))
    initiator, first = Handshake.initiate(
        Pattern.XX,
        suite=suite,
        identity=identity(suite, "alice"),
        remote=renamed.bundle,
        token=PairingToken(TOKEN),
        handshake_id=1,
        params=TransportParams(),
        rng=rng_of(1),
    )
    _, second = answer(suite, first)
    with pytest.raises(InvalidRemoteBundleError):
        initiator.receive(record_of(second))


# --- keys that are not keys -----------------------------------------------------------------------


def broken_key(suite: Suite, public_key: bytes) -> bytes:
    """Return a public key with a coefficient of 4095, beyond the modulus 3329."""
    return b"\xff" + bytes([public_key[1] | 0x0F]) + public_key[2:]


def low_order_key(suite: Suite, public_key: bytes) -> bytes:
    """Return a native public key whose X25519 half is the point 0."""
    assert suite is NATIVE
    return public_key[:-32] + bytes(32)


BROKEN = [
    pytest.param(NATIVE, broken_key, id="native-modulus"),
    pytest.param(NATIVE, low_order_key, id="native-low-order"),
    pytest.param(REFERENCE, broken_key, id="reference-modulus"),
]


@pytest.mark.parametrize(("suite", "damage"), BROKEN)
def test_static_key_that_is_none_is_refused_as_a_bundle(
    suite: Suite, damage: Callable[[Suite, bytes], bytes]
) -> None:
    genuine = identity(suite, "alice")
    key = damage(suite, genuine.bundle.public_key)
    bundle = PeerBundle(suite, derive_qid(suite, key), key, "alice")
    with pytest.raises(InvalidRemoteBundleError):
        bundle.validate()
    # The same bundle, correctly encrypted in IK1 and XX3.
    forger = Identity(bundle, seed=SecretBytes(b"-"), private_key=genuine.private_key)
    _, first = start(suite, Pattern.IK, alice=forger)
    with pytest.raises(InvalidRemoteBundleError):
        answer(suite, first)
    initiator, first = start(suite, Pattern.XX, alice=forger)
    responder, second = answer(suite, first)
    _, third = initiator.receive(record_of(second))
    assert third is not None
    with pytest.raises(InvalidRemoteBundleError):
        responder.receive(record_of(third))


@pytest.mark.parametrize(("suite", "damage"), BROKEN)
@pytest.mark.parametrize("pattern", [Pattern.KK, Pattern.XX])
def test_ephemeral_key_that_is_none_fails_the_handshake(
    suite: Suite, damage: Callable[[Suite, bytes], bytes], pattern: Pattern
) -> None:
    initiator, first = start(suite, pattern)
    assert initiator.ephemeral_public is not None
    key = damage(suite, initiator.ephemeral_public)
    with pytest.raises(InvalidPayloadError):
        answer(suite, first.replace(initiator.ephemeral_public, key))


def test_low_order_ciphertext_fails_the_handshake() -> None:
    initiator, first = start(NATIVE, Pattern.KK)
    _, second = answer(NATIVE, first)
    at = 35 + 8 + 1088
    with pytest.raises(InvalidPayloadError):
        initiator.receive(record_of(second[:at] + bytes(32) + second[at + 32 :]))


@every_pattern
def test_record_of_the_other_suite_is_refused(pattern: Pattern) -> None:
    for one, other in ((NATIVE, REFERENCE), (REFERENCE, NATIVE)):
        _, first = start(one, pattern)
        with pytest.raises(RemoteError):
            answer(other, first)


# --- misuse ---------------------------------------------------------------------------------------


def test_arguments_must_fit_together() -> None:
    alice, bob = identity(NATIVE, "alice"), identity(NATIVE, "bob")
    foreign = identity(REFERENCE, "bob")
    token = PairingToken(TOKEN)

    def initiate(
        pattern: Pattern,
        *,
        me: Identity = alice,
        remote: PeerBundle | Qid = bob.bundle,
        token: PairingToken | None = None,
        handshake_id: int = 1,
    ) -> None:
        Handshake.initiate(
            pattern,
            suite=NATIVE,
            identity=me,
            remote=remote,
            token=token,
            handshake_id=handshake_id,
            params=TransportParams(),
            rng=rng_of(1),
        )

    with pytest.raises(LocalError):
        initiate(Pattern.IK, remote=bob.qid)
    with pytest.raises(LocalError):
        initiate(Pattern.KK, remote=bob.qid)
    with pytest.raises(LocalError):
        initiate(Pattern.XX)
    with pytest.raises(LocalError):
        initiate(Pattern.IK, remote=foreign.bundle)
    with pytest.raises(LocalError):
        initiate(Pattern.IK, me=foreign)
    for handshake_id in (-1, 2**32):
        with pytest.raises(LocalError):
            initiate(Pattern.XX, token=token, handshake_id=handshake_id)
    for window in (-1, 2**32):
        with pytest.raises(LocalError):
            TransportParams(window)


def test_first_messages_show_what_a_receiver_must_see() -> None:
    initiator, first = start(NATIVE, Pattern.IK)
    record = record_of(first)
    assert record.peek_ephemeral_public(NATIVE) == initiator.ephemeral_public
    with pytest.raises(InvalidStateError):
        record.peek_pairing_id()
    _, second = answer(NATIVE, first)
    with pytest.raises(InvalidStateError):
        record_of(second).peek_ephemeral_public(NATIVE)
    _, first = start(NATIVE, Pattern.XX)
    assert record_of(first).peek_pairing_id() == PairingToken(TOKEN).pairing_id
