"""Layouts of the eight handshake messages (wire 6.2).

A message is what follows the kind byte of a handshake record. Lengths of keys and ciphertexts come
from the suite. Windows and handshake ids are fixed 4 bytes, little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.codec import Reader, put_u32
from primegap.quantumlink.pairing import PairingId
from primegap.quantumlink.records import HandshakeKind, HandshakeRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from primegap.quantumlink.suite import Suite


@dataclass(frozen=True, slots=True)
class KnownFirst:
    """IK1 and KK1, which share one layout; only IK1 has the bundle at the end."""

    handshake_id: int
    window: int
    "Initial stream receive window of the sender, bytes."
    ciphertext: bytes = field(repr=False)
    "Encapsulated to the responder's static key."
    ephemeral: bytes = field(repr=False)
    "The initiator's ephemeral public key."
    encrypted_bundle: bytes | None = field(repr=False)
    "None when nothing follows the key."

    def encode(self) -> bytes:
        """Encode the message."""
        head = put_u32(self.handshake_id) + put_u32(self.window)
        return head + self.ciphertext + self.ephemeral + (self.encrypted_bundle or b"")

    @classmethod
    def parse_untrusted(cls, message: bytes, suite: Suite) -> Self:
        """Decode the message; raise `UnexpectedEofError` when it is too short."""
        reader = Reader(message)
        return cls(
            reader.u32(),
            reader.u32(),
            reader.take(suite.ciphertext_size),
            reader.take(suite.public_key_size),
            reader.rest() or None,
        )


@dataclass(frozen=True, slots=True)
class KnownSecond:
    """IK2 and KK2. Bytes behind the last field are ignored (wire 6.3)."""

    handshake_id: int
    window: int
    ciphertext: bytes = field(repr=False)
    "Encapsulated to the ephemeral key."
    encrypted_ciphertext: bytes = field(repr=False)
    "Encapsulated to the initiator's static key, then encrypted."

    def encode(self) -> bytes:
        """Encode the message."""
        head = put_u32(self.handshake_id) + put_u32(self.window)
        return head + self.ciphertext + self.encrypted_ciphertext

    @classmethod
    def parse_untrusted(cls, message: bytes, suite: Suite) -> Self:
        """Decode the message; raise `UnexpectedEofError` when it is too short."""
        reader = Reader(message)
        return cls(
            reader.u32(),
            reader.u32(),
            reader.take(suite.ciphertext_size),
            reader.take(suite.encrypted_ciphertext_size),
        )


@dataclass(frozen=True, slots=True)
class PairingFirst:
    """XX1. Bytes behind the last field are ignored (wire 6.3)."""

    handshake_id: int
    pairing_id: PairingId
    window: int
    ephemeral: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Encode the message."""
        head = put_u32(self.handshake_id) + self.pairing_id + put_u32(self.window)
        return head + self.ephemeral

    @classmethod
    def parse_untrusted(cls, message: bytes, suite: Suite) -> Self:
        """Decode the message; raise `UnexpectedEofError` when it is too short."""
        reader = Reader(message)
        return cls(
            reader.u32(),
            PairingId(reader.take(16)),
            reader.u32(),
            reader.take(suite.public_key_size),
        )


@dataclass(frozen=True, slots=True)
class PairingSecond:
    """XX2."""

    handshake_id: int
    window: int
    ciphertext: bytes = field(repr=False)
    "Encapsulated to the ephemeral key."
    encrypted_bundle: bytes = field(repr=False)
    "The responder's, to the end of the record."

    def encode(self) -> bytes:
        """Encode the message."""
        head = put_u32(self.handshake_id) + put_u32(self.window)
        return head + self.ciphertext + self.encrypted_bundle

    @classmethod
    def parse_untrusted(cls, message: bytes, suite: Suite) -> Self:
        """Decode the message; raise `UnexpectedEofError` when it is too short."""
        reader = Reader(message)
        return cls(reader.u32(), reader.u32(), reader.take(suite.ciphertext_size), reader.rest())


@dataclass(frozen=True, slots=True)
class PairingThird:
    """XX3."""

    handshake_id: int
    encrypted_ciphertext: bytes = field(repr=False)
    "Encapsulated to the responder's static key, then encrypted."
    encrypted_bundle: bytes = field(repr=False)
    "The initiator's, to the end of the record."

    def encode(self) -> bytes:
        """Encode the message."""
        return put_u32(self.handshake_id) + self.encrypted_ciphertext + self.encrypted_bundle

    @classmethod
    def parse_untrusted(cls, message: bytes, suite: Suite) -> Self:
        """Decode the message; raise `UnexpectedEofError` when it is too short."""
        reader = Reader(message)
        return cls(reader.u32(), reader.take(suite.encrypted_ciphertext_size), reader.rest())


@dataclass(frozen=True, slots=True)
class PairingFourth:
    """XX4. Bytes behind the last field are ignored (wire 6.3)."""

    handshake_id: int
    encrypted_ciphertext: bytes = field(repr=False)
    "Encapsulated to the initiator's static key, then encrypted."

    def encode(self) -> bytes:
        """Encode the message."""
        return put_u32(self.handshake_id) + self.encrypted_ciphertext

    @classmethod
    def parse_untrusted(cls, message: bytes, suite: Suite) -> Self:
        """Decode the message; raise `UnexpectedEofError` when it is too short."""
        reader = Reader(message)
        return cls(reader.u32(), reader.take(suite.encrypted_ciphertext_size))


HandshakeMessage = (
    KnownFirst | KnownSecond | PairingFirst | PairingSecond | PairingThird | PairingFourth
)
"Any handshake message."

_PARSERS: Final[Mapping[HandshakeKind, Callable[[bytes, Suite], HandshakeMessage]]] = {
    HandshakeKind.IK1: KnownFirst.parse_untrusted,
    HandshakeKind.IK2: KnownSecond.parse_untrusted,
    HandshakeKind.KK1: KnownFirst.parse_untrusted,
    HandshakeKind.KK2: KnownSecond.parse_untrusted,
    HandshakeKind.XX1: PairingFirst.parse_untrusted,
    HandshakeKind.XX2: PairingSecond.parse_untrusted,
    HandshakeKind.XX3: PairingThird.parse_untrusted,
    HandshakeKind.XX4: PairingFourth.parse_untrusted,
}


def parse_message_untrusted(record: HandshakeRecord, suite: Suite) -> HandshakeMessage:
    """Decode the message of a record in the layout of its kind.

    Raises:
        UnexpectedEofError: too short.
    """
    return _PARSERS[record.kind](record.message, suite)
