"""Records of somebody who knows all public bundles and no key."""

from __future__ import annotations

from primegap.quantumlink import (
    NATIVE,
    Handshake,
    HandshakeKind,
    HandshakeRecord,
    PairingToken,
    Pattern,
    TransportParams,
    parse_record_untrusted,
)
from primegap.quantumlink.session.simulation import LinkPair, seeded_rng

TOKEN = bytes(range(16))


def forge_first(pair: LinkPair, pattern: Pattern, number: int = 0) -> bytes:
    """Return a message 1 from a to b with ephemeral keys of the forger.

    It is as good as a genuine one: a first message proves nothing about its sender.
    """
    _, record = Handshake.initiate(
        pattern,
        suite=NATIVE,
        identity=pair.a.identity,  # only its public bundle gets into the message
        remote=pair.b.identity.bundle,
        token=None,
        handshake_id=1000 + number,
        params=TransportParams(),
        rng=seeded_rng(f"forger/{number}"),
    )
    return record


def forge_pairing(pair: LinkPair, number: int = 0, *, token: bytes = TOKEN) -> bytes:
    """Return an XX1 from a to b; what it shows of the token anybody can copy."""
    _, record = Handshake.initiate(
        Pattern.XX,
        suite=NATIVE,
        identity=pair.a.identity,
        remote=pair.b.identity.qid,
        token=PairingToken(token),
        handshake_id=2000 + number,
        params=TransportParams(),
        rng=seeded_rng(f"forger/{number}"),
    )
    return record


def kind_of(record: bytes) -> HandshakeKind | None:
    parsed = parse_record_untrusted(record)
    return parsed.kind if isinstance(parsed, HandshakeRecord) else None
