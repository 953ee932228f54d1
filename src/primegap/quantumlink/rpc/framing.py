"""The byte forms of values on a lane: parts and tagged parts, writing side (session 8.2)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from primegap.quantumlink.codec import put_u64

LENGTH_SIZE: Final = 8
"Bytes of a length: unsigned, little-endian."
HEAD_SIZE: Final = 1 + LENGTH_SIZE
"Bytes of the head of a tagged part: tag, length."


class PartTag(IntEnum):
    """Tags of a download or an upload (API 3.1)."""

    HEADER = 1
    BODY = 2
    END = 3


class ProgressTag(IntEnum):
    """Tags of the answer of a progress call (API 3)."""

    PROGRESS = 1
    RESPONSE = 2


def encode_part(value: bytes) -> bytes:
    """Frame a value: its length, then its bytes."""
    return put_u64(len(value)) + value


def encode_tagged_part(tag: PartTag | ProgressTag, value: bytes) -> bytes:
    """Frame a value with its tag: tag, length, bytes."""
    return bytes((tag,)) + put_u64(len(value)) + value


PART_END: Final = encode_tagged_part(PartTag.END, b"")
"End of a part of a download or upload."
