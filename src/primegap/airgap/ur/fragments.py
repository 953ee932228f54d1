"""How a message is cut, and what a part mixes (uniform-resources.md sections 4 and 5)."""

from __future__ import annotations

from typing import Final

from primegap.airgap.ur.xoshiro import Xoshiro256, draw_degree, shuffle

MIN_FRAGMENT_BYTES: Final = 10
"Shortest fragment a writer chooses; shorter ones are mostly header."


def fragment_length(
    message_bytes: int, max_fragment_bytes: int, min_fragment_bytes: int = MIN_FRAGMENT_BYTES
) -> int:
    """Return the length of every fragment, in bytes, for a message of `message_bytes` (>= 1).

    The smallest number of equal fragments is taken that respects `max_fragment_bytes`, as long as
    they do not get shorter than `min_fragment_bytes`.
    """
    length = message_bytes
    for count in range(1, message_bytes // min_fragment_bytes + 1):
        length = -(-message_bytes // count)
        if length <= max_fragment_bytes:
            break
    return length


def choose_fragments(seq_num: int, seq_len: int, checksum: int) -> list[int]:
    """Return the indexes of the fragments that part `seq_num` mixes, in no order.

    Args:
        seq_num: number of the part, 1 ... 2^32 - 1.
        seq_len: number of fragments of the message.
        checksum: CRC-32 of the message.
    """
    if seq_num <= seq_len:
        return [seq_num - 1]
    generator = Xoshiro256(seq_num.to_bytes(4, "big") + checksum.to_bytes(4, "big"))
    degree = draw_degree(generator, seq_len)
    return shuffle(generator, seq_len, degree)
