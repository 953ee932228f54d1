"""What can go wrong in a call, and the reset code each fault is answered with (session 8.5)."""

from __future__ import annotations

from typing import ClassVar

from primegap.quantumlink.errors import RemoteError
from primegap.quantumlink.frames import ResetCode


class RpcError(RemoteError):
    """The peer did not keep to the rules of a call."""

    code = "rpc"
    hint = "The other device sent an answer that could not be understood."
    name = "Rpc"
    reset_code: ClassVar[ResetCode] = ResetCode.PROTOCOL
    "Code the lane is reset with when it can still be reset."


class InvalidRouteKeyError(RpcError):
    """A stream header is not a route key: short, long, or a malformed varint (API 2.1)."""

    code = "rpc-invalid-route-key"
    hint = "The other device called something that is not a service."
    name = "InvalidRouteKey"


class TruncatedError(RpcError):
    """The lane ended inside a part, inside a frame, or before the final response."""

    code = "rpc-truncated"
    hint = "The other device stopped in the middle of an answer."
    name = "Truncated"


class LengthOverflowError(RpcError):
    """A value is longer than the limit for its kind."""

    code = "rpc-length-overflow"
    hint = "The other device sent more than is accepted here."
    name = "LengthOverflow"
    reset_code = ResetCode.LIMIT


class UnexpectedFrameKindError(RpcError):
    """A tagged part has an unknown tag, or one that is out of order."""

    code = "rpc-unexpected-frame-kind"
    name = "UnexpectedFrameKind"

    def __init__(self, kind: int) -> None:
        super().__init__(f"frame kind {kind} is not expected here")
        self.kind = kind
        "The tag, 0 to 255."


class TrailingBytesError(RpcError):
    """Bytes after the last thing that may come: behind a response, or in an end of part."""

    code = "rpc-trailing-bytes"
    name = "TrailingBytes"


class BadValueError(RpcError):
    """A value does not decode as the type its route declares."""

    code = "rpc-bad-value"
    name = "Codec"
    reset_code = ResetCode.CODEC
