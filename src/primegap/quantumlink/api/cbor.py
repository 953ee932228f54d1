"""Reading and writing CBOR items as the message codec needs them (API 4.1, 4.2; RFC 8949).

A general decoder turns items into objects and loses what the rules of section 4.2 ask about: the
same key twice, a key of indefinite length, a tag in front of null, an array where a map is due. So
`CborReader` is a pull reader: the caller says what must come next. It never recurses, and never
reserves memory for a length that a peer only claims.
"""

from __future__ import annotations

import struct
from typing import Final

from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import BadValueError

MAX_DEPTH: Final = 256
"Deepest nesting, the message's own map being level 1 (API 4.2)."
MAX_NAME_BYTES: Final = 4096
"Longest map key or variant name (API 4.2)."
MAX_HEADS: Final = 131_072
"""Items of a message that are read one by one, which takes some microseconds each. The longest
useful message, three years of hourly prices, has about as many; a field of bytes in its usual form
counts as one. Without a limit, two megabytes of tags and empty keys would keep a device busy for
seconds."""

UNSIGNED: Final = 0
NEGATIVE: Final = 1
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6
SIMPLE: Final = 7
"Major types of RFC 8949 section 3.1."

_INDEFINITE: Final = 31
_BIGNUM_TAGS: Final = (2, 3)
_FALSE, _TRUE, _NULL, _UNDEFINED = 20, 21, 22, 23
_HALF, _SINGLE, _DOUBLE = 25, 26, 27

_BYTE_ITEMS: Final = tuple(
    bytes((value,)) if value < 24 else bytes((0x18, value)) for value in range(256)
)
"Encoding of each byte value as an integer item."
_LIST_OPEN, _KEY_DUE, _VALUE_DUE = -1, -2, -3
"States of a skipped array or map of indefinite length."


# --- writing --------------------------------------------------------------------------------------


def encode_head(major: int, argument: int) -> bytes:
    """Encode an item's head in its shortest form.

    Args:
        major: major type, 0 to 6.
        argument: value, length or count, 0 to 2^64 - 1.
    """
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes((major << 5 | info,)) + argument.to_bytes(size, "big")
    raise LocalError("a number does not fit 64 bits")


def encode_integer(value: int) -> bytes:
    """Encode an integer in its shortest form."""
    return encode_head(UNSIGNED, value) if value >= 0 else encode_head(NEGATIVE, -1 - value)


def encode_text(value: str) -> bytes:
    """Encode a text string.

    Raises:
        LocalError: the text holds half a surrogate pair and has no UTF-8.
    """
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise LocalError("a text has no UTF-8") from None
    return encode_head(TEXT, len(data)) + data


def encode_byte_array(value: bytes) -> bytes:
    """Encode bytes the way the protocol writes them: an array of integers."""
    return encode_head(ARRAY, len(value)) + b"".join(map(_BYTE_ITEMS.__getitem__, value))


def encode_bool(value: bool) -> bytes:
    """Encode true or false."""
    return b"\xf5" if value else b"\xf4"


NULL: Final = b"\xf6"
"An optional field that is absent."


def encode_float(value: float) -> bytes:
    """Encode a number as a 32-bit float, in 16 bits when that gives back the same bits.

    A value a 32-bit float cannot hold is rounded, one that is too large becomes infinity.
    """
    bits = _round_to_single(struct.unpack(">Q", struct.pack(">d", value))[0])
    half = _single_to_half(bits)
    if half is not None:
        return b"\xf9" + half.to_bytes(2, "big")
    return b"\xfa" + bits.to_bytes(4, "big")


# --- floats, as bit patterns: Python's own conversions lose the payload of a NaN ------------------


def _round_to_single(bits: int) -> int:
    """Round a 64-bit float to 32 bits, both as bit patterns."""
    if bits & 0x7FF0_0000_0000_0000 == 0x7FF0_0000_0000_0000 and bits & 0xF_FFFF_FFFF_FFFF:
        sign = bits >> 63 << 31
        return sign | 0x7FC0_0000 | (bits >> 29 & 0x3F_FFFF)
    value: float = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    try:
        rounded = struct.pack(">f", value)
    except OverflowError:
        rounded = struct.pack(">f", float("inf") if value > 0 else float("-inf"))
    return int.from_bytes(rounded, "big")


def _single_to_double(bits: int) -> float:
    value: float
    if bits & 0x7F80_0000 == 0x7F80_0000 and bits & 0x7F_FFFF:
        wide = (bits >> 31 << 63) | 0x7FF8 << 48 | (bits & 0x3F_FFFF) << 29
        (value,) = struct.unpack(">d", wide.to_bytes(8, "big"))
    else:
        (value,) = struct.unpack(">f", bits.to_bytes(4, "big"))
    return value


def _half_to_single(bits: int) -> int:
    if bits & 0x7C00 == 0x7C00:  # infinity, or a NaN, which becomes a quiet one
        quiet = 0x40_0000 if bits & 0x3FF else 0
        return (bits >> 15 << 31) | 0x7F80_0000 | quiet | (bits & 0x3FF) << 13
    value: float = struct.unpack(">e", bits.to_bytes(2, "big"))[0]
    return int.from_bytes(struct.pack(">f", value), "big")


