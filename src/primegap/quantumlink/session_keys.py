"""Sealing and opening session records, and the key update of the native suite (wire 9 and 10).

Keys live in epochs of 65 536 records (suites page): the key of the next epoch is derived from the
one before, which is then erased. The reference suite has a single key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.codec import MAX_U64, put_varint
from primegap.quantumlink.errors import (
    DecryptFailedError,
    InvalidEpochError,
    LocalError,
    SequenceReusedError,
)
from primegap.quantumlink.records import SessionRecord, session_header
from primegap.quantumlink.secret import SecretBytes
from primegap.quantumlink.suite import KEY_SIZE, TAG_SIZE, Suite
from primegap.quantumlink.symmetric import hkdf, invalid_tag, nonce_of
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from primegap.quantumlink.identity import Qid
    from primegap.quantumlink.suite import AeadCipher

EPOCH_BITS: Final = 16
"A key serves 2^16 records before it is replaced."

_EPOCH_INFO: Final = b"primegap:epoch:v1"
_AAD_LABEL: Final = b"ql-wire:session-aad:v1"
_AAD_SESSION: Final = b"\x01"
"A fixed label inside the AAD, not the record type (wire 10.2)."


def _next_epoch_key(key: bytes) -> bytes:
    return hkdf(b"", key, blocks=1, info=_EPOCH_INFO)[0]


def _aad_prefix(suite: Suite, sender: Qid, recipient: Qid) -> bytes:
    return b"".join((_AAD_LABEL, bytes((suite.version,)), _AAD_SESSION, sender, recipient))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _EpochKey(NeverSerialised):
    """The key of one epoch, and the cipher made from it."""

    epoch: int
    key: SecretBytes
    cipher: AeadCipher

    @classmethod
    def make(cls, suite: Suite, epoch: int, key: bytes) -> _EpochKey:
        return cls(epoch, SecretBytes(key), suite.new_cipher(key))

    def following(self, suite: Suite) -> _EpochKey:
        return _EpochKey.make(suite, self.epoch + 1, _next_epoch_key(self.key.reveal()))

    def erased(self) -> _EpochKey:
        """Wipe the key and let go of its cipher, whose own copy is freed with it."""
        self.key.wipe()
        return _EpochKey(self.epoch, self.key, _NO_CIPHER)


class _NoCipher:
    """Stands where the cipher of an erased key was."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Refuse."""
        del nonce, data, associated_data
        raise LocalError("the key of this session was erased")

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Refuse."""
        return self.encrypt(nonce, data, associated_data)


_NO_CIPHER: Final = _NoCipher()


def _first_epoch(suite: Suite, key: SecretBytes) -> _EpochKey:
    if len(key) != KEY_SIZE:
        raise LocalError(f"a session key has {KEY_SIZE} bytes")
    return _EpochKey.make(suite, 0, key.reveal())


class SessionSealer(NeverSerialised):
    """Seals the records of one direction of one session.

    Args:
        suite: suite of the handshake.
        key: our sending key; a copy is kept, the caller may wipe its own.
        sender: our QID.
        recipient: the peer's QID.

    Raises:
        LocalError: the key has not 32 bytes.
    """

    __slots__ = ("_aad_prefix", "_current", "_epoch_end", "_header", "_next_seq", "_suite")

    def __init__(self, suite: Suite, key: SecretBytes, sender: Qid, recipient: Qid) -> None:
        self._suite = suite
        self._current = _first_epoch(suite, key)
        self._epoch_end = 1 << EPOCH_BITS if suite.updates_keys else MAX_U64 + 2
        self._header = session_header(suite.version, sender, recipient)
        self._aad_prefix = _aad_prefix(suite, sender, recipient)
        self._next_seq = 0

    def seal(self, seq: int, body: bytes) -> bytes:
        """Return the whole record for a body.

        Record numbers must rise; leaving some out is allowed, but not a whole key epoch.

        Raises:
            SequenceReusedError: `seq` is not above every number sealed before.
            LocalError: `seq` is beyond 64 bits, or more than one epoch ahead.
        """
        if seq < self._next_seq:
            raise SequenceReusedError("a record number may be sealed only once")
        if seq > MAX_U64:
            raise LocalError("record numbers end at 2^64 - 1")
        if seq >= self._epoch_end:
            self._advance_to(seq >> EPOCH_BITS)
        number = put_varint(seq)
        self._next_seq = following = seq + 1
        sealed = memoryview(
            self._current.cipher.encrypt(nonce_of(seq), body, self._aad_prefix + number)
        )
        if following >= self._epoch_end:
            # The key of a finished epoch is erased now, not when the next record comes.
            self._advance_to(following >> EPOCH_BITS)
        # The tag moves to the front (wire 10.1).
        return b"".join((self._header, number, sealed[-TAG_SIZE:], sealed[:-TAG_SIZE]))

    def wipe(self) -> None:
        """Erase the key; nothing can be sealed any more."""
        self._current = self._current.erased()

    def _advance_to(self, epoch: int) -> None:
        if epoch > self._current.epoch + 1:
            raise LocalError("record numbers may not leave out a whole key epoch")
        following = self._current.following(self._suite)
        self._current.key.wipe()
        self._current = following
        self._epoch_end += 1 << EPOCH_BITS


class SessionOpener(NeverSerialised):
    """Opens the records of one direction of one session; replay is the caller's business.

    Args:
        suite: suite of the handshake.
        key: our receiving key; a copy is kept, the caller may wipe its own.
        sender: the peer's QID.
        recipient: our QID.

    Raises:
        LocalError: the key has not 32 bytes.
    """

    __slots__ = ("_aad_prefix", "_newest", "_previous", "_route", "_suite", "_updates_keys")

    def __init__(self, suite: Suite, key: SecretBytes, sender: Qid, recipient: Qid) -> None:
        self._suite = suite
        self._updates_keys = suite.updates_keys
        self._newest = _first_epoch(suite, key)
        self._previous: _EpochKey | None = None
        self._route = (sender, recipient)
        self._aad_prefix = _aad_prefix(suite, sender, recipient)

    def open(self, record: SessionRecord) -> bytes:
        """Return the body of a record. A refused record changes nothing.

        Raises:
            InvalidEpochError: the record belongs to a key that is erased, or to one more than one
                epoch ahead.
            DecryptFailedError: route, number, tag or ciphertext are not the sender's.
        """
        _, sender, recipient, seq, sealed = record
        if (sender, recipient) != self._route:
            raise DecryptFailedError("a record of another route does not verify")
        candidate = newest = self._newest
        if self._updates_keys and seq >> EPOCH_BITS != newest.epoch:
            candidate = self._key_for(seq >> EPOCH_BITS)
        try:
            body = candidate.cipher.decrypt(
                nonce_of(seq), sealed, self._aad_prefix + put_varint(seq)
            )
        except invalid_tag():
            if candidate.epoch > newest.epoch:
                candidate.key.wipe()
            raise DecryptFailedError("a record does not verify") from None
        if candidate.epoch > newest.epoch:
            if self._previous is not None:
                self._previous.key.wipe()
            self._previous, self._newest = self._newest, candidate
        return body

    def wipe(self) -> None:
        """Erase the keys; no record opens any more."""
        self._newest = self._newest.erased()
        if self._previous is not None:
            self._previous = self._previous.erased()

    def _key_for(self, epoch: int) -> _EpochKey:
        if epoch == self._newest.epoch + 1:
            return self._newest.following(self._suite)
        if self._previous is not None and epoch == self._previous.epoch:
            return self._previous
        raise InvalidEpochError("a record uses a key outside the accepted epochs")


_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"Base32 without letters that look like others."


def session_fingerprint(handshake_hash: bytes) -> str:
    """Return eight characters, `XXXX-XXXX`, equal on both sides of one and the same session.

    40 bits of SHA-256("primegap:session-fingerprint:v1" ‖ handshake hash) in Crockford's base32.
    """
    digest = hashlib.sha256(b"primegap:session-fingerprint:v1" + handshake_hash).digest()
    bits = int.from_bytes(digest[:5], "big")
    text = "".join(_CROCKFORD[bits >> shift & 31] for shift in range(35, -1, -5))
    return f"{text[:4]}-{text[4:]}"
