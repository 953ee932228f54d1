"""CBOR values as the structures of a UR use them (uniform-resources.md sections 3 and 9).

Only integers, byte strings, text, arrays, maps with small integer keys, tags, true, false and null
exist; definite lengths only. Written in the shortest form with keys in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from primegap.airgap.errors import CborError
from primegap.airgap.ur.cbor import (
    ARRAY,
    BYTES,
    MAP,
    SIMPLE,
    TAG,
    TEXT,
    UINT,
    check_item_untrusted,
    encode_head,
    read_head_untrusted,
)

NEGATIVE: Final = 1
_SIMPLE_VALUES: Final = {20: False, 21: True, 22: None}
_SIMPLE_NUMBERS: Final = {False: 20, True: 21, None: 22}


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value with a tag in front."""

    tag: int
    value: Value


Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[int, Value] | Tagged | None"


def parse_value_untrusted(data: bytes) -> Value:
    """Return the value in `data`, which must be exactly one item.

    Raises:
        CborError: not one well-formed item, too deep, too large, or of a kind that is not used.
    """
    check_item_untrusted(data)
    value, _ = _read(data, 0)
    return value


def _read(data: bytes, start: int) -> tuple[Value, int]:
    """Read one item; its form, depth and size were checked before."""
    major, number, offset = read_head_untrusted(data, start)
    match major:
        case 0:
            return number, offset
        case 1:
            return -1 - number, offset
        case 2:
            return data[offset : offset + number], offset + number
        case 3:
            return _text(data[offset : offset + number]), offset + number
        case 4:
            items: list[Value] = []
            for _ in range(number):
                item, offset = _read(data, offset)
                items.append(item)
            return items, offset
        case 5:
            return _read_map(data, offset, number)
        case 6:
            inner, offset = _read(data, offset)
            return Tagged(number, inner), offset
        case _:
            if number not in _SIMPLE_VALUES or offset != start + 1:
                raise CborError("a number with a fraction, or an unknown simple value")
            return _SIMPLE_VALUES[number], offset


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CborError("text that is not UTF-8") from None


def _read_map(data: bytes, offset: int, count: int) -> tuple[Value, int]:
    found: dict[int, Value] = {}
    for _ in range(count):
        key, offset = _read(data, offset)
        value, offset = _read(data, offset)
        if isinstance(key, bool) or not isinstance(key, int) or key in found:
            raise CborError("a key that is no integer, or stands twice")
        found[key] = value
    return found, offset


def encode_value(value: Value) -> bytes:
    """Return the CBOR of a value."""
    if value is None or isinstance(value, bool):
        return encode_head(SIMPLE, _SIMPLE_NUMBERS[value])
    if isinstance(value, int):
        return encode_head(UINT, value) if value >= 0 else encode_head(NEGATIVE, -1 - value)
    if isinstance(value, bytes):
        return encode_head(BYTES, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return encode_head(TEXT, len(data)) + data
    if isinstance(value, Tagged):
        return encode_head(TAG, value.tag) + encode_value(value.value)
    if isinstance(value, list):
        return encode_head(ARRAY, len(value)) + b"".join([encode_value(item) for item in value])
    pairs = sorted(value.items())
    return encode_head(MAP, len(pairs)) + b"".join(
        [encode_value(key) + encode_value(item) for key, item in pairs]
    )
