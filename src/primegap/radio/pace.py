"""When packets pass a paced air: exchanges on the 2M PHY within connection events, as on a desk.

The times of a packet are those of the model that the link is measured on (`paced_simulation`).
"""

from __future__ import annotations

from enum import Enum
from math import ceil, inf
from typing import Final

from primegap.btp import PACKET_BYTES
from primegap.quantumlink.aio.paced_simulation import BYTE_S, EXCHANGE_S, FULL_EXCHANGE_S

FRAMING_BYTES: Final = 7
"Headers of L2CAP and ATT, which are part of a packet of the virtual air, and not of its value."


class Way(Enum):
    """Which way a packet goes."""

    TO_PERIPHERAL = "to-peripheral"
    TO_CENTRAL = "to-central"

    @property
    def other(self) -> Way:
        """The opposite way."""
        return Way.TO_CENTRAL if self is Way.TO_PERIPHERAL else Way.TO_PERIPHERAL


class Pace:
    """The air time of one connection. Events begin at multiples of the interval and may fill it.

    In an exchange a packet goes each way, or an empty one where there is nothing to send.

    Args:
        interval_s: connection interval.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._free_s = dict.fromkeys(Way, -inf)  # behind the last packet of each way

    def passes_at_s(self, way: Way, size: int, now_s: float) -> float:
        """Return when a packet that is handed over now has passed the air.

        Args:
            way: which way it goes.
            size: its bytes, with the headers of L2CAP and ATT.
            now_s: time; never runs backwards.
        """
        start_s = max(self._free_s[way], now_s)
        if max(self._free_s.values()) < now_s:  # the event is over: the next one begins
            start_s = ceil(now_s / self._interval_s) * self._interval_s
        is_full = self._free_s[way.other] > start_s
        saved_s = (PACKET_BYTES - (size - FRAMING_BYTES)) * BYTE_S
        end_s = start_s + (FULL_EXCHANGE_S if is_full else EXCHANGE_S) - saved_s
        self._free_s[way] = end_s
        return end_s
