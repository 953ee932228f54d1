"""Memory of first messages that were answered, so that a replay is not answered again (11, #1)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.records import HandshakeKind

if TYPE_CHECKING:
    from primegap.quantumlink.records import HandshakeRecord
    from primegap.quantumlink.suite import Suite

MAX_REMEMBERED: Final = 512
"""First messages remembered, oldest forgotten first; about 60 kB. A replay of a forgotten one does
no harm either, it only costs the work of an answer nobody can use."""

_PAIRING_FIRST_FIXED: Final = 24
"Handshake id, pairing id and window in front of the key of XX1."


class FirstMessageMemory:
    """Digests of the first messages that were answered since the start."""

    __slots__ = ("_digests",)

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        """Remember a message."""
        self._digests[digest] = None
        if len(self._digests) > MAX_REMEMBERED:
            del self._digests[next(iter(self._digests))]


def first_message_digest(record: HandshakeRecord, suite: Suite) -> bytes:
    """Return what tells one first message from another, 16 bytes."""
    message = record.message
    if record.kind is HandshakeKind.XX1:
        # What follows the key is ignored by the parser, so it must not make a message look new.
        message = message[: _PAIRING_FIRST_FIXED + suite.public_key_size]
    head = bytes((record.kind,)) + record.sender
    return hashlib.sha256(head + message).digest()[:16]
