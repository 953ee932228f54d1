"""Records on their way: acknowledgement, loss, and what to do about it (session 5.2 to 5.5)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from primegap.quantumlink.session.rtt import MIN_RTO_S, RttEstimator, is_due

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.quantumlink.acks import AckRange
    from primegap.quantumlink.frames import StreamReset
    from primegap.quantumlink.session.congestion import CongestionControl

MAX_REMEMBERED_LOSSES: Final = 256
"""Lost records whose late acknowledgement still counts (session 11, #3): four full flights, which
covers every back-off step that matters; each costs about half a kilobyte."""


PACKET_THRESHOLD: Final = 3
"A record is lost when one sent this many numbers later has arrived (RFC 9002, 6.1.1)."
TIME_THRESHOLD: Final = 9 / 8
"... or when a later one has arrived and this many round trips have passed since it left."
MAX_PACKET_THRESHOLD: Final = 24
MAX_TIME_THRESHOLD: Final = 2.0
"How far both go when records that counted as lost turn out to have been overtaken."
PROBE_RTTS: Final = 2.0
"Round trips of silence behind the last record until it is sent again as a probe (RFC 8985, 7)."
PEER_ACK_DELAY_S: Final = 0.025
"Time a peer may take its ACK in; the wire does not tell (the published default is 5 ms)."


class SentData(NamedTuple):
    """Which part of which stream a record carried."""

    stream_id: int
    start: int
    stop: int
    fin: bool


class RecordContent(NamedTuple):
    """What must be credited, or sent again, when the fate of a record is known."""

    ack_ranges: tuple[AckRange, ...] = ()
    "All ranges of its ACK."
    ack_news: tuple[AckRange, ...] = ()
    "Those that had not been told before."
    ping: bool = False
    resets: tuple[StreamReset, ...] = ()
    windows: tuple[int, ...] = ()
    "Ids of the streams whose limit it announced."
    data: tuple[SentData, ...] = ()

    @property
    def is_tracked(self) -> bool:
        """True when it holds anything besides an ACK."""
        return bool(self.ping or self.resets or self.windows or self.data)


@dataclass(slots=True)
class SentRecord:
    """A tracked record between leaving and being acknowledged or lost."""

    seq: int
    write_id: int
    size: int
    "Bytes of the whole record."
    content: RecordContent
    sent_at_s: float | None = None
    "When the transport took it; None until then, and no time-out runs."
    delivered_before: int = 0
    "Bytes acknowledged when it left; kept for the congestion control."
    delivered_at_s: float = 0.0
    "When the last of them was."
    was_overtaken: bool = False
    "Given up because later records arrived."
    is_loss: bool = False
    "Given up for any reason but to probe."


class Recovery:
    """Follows every tracked record until it is acknowledged, lost or refused by the transport.

    A record counts as lost when later ones have arrived (by number or by time), or when its
    time-out has passed. When the last records of a burst stay silent, the newest is sent again
    early: its acknowledgement tells what happened to the others.

    Args:
        initial_rto_s: time-out until the first round-trip sample.
        congestion: decides how much may be on its way.
    """

    __slots__ = (
        "_acked_at_s",
        "_bytes",
        "_check_at_s",
        "_confirmed",
        "_congestion",
        "_has_probed",
        "_highest_acked",
        "_last_sent_s",
        "_lost",
        "_lost_seqs",
        "_overtaken_at_s",
        "_packet_threshold",
        "_rtt",
        "_seqs",
        "_time_threshold",
        "_tracked",
        "_write_ids",
    )

    def __init__(self, initial_rto_s: float, congestion: CongestionControl) -> None:
        self._rtt = RttEstimator(initial_rto_s)
        self._congestion = congestion
        self._tracked: dict[int, SentRecord] = {}
        self._seqs: list[int] = []  # of tracked records, ascending
        self._write_ids: dict[int, SentRecord] = {}  # tracked and not confirmed
        self._confirmed: dict[int, SentRecord] = {}  # in the order of their sent times
        self._lost: dict[int, SentRecord] = {}  # in the order they were lost
        self._lost_seqs: list[int] = []  # ascending
        self._bytes = 0
        self._highest_acked = -1
        self._overtaken_at_s: float | None = None  # when the next overtaken record is lost
        self._packet_threshold = PACKET_THRESHOLD
        self._time_threshold = TIME_THRESHOLD
        self._last_sent_s = 0.0
        self._has_probed = False
        self._check_at_s: float | None = None  # before it a sweep finds nothing
        self._acked_at_s: float | None = None  # when something was last acknowledged

    @property
    def rtt(self) -> RttEstimator:
        """Round-trip estimate and time-out."""
        return self._rtt

    @property
    def in_flight(self) -> int:
        """Number of tracked records."""
        return len(self._tracked)

    @property
    def may_send(self) -> bool:
        """Whether one more tracked record may be on its way."""
        return self._congestion.may_send(len(self._tracked), self._bytes)

    def paced_until_s(self, now_s: float) -> float | None:
        """Return when the next tracked record may leave, or None for now."""
        return self._congestion.paced_until_s(now_s)

    def track(self, record: SentRecord, now_s: float) -> None:
        """Follow a record that is handed to the transport; its number is the highest so far."""
        self._congestion.on_tracked(record, now_s, is_alone=not self._tracked)
        self._tracked[record.seq] = record
        self._seqs.append(record.seq)
        self._write_ids[record.write_id] = record
        self._bytes += record.size

    def confirm(self, write_id: int, now_s: float) -> bool:
        """The transport took the record: its clock starts. False when this was known, or late."""
        record = self._write_ids.pop(write_id, None)
        if record is None:
            return False
        record.sent_at_s = self._last_sent_s = now_s
        is_first = not self._confirmed
        self._confirmed[record.seq] = record
        if is_first:
            self._check_at_s = self.next_timeout_s()
        return True

    def refuse(self, write_id: int) -> SentRecord | None:
        """The transport did not take the record: stop following it and return it."""
        record = self._write_ids.get(write_id)
        if record is not None:
            self._drop(record)
        return record

    def acknowledge(
        self, ranges: Iterable[AckRange], now_s: float
    ) -> list[tuple[SentRecord, bool]]:
        """Return the records that an ACK covers for the first time.

        The flag beside a record is True when it had been given up as lost.

        Numbers that were never sent, or are forgotten, are ignored. The round trip is measured on
        the record sent last among the covered ones. The wire does not tell how long the peer held
        its ACK back, so the delay is part of it.
        """
        arrived: list[SentRecord] = []
        late: list[SentRecord] = []
        for low, high in ranges:
            arrived += map(self._tracked.pop, _take_between(self._seqs, low, high))
            late += map(self._forget_loss, _between(self._lost_seqs, low, high))
        if not arrived and not late:
            return []
        covered: list[tuple[SentRecord, bool]] = []
        for record in arrived:
            self._bytes -= record.size
            if record.sent_at_s is None:
                del self._write_ids[record.write_id]
            else:
                del self._confirmed[record.seq]
            covered.append((record, False))
        for record in late:
            self._learn_order(record)
            covered.append((record, True))
        latest_s: float | None = None
        for record, _ in covered:
            self._highest_acked = max(self._highest_acked, record.seq)
            sent_at_s = record.sent_at_s
            if sent_at_s is not None and (latest_s is None or sent_at_s > latest_s):
                latest_s = sent_at_s
        self._congestion.on_acknowledged(arrived, now_s)
        self._has_probed = False
        self._acked_at_s = now_s
        if latest_s is not None:
            # A late ACK is a sample as good as any: every transmission has its own number. It
            # raises the time-out to what the path needs, so the next record is not lost too early.
            self._rtt.sample(now_s - latest_s)
        # Whether something was overtaken is for the next sweep to see.
        is_gap = bool(self._seqs) and self._seqs[0] < self._highest_acked
        self._overtaken_at_s = now_s if is_gap else None
        self._check_at_s = self.next_timeout_s()
        return covered

    def _learn_order(self, record: SentRecord) -> None:
        """A record given up has arrived: if it was overtaken, wait longer from now on."""
        if record.was_overtaken:
            self._packet_threshold = min(2 * self._packet_threshold, MAX_PACKET_THRESHOLD)
            self._time_threshold = min(self._time_threshold * 1.25, MAX_TIME_THRESHOLD)

    def should_sweep(self, now_s: float) -> bool:
        """Tell whether `sweep` may have something to return."""
        return bool(self._confirmed) and is_due(self._check_at_s, now_s)

    def sweep(self, now_s: float) -> list[SentRecord]:
        """Return the records that must be sent again now.

        The time-out doubles once when records ran into it, not when they were overtaken.
        """
        if not self.should_sweep(now_s):
            return []
        lost = self._overtaken(now_s) if is_due(self._overtaken_at_s, now_s) else []
        for record in lost:
            record.was_overtaken = True
            self._lose(record, now_s)
        late: list[SentRecord] = []
        for record in self._confirmed.values():
            assert record.sent_at_s is not None
            if not is_due(self._silent_until_s(record.sent_at_s), now_s):
                break
            late.append(record)
        for record in late:
            self._lose(record, now_s)
        if late:
            self._rtt.back_off()
            if not self._confirmed:
                self._congestion.on_silence(now_s)
        elif not lost and is_due(self._probe_at_s(), now_s):
            self._has_probed = True
            late.append(next(reversed(self._confirmed.values())))
            self._give_up(late[0])
        self._check_at_s = self.next_timeout_s()
        return lost + late

    def _overtaken(self, now_s: float) -> list[SentRecord]:
        """Return the records that later ones have overtaken too far; note when to look again."""
        self._overtaken_at_s = None
        wait_s = self._time_threshold * (self._rtt.longest_s or self._rtt.rto_s)
        lost: list[SentRecord] = []
        for seq in self._seqs:
            if seq > self._highest_acked:
                break
            record = self._tracked[seq]
            if record.sent_at_s is None:
                continue
            due_s = record.sent_at_s + wait_s
            if seq <= self._highest_acked - self._packet_threshold or is_due(due_s, now_s):
                lost.append(record)
            elif self._overtaken_at_s is None or due_s < self._overtaken_at_s:
                self._overtaken_at_s = due_s
        return lost

    def _silent_until_s(self, sent_at_s: float) -> float:
        """Return when a record counts as lost if nothing at all is acknowledged until then.

        One lost ACK is not a lost flight: the next one, which repeats it, still counts in time.
        """
        if self._acked_at_s is None:
            return sent_at_s + self._rtt.rto_s
        return max(sent_at_s, self._acked_at_s) + self._rtt.rto_s + PEER_ACK_DELAY_S

    def _probe_at_s(self) -> float | None:
        smoothed_s = self._rtt.smoothed_s
        if self._has_probed or smoothed_s is None or not self._confirmed:
            return None
        return self._last_sent_s + max(PROBE_RTTS * smoothed_s, MIN_RTO_S) + PEER_ACK_DELAY_S

    def next_timeout_s(self) -> float | None:
        """Return when `sweep` will have something to return, or None."""
        for record in self._confirmed.values():
            assert record.sent_at_s is not None
            due_s = self._silent_until_s(record.sent_at_s)
            for other_s in (self._overtaken_at_s, self._probe_at_s()):
                if other_s is not None and other_s < due_s:
                    due_s = other_s
            return due_s
        return None

    def _lose(self, record: SentRecord, now_s: float) -> None:
        record.is_loss = True
        self._give_up(record)
        self._congestion.on_lost(record, now_s)

    def _give_up(self, record: SentRecord) -> None:
        self._drop(record)
        self._remember_loss(record)

    def _drop(self, record: SentRecord) -> None:
        del self._tracked[record.seq]
        del self._seqs[bisect_left(self._seqs, record.seq)]
        self._confirmed.pop(record.seq, None)
        self._write_ids.pop(record.write_id, None)
        self._bytes -= record.size

    def _remember_loss(self, record: SentRecord) -> None:
        self._lost[record.seq] = record
        insort(self._lost_seqs, record.seq)
        if len(self._lost) > MAX_REMEMBERED_LOSSES:
            self._forget_loss(next(iter(self._lost)))

    def _forget_loss(self, seq: int) -> SentRecord:
        del self._lost_seqs[bisect_left(self._lost_seqs, seq)]
        return self._lost.pop(seq)


def _take_between(seqs: list[int], low: int, high: int) -> list[int]:
    """Remove and return the numbers from `low` to `high`, both included, of an ascending list."""
    if not seqs or high < seqs[0] or low > seqs[-1]:
        return []
    start, stop = bisect_left(seqs, low), bisect_right(seqs, high)
    taken = seqs[start:stop]
    del seqs[start:stop]
    return taken


def _between(seqs: list[int], low: int, high: int) -> list[int]:
    """Return the numbers from `low` to `high`, both included, of an ascending list."""
    if not seqs or high < seqs[0] or low > seqs[-1]:
        return []
    return seqs[bisect_left(seqs, low) : bisect_right(seqs, high)]
