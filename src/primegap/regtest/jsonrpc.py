"""JSON-RPC lines as both doors of the node speak them: strict reading, bounded, plain errors.

Used by the Electrum server (one request or batch a line) and by the control socket.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from primegap.regtest.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"Any JSON value."

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
BAD_REQUEST: Final = 1  # Electrum servers: asked for something that is not there
REFUSED: Final = 2  # Electrum servers: the node behind them refused
EXCESSIVE_USE: Final = -101  # Electrum servers: a limit of the session was reached

MAX_ID_CHARACTERS: Final = 256  # an id is sent back, so it must stay small
MAX_NAME_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One well-formed request."""

    method: str
    params: list[Json] | dict[str, Json]
    request_id: int | str | None
    wants_answer: bool
    "False for a JSON-RPC notification (no id)."


def decode_line_untrusted(line: bytes) -> Json:
    """Decode one line of JSON.

    Raises:
        RequestError: not UTF-8, not JSON, nested too deeply, or with numbers JSON does not have.
    """
    try:
        value: Json = json.loads(line.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(PARSE_ERROR, "not JSON") from error
    return value


def parse_request_untrusted(value: Json) -> Request:
    """Check the form of one request object.

    Raises:
        RequestError: not a request.
    """
    if not isinstance(value, dict):
        raise RequestError(INVALID_REQUEST, "a request is an object")
    method, params = value.get("method"), value.get("params", [])
    if not isinstance(method, str) or not 1 <= len(method) <= MAX_NAME_CHARACTERS:
        raise RequestError(INVALID_REQUEST, "a request names a method")
    if not isinstance(params, (list, dict)):
        raise RequestError(INVALID_REQUEST, "params are an array or an object")
    return Request(
        method=method,
        params=params,
        request_id=request_id_of(value),
        wants_answer="id" in value,
    )


def request_id_of(value: Json) -> int | str | None:
    """Return the id to answer with; None where there is none that may be sent back."""
    request_id = value.get("id") if isinstance(value, dict) else None
    if isinstance(request_id, str) and len(request_id) <= MAX_ID_CHARACTERS:
        return request_id
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        return request_id if abs(request_id) < 1 << 64 else None
    return None


def bind_params(
    params: list[Json] | dict[str, Json], names: Sequence[str], required: int
) -> list[Json]:
    """Bring parameters by position or by name into the order of `names`; absent ones are None.

    Raises:
        RequestError: too many, too few, or an unknown name.
    """
    if isinstance(params, dict):
        if not params.keys() <= set(names):
            raise RequestError(INVALID_PARAMS, "unknown parameter")
        if not all(name in params for name in names[:required]):
            raise RequestError(INVALID_PARAMS, "missing parameter")
        return [params.get(name) for name in names]
    if not required <= len(params) <= len(names):
        raise RequestError(
            INVALID_PARAMS, f"takes {required} to {len(names)} parameters, not {len(params)}"
        )
    return [*params, *[None] * (len(names) - len(params))]


def encode_request(request_id: int, method: str, params: dict[str, Json]) -> bytes:
    """Encode a request, without line end."""
    return _encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def encode_result(request_id: int | str | None, result: Json) -> bytes:
    """Encode the answer to a request, without line end."""
    return _encode({"jsonrpc": "2.0", "id": request_id, "result": result})


def encode_error(
    request_id: int | str | None, rpc_code: int, message: str, data: Json = None
) -> bytes:
    """Encode an error answer, without line end."""
    error: dict[str, Json] = {"code": rpc_code, "message": message}
    if data is not None:
        error["data"] = data
    return _encode({"jsonrpc": "2.0", "id": request_id, "error": error})


def encode_notification(method: str, params: list[Json]) -> bytes:
    """Encode a message that expects no answer, without line end."""
    return _encode({"jsonrpc": "2.0", "method": method, "params": params})


def integer(value: Json, *, least: int, most: int, name: str) -> int:
    """Return `value` if it is an integer in the range.

    Raises:
        RequestError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestError(INVALID_PARAMS, f"{name}: a whole number from {least} to {most}")
    return value


def boolean(value: Json, *, name: str) -> bool:
    """Return `value` if it is a boolean, False if it is absent.

    Raises:
        RequestError: it is something else.
    """
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError(INVALID_PARAMS, f"{name}: true or false")
    return value


def hexadecimal(value: Json, *, name: str, size: int | None = None) -> bytes:
    """Return the bytes of a hexadecimal string, of `size` bytes if given.

    Raises:
        RequestError: it is not one.
    """
    if isinstance(value, str) and value.isascii() and value.isalnum():
        try:
            data = bytes.fromhex(value)
        except ValueError:
            data = b""
        if data and (size is None or len(data) == size):
            return data
    form = "hexadecimal" if size is None else f"{size} bytes in hexadecimal"
    raise RequestError(INVALID_PARAMS, f"{name}: {form}")


def _encode(value: dict[str, Json]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("JSON has no such number")
