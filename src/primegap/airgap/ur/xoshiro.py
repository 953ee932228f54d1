"""The generator and the samplers that decide what a part mixes (uniform-resources.md section 5).

They are no source of secrets: every implementation must draw the same numbers, bit for bit.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MASK: Final = (1 << 64) - 1
_TWO_TO_64: Final = float(1 << 64)
_CACHED_SAMPLERS: Final = 4  # one for what is shown, one for what is read; each holds N entries


class Xoshiro256:
    """xoshiro256**, seeded with the SHA-256 of some bytes."""

    __slots__ = ("_s0", "_s1", "_s2", "_s3")

    def __init__(self, seed: bytes) -> None:
        digest = hashlib.sha256(seed).digest()
        self._s0, self._s1, self._s2, self._s3 = (
            int.from_bytes(digest[at : at + 8], "big") for at in range(0, 32, 8)
        )

    def next(self) -> int:
        """Return the next number of 64 bits."""
        s1 = self._s1
        result = s1 * 5 & _MASK
        result = (result << 7 | result >> 57) * 9 & _MASK
        self._s2 ^= self._s0
        self._s3 ^= s1
        self._s1 ^= self._s2
        self._s0 ^= self._s3
        self._s2 ^= s1 << 17 & _MASK
        self._s3 = (self._s3 << 45 | self._s3 >> 19) & _MASK
        return result

    def next_double(self) -> float:
        """Return a number from 0.0 to 1.0; it can round up to 1.0."""
        return float(self.next()) / _TWO_TO_64

    def next_int(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return min(high, int(self.next_double() * (high - low + 1)) + low)

    def next_data(self, count: int) -> bytes:
        """Return `count` bytes, one draw for each."""
        return bytes([self.next_int(0, 255) for _ in range(count)])


class AliasSampler:
    """Draws an index with given weights in constant time (alias method of Vose).

    The order of every step is part of the format: another order gives other parts.
    """

    __slots__ = ("_aliases", "_probabilities")

    def __init__(self, weights: Sequence[float]) -> None:
        count = len(weights)
        total = 0.0
        for weight in weights:
            total += weight
        scaled = [weight * count / total for weight in weights]
        small = [index for index in range(count - 1, -1, -1) if scaled[index] < 1]
        large = [index for index in range(count - 1, -1, -1) if scaled[index] >= 1]
        self._probabilities = [1.0] * count
        self._aliases = [0] * count
        while small and large:
            less, more = small.pop(), large.pop()
            self._probabilities[less] = scaled[less]
            self._aliases[less] = more
            scaled[more] += scaled[less] - 1
            (small if scaled[more] < 1 else large).append(more)

    def draw(self, generator: Xoshiro256) -> int:
        """Return an index from 0 to the number of weights - 1."""
        count = len(self._probabilities)
        first, second = generator.next_double(), generator.next_double()
        index = min(count - 1, int(count * first))
        return index if second < self._probabilities[index] else self._aliases[index]


@functools.lru_cache(maxsize=_CACHED_SAMPLERS)
def degree_sampler(fragments: int) -> AliasSampler:
    """Return the sampler whose draw + 1 is how many of `fragments` fragments a part mixes."""
    return AliasSampler([1.0 / degree for degree in range(1, fragments + 1)])


def draw_degree(generator: Xoshiro256, fragments: int) -> int:
    """Return how many of `fragments` fragments a mixed part is made of."""
    return degree_sampler(fragments).draw(generator) + 1


def shuffle(generator: Xoshiro256, count: int, wanted: int) -> list[int]:
    """Return the first `wanted` numbers of a shuffled 0 ... `count` - 1."""
    rest = list(range(count))
    return [rest.pop(generator.next_int(0, len(rest) - 1)) for _ in range(wanted)]
