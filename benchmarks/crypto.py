"""QuantumLink against the bare primitives it is made of."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from benchmarks.figure import Figure, figure, paired_s
from primegap.quantumlink import (
    NATIVE,
    Handshake,
    Identity,
    Pattern,
    Qid,
    SecretBytes,
    SessionSealer,
    TransportParams,
    parse_record_untrusted,
)
from primegap.quantumlink.records import HandshakeRecord

BODY_BYTES = 8100


def handshake() -> list[Figure]:
    """A KK handshake, both sides, against its KEM operations alone."""
    alice = Identity.generate(NATIVE, "alice", os.urandom)
    bob = Identity.generate(NATIVE, "bob", os.urandom)
    params = TransportParams()

    def ours() -> None:
        first, record = Handshake.initiate(
            Pattern.KK,
            suite=NATIVE,
            identity=alice,
            remote=bob.bundle,
            token=None,
            handshake_id=1,
            params=params,
            rng=os.urandom,
        )
        parsed = parse_record_untrusted(record)
        assert isinstance(parsed, HandshakeRecord)
        _, reply = Handshake.respond(
            parsed,
            suite=NATIVE,
            identity=bob,
            expected=alice.bundle,
            token=None,
            params=params,
            rng=os.urandom,
        )
        answer = parse_record_untrusted(reply)
        assert isinstance(answer, HandshakeRecord)
        done, _ = first.receive(answer)
        assert done.result is not None

    kem = NATIVE.kem

    def bare() -> None:
        private, public = kem.keygen(os.urandom(kem.seed_size))
        for key, peer in (
            (bob.private_key, bob.bundle.public_key),
            (private, public),
            (alice.private_key, alice.bundle.public_key),
        ):
            ciphertext, _ = kem.encapsulate(peer)
            key.decapsulate(ciphertext)

    mine, theirs = paired_s(ours, bare, rounds=25)
    return [
        figure("handshake-kk-native", mine * 1e3, "ms", "its X-Wing operations alone", theirs * 1e3)
    ]


def sealing() -> list[Figure]:
    """Sealing a full record against the AEAD alone."""
    body = os.urandom(BODY_BYTES)
    route = Qid(bytes(16)), Qid(bytes(range(16)))
    sealer = SessionSealer(NATIVE, SecretBytes(os.urandom(32)), *route)
    aead = ChaCha20Poly1305(os.urandom(32))
    counter = iter(range(1 << 40))

    def ours() -> None:
        sealer.seal(next(counter), body)

    def bare() -> None:
        aead.encrypt(bytes(12), body, bytes(64))

    mine, theirs = paired_s(ours, bare, rounds=15, inner=500)
    return [figure("seal-8100-bytes", mine * 1e6, "µs", "ChaCha20-Poly1305 alone", theirs * 1e6)]
