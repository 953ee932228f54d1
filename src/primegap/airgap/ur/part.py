"""One part of a message: the CBOR array of five (uniform-resources.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from primegap.airgap.errors import CborError, UrLimitError, UrPartError
from primegap.airgap.ur.cbor import (
    ARRAY,
    BYTES,
    UINT,
    encode_byte_string,
    encode_head,
    read_head_untrusted,
)
from primegap.airgap.ur.limits import (
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_READ_FRAGMENTS,
    MAX_SEQ_NUM,
)

_FIELDS: Final = 5
_MAX_CHECKSUM: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Part:
    """A fragment of a message, or several of them XORed."""

    seq_num: int
    "Number of the part, from 1 on; it decides which fragments are mixed."
    seq_len: int
    "Number of fragments of the message, N."
    message_bytes: int
    "Length of the message."
    checksum: int
    "CRC-32 of the message."
    data: bytes = field(repr=False)
    "As long as one fragment."

    @property
    def message_key(self) -> tuple[int, int, int, int]:
        """What all parts of one message have in common."""
        return self.seq_len, self.message_bytes, self.checksum, len(self.data)


def encode_part(part: Part) -> bytes:
    """Return the CBOR of `part`."""
    numbers = (part.seq_num, part.seq_len, part.message_bytes, part.checksum)
    heads = b"".join([encode_head(UINT, number) for number in numbers])
    return encode_head(ARRAY, _FIELDS) + heads + encode_byte_string(part.data)


def parse_part_untrusted(data: bytes) -> Part:
    """Read the CBOR of a part; its numbers are not yet checked against each other.

    Raises:
        CborError: it is not an array of four unsigned integers and a byte string.
        UrPartError: a number is zero or too wide for its field.
    """
    major, count, offset = read_head_untrusted(data, 0)
    if major != ARRAY or count != _FIELDS:
        raise CborError("not an array of five")
    numbers: list[int] = []
    while len(numbers) < _FIELDS - 1:
        major, number, offset = read_head_untrusted(data, offset)
        if major != UINT:
            raise CborError("not an unsigned integer")
        numbers.append(number)
    major, length, offset = read_head_untrusted(data, offset)
    if major != BYTES or length != len(data) - offset:
        raise CborError("not a byte string at the end")
    seq_num, seq_len, message_bytes, checksum = numbers
    if not (1 <= seq_num <= MAX_SEQ_NUM and seq_len >= 1 and length >= 1):
        raise UrPartError("part or fragment number, or length, out of range")
    if checksum > _MAX_CHECKSUM:
        raise UrPartError("checksum of more than 32 bits")
    return Part(seq_num, seq_len, message_bytes, checksum, data[offset:])


def check_part_limits(part: Part) -> None:
    """Check the numbers of the first part of a message, before anything is made from them.

    Raises:
        UrLimitError: the message is larger than is read.
        UrPartError: length and number of the fragments do not give the length of the message.
    """
    length = len(part.data)
    if (
        part.seq_len > MAX_READ_FRAGMENTS
        or length > MAX_FRAGMENT_BYTES
        or part.message_bytes > MAX_MESSAGE_BYTES
    ):
        raise UrLimitError("more than is read from codes")
    if not (part.seq_len - 1) * length < part.message_bytes <= part.seq_len * length:
        raise UrPartError("the fragments do not make up the message")
