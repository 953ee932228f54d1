"""Record size that fits the loss of the path.

A record travels in packets, and one lost packet costs the whole record. A record of n packets, each
with U bytes and lost with probability p, brings (1 - p)^n · (n·U - h) useful bytes for n packets of
air, where h is what a record costs besides data. Without loss the largest record is best; at 5 %
two to three packets are.
"""

from __future__ import annotations

from math import exp, inf, log, log1p, sqrt
from typing import Final

from primegap.quantumlink.records import HEADER_SIZE
from primegap.quantumlink.suite import TAG_SIZE

RECORD_COST: Final = HEADER_SIZE + 3 + TAG_SIZE + 8
"Bytes of a record besides data: envelope with a number below 2^21, and the usual data frame."
MEMORY: Final = 64
"Records after which old experience counts for a third."
PRIOR_RECORDS: Final = 2.0
"Records assumed to have arrived before anything is known, so that one loss proves little."
MAX_LOST_PART: Final = 0.98
"Beyond this the estimate would say nothing but that everything is lost."


def best_packets(loss_rate: float, *, packet_payload: int, record_cost: int, most: int) -> int:
    """Return the number of packets per record that brings most data for the air it takes.

    Args:
        loss_rate: -ln(1 - p) for a packet lost with probability p; equal to p when that is small.
        packet_payload: bytes of a record that one packet carries.
        record_cost: bytes of a record that are not data.
        most: largest answer, at least 1.
    """
    if loss_rate <= 0:
        return most
    unit, cost = packet_payload, record_cost
    # The zero of the derivative of log(yield) over n.
    exact = (cost + sqrt(cost * cost + 4 * unit * cost / loss_rate)) / (2 * unit)
    low = min(max(int(exact), 1), most)
    high = min(low + 1, most)

    def log_yield(packets: int) -> float:
        useful = packets * unit - cost
        return log(useful / packets) - loss_rate * packets if useful > 0 else -inf

    return max(low, high, key=log_yield)


class RecordSizer:
    """Learns the loss of packets from the fate of records and tells how large records should be.

    Args:
        packet_payload: bytes of a record that one packet carries; 0 when records are not cut.
        max_size: largest record.
    """

    __slots__ = ("_lost", "_max_size", "_packets", "_records", "_size", "_unit")

    def __init__(self, packet_payload: int, max_size: int) -> None:
        self._unit = packet_payload
        self._max_size = max_size
        self._size = max_size
        # Sums over records, older ones counting less.
        self._records = 0.0
        self._lost = 0.0
        self._packets = 0.0

    @property
    def size(self) -> int:
        """Most bytes of the next record."""
        return self._size

    @property
    def loss_rate(self) -> float:
        """Estimate of -ln(1 - p), where p is the probability that a packet is lost."""
        if not self._lost:
            return 0.0
        part = min(self._lost / (self._records + PRIOR_RECORDS), MAX_LOST_PART)
        return -log1p(-part) * self._records / self._packets

    def note(self, record_size: int, *, arrived: bool) -> None:
        """Take the fate of a record."""
        if not self._unit or (arrived and not self._lost):
            return  # nothing was ever lost: the largest records are right
        keep = 1 - 1 / MEMORY
        self._records = self._records * keep + 1
        self._packets = self._packets * keep - record_size // -self._unit
        self._lost = self._lost * keep + (0.0 if arrived else 1.0)
        if self._lost < 1 / MEMORY:
            self._records = self._lost = self._packets = 0.0
        self._resize()

    def take_back(self) -> None:
        """Count a record that was noted as lost, but arrived, as arrived."""
        self._lost = max(self._lost - 1.0, 0.0)
        if self._unit:
            self._resize()

    def _resize(self) -> None:
        unit = self._unit
        most = self._max_size // unit
        if most <= 1:
            return
        rate = self.loss_rate
        packets = best_packets(rate, packet_payload=unit, record_cost=RECORD_COST, most=most)
        size = self._max_size if packets == most else packets * unit
        if size != self._size:
            self._size = size
            # Say the same about records of the new size, so that old and new ones can be mixed.
            self._packets = self._records * packets
            part = 1 - exp(-rate * packets)
            self._lost = part * (self._records + PRIOR_RECORDS)
