"""What stays the same during a handshake attempt, and the steps messages share (wire 8)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.codec import MAX_U32, put_u32
from primegap.quantumlink.errors import (
    InvalidPayloadError,
    InvalidRemoteBundleError,
    LocalError,
)
from primegap.quantumlink.identity import PeerBundle, Qid
from primegap.quantumlink.records import HandshakeKind, encode_handshake_record
from primegap.quantumlink.suite import Pattern
from primegap.quantumlink.symmetric import SymmetricState
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from primegap.quantumlink.identity import Identity
    from primegap.quantumlink.messages import HandshakeMessage
    from primegap.quantumlink.pairing import PairingToken
    from primegap.quantumlink.suite import Suite

DEFAULT_STREAM_WINDOW: Final = 16384
"Receive credit of a new stream unless configured otherwise, bytes (wire section 1)."

_PREAMBLE: Final = b"ql-wire:handshake-preamble:v1"


class Role(StrEnum):
    """Which side of a handshake we are."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@dataclass(frozen=True, slots=True)
class TransportParams:
    """What a side tells about itself in a handshake (wire 4.6)."""

    initial_stream_receive_window: int = DEFAULT_STREAM_WINDOW
    "Bytes that every new stream may carry to us before we grant more, u32."

    def __post_init__(self) -> None:
        if not 0 <= self.initial_stream_receive_window <= MAX_U32:
            raise LocalError("a window holds 0 to 2^32 - 1 bytes")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class HandshakeSetup(NeverSerialised):
    """What does not change during an attempt."""

    suite: Suite
    pattern: Pattern
    role: Role
    handshake_id: int
    identity: Identity
    remote_qid: Qid
    "The peer the attempt is bound to."
    expected: PeerBundle | None
    "The bundle the peer must have, None while it is unknown."
    params: TransportParams
    token: PairingToken | None

    def check(self) -> None:
        """Return if the parts fit together, else raise `LocalError`."""
        if self.identity.suite != self.suite:
            raise LocalError("the identity belongs to another suite")
        if self.expected is not None and self.expected.suite != self.suite:
            raise LocalError("the peer's bundle belongs to another suite")
        if not 0 <= self.handshake_id <= MAX_U32:
            raise LocalError("a handshake id is 0 to 2^32 - 1")

    @property
    def pairing_token(self) -> PairingToken:
        """The token of an XX attempt."""
        assert self.token is not None  # XX is not entered without one
        return self.token

    def encode_record(self, kind: HandshakeKind, message: HandshakeMessage) -> bytes:
        """Encode one of our messages as a record for the peer."""
        return encode_handshake_record(
            self.suite.version, self.identity.qid, self.remote_qid, kind, message.encode()
        )

    def start(self) -> SymmetricState:
        """Return the state behind the pre-messages."""
        symmetric = SymmetricState.start(self.suite, self.pattern)
        if self.pattern is Pattern.XX:
            return symmetric
        own = self.identity.bundle_bytes
        remote = b"" if self.expected is None else self.expected.encode()
        initiator, responder = (own, remote) if self.role is Role.INITIATOR else (remote, own)
        if self.pattern is Pattern.KK:
            symmetric = symmetric.mix_hash(initiator)
        return symmetric.mix_hash(responder)

    def mix_preamble(
        self, symmetric: SymmetricState, kind: HandshakeKind, *, window: int
    ) -> SymmetricState:
        """Mix what every message begins with; `window` is its sender's (wire 8.1)."""
        own, remote = self.identity.qid, self.remote_qid
        from_initiator = kind.number % 2 == 1
        outbound = from_initiator == (self.role is Role.INITIATOR)
        route = own + remote if outbound else remote + own
        if self.pattern is Pattern.XX:
            route += self.pairing_token.pairing_id
        return symmetric.mix_hash(
            _PREAMBLE, route, bytes((kind,)), put_u32(self.handshake_id), put_u32(window)
        )

    def encapsulate_encrypted(
        self, symmetric: SymmetricState, remote: PeerBundle
    ) -> tuple[SymmetricState, bytes]:
        """Encapsulate to a peer's static key, encrypt the ciphertext, mix the secret.

        Raises:
            InvalidRemoteBundleError: the key is not one.
        """
        try:
            ciphertext, secret = self.suite.kem.encapsulate(remote.public_key)
        except InvalidPayloadError as error:
            raise InvalidRemoteBundleError("the public key is not one") from error
        symmetric, encrypted = symmetric.encrypt_and_hash(ciphertext)
        return symmetric.mix_key_and_hash(secret), encrypted

    def decapsulate_encrypted(self, symmetric: SymmetricState, encrypted: bytes) -> SymmetricState:
        """Decrypt a ciphertext for our static key, mix its secret."""
        symmetric, ciphertext = symmetric.decrypt_and_hash(encrypted)
        # Its length is right: the layout fixed that of the encrypted field.
        return symmetric.mix_key_and_hash(self.identity.private_key.decapsulate(ciphertext))

    def open_bundle(
        self, symmetric: SymmetricState, encrypted: bytes
    ) -> tuple[SymmetricState, PeerBundle]:
        """Decrypt the peer's bundle and hold it against what we know of the peer.

        The key itself is checked by `encapsulate_encrypted`, which every pattern does next.
        """
        symmetric, encoded = symmetric.decrypt_and_hash(encrypted)
        bundle = PeerBundle.parse_untrusted(encoded, self.suite)
        bundle.validate_but_key()
        if bundle.qid != self.remote_qid:
            raise InvalidRemoteBundleError("the bundle is not the sender's")
        if self.expected is not None and bundle != self.expected:
            raise InvalidRemoteBundleError("the bundle differs from the one known")
        return symmetric, bundle
