"""Calls over streams, pure: route keys, framing, readers of lanes, descriptions of routes.

One call is one stream: its header is the route key, its lanes carry values in one of seven shapes
(`Modality`), success is the clean end of a lane, failure a reset code (session section 8). Who
talks to whom and when is not decided here: see `primegap.quantumlink.aio`.
"""

from __future__ import annotations

from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.rpc.errors import (
    BadValueError,
    InvalidRouteKeyError,
    LengthOverflowError,
    RpcError,
    TrailingBytesError,
    TruncatedError,
    UnexpectedFrameKindError,
)
from primegap.quantumlink.rpc.framing import (
    HEAD_SIZE,
    LENGTH_SIZE,
    PART_END,
    PartTag,
    ProgressTag,
    encode_part,
    encode_tagged_part,
)
from primegap.quantumlink.rpc.keys import (
    APP_ID_SIZE,
    AppId,
    AppRouteKey,
    RouteKey,
    ServiceId,
    ServiceRouteKey,
)
from primegap.quantumlink.rpc.readers import (
    EventReader,
    FinalResponse,
    LaneReader,
    MultipartItem,
    MultipartReader,
    PartBody,
    PartEnd,
    PartStart,
    Pause,
    Preamble,
    ProgressReader,
    ProgressValue,
    ValueReader,
)
from primegap.quantumlink.rpc.routes import (
    ANSWER_TIMEOUT_S,
    MAX_VALUE_BYTES,
    DownloadRoute,
    DuplexRoute,
    Modality,
    NotificationRoute,
    ProgressRoute,
    RequestRoute,
    Route,
    SubscriptionRoute,
    UploadRoute,
)
from primegap.quantumlink.rpc.values import BytesCodec, Codec, TextCodec

__all__ = [
    "ANSWER_TIMEOUT_S",
    "APP_ID_SIZE",
    "HEAD_SIZE",
    "LENGTH_SIZE",
    "MAX_VALUE_BYTES",
    "PART_END",
    "AppId",
    "AppRouteKey",
    "BadValueError",
    "BytesCodec",
    "Codec",
    "DownloadRoute",
    "DuplexRoute",
    "EventReader",
    "FinalResponse",
    "InvalidRouteKeyError",
    "LaneReader",
    "LengthOverflowError",
    "Modality",
    "MultipartItem",
    "MultipartReader",
    "NotificationRoute",
    "PartBody",
    "PartEnd",
    "PartStart",
    "PartTag",
    "Pause",
    "Preamble",
    "ProgressReader",
    "ProgressRoute",
    "ProgressTag",
    "ProgressValue",
    "RequestRoute",
    "ResetCode",
    "Route",
    "RouteKey",
    "RpcError",
    "ServiceId",
    "ServiceRouteKey",
    "SubscriptionRoute",
    "TextCodec",
    "TrailingBytesError",
    "TruncatedError",
    "UnexpectedFrameKindError",
    "UploadRoute",
    "ValueReader",
    "encode_part",
    "encode_tagged_part",
]
