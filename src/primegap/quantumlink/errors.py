"""Errors of QuantumLink: one root, split by who is at fault.

`LocalError` means that the calling program broke a rule, which is a bug. `RemoteError` means that
bytes of a peer (or of whoever sits on the air) did not hold; parsers of untrusted data raise
nothing else. Every remote error corresponds to one entry of section 14 of the wire specification
and carries that entry's `name`.
"""

from __future__ import annotations

from typing import ClassVar


class QuantumLinkError(Exception):
    """Root of everything this package raises on purpose."""

    code: ClassVar[str] = "quantumlink"
    "Stable public code: JSON output, exit status, documentation."
    hint: ClassVar[str] = "The secure link reported a problem."
    "A sentence for a person."


class LocalError(QuantumLinkError):
    """Our own caller broke the rules of the protocol or of the API."""

    code = "quantumlink-misuse"
    hint = "The program used the secure link in a way that is not allowed."


class SequenceReusedError(LocalError):
    """A record number was used before under the same key; sealing again would break the cipher."""

    code = "quantumlink-sequence-reused"


class AckRangesError(LocalError):
    """The ranges handed to the ACK encoder are not an ACK (wire section 12)."""

    code = "quantumlink-ack-ranges"
    name: ClassVar[str] = "InvalidAck"
    "Name used by the published vectors."


class EmptyAckError(AckRangesError):
    """An ACK needs at least one range."""

    name = "Empty"


class InvertedRangeError(AckRangesError):
    """A range starts above its end."""

    name = "InvertedRange"


class NotCanonicalError(AckRangesError):
    """Ranges touch, overlap or are not in descending order."""

    name = "NotCanonical"


class RemoteError(QuantumLinkError):
    """The peer, or somebody in its name, sent something that does not hold."""

    code = "quantumlink-remote"
    hint = "The other device sent something that could not be accepted."
    name: ClassVar[str] = "Remote"
    "Name of the error in section 14 of the wire specification."


# --- decoding (wire 14.1) -----------------------------------------------------------------------


class CodecError(RemoteError):
    """Bytes that are not an encoding of anything (wire 14.1)."""

    code = "quantumlink-codec"
    hint = "The other device sent damaged data."
    name = "Codec"


class UnexpectedEofError(CodecError):
    """Input ends inside a field, or an announced length exceeds what is left."""

    code = "quantumlink-unexpected-eof"
    name = "UnexpectedEof"


class InvalidVarintError(CodecError):
    """A varint overflows its width, is too long or is not in its shortest form."""

    code = "quantumlink-invalid-varint"
    name = "InvalidVarint"


class InvalidDiscriminantError(CodecError):
    """An unknown record type, handshake kind, frame kind, reset target or option byte."""

    code = "quantumlink-invalid-discriminant"
    name = "InvalidDiscriminant"


class InvalidRangeError(CodecError):
    """Impossible ACK ranges, or a number outside what its type can hold."""

    code = "quantumlink-invalid-range"
    name = "InvalidRange"


class InvalidUtf8Error(CodecError):
    """A text is not UTF-8."""

    code = "quantumlink-invalid-utf8"
    name = "InvalidUtf8"


class InvalidDataError(CodecError):
    """A zero in a number that must not be zero, or a malformed invitation text."""

    code = "quantumlink-invalid-data"
    name = "InvalidData"


# --- handshakes and sealed records (wire 14.2) --------------------------------------------------


class InvalidStateError(RemoteError):
    """A handshake message out of turn, of another pattern, or of the wrong shape for its kind."""

    code = "quantumlink-invalid-state"
    hint = "The other device sent a message at the wrong moment."
    name = "InvalidState"


class InvalidHandshakeIdError(RemoteError):
    """The message belongs to another handshake attempt."""

    code = "quantumlink-invalid-handshake-id"
    hint = "The other device answered an earlier attempt to connect."
    name = "InvalidHandshakeId"


class InvalidRouteError(RemoteError):
    """The record is not addressed to us, or does not come from the expected peer."""

    code = "quantumlink-invalid-route"
    hint = "A message for another device arrived here."
    name = "InvalidRouteHeader"


class InvalidPairingIdError(RemoteError):
    """The pairing attempt uses another invitation than the one shown here."""

    code = "quantumlink-invalid-pairing-id"
    hint = "The other device used another pairing code. Scan the code on the screen again."
    name = "InvalidPairingId"


class InvalidPayloadError(RemoteError):
    """An encrypted field is too short, or a key or ciphertext inside a message is not one."""

    code = "quantumlink-invalid-payload"
    hint = "The other device sent a damaged message."
    name = "InvalidPayload"


class DecryptFailedError(RemoteError):
    """An authentication tag did not verify."""

    code = "quantumlink-decrypt-failed"
    hint = "A message could not be authenticated and was dropped."
    name = "DecryptFailed"


class InvalidEpochError(RemoteError):
    """A record number lies outside the key epochs a receiver accepts (suites, key update)."""

    code = "quantumlink-invalid-epoch"
    hint = "A message used a key that is too old or too far ahead and was dropped."
    name = "InvalidEpoch"


class InvalidRemoteBundleError(RemoteError):
    """The identity of the peer does not hold together or is not the expected one."""

    code = "quantumlink-invalid-remote-bundle"
    hint = "The other device showed an identity that does not match. Pair the devices again."
    name = "InvalidRemoteBundle"


class InvalidVersionError(RemoteError):
    """A record or invitation of a version that is not run here."""

    code = "quantumlink-invalid-version"
    hint = "The other device speaks another version of the secure link. Update both devices."
    name = "InvalidVersion"
