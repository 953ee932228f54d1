"""The primitives of postcard (version 1 wire format) that the chip's messages use (section 5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from primegap.radio.errors import MessageError, MessageSizeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
E = TypeVar("E", bound=enum.IntEnum)

_U32_BITS: Final = 32
_U64_BITS: Final = 64


class Reader:
    """Takes fields off the front of bytes of a peer; raises only MessageError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise MessageError("message ends inside a field")
        part = self._data[self._at : end]
        self._at = end
        return part

    def varint(self, bits: int) -> int:
        """Return a little-endian base-128 number of at most `bits` bits.

        Longer spellings than needed are accepted, as the format's own implementation does.
        """
        value = 0
        for shift in range(0, bits, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise MessageError("number does not fit its type")


def varint(value: int) -> bytes:
    """Return the base-128 form of a non-negative number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How one field is written and read."""

    encode: Callable[[T], bytes]
    "Raises MessageSizeError for a value outside the field's limits."
    parse: Callable[[Reader], T]
    "Raises MessageError for bytes that are no value of the field."


def _in_range(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise MessageSizeError(f"number is not between {low} and {high}")
    return value


def unsigned(bits: int) -> Codec[int]:
    """A varint number of at most `bits` bits (u16, u32, u64, usize)."""
    return Codec(
        lambda value: varint(_in_range(value, 0, (1 << bits) - 1)),
        lambda reader: reader.varint(bits),
    )


def _parse_bool(reader: Reader) -> bool:
    value = reader.take(1)[0]
    if value > 1:
        raise MessageError("truth value is neither 0 nor 1")
    return value == 1


U8: Final[Codec[int]] = Codec(
    lambda value: bytes([_in_range(value, 0, 255)]), lambda reader: reader.take(1)[0]
)
I8: Final[Codec[int]] = Codec(
    lambda value: _in_range(value, -128, 127).to_bytes(1, "little", signed=True),
    lambda reader: int.from_bytes(reader.take(1), "little", signed=True),
)
BOOL: Final[Codec[bool]] = Codec(lambda value: bytes([value]), _parse_bool)
U32: Final = unsigned(_U32_BITS)
U64: Final = unsigned(_U64_BITS)


def fixed(size: int) -> Codec[bytes]:
    """An array of exactly `size` bytes, without a length."""

    def encode(value: bytes) -> bytes:
        if len(value) != size:
            raise MessageSizeError(f"field has {size} bytes, not {len(value)}")
        return value

    return Codec(encode, lambda reader: reader.take(size))


def blob(limit: int) -> Codec[bytes]:
    """Bytes with a length in front, at most `limit`."""

    def encode(value: bytes) -> bytes:
        if len(value) > limit:
            raise MessageSizeError(f"field has at most {limit} bytes, not {len(value)}")
        return varint(len(value)) + value

    def parse(reader: Reader) -> bytes:
        size = reader.varint(_U32_BITS)
        if size > limit:
            raise MessageError("field is longer than its limit")
        return reader.take(size)

    return Codec(encode, parse)


def text(limit: int) -> Codec[str]:
    """UTF-8 text of at most `limit` bytes, with its length in front."""
    raw = blob(limit)

    def parse(reader: Reader) -> str:
        try:
            return raw.parse(reader).decode()
        except UnicodeDecodeError as error:
            raise MessageError("text is not UTF-8") from error

    return Codec(lambda value: raw.encode(value.encode()), parse)


def choice(kind: type[E]) -> Codec[E]:
    """A variant without payload."""

    def parse(reader: Reader) -> E:
        number = reader.varint(_U32_BITS)
        try:
            return kind(number)
        except ValueError as error:
            raise MessageError("variant is not known") from error

    return Codec(varint, parse)


def array(size: int, item: Codec[T]) -> Codec[tuple[T, ...]]:
    """Exactly `size` items, without a count."""

    def encode(value: tuple[T, ...]) -> bytes:
        if len(value) != size:
            raise MessageSizeError(f"field has {size} items, not {len(value)}")
        return b"".join(item.encode(one) for one in value)

    return Codec(encode, lambda reader: tuple(item.parse(reader) for _ in range(size)))
