"""The two generations of types: names with `crypto-` and tags 3xx, and short names with 40 3xx."""

from __future__ import annotations

import enum
from typing import Final

SEED: Final = frozenset({300, 40300})
BIP39: Final = frozenset({301})
HDKEY: Final = frozenset({303, 40303})
KEYPATH: Final = frozenset({304, 40304})
COIN_INFO: Final = frozenset({305, 40305})
ECKEY: Final = frozenset({306, 40306})
ADDRESS: Final = frozenset({307, 40307})
OUTPUT: Final = frozenset({308, 40308})
SSKR: Final = frozenset({309, 40309})
PSBT: Final = frozenset({310, 40310})
ACCOUNT: Final = frozenset({311, 40311})

_SECOND: Final = 40_000


class Generation(enum.Enum):
    """Which names and tags are written; both are read."""

    V1 = "v1"
    "What nearly every wallet reads."
    V2 = "v2"

    def tag(self, tags: frozenset[int]) -> int:
        """Return the tag of this generation."""
        return min(tags) if self is Generation.V1 else max(tags)

    @classmethod
    def of(cls, ur_type: str) -> Generation:
        """Return the generation of a type's name."""
        return cls.V1 if ur_type.startswith("crypto-") else cls.V2
