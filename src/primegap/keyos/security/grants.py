"""One-use grants: a confirmation approved on the trusted screen opens the key for one signature.

Pure. The trusted screen reports an approved confirmation with the process that asked for it, the
hash of the content and the key it named; the grant is taken once, by that very process, for that
very content and key, within its life time. Everything else is refused and leaves the grant where it
is (U-5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GRANT_LIFE_S: Final = 30.0  # a signing takes well under a second; a slow board has room
MAX_GRANTS: Final = 16  # waiting at the same time; the screen shows one confirmation at a time
CONFIRMATION_BYTES: Final = 16
CONTENT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Use:
    """What a confirmation is good for."""

    instance: int
    "The process that asked."
    content: bytes
    "SHA-256 of what is signed."
    network: str
    account: int


@dataclass(frozen=True, slots=True)
class _Grant:
    use: Use
    expires_s: float


class Grants:
    """Approved and unused confirmations."""

    def __init__(self) -> None:
        self._grants: dict[bytes, _Grant] = {}

    def approve(self, confirmation: bytes, use: Use, *, now_s: float) -> bool:
        """Note an approved confirmation; False when its form is wrong or its number was used."""
        self._expire(now_s)
        if (
            len(confirmation) != CONFIRMATION_BYTES
            or len(use.content) != CONTENT_BYTES
            or confirmation in self._grants
            or len(self._grants) >= MAX_GRANTS
        ):
            return False
        self._grants[confirmation] = _Grant(use, now_s + GRANT_LIFE_S)
        return True

    def take(self, confirmation: bytes, use: Use, *, now_s: float) -> bool:
        """Use up a confirmation; False unless it was approved for exactly this use."""
        self._expire(now_s)
        grant = self._grants.get(confirmation)
        if grant is None or grant.use != use:
            return False
        del self._grants[confirmation]
        return True

    def clear(self) -> None:
        """Forget all: the device was locked."""
        self._grants.clear()

    def _expire(self, now_s: float) -> None:
        for number in [n for n, g in self._grants.items() if g.expires_s <= now_s]:
            del self._grants[number]
