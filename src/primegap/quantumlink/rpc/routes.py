"""Routes: what one call is, as a value that client and server share (API sections 3 and 5).

A route names its key, its modality (by its class) and how each value on it is encoded. What goes
over the two lanes of the stream:

| class | caller sends | handler sends |
|---|---|---|
| `RequestRoute` | request | answer |
| `NotificationRoute` | payload | nothing |
| `SubscriptionRoute` | request | events |
| `ProgressRoute` | request | progress values, then one answer |
| `DownloadRoute` | request | response header, then parts (header and body each) |
| `UploadRoute` | request, then parts | answer |
| `DuplexRoute` | events | events |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar

if TYPE_CHECKING:
    from primegap.quantumlink.rpc.keys import RouteKey
    from primegap.quantumlink.rpc.values import Codec

MAX_VALUE_BYTES: Final = 1 << 20
"""Most bytes of one value (request, answer, event, header) unless its route says otherwise: ample
for every route but those that carry a PSBT, and small enough that the calls one session may have
open at a time fit the memory of a device (API 3.2)."""

ANSWER_TIMEOUT_S: Final = 10.0
"Seconds a caller waits for an answer that a machine gives (API section 7)."

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")
EventT = TypeVar("EventT")
ProgressT = TypeVar("ProgressT")
HeaderT = TypeVar("HeaderT")
PartHeaderT = TypeVar("PartHeaderT")
OutgoingT = TypeVar("OutgoingT")
IncomingT = TypeVar("IncomingT")


class Modality(Enum):
    """The shape of a call."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    SUBSCRIPTION = "subscription"
    PROGRESS = "progress"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    DUPLEX = "duplex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What the routes of all modalities have in common."""

    modality: ClassVar[Modality]
    name: str
    "Name in the API specification, for messages to people and logs."
    key: RouteKey
    max_request_bytes: int = MAX_VALUE_BYTES
    "Most bytes of a value the caller sends; a handler answers more with reset code 8."
    max_answer_bytes: int = MAX_VALUE_BYTES
    "Most bytes of one value the handler sends; a caller answers more with reset code 8."
    timeout_s: float | None = ANSWER_TIMEOUT_S
    """Seconds until a caller gives up waiting for the (first) answer unless it says otherwise; None
    for routes where a person decides. Events and bodies have no such limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRoute(Route, Generic[RequestT, AnswerT]):
    """One request, one answer."""

    modality = Modality.REQUEST
    request: Codec[RequestT]
    answer: Codec[AnswerT]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRoute(Route, Generic[RequestT]):
    """One payload, no answer."""

    modality = Modality.NOTIFICATION
    request: Codec[RequestT]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRoute(Route, Generic[RequestT, EventT]):
    """One request, then events until either side ends it."""

    modality = Modality.SUBSCRIPTION
    request: Codec[RequestT]
    event: Codec[EventT]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressRoute(Route, Generic[RequestT, ProgressT, AnswerT]):
    """One request, reports on the way, one answer."""

    modality = Modality.PROGRESS
    request: Codec[RequestT]
    progress: Codec[ProgressT]
    answer: Codec[AnswerT]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRoute(Route, Generic[RequestT, HeaderT, PartHeaderT]):
    """One request, a response header, then parts with raw bodies."""

    modality = Modality.DOWNLOAD
    request: Codec[RequestT]
    header: Codec[HeaderT]
    part_header: Codec[PartHeaderT]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRoute(Route, Generic[RequestT, PartHeaderT, AnswerT]):
    """One request followed by parts with raw bodies, one answer."""

    modality = Modality.UPLOAD
    request: Codec[RequestT]
    part_header: Codec[PartHeaderT]
    answer: Codec[AnswerT]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplexRoute(Route, Generic[OutgoingT, IncomingT]):
    """Events in both directions, each direction ended on its own."""

    modality = Modality.DUPLEX
    caller_event: Codec[OutgoingT]
    handler_event: Codec[IncomingT]
