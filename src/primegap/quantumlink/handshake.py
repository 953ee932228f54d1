"""Handshakes IK, KK and XX of both suites (wire sections 8 and 9).

A `Handshake` is a value: the state of one attempt on one side. Reading a message returns the next
state and leaves the old one as it was, so a forged message costs an attempt nothing: keep the old
state and wait for the genuine message.

    attempt, first = Handshake.initiate(Pattern.IK, suite=NATIVE, identity=me, remote=bundle, …)
    attempt, reply = attempt.receive(record)          # reply is None behind the last message
    keys = attempt.result

The initiator is the only side that makes an ephemeral key pair. Encapsulation draws its randomness
inside the KEM.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from primegap.quantumlink.errors import (
    InvalidHandshakeIdError,
    InvalidPairingIdError,
    InvalidRouteError,
    InvalidStateError,
    LocalError,
)
from primegap.quantumlink.handshake_setup import HandshakeSetup, Role, TransportParams
from primegap.quantumlink.identity import PeerBundle, Qid
from primegap.quantumlink.messages import (
    KnownFirst,
    KnownSecond,
    PairingFirst,
    PairingFourth,
    PairingSecond,
    PairingThird,
    parse_message_untrusted,
)
from primegap.quantumlink.records import HandshakeKind, HandshakeRecord
from primegap.quantumlink.secret import SecretBytes
from primegap.quantumlink.suite import Pattern
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from typing import Self

    from primegap.quantumlink.identity import Identity, Rng
    from primegap.quantumlink.kem import KemPrivateKey
    from primegap.quantumlink.pairing import PairingToken
    from primegap.quantumlink.suite import Suite
    from primegap.quantumlink.symmetric import SymmetricState


@dataclass(frozen=True, slots=True)
class HandshakeResult:
    """What a finished handshake leaves (wire section 9)."""

    tx_key: SecretBytes
    "Key of the records we send, 32 bytes."
    rx_key: SecretBytes
    "Key of the records we receive, 32 bytes."
    handshake_hash: bytes
    "32 public bytes, equal on both sides."
    remote_bundle: PeerBundle
    remote_params: TransportParams


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Handshake(NeverSerialised):
    """One attempt to set up a session, on one side; immutable.

    Made with `initiate` or `respond`.
    """

    _setup: HandshakeSetup
    _symmetric: SymmetricState
    _expects: HandshakeKind | None
    "The message that comes next from the peer; None when all have come."
    ephemeral_public: bytes | None
    "The initiator's ephemeral key on its own side, for the tie break of simultaneous starts."
    _ephemeral_private: KemPrivateKey | None = None
    _remote_bundle: PeerBundle | None = None
    _remote_window: int = 0
    result: HandshakeResult | None = None
    "Keys and all else, once the last message has been written or read."

    def __repr__(self) -> str:
        return f"<Handshake {self.pattern} {self.role} {self.handshake_id}>"

    @property
    def pattern(self) -> Pattern:
        """Pattern of the attempt."""
        return self._setup.pattern

    @property
    def role(self) -> Role:
        """Our side of it."""
        return self._setup.role

    @property
    def handshake_id(self) -> int:
        """The initiator's number for the attempt, u32."""
        return self._setup.handshake_id

    @property
    def remote_qid(self) -> Qid:
        """The peer this attempt is bound to."""
        return self._setup.remote_qid

    @classmethod
    def initiate(
        cls,
        pattern: Pattern,
        *,
        suite: Suite,
        identity: Identity,
        remote: PeerBundle | Qid,
        token: PairingToken | None,
        handshake_id: int,
        params: TransportParams,
        rng: Rng,
    ) -> tuple[Self, bytes]:
        """Start an attempt; return its state and the record with message 1.

        Args:
            pattern: IK and KK need the peer's bundle, XX its QID and a token. A bundle given to XX
                must come back unchanged in XX2.
            suite: suite of `identity` and `remote`.
            identity: ours.
            remote: the peer.
            token: the pairing token for XX, None otherwise.
            handshake_id: u32, another one for each attempt.
            params: ours.
            rng: draws the seed of the ephemeral key pair.

        Raises:
            LocalError: the arguments do not fit together.
        """
        if isinstance(remote, PeerBundle):
            qid, bundle = remote.qid, remote
        else:
            qid, bundle = remote, None
        setup = HandshakeSetup(
            suite, pattern, Role.INITIATOR, handshake_id, identity, qid, bundle, params, token
        )
        setup.check()
        ephemeral_private, ephemeral_public = suite.kem.keygen(rng(suite.kem.seed_size))
        if pattern is Pattern.XX:
            if token is None:
                raise LocalError("pairing needs a token")
            symmetric, record = _write_pairing_first(setup, ephemeral_public)
            expects = HandshakeKind.XX2
        else:
            if bundle is None:
                raise LocalError(f"{pattern} needs the peer's bundle")
            symmetric, record = _write_known_first(setup, bundle, ephemeral_public)
            expects = HandshakeKind.IK2 if pattern is Pattern.IK else HandshakeKind.KK2
        state = cls(setup, symmetric, expects, ephemeral_public, ephemeral_private, bundle)
        return state, record

    @classmethod
    def respond(
        cls,
        record: HandshakeRecord,
        *,
        suite: Suite,
        identity: Identity,
        expected: PeerBundle | None,
        token: PairingToken | None,
        params: TransportParams,
        rng: Rng,
    ) -> tuple[Self, bytes]:
        """Answer a message 1; return the state and the record with message 2.

        IK and KK are finished with that (see `result`), though KK1 has proved nothing yet: only a
        session record that opens does.

        Args:
            record: IK1, KK1 or XX1, whose version byte the caller has compared.
            suite: suite of `identity` and `expected`.
            identity: ours.
            expected: the bundle that the peer must have; None to learn it (not with KK).
            token: the armed pairing token for XX, None otherwise.
            params: ours.
            rng: not drawn from by our suites, whose encapsulation draws inside the library; both
                roles are called alike.

        Raises:
            RemoteError: the message does not hold.
            LocalError: the arguments do not fit together.
        """
        message = parse_message_untrusted(record, suite)
        setup = HandshakeSetup(
            suite,
            record.pattern,
            Role.RESPONDER,
            record.handshake_id,
            identity,
            record.sender,
            expected,
            params,
            token,
        )
        setup.check()
        if isinstance(message, KnownFirst):
            _check_route(record, identity.qid, None if expected is None else expected.qid)
            return cls._respond_known(setup, record.kind, message)
        if isinstance(message, PairingFirst):
            _check_route(record, identity.qid, None if expected is None else expected.qid)
            if token is None or message.pairing_id != token.pairing_id:
                raise InvalidPairingIdError("the pairing id is not that of our token")
            return cls._respond_pairing(setup, message)
        raise InvalidStateError("not the first message of a handshake")

    @classmethod
    def _respond_known(
        cls, setup: HandshakeSetup, kind: HandshakeKind, message: KnownFirst
    ) -> tuple[Self, bytes]:
        symmetric, remote_bundle = _read_known_first(setup, kind, message)
        reply_kind = HandshakeKind.IK2 if kind is HandshakeKind.IK1 else HandshakeKind.KK2
        symmetric = setup.mix_preamble(
            symmetric, reply_kind, window=setup.params.initial_stream_receive_window
        )
        ciphertext, secret = setup.suite.kem.encapsulate(message.ephemeral)
        symmetric = symmetric.mix_hash(ciphertext).mix_key(secret)
        symmetric, encrypted = setup.encapsulate_encrypted(symmetric, remote_bundle)
        reply = KnownSecond(
            setup.handshake_id,
            setup.params.initial_stream_receive_window,
            ciphertext,
            encrypted,
        )
        state = cls(
            setup,
            symmetric,
            None,
            None,
            _remote_bundle=remote_bundle,
            _remote_window=message.window,
            result=_finish(setup, symmetric, remote_bundle, message.window),
        )
        return state, setup.encode_record(reply_kind, reply)

    @classmethod
    def _respond_pairing(cls, setup: HandshakeSetup, message: PairingFirst) -> tuple[Self, bytes]:
        symmetric = setup.mix_preamble(setup.start(), HandshakeKind.XX1, window=message.window)
        symmetric = symmetric.mix_key_and_hash(setup.pairing_token.derive_psk())
        symmetric = symmetric.mix_hash(message.ephemeral)
        window = setup.params.initial_stream_receive_window
        symmetric = setup.mix_preamble(symmetric, HandshakeKind.XX2, window=window)
        ciphertext, secret = setup.suite.kem.encapsulate(message.ephemeral)
        symmetric = symmetric.mix_hash(ciphertext).mix_key(secret)
        symmetric, encrypted = symmetric.encrypt_and_hash(setup.identity.bundle_bytes)
        reply = PairingSecond(setup.handshake_id, window, ciphertext, encrypted)
        state = cls(setup, symmetric, HandshakeKind.XX3, None, _remote_window=message.window)
        return state, setup.encode_record(HandshakeKind.XX2, reply)

    def receive(self, record: HandshakeRecord) -> tuple[Handshake, bytes | None]:
        """Read the peer's next message; return the next state and the record to answer with.

        Args:
            record: the message, whose version byte the caller has compared.

        Returns:
            The state behind the message, and our reply, or None when there is nothing to say.

        Raises:
            RemoteError: the message does not hold. This state is unchanged: the genuine message
                may still come.
        """
        message = parse_message_untrusted(record, self._setup.suite)
        if record.kind is not self._expects:
            raise InvalidStateError("a handshake message out of turn")
        if message.handshake_id != self.handshake_id:
            raise InvalidHandshakeIdError("the message belongs to another attempt")
        _check_route(record, self._setup.identity.qid, self.remote_qid)
        if isinstance(message, KnownSecond):
            return self._receive_known_second(record.kind, message), None
        if isinstance(message, PairingSecond):
            return self._receive_pairing_second(message)
        if isinstance(message, PairingThird):
            return self._receive_pairing_third(message)
        assert isinstance(message, PairingFourth)  # a first message is never the one expected
        return self._receive_pairing_fourth(message), None

    def _receive_known_second(self, kind: HandshakeKind, message: KnownSecond) -> Handshake:
        setup = self._setup
        symmetric = setup.mix_preamble(self._symmetric, kind, window=message.window)
        secret = self._own_ephemeral.decapsulate(message.ciphertext)
        symmetric = symmetric.mix_hash(message.ciphertext).mix_key(secret)
        symmetric = setup.decapsulate_encrypted(symmetric, message.encrypted_ciphertext)
        return self._finished(symmetric, self._known_bundle, message.window)

    def _receive_pairing_second(self, message: PairingSecond) -> tuple[Handshake, bytes]:
        setup = self._setup
        symmetric = setup.mix_preamble(self._symmetric, HandshakeKind.XX2, window=message.window)
        secret = self._own_ephemeral.decapsulate(message.ciphertext)
        symmetric = symmetric.mix_hash(message.ciphertext).mix_key(secret)
        symmetric, bundle = setup.open_bundle(symmetric, message.encrypted_bundle)

        window = setup.params.initial_stream_receive_window
        symmetric = setup.mix_preamble(symmetric, HandshakeKind.XX3, window=window)
        symmetric, encrypted = setup.encapsulate_encrypted(symmetric, bundle)
        symmetric, own_bundle = symmetric.encrypt_and_hash(setup.identity.bundle_bytes)
        reply = PairingThird(setup.handshake_id, encrypted, own_bundle)
        state = replace(
            self,
            _symmetric=symmetric,
            _expects=HandshakeKind.XX4,
            _ephemeral_private=None,
            _remote_bundle=bundle,
            _remote_window=message.window,
        )
        return state, setup.encode_record(HandshakeKind.XX3, reply)

    def _receive_pairing_third(self, message: PairingThird) -> tuple[Handshake, bytes]:
        setup = self._setup
        symmetric = setup.mix_preamble(
            self._symmetric, HandshakeKind.XX3, window=self._remote_window
        )
        symmetric = setup.decapsulate_encrypted(symmetric, message.encrypted_ciphertext)
        symmetric, bundle = setup.open_bundle(symmetric, message.encrypted_bundle)

        window = setup.params.initial_stream_receive_window
        symmetric = setup.mix_preamble(symmetric, HandshakeKind.XX4, window=window)
        symmetric, encrypted = setup.encapsulate_encrypted(symmetric, bundle)
        reply = PairingFourth(setup.handshake_id, encrypted)
        state = self._finished(symmetric, bundle, self._remote_window)
        return state, setup.encode_record(HandshakeKind.XX4, reply)

    def _receive_pairing_fourth(self, message: PairingFourth) -> Handshake:
        setup = self._setup
        symmetric = setup.mix_preamble(
            self._symmetric, HandshakeKind.XX4, window=self._remote_window
        )
        symmetric = setup.decapsulate_encrypted(symmetric, message.encrypted_ciphertext)
        return self._finished(symmetric, self._known_bundle, self._remote_window)

    @property
    def _own_ephemeral(self) -> KemPrivateKey:
        assert self._ephemeral_private is not None  # an initiator before message 2 has it
        return self._ephemeral_private

    @property
    def _known_bundle(self) -> PeerBundle:
        assert self._remote_bundle is not None  # an initiator has it from the start or since XX2
        return self._remote_bundle

    def _finished(
        self, symmetric: SymmetricState, remote_bundle: PeerBundle, remote_window: int
    ) -> Handshake:
        return replace(
            self,
            _symmetric=symmetric,
            _expects=None,
            _ephemeral_private=None,
            _remote_bundle=remote_bundle,
            _remote_window=remote_window,
            result=_finish(self._setup, symmetric, remote_bundle, remote_window),
        )


