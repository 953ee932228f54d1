"""The CBOR that a UR needs: heads, byte strings, and a check that a message is one item.

Only definite lengths exist here (uniform-resources.md section 3). Longer than necessary heads are
read, because types of the first generation need not be deterministic; they are never written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import CborError

if TYPE_CHECKING:
    from collections.abc import Collection

UINT: Final = 0
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6
SIMPLE: Final = 7

MAX_DEPTH: Final = 32
"Deepest nesting read; a descriptor needs fewer than ten levels (section 8)."
MAX_ITEMS: Final = 65_536
"Most items in one message; bounds the work of the decoders behind this check (section 8)."

_FIRST_SIMPLE_OF_TWO_BYTES: Final = 32


def encode_head(major: int, value: int) -> bytes:
    """Return the shortest head of major type `major` with the number `value` (below 2^64)."""
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * size):
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise OverflowError("a CBOR head holds at most 64 bits")


def read_head_untrusted(data: bytes, offset: int) -> tuple[int, int, int]:
    """Read one head.

    Returns:
        Major type, number, and the offset behind the head.

    Raises:
        CborError: the data end, or the length is indefinite or reserved.
    """
    if offset >= len(data):
        raise CborError("the data end early")
    major, info = data[offset] >> 5, data[offset] & 31
    offset += 1
    if info < 24:
        return major, info, offset
    if info > 27:
        raise CborError("indefinite or reserved length")
    end = offset + (1 << (info - 24))
    if end > len(data):
        raise CborError("the data end early")
    value = int.from_bytes(data[offset:end], "big")
    if major == SIMPLE and info == 24 and value < _FIRST_SIMPLE_OF_TWO_BYTES:
        raise CborError("reserved simple value")
    return major, value, end


def encode_byte_string(data: bytes) -> bytes:
    """Return `data` as a CBOR byte string."""
    return encode_head(BYTES, len(data)) + data


def parse_byte_string_untrusted(data: bytes) -> bytes:
    """Return the content of `data`, which must be exactly one byte string.

    Raises:
        CborError: anything else.
    """
    major, length, offset = read_head_untrusted(data, 0)
    if major != BYTES or length != len(data) - offset:
        raise CborError("not exactly one byte string")
    return data[offset:]


def strip_tag_untrusted(data: bytes, tags: Collection[int]) -> bytes:
    """Return `data` without the tag in front if that is one of `tags`, else unchanged.

    Raises:
        CborError: `data` do not begin with a head.
    """
    major, number, offset = read_head_untrusted(data, 0)
    return data[offset:] if major == TAG and number in tags else data


def check_item_untrusted(data: bytes) -> None:
    """Check that `data` are exactly one well-formed item within MAX_DEPTH and MAX_ITEMS.

    Raises:
        CborError: they are not.
    """
    open_items = [1]  # items still to come, one entry for each container that is open
    offset = items = 0
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        major, value, offset = read_head_untrusted(data, offset)
        items += 1
        inside = 0
        if major in {BYTES, TEXT}:
            offset += value
        elif major == ARRAY:
            inside = value
        elif major == MAP:
            inside = 2 * value
        elif major == TAG:
            inside = 1
        # Every item to come takes a byte, so a count beyond the data is refused at once.
        if offset + inside > len(data):
            raise CborError("the data end early")
        if inside:
            open_items.append(inside)
        if items > MAX_ITEMS or len(open_items) > MAX_DEPTH + 1:
            raise CborError("too many items or too deep")
    if offset != len(data):
        raise CborError("bytes behind the item")
