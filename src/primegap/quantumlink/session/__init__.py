"""The session engine of QuantumLink: reliable streams over sealed records, pure (session spec).

`LinkEngine` is driven with bytes and time and answers with records and events; it owns no socket,
clock or randomness. Section numbers in this package are those of the session specification, "11,
#n" a remedy listed there.
"""

from __future__ import annotations

from primegap.quantumlink.session.config import (
    TUNED_MAX_WINDOW,
    TUNED_WINDOW,
    LinkConfig,
    StreamOptions,
)
from primegap.quantumlink.session.engine import LinkEngine
from primegap.quantumlink.session.errors import (
    ConfigError,
    HeaderTooLargeError,
    LaneFinishedError,
    MissingStreamError,
    NoPeerError,
    NoSessionError,
    NoSessionForRecordError,
    NotPairingError,
    RecordTooLongError,
    StreamLimitError,
    UnknownPeerError,
)
from primegap.quantumlink.session.events import (
    Halves,
    InboundFinished,
    InboundState,
    LanePhase,
    LinkEvent,
    NewPeer,
    OutboundFinished,
    OutboundState,
    OutgoingRecord,
    PeerStatus,
    PeerStatusChanged,
    SessionClosed,
    SessionDropped,
    StreamOpened,
    StreamReadable,
    StreamResetLocal,
    StreamResetReceived,
    StreamWritable,
    Unpaired,
)
from primegap.quantumlink.session.trace import Trace, TraceValue

__all__ = [
    "TUNED_MAX_WINDOW",
    "TUNED_WINDOW",
    "ConfigError",
    "Halves",
    "HeaderTooLargeError",
    "InboundFinished",
    "InboundState",
    "LaneFinishedError",
    "LanePhase",
    "LinkConfig",
    "LinkEngine",
    "LinkEvent",
    "MissingStreamError",
    "NewPeer",
    "NoPeerError",
    "NoSessionError",
    "NoSessionForRecordError",
    "NotPairingError",
    "OutboundFinished",
    "OutboundState",
    "OutgoingRecord",
    "PeerStatus",
    "PeerStatusChanged",
    "RecordTooLongError",
    "SessionClosed",
    "SessionDropped",
    "StreamLimitError",
    "StreamOpened",
    "StreamOptions",
    "StreamReadable",
    "StreamResetLocal",
    "StreamResetReceived",
    "StreamWritable",
    "Trace",
    "TraceValue",
    "UnknownPeerError",
    "Unpaired",
]
