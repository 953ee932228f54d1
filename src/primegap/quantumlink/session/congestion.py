"""How much may be on its way at once, and how fast it may leave (session section 11, #5).

A radio loses packets without being crowded, so a window that shrinks with every loss (NewReno,
CUBIC) would starve on it: at one record in seven lost it would send three records per round trip.
The window follows what the path delivers instead, twice the delivery rate times the round trip of
an empty path, and loss alone only counts when it is a large part of a round.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.quantumlink.session.recovery import SentRecord

MAX_TRACKED_RECORDS: Final = 64
"Records that may be on their way at once (session section 2.4, fixed)."
INITIAL_WINDOW: Final = 65_536
"Bytes on their way before anything is known: our initial credit of a stream."
MIN_WINDOW: Final = 32_768
"""Bytes on their way whatever is measured. It keeps a link of 173 kB/s busy over a round trip of
190 ms, and costs others on the link no time: what the chip has no room for is not sealed yet."""
WINDOW_GAIN: Final = 2.0
"""Window in units of rate times round trip. What is above one lets the rate grow when the path
turns out wider, and bridges acknowledgements that come in bursts."""
PACING_GAIN: Final = 2.0
"Sending rate in units of the delivery rate; as large as the gain, so the window can grow."
PACING_BURST: Final = 16_384
"Bytes that may leave at once."
PACED_FROM_RTT_S: Final = 0.002
"Below this round trip nothing is paced: timers of an event loop are not finer."
FAST_WINDOW: Final = 65_536
"""The smallest window below that round trip. What fills it is passed on within milliseconds, and an
acknowledgement for eight records costs half of what two for four do."""
RATE_ROUNDS: Final = 10
"Rounds over which the highest delivery rate counts."
MIN_RTT_AGE_S: Final = 10.0
"Age at which the round trip of the empty path is measured anew, at the smallest window."
CROWDED_LOSS: Final = 0.4
"""Part of a round's bytes whose loss is taken for crowding. Records fitted to a radio that loses
5 % of its packets are lost at 14 %."""
CROWDED_GAIN: Final = 1.0
"The gain after such a round."


class CongestionControl(Protocol):
    """Decides how much may be on its way, and when more may leave."""

    def may_send(self, records: int, size: int) -> bool:
        """Tell whether one more tracked record may be on its way.

        Args:
            records: tracked records on their way.
            size: their bytes together.
        """

    def paced_until_s(self, now_s: float) -> float | None:
        """Return when the next record may leave, or None for now."""

    def on_tracked(self, record: SentRecord, now_s: float, *, is_alone: bool) -> None:
        """A record is handed to the transport; `is_alone` when no other is on its way."""

    def on_acknowledged(self, records: Sequence[SentRecord], now_s: float) -> None:
        """Records arrived, told by one ACK."""

    def on_lost(self, record: SentRecord, now_s: float) -> None:
        """A record was lost."""

    def on_silence(self, now_s: float) -> None:
        """A time-out passed without any acknowledgement."""


class DeliveryWindow:
    """The window follows the delivery rate.

    One round lasts until a record is acknowledged that was sent after the round began.
    """

    __slots__ = (
        "_budget",
        "_budget_at_s",
        "_crowded",
        "_delivered",
        "_delivered_at_s",
        "_min_rtt_at_s",
        "_min_rtt_s",
        "_rates",
        "_round",
        "_round_acked",
        "_round_end",
        "_round_lost",
        "_round_rtts",
        "_window",
    )

    def __init__(self) -> None:
        self._window = float(INITIAL_WINDOW)
        self._delivered = 0
        self._delivered_at_s = 0.0
        self._rates: deque[tuple[int, float]] = deque()  # (round, rate), rates falling
        self._min_rtt_s: float | None = None
        self._min_rtt_at_s = 0.0
        self._round = 0
        self._round_end = 0  # delivered bytes with which the round ends
        self._round_rtts: list[float] = []
        self._round_acked = 0
        self._round_lost = 0
        self._crowded = False
        self._budget = float(PACING_BURST)
        self._budget_at_s = 0.0

    @property
    def window(self) -> int:
        """Bytes that may be on their way."""
        return int(self._window)

    @property
    def rate(self) -> float:
        """Highest delivery rate of late, in bytes per second; 0 before the first round trip."""
        return self._rates[0][1] if self._rates else 0.0

    def may_send(self, records: int, size: int) -> bool:
        """Allow up to `MAX_TRACKED_RECORDS` within the window."""
        return records < MAX_TRACKED_RECORDS and size < self._window

    def paced_until_s(self, now_s: float) -> float | None:
        """Spread a window over its round trip, but let bursts of `PACING_BURST` pass."""
        if self._budget > 0 or not self._is_paced:
            return None
        self._refill(now_s)
        if self._budget > 0:
            return None
        return now_s - (self._budget - 1) / (self.rate * PACING_GAIN)

    @property
    def _is_paced(self) -> bool:
        return bool(self._rates) and (self._min_rtt_s or 0.0) >= PACED_FROM_RTT_S

    def _refill(self, now_s: float) -> None:
        earned = (now_s - self._budget_at_s) * self.rate * PACING_GAIN
        self._budget = min(self._budget + earned, PACING_BURST)
        self._budget_at_s = now_s

    def on_tracked(self, record: SentRecord, now_s: float, *, is_alone: bool) -> None:
        """Remember what was delivered when the record left."""
        if is_alone:
            self._delivered_at_s = now_s  # the pause before it says nothing about the path
        record.delivered_before = self._delivered
        record.delivered_at_s = self._delivered_at_s
        if self._is_paced:
            self._refill(now_s)
            self._budget -= record.size

    def on_acknowledged(self, records: Sequence[SentRecord], now_s: float) -> None:
        """Measure rate and round trip."""
        for record in records:
            size, sent_at_s = record.size, record.sent_at_s
            self._delivered += size
            self._delivered_at_s = now_s
            self._round_acked += size
            if sent_at_s is None:
                continue
            rtt_s = now_s - sent_at_s
            self._round_rtts.append(rtt_s)
            elapsed_s = max(now_s - record.delivered_at_s, rtt_s)
            if elapsed_s > 0:
                self._note_rate((self._delivered - record.delivered_before) / elapsed_s)
            if record.delivered_before >= self._round_end:
                self._end_round(now_s)

    def _note_rate(self, rate: float) -> None:
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((self._round, rate))
        while rates[0][0] <= self._round - RATE_ROUNDS:
            rates.popleft()

    def _end_round(self, now_s: float) -> None:
        mean_s = sum(self._round_rtts) / len(self._round_rtts)
        is_old = now_s - self._min_rtt_at_s >= MIN_RTT_AGE_S
        if self._min_rtt_s is None or mean_s <= self._min_rtt_s:
            self._min_rtt_s, self._min_rtt_at_s = mean_s, now_s
        elif is_old and self._window <= MIN_WINDOW:
            # This round ran at the smallest window, so it hardly queued.
            self._min_rtt_s, self._min_rtt_at_s = mean_s, now_s
        lost = self._round_lost / (self._round_lost + self._round_acked)
        gain = CROWDED_GAIN if lost > CROWDED_LOSS else WINDOW_GAIN
        if now_s - self._min_rtt_at_s >= MIN_RTT_AGE_S:
            self._window = MIN_WINDOW
        else:
            least = FAST_WINDOW if self._min_rtt_s < PACED_FROM_RTT_S else MIN_WINDOW
            self._window = max(gain * self.rate * self._min_rtt_s, least)
        self._round += 1
        self._round_end = self._delivered
        self._round_rtts.clear()
        self._round_acked = self._round_lost = 0

    def on_lost(self, record: SentRecord, now_s: float) -> None:
        """Count it in the round."""
        del now_s
        self._round_lost += record.size

    def on_silence(self, now_s: float) -> None:
        """Start over with the smallest window: nothing is known of this path any more."""
        del now_s
        self._window = MIN_WINDOW
        self._rates.clear()
