"""Errors of the session layer, beside those of the wire layer (session section 2.3)."""

from __future__ import annotations

from primegap.quantumlink.errors import LocalError, RemoteError

# --- our own caller ------------------------------------------------------------------------------


class ConfigError(LocalError):
    """A setting of the link is outside its range."""

    code = "quantumlink-config"


class NoPeerError(LocalError):
    """A connection was asked for although no peer is bound."""

    code = "quantumlink-no-peer"
    hint = "No device is paired yet."


class NoSessionError(LocalError):
    """The call needs a connected session."""

    code = "quantumlink-no-session"
    hint = "The other device is not connected."


class MissingStreamError(LocalError):
    """The stream does not exist, is over and forgotten, or was not announced yet."""

    code = "quantumlink-missing-stream"
    hint = "The exchange with the other device is already over."


class HeaderTooLargeError(LocalError):
    """A stream header does not leave room for data in a record (session section 6.1)."""

    code = "quantumlink-header-too-large"


class StreamLimitError(LocalError):
    """No memory is left for the answers to one more stream (`max_receive_memory_bytes`)."""

    code = "quantumlink-stream-limit"
    hint = "Too many exchanges with the other device are running at once."


class LaneFinishedError(LocalError):
    """Bytes were written behind the end of a stream."""

    code = "quantumlink-lane-finished"


# --- whoever sent the record ---------------------------------------------------------------------


class RecordTooLongError(RemoteError):
    """A record is longer than `inbound_record_max_size`."""

    code = "quantumlink-record-too-long"
    name = "RecordTooLong"


class NoSessionForRecordError(RemoteError):
    """A session record arrived while no session is connected."""

    code = "quantumlink-unexpected-record"
    hint = "The other device believes to be connected. Connect again."
    name = "NoSession"


class UnknownPeerError(RemoteError):
    """Somebody who is not paired tried to connect."""

    code = "quantumlink-unknown-peer"
    hint = "A device that is not paired tried to connect and was refused."
    name = "NoPeer"


class NotPairingError(RemoteError):
    """A pairing attempt arrived although nobody asked to pair."""

    code = "quantumlink-not-pairing"
    hint = "A device tried to pair although pairing is not switched on."
    name = "NotPairingMode"


class ProtocolViolationError(RemoteError):
    """The peer broke a rule of sections 4 to 6; the session ends with close code 1.

    Never leaves the engine: it turns into the close (session, meaning of "PROTOCOL close").
    """

    code = "quantumlink-protocol-violation"
    hint = "The other device broke the rules of the link and was disconnected."
    name = "Protocol"
