"""Positional codec of QuantumLink: varints, fixed integers, byte strings, text (wire section 2).

Writing is done with plain functions that return bytes; reading with `Reader`, which never reserves
more memory than the bytes that are really there and raises only `CodecError`s.
"""

from __future__ import annotations

from typing import Final

from primegap.quantumlink.errors import (
    InvalidUtf8Error,
    InvalidVarintError,
    LocalError,
    UnexpectedEofError,
)

MAX_U32: Final = 2**32 - 1
"Largest length or count the codec can announce (wire 2.1)."
MAX_U64: Final = 2**64 - 1
"Largest stream id, offset, record number or code."

_SINGLE_BYTE: Final = tuple(bytes([value]) for value in range(0x80))
# Most varints on the wire are below 128: a table saves the loop and the temporary buffer.


def put_varint(value: int) -> bytes:
    """Encode an unsigned integer as canonical LEB128 (wire 2.2).

    Args:
        value: 0 to 2^64 - 1; the caller keeps to the width of the field.

    Raises:
        LocalError: `value` does not fit 64 bits.
    """
    if 0 <= value < 0x80:
        return _SINGLE_BYTE[value]
    if 0 <= value < 0x4000:  # record numbers and lengths
        return bytes((value & 0x7F | 0x80, value >> 7))
    if 0 <= value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if 0 <= value < 0x1000_0000:  # offsets
        return bytes(
            (value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21)
        )
    if not 0 <= value <= MAX_U64:
        raise LocalError("a varint holds 0 to 2^64 - 1")
    out = bytearray()
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_size(value: int) -> int:
    """Return how many bytes `put_varint(value)` takes, 1 to 10."""
    return (value.bit_length() + 6) // 7 or 1


def put_u16(value: int) -> bytes:
    """Encode 16 bits, little-endian."""
    return value.to_bytes(2, "little")


def put_u32(value: int) -> bytes:
    """Encode 32 bits, little-endian."""
    return value.to_bytes(4, "little")


def put_u64(value: int) -> bytes:
    """Encode 64 bits, little-endian."""
    return value.to_bytes(8, "little")


def put_byte_string(value: bytes) -> bytes:
    """Encode a byte string: varint(u32) length, then the bytes."""
    if len(value) > MAX_U32:
        raise LocalError("a byte string holds at most 2^32 - 1 bytes")
    return put_varint(len(value)) + value


def put_text(value: str) -> bytes:
    """Encode a text: a byte string of UTF-8."""
    return put_byte_string(value.encode())


class Reader:
    """Reads fields one after another from a buffer that a peer sent.

    Every method raises `UnexpectedEofError` when the buffer ends too early. Bytes behind the last
    field read are left alone (wire 2.4); `remaining` tells how many there are.

    Args:
        buf: to be read.
        position: of the first field, within the buffer.
    """

    __slots__ = ("_buf", "_end", "position")

    def __init__(self, buf: bytes, position: int = 0) -> None:
        self._buf = buf
        self.position = position
        "Where the next field starts; for looking at only."
        self._end = len(buf)

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self._end - self.position

    def varint(self, bits: int) -> int:
        """Read a canonical varint of 8, 16, 32 or 64 bits (wire 2.2).

        Raises:
            InvalidVarintError: it overflows `bits`, is too long or not in the shortest form.
        """
        buf, pos, end = self._buf, self.position, self._end
        if pos < end and (value := buf[pos]) < 0x80:  # the common single byte
            self.position = pos + 1
            return value
        if bits >= 32 and pos + 4 <= end:
            # Up to four bytes, as in record numbers, offsets and lengths: they overflow nothing,
            # and one is too long exactly when its last byte is zero. All else takes the loop.
            low, second = value & 0x7F, buf[pos + 1]
            if 0 < second < 0x80:
                self.position = pos + 2
                return low | second << 7
            third = buf[pos + 2]
            if second >= 0x80 and 0 < third < 0x80:
                self.position = pos + 3
                return low | (second & 0x7F) << 7 | third << 14
            fourth = buf[pos + 3]
            if second >= 0x80 and third >= 0x80 and 0 < fourth < 0x80:
                self.position = pos + 4
                return low | (second & 0x7F) << 7 | (third & 0x7F) << 14 | fourth << 21
        limit = (1 << bits) - 1
        value = 0
        for shift in range(0, bits, 7):
            if pos == end:
                raise UnexpectedEofError("input ends inside a varint")
            byte = buf[pos]
            pos += 1
            group = byte & 0x7F
            if group > limit >> shift:
                raise InvalidVarintError(f"varint exceeds {bits} bits")
            value |= group << shift
            if byte < 0x80:
                if shift and not group:
                    raise InvalidVarintError("varint is not in its shortest form")
                self.position = pos
                return value
        raise InvalidVarintError("varint has too many bytes")

    def take(self, size: int) -> bytes:
        """Read `size` raw bytes."""
        pos = self.position
        if size > self._end - pos:
            raise UnexpectedEofError(f"{size} bytes expected, {self._end - pos} left")
        self.position = pos + size
        return self._buf[pos : pos + size]

    def rest(self) -> bytes:
        """Read everything that is left, possibly nothing."""
        return self.take(self.remaining)

    def u8(self) -> int:
        """Read one byte."""
        pos = self.position
        if pos == self._end:
            raise UnexpectedEofError("1 bytes expected, 0 left")
        self.position = pos + 1
        return self._buf[pos]

    def u16(self) -> int:
        """Read 16 bits, little-endian."""
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        """Read 32 bits, little-endian."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """Read 64 bits, little-endian."""
        return int.from_bytes(self.take(8), "little")

    def byte_string(self) -> bytes:
        """Read a byte string: varint(u32) length, then the bytes."""
        return self.take(self.varint(32))

    def text(self) -> str:
        """Read a text: a byte string that must be UTF-8."""
        try:
            return self.byte_string().decode()
        except UnicodeDecodeError:
            # Not chained: the decoder's message quotes bytes of the peer.
            raise InvalidUtf8Error("a text is not UTF-8") from None
