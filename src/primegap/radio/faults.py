"""Faults of the air, planned packet by packet from a seed: what a hostile or bad radio does.

Only the unacknowledged data packets (writes without response and notifications) are touched: the
link layer of Bluetooth repeats everything else until it arrives, and so does the virtual air.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_WRITE_COMMAND = 0x52
_NOTIFICATION = 0x1B
_ATT_CHANNEL = b"\x04\x00"
_VALUE_OFFSET = 4 + 3  # L2CAP header, then operation code and handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Knobs; the default is a perfect air. Probabilities lie between 0 and 1."""

    drop: float = 0.0
    "Probability that a packet never arrives."
    duplicate: float = 0.0
    "Probability that a packet arrives twice."
    reorder: float = 0.0
    "Probability that a packet arrives after the one sent next in its direction."
    corrupt: float = 0.0
    "Probability that one bit of a packet's value is wrong."
    delay_s: float = 0.0
    "Time that every packet spends in the air."
    jitter_s: float = 0.0
    "Most time that a packet spends beyond that, each as long as it happens; none overtakes."
    interval_s: float = 0.0
    """Connection interval of an air that is paced as real Bluetooth on the 2M PHY (`pace`); 0 for
    one that is as fast as the machine."""
    disconnect_after: int = 0
    "Cut the connection after this many data packets, both directions together; 0 never."
    seed: int = 0
    "Of all random choices."

    @property
    def none(self) -> bool:
        """Whether the air is perfect."""
        return self == Faults(seed=self.seed)

    @property
    def is_timed(self) -> bool:
        """Whether packets take time."""
        return bool(self.delay_s or self.jitter_s or self.interval_s)


def is_data(pdu: bytes) -> bool:
    """Whether an L2CAP packet carries a write without response or a notification."""
    return (
        len(pdu) > _VALUE_OFFSET
        and pdu[2:4] == _ATT_CHANNEL
        and pdu[4] in {_WRITE_COMMAND, _NOTIFICATION}
    )


class FaultPlan:
    """Decides the fate of the data packets of one direction of one connection."""

    def __init__(self, faults: Faults, *, direction: str) -> None:
        """Make a plan of its own for a direction; the same seed gives the same plan."""
        self._faults = faults
        self._random = random.Random(f"{faults.seed}/{direction}")  # noqa: S311 - tests repeat it
        self._jitter = random.Random(f"{faults.seed}/{direction}/jitter")  # noqa: S311
        self._kept: bytes | None = None

    def pass_on(self, pdu: bytes) -> list[bytes]:
        """Return what arrives, in order, when a data packet is sent."""
        faults = self._faults
        chance = self._random.random
        kept, self._kept = self._kept, None
        arriving = [] if chance() < faults.drop else [self._damage(pdu)]
        if arriving and chance() < faults.duplicate:
            arriving *= 2
        if arriving and kept is None and chance() < faults.reorder:
            self._kept = arriving.pop()
        return arriving if kept is None else [*arriving, kept]

    def delay_s(self) -> float:
        """Return the time that the next packet spends in the air."""
        return self._faults.delay_s + self._jitter.random() * self._faults.jitter_s

    def take_kept(self) -> list[bytes]:
        """Return a packet that waits to be overtaken, when nothing else comes."""
        kept, self._kept = self._kept, None
        return [] if kept is None else [kept]

    def _damage(self, pdu: bytes) -> bytes:
        if self._random.random() >= self._faults.corrupt:
            return pdu
        damaged = bytearray(pdu)
        damaged[self._random.randrange(_VALUE_OFFSET, len(pdu))] ^= 1 << self._random.randrange(8)
        return bytes(damaged)