def _check_route(record: HandshakeRecord, own: Qid, remote: Qid | None) -> None:
    if record.recipient != own or (remote is not None and record.sender != remote):
        raise InvalidRouteError("the record belongs to another pair of peers")


def _write_known_first(
    setup: HandshakeSetup, remote: PeerBundle, ephemeral: bytes
) -> tuple[SymmetricState, bytes]:
    """Write IK1 or KK1 (wire 8.2, 8.3)."""
    kind = HandshakeKind.IK1 if setup.pattern is Pattern.IK else HandshakeKind.KK1
    window = setup.params.initial_stream_receive_window
    symmetric = setup.mix_preamble(setup.start(), kind, window=window)
    ciphertext, secret = setup.suite.kem.encapsulate(remote.public_key)
    symmetric = symmetric.mix_hash(ciphertext).mix_key_and_hash(secret).mix_hash(ephemeral)
    encrypted = None
    if kind is HandshakeKind.IK1:
        symmetric, encrypted = symmetric.encrypt_and_hash(setup.identity.bundle_bytes)
    message = KnownFirst(setup.handshake_id, window, ciphertext, ephemeral, encrypted)
    return symmetric, setup.encode_record(kind, message)


def _read_known_first(
    setup: HandshakeSetup, kind: HandshakeKind, message: KnownFirst
) -> tuple[SymmetricState, PeerBundle]:
    """Read IK1 or KK1; return the state and the initiator's bundle (wire 8.2, 8.3)."""
    if kind is HandshakeKind.KK1:
        if message.encrypted_bundle is not None:
            raise InvalidStateError("KK1 with bytes behind its last field")
        if setup.expected is None:
            raise InvalidRouteError("KK1 from a peer that is not known")
    elif message.encrypted_bundle is None:
        raise InvalidStateError("IK1 without a bundle")
    symmetric = setup.mix_preamble(setup.start(), kind, window=message.window)
    secret = setup.identity.private_key.decapsulate(message.ciphertext)
    symmetric = symmetric.mix_hash(message.ciphertext).mix_key_and_hash(secret)
    symmetric = symmetric.mix_hash(message.ephemeral)
    if message.encrypted_bundle is not None:
        return setup.open_bundle(symmetric, message.encrypted_bundle)
    assert setup.expected is not None  # KK, tested above
    return symmetric, setup.expected


def _write_pairing_first(setup: HandshakeSetup, ephemeral: bytes) -> tuple[SymmetricState, bytes]:
    """Write XX1 (wire 8.4)."""
    window = setup.params.initial_stream_receive_window
    symmetric = setup.mix_preamble(setup.start(), HandshakeKind.XX1, window=window)
    symmetric = symmetric.mix_key_and_hash(setup.pairing_token.derive_psk()).mix_hash(ephemeral)
    pairing_id = setup.pairing_token.pairing_id
    message = PairingFirst(setup.handshake_id, pairing_id, window, ephemeral)
    return symmetric, setup.encode_record(HandshakeKind.XX1, message)


def _finish(
    setup: HandshakeSetup, symmetric: SymmetricState, remote_bundle: PeerBundle, remote_window: int
) -> HandshakeResult:
    """Split the keys: the initiator sends with the first, the responder with the second."""
    first, second = symmetric.split()
    tx, rx = (first, second) if setup.role is Role.INITIATOR else (second, first)
    return HandshakeResult(
        SecretBytes(tx),
        SecretBytes(rx),
        symmetric.transcript_hash,
        remote_bundle,
        TransportParams(remote_window),
    )
