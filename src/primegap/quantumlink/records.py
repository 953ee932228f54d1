"""Record envelopes: the header every record starts with, and what follows it (wire 5, 6.1, 10.1).

Parsing looks at the outside only. The version byte is kept for the caller, who must compare it
(wire section 15); handshake messages are decoded by `messages`, session records opened by
`session_keys`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from primegap.quantumlink.codec import Reader, varint_size
from primegap.quantumlink.errors import (
    InvalidDiscriminantError,
    InvalidStateError,
    LocalError,
)
from primegap.quantumlink.frames import Frame, encode_frame
from primegap.quantumlink.identity import QID_SIZE, Qid
from primegap.quantumlink.pairing import PairingId
from primegap.quantumlink.suite import TAG_SIZE, Pattern

if TYPE_CHECKING:
    from primegap.quantumlink.suite import Suite

HEADER_SIZE: Final = 34
"Version, sender, recipient, record type."
MIN_RECORD_SIZE: Final = HEADER_SIZE + 10 + TAG_SIZE
"Room that is enough for the envelope of a session record with any number (wire section 13)."
MAX_RECORD_SIZE: Final = 8192
"Largest record we send: what routing services let through, and the published default (wire 13)."

_RECIPIENT: Final = 1 + QID_SIZE
_TYPE_HANDSHAKE: Final = 1
_TYPE_SESSION: Final = 2
_HANDSHAKE_ID_SIZE: Final = 4
_WINDOW_SIZE: Final = 4
_PAIRING_ID_SIZE: Final = 16


class HandshakeKind(IntEnum):
    """The eight handshake messages (wire 6.1)."""

    IK1 = 1
    IK2 = 2
    KK1 = 3
    KK2 = 4
    XX1 = 5
    XX2 = 6
    XX3 = 7
    XX4 = 8

    @property
    def pattern(self) -> Pattern:
        """The pattern this message belongs to."""
        return _PATTERNS[self]

    @property
    def number(self) -> int:
        """Its place in the pattern: 1 to 4. Odd ones come from the initiator."""
        return _NUMBERS[self]


_PATTERNS: Final = {
    HandshakeKind.IK1: Pattern.IK,
    HandshakeKind.IK2: Pattern.IK,
    HandshakeKind.KK1: Pattern.KK,
    HandshakeKind.KK2: Pattern.KK,
    HandshakeKind.XX1: Pattern.XX,
    HandshakeKind.XX2: Pattern.XX,
    HandshakeKind.XX3: Pattern.XX,
    HandshakeKind.XX4: Pattern.XX,
}
_NUMBERS: Final = {
    HandshakeKind.IK1: 1,
    HandshakeKind.IK2: 2,
    HandshakeKind.KK1: 1,
    HandshakeKind.KK2: 2,
    HandshakeKind.XX1: 1,
    HandshakeKind.XX2: 2,
    HandshakeKind.XX3: 3,
    HandshakeKind.XX4: 4,
}


@dataclass(frozen=True, slots=True)
class HandshakeRecord:
    """A handshake record; the message inside is not decoded yet."""

    version: int
    "Version byte as received, unchecked."
    sender: Qid
    recipient: Qid
    kind: HandshakeKind
    handshake_id: int
    "u32, chosen by the initiator for one attempt."
    message: bytes = field(repr=False)
    "Everything behind the kind byte, handshake id included."

    @property
    def pattern(self) -> Pattern:
        """The pattern of the message."""
        return self.kind.pattern

    @property
    def is_first(self) -> bool:
        """True for IK1, KK1 and XX1, which start an attempt."""
        return self.kind.number == 1

    def peek_pairing_id(self) -> PairingId:
        """Return the pairing id that an XX1 shows in clear.

        Raises:
            InvalidStateError: not an XX1.
            UnexpectedEofError: too short.
        """
        if self.kind is not HandshakeKind.XX1:
            raise InvalidStateError("only XX1 shows a pairing id")
        reader = Reader(self.message)
        reader.take(_HANDSHAKE_ID_SIZE)
        return PairingId(reader.take(_PAIRING_ID_SIZE))

    def peek_ephemeral_public(self, suite: Suite) -> bytes:
        """Return the initiator's ephemeral public key, which IK1, KK1 and XX1 show in clear.

        Raises:
            InvalidStateError: not a first message.
            UnexpectedEofError: too short.
        """
        if not self.is_first:
            raise InvalidStateError("only a first message shows an ephemeral key")
        reader = Reader(self.message)
        reader.take(_HANDSHAKE_ID_SIZE)
        if self.kind is HandshakeKind.XX1:
            reader.take(_PAIRING_ID_SIZE + _WINDOW_SIZE)
        else:
            reader.take(_WINDOW_SIZE + suite.ciphertext_size)
        return reader.take(suite.public_key_size)


class SessionRecord(NamedTuple):
    """A session record, still sealed. A tuple, because it is made for every record."""

    version: int
    "Version byte as received, unchecked."
    sender: Qid
    recipient: Qid
    seq: int
    "Record number, u64; each direction counts for itself."
    sealed: bytes
    "Ciphertext and tag, in the order an AEAD takes them; the wire has the tag in front."

    def __repr__(self) -> str:
        return f"<SessionRecord {self.seq} {len(self.sealed)} bytes>"

    @property
    def ciphertext(self) -> bytes:
        """The encrypted body."""
        return self.sealed[:-TAG_SIZE]

    @property
    def tag(self) -> bytes:
        """The AEAD tag."""
        return self.sealed[-TAG_SIZE:]


def parse_record_untrusted(data: bytes) -> HandshakeRecord | SessionRecord:
    """Parse the envelope of a record.

    Any version byte is accepted here: the caller compares it with the suite it runs.

    Raises:
        UnexpectedEofError: too short.
        InvalidVarintError: record type, kind or record number is not a canonical varint.
        InvalidDiscriminantError: unknown record type or handshake kind.
    """
    if len(data) >= MIN_RECORD_SIZE and data[HEADER_SIZE - 1] == _TYPE_SESSION:
        # The usual record: nothing but its number can be malformed.
        reader = Reader(data, HEADER_SIZE)
        seq = reader.varint(64)
        tag = reader.position
        ciphertext = tag + TAG_SIZE
        sender, recipient = Qid(data[1:_RECIPIENT]), Qid(data[_RECIPIENT : HEADER_SIZE - 1])
        with memoryview(data) as view:
            sealed = b"".join((view[ciphertext:], view[tag:ciphertext]))
        return SessionRecord(data[0], sender, recipient, seq, sealed)
    reader = Reader(data)
    version = reader.u8()
    sender = Qid(reader.take(QID_SIZE))
    recipient = Qid(reader.take(QID_SIZE))
    record_type = reader.varint(32)
    if record_type == _TYPE_SESSION:
        seq = reader.varint(64)
        tag_bytes = reader.take(TAG_SIZE)
        return SessionRecord(version, sender, recipient, seq, reader.rest() + tag_bytes)
    if record_type != _TYPE_HANDSHAKE:
        raise InvalidDiscriminantError("unknown record type")
    number = reader.varint(32)
    if not HandshakeKind.IK1 <= number <= HandshakeKind.XX4:
        raise InvalidDiscriminantError("unknown handshake kind")
    message = reader.rest()
    handshake_id = Reader(message).u32()
    return HandshakeRecord(version, sender, recipient, HandshakeKind(number), handshake_id, message)


def encode_handshake_record(
    version: int, sender: Qid, recipient: Qid, kind: HandshakeKind, message: bytes
) -> bytes:
    """Put the envelope around a handshake message."""
    return b"".join((bytes((version,)), sender, recipient, bytes((_TYPE_HANDSHAKE, kind)), message))


def session_header(version: int, sender: Qid, recipient: Qid) -> bytes:
    """Return the 34 bytes in front of the record number of a session record."""
    return bytes((version,)) + sender + recipient + bytes((_TYPE_SESSION,))


class BodyBuilder:
    """Fills the body of one session record up to a total record size (wire section 13).

    Args:
        seq: the record number, whose length takes part in the size.
        max_size: most bytes of the whole record: header, number, tag and body.

    Raises:
        LocalError: `max_size` does not even hold the envelope.
    """

    __slots__ = ("_frames", "remaining")

    def __init__(self, seq: int, max_size: int = MAX_RECORD_SIZE) -> None:
        self.remaining = max_size - session_overhead(seq)
        "Bytes of frames that still fit; for looking at only."
        self._frames: list[bytes] = []
        if self.remaining < 0:
            raise LocalError("a record of this size cannot hold its own envelope")

    def append(self, frame: Frame) -> bool:
        """Add a frame if all of it fits; False when it was left out."""
        return self.append_encoded(encode_frame(frame))

    def append_encoded(self, encoded: bytes) -> bool:
        """Add a frame that is encoded already, if all of it fits; False when it was left out."""
        left = self.remaining - len(encoded)
        if left < 0:
            return False
        self._frames.append(encoded)
        self.remaining = left
        return True

    def body(self) -> bytes:
        """Return the frames so far, back to back."""
        return b"".join(self._frames)


def session_overhead(seq: int) -> int:
    """Return the bytes of a session record besides its body: 51 to 60."""
    return HEADER_SIZE + varint_size(seq) + TAG_SIZE
