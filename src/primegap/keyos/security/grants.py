"""Grants: a confirmation approved on the trusted screen opens the key for one signature.

A confirmation of a session, which the screen names as one, opens it again and again instead, for
the time and the number of signatures that the screen said. It lives in memory: it ends with a lock.

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
MAX_SESSION_S: Final = 12 * 3600  # a working day
MAX_SESSION_USES: Final = 100
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


@dataclass(slots=True)
class _Grant:
    use: Use
    expires_s: float
    uses: int


class Grants:
    """Approved and unused confirmations."""

    def __init__(self) -> None:
        self._grants: dict[bytes, _Grant] = {}

    def approve(self, confirmation: bytes, use: Use, *, now_s: float, session_s: int = 0) -> bool:
        """Note an approved confirmation; False when its form is wrong or its number was used.

        Args:
            confirmation: 16 bytes.
            use: what it is good for.
            now_s: time on a clock that nobody can set.
            session_s: 0 for one signature, else for how long it opens the key.
        """
        self._expire(now_s)
        if (
            len(confirmation) != CONFIRMATION_BYTES
            or len(use.content) != CONTENT_BYTES
            or confirmation in self._grants
            or len(self._grants) >= MAX_GRANTS
            or not 0 <= session_s <= MAX_SESSION_S
        ):
            return False
        life_s, uses = (session_s, MAX_SESSION_USES) if session_s else (GRANT_LIFE_S, 1)
        self._grants[confirmation] = _Grant(use, now_s + life_s, uses)
        return True

    def take(self, confirmation: bytes, use: Use, *, now_s: float) -> bool:
        """Use a confirmation, up if it is for once; False unless approved for exactly this use."""
        self._expire(now_s)
        grant = self._grants.get(confirmation)
        if grant is None or grant.use != use:
            return False
        grant.uses -= 1
        if not grant.uses:
            del self._grants[confirmation]
        return True

    def end(self, confirmation: bytes, instance: int) -> None:
        """Give a confirmation up; only the process that asked for it can."""
        grant = self._grants.get(confirmation)
        if grant is not None and grant.use.instance == instance:
            del self._grants[confirmation]

    def clear(self) -> None:
        """Forget all: the device was locked."""
        self._grants.clear()

    def _expire(self, now_s: float) -> None:
        for number in [n for n, g in self._grants.items() if g.expires_s <= now_s]:
            del self._grants[number]
