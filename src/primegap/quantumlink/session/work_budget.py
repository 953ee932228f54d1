"""What strangers may cost us: key encapsulations, counted before they are done.

Anybody can write a first message, or a reply with the visible numbers of an attempt, and each costs
up to four operations of the KEM and an answer on the air. So each kind has a budget that refills
with time; a message beyond it is ignored, as if the air had lost it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.records import HandshakeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

KEM_OPERATIONS: Final[Mapping[HandshakeKind, int]] = MappingProxyType(
    {
        HandshakeKind.IK1: 3,
        HandshakeKind.KK1: 3,
        HandshakeKind.XX1: 1,
        HandshakeKind.IK2: 2,
        HandshakeKind.KK2: 2,
        HandshakeKind.XX2: 2,
        HandshakeKind.XX3: 2,
        HandshakeKind.XX4: 1,
    }
)
"""Operations of the KEM that reading a message, and answering it, takes."""

MAX_BURST: Final = 48
"""Operations that may come at once: sixteen first messages of IK. A peer that lost its link
sends one every 2.5 s, so even with both sides restarting nobody honest comes near."""
REFILL_PER_S: Final = 6
"""Operations per second after that: two first messages. Their answers take 3 % of
Bluetooth's air, their work less than a hundredth of a core."""


class WorkBudget:
    """A bucket of KEM operations."""

    __slots__ = ("_left", "_since_s")

    def __init__(self) -> None:
        self._left = float(MAX_BURST)
        self._since_s: float | None = None

    def take(self, kind: HandshakeKind, now_s: float) -> bool:
        """Pay for a message; False when there is not enough left, and nothing was paid."""
        if self._since_s is not None:
            self._left = min(MAX_BURST, self._left + (now_s - self._since_s) * REFILL_PER_S)
        self._since_s = now_s
        cost = KEM_OPERATIONS[kind]
        if self._left < cost:
            return False
        self._left -= cost
        return True