def _single_to_half(bits: int) -> int | None:
    """Return the 16-bit float with exactly this value, if there is one."""
    if bits & 0x7F80_0000 == 0x7F80_0000:
        half = (bits >> 31 << 15) | 0x7C00 | (bits >> 13 & 0x3FF)
    else:
        try:
            packed = struct.pack(">e", _single_to_double(bits))
        except OverflowError:
            return None
        half = int.from_bytes(packed, "big")
    return half if _half_to_single(half) == bits else None


# --- reading --------------------------------------------------------------------------------------


class CborReader:
    """Reads the items of a peer's message one after another.

    Every method raises `BadValueError`, and nothing else, when something else comes next.
    """

    __slots__ = ("_data", "_end", "_heads", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0
        self._end = len(data)
        self._heads = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self._end - self._pos

    def integer(self, lowest: int, highest: int) -> int:
        """Read an integer, tags skipped, bignums accepted, and check its range."""
        major, _, argument = self._head()
        while major == TAG and argument not in _BIGNUM_TAGS:
            major, _, argument = self._head()
        if major == UNSIGNED:
            value = argument
        elif major == NEGATIVE:
            value = -1 - argument
        elif major == TAG:
            magnitude = int.from_bytes(self._bignum().lstrip(b"\0"), "big")
            value = magnitude if argument == _BIGNUM_TAGS[0] else -1 - magnitude
        else:
            raise BadValueError("an integer is expected")
        if not lowest <= value <= highest:
            raise BadValueError("an integer is out of range")
        return value

    def boolean(self) -> bool:
        """Read true or false."""
        major, info, argument = self._head_past_tags()
        value = self._simple(major, info, argument)
        if value == _TRUE:
            return True
        if value == _FALSE:
            return False
        raise BadValueError("true or false is expected")

    def float32(self) -> float:
        """Read a float of any width and round it to 32 bits."""
        major, info, argument = self._head_past_tags()
        if major == SIMPLE and info == _HALF:
            return _single_to_double(_half_to_single(argument))
        if major == SIMPLE and info == _SINGLE:
            return _single_to_double(argument)
        if major == SIMPLE and info == _DOUBLE:
            return _single_to_double(_round_to_single(argument))
        raise BadValueError("a float is expected")

    def text(self) -> str:
        """Read a text string, of definite or indefinite length."""
        major, info, argument = self._head_past_tags()
        if major != TEXT:
            raise BadValueError("a text is expected")
        if info != _INDEFINITE:
            return _utf8(self._take(argument))
        return "".join([_utf8(piece) for piece in self._pieces(TEXT)])

    def bytes_field(self, size: int | None = None) -> bytes:
        """Read bytes: an array of integers or a byte string, of exactly `size` bytes if given."""
        major, info, argument = self._head_past_tags()
        if major == BYTES:
            value = b"".join(self._pieces(BYTES)) if info == _INDEFINITE else self._take(argument)
        elif major == ARRAY:
            value = self._byte_items(None if info == _INDEFINITE else argument)
        else:
            raise BadValueError("bytes are expected")
        if size is not None and len(value) != size:
            raise BadValueError(f"exactly {size} bytes are expected")
        return value

    def array_count(self) -> int | None:
        """Read the head of an array; None means that a break ends it."""
        return self._count(ARRAY, "a list is expected")

    def map_count(self) -> int | None:
        """Read the head of a map; None means that a break ends it."""
        return self._count(MAP, "a map is expected")

    def is_over(self, count: int | None, taken: int) -> bool:
        """Tell whether an array or map with that head has no further entry after `taken` ones.

        The break of an indefinite one is read.
        """
        if count is not None:
            return taken == count
        if self._peek() != 0xFF:
            return False
        self._pos += 1
        return True

    def key(self) -> bytes:
        """Read a map key or variant name: text or a byte string of definite length."""
        major, info, argument = self._head_past_tags()
        if major not in {TEXT, BYTES} or info == _INDEFINITE:
            raise BadValueError("a key is not a text of definite length")
        if argument > MAX_NAME_BYTES:
            raise BadValueError(f"a key is longer than {MAX_NAME_BYTES} bytes")
        name = self._take(argument)
        if major == TEXT:
            _utf8(name)
        return name

    def take_null(self) -> bool:
        """Read null or undefined if that comes next, without a tag; tell whether it did."""
        start = self._pos
        major, info, argument = self._head()
        if self._is_null(major, info, argument):
            return True
        self._pos = start
        return False

    def next_major(self) -> int:
        """Skip tags and return the major type of what comes next, without reading it."""
        start = self._pos
        major, _, _ = self._head()
        while major == TAG:
            start = self._pos
            major, _, _ = self._head()
        self._pos = start
        return major

    def skip(self, depth: int) -> None:
        """Read one whole item and forget it; it must be well-formed.

        Args:
            depth: how many arrays and maps are open around it.
        """
        open_items: list[int] = []  # of each open item: how many items it still holds, or a state
        while True:
            major, info, argument = self._head()
            if major == SIMPLE and info == _INDEFINITE:
                if not open_items or open_items[-1] not in {_LIST_OPEN, _KEY_DUE}:
                    raise BadValueError("a break stands where an item is expected")
                open_items.pop()
            elif major in {ARRAY, MAP, TAG}:
                if depth + len(open_items) >= MAX_DEPTH:
                    raise BadValueError(f"nesting is deeper than {MAX_DEPTH}")
                if info == _INDEFINITE:
                    open_items.append(_KEY_DUE if major == MAP else _LIST_OPEN)
                    continue
                items = 1 if major == TAG else argument * (2 if major == MAP else 1)
                if items:
                    open_items.append(items)
                    continue
            else:
                self._skip_scalar(major, info, argument)
            # One item is complete; it may have been the last one of those around it.
            while open_items:
                left = open_items[-1]
                if left == 1:
                    open_items.pop()
                    continue
                if left > 1:
                    open_items[-1] = left - 1
                elif left != _LIST_OPEN:
                    open_items[-1] = _VALUE_DUE if left == _KEY_DUE else _KEY_DUE
                break
            else:
                return

    def _skip_scalar(self, major: int, info: int, argument: int) -> None:
        if major in {BYTES, TEXT}:
            pieces = self._pieces(major) if info == _INDEFINITE else [self._take(argument)]
            if major == TEXT:
                for piece in pieces:
                    _utf8(piece)
        elif major == SIMPLE and info not in {_HALF, _SINGLE, _DOUBLE}:
            self._simple(major, info, argument)

    def _head(self) -> tuple[int, int, int]:
        """Read a head: major type, additional information, argument (0 if indefinite)."""
        initial = self._peek()
        self._pos += 1
        self._heads += 1
        if self._heads > MAX_HEADS:
            raise BadValueError(f"a message has more than {MAX_HEADS} items")
        major, info = initial >> 5, initial & 0x1F
        if info < 24:
            return major, info, info
        if info <= _DOUBLE:
            size = 1 << info - 24
            return major, info, int.from_bytes(self._take(size), "big")
        if info == _INDEFINITE and major not in {UNSIGNED, NEGATIVE, TAG}:
            return major, info, 0
        raise BadValueError("a reserved form of CBOR")

    def _head_past_tags(self) -> tuple[int, int, int]:
        major, info, argument = self._head()
        while major == TAG:
            major, info, argument = self._head()
        return major, info, argument

    def _count(self, major: int, message: str) -> int | None:
        got, info, argument = self._head_past_tags()
        if got != major:
            raise BadValueError(message)
        return None if info == _INDEFINITE else argument

    def _peek(self) -> int:
        if self._pos == self._end:
            raise BadValueError("the message ends too early")
        return self._data[self._pos]

    def _take(self, size: int) -> bytes:
        if size > self._end - self._pos:
            raise BadValueError("the message ends too early")
        self._pos += size
        return self._data[self._pos - size : self._pos]

    def _pieces(self, major: int) -> list[bytes]:
        """Read the pieces of an indefinite string and its break."""
        pieces = []
        while self._peek() != 0xFF:
            got, info, argument = self._head()
            if got != major or info == _INDEFINITE:
                raise BadValueError("a piece of a string is of another kind")
            pieces.append(self._take(argument))
        self._pos += 1
        return pieces

    def _bignum(self) -> bytes:
        major, info, argument = self._head()
        if major != BYTES:
            raise BadValueError("a bignum is not a byte string")
        return b"".join(self._pieces(BYTES)) if info == _INDEFINITE else self._take(argument)

    def _byte_items(self, count: int | None) -> bytes:
        """Read the integers of an array of bytes."""
        if count is not None:
            if count > self.remaining:  # each item takes a byte at least
                raise BadValueError("the message ends too early")
            # The usual case: every item in its shortest form. Guess that, and check the guess by
            # encoding again: both run in C, where a loop takes fifty times as long for a PSBT.
            # To guess is to drop every 18 that is a prefix; of two in a row the second is a value.
            window = self._data[self._pos : self._pos + 2 * count]
            pieces = [piece.translate(None, b"\x18") for piece in window.split(b"\x18\x18")]
            value = b"\x18".join(pieces)[:count]
            encoded = b"".join(map(_BYTE_ITEMS.__getitem__, value))
            if len(value) == count and window.startswith(encoded):
                self._pos += len(encoded)
                return value
        items = bytearray()
        while not self.is_over(count, len(items)):
            items.append(self.integer(0, 255))
        return bytes(items)

    def _simple(self, major: int, info: int, argument: int) -> int:
        if major == SIMPLE and info <= 24 and _FALSE <= argument <= _UNDEFINED:
            return argument
        raise BadValueError("a simple value is unknown or not expected")

    @staticmethod
    def _is_null(major: int, info: int, argument: int) -> bool:
        return major == SIMPLE and info <= 24 and argument in {_NULL, _UNDEFINED}


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        # Not chained: the decoder's message quotes bytes of the peer.
        raise BadValueError("a text is not UTF-8") from None
