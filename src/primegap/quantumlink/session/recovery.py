"""Records on their way: acknowledgement, loss, and what to do about it (session 5.2 to 5.5)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from primegap.quantumlink.session.rtt import RttEstimator, is_due

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.quantumlink.acks import AckRange
    from primegap.quantumlink.frames import StreamReset

MAX_TRACKED_RECORDS: Final = 64
"Records that may be on their way at once (session section 2.4, fixed)."
MAX_REMEMBERED_LOSSES: Final = 256
"""Lost records whose late acknowledgement still counts (session 11, #3): four full flights, which
covers every back-off step that matters; each costs about half a kilobyte."""


class SentData(NamedTuple):
    """Which part of which stream a record carried."""

    stream_id: int
    start: int
    stop: int
    fin: bool


@dataclass(frozen=True, slots=True)
class RecordContent:
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


class CongestionControl(Protocol):
    """Decides how much may be on its way. The seam for window-based control and pacing."""

    def may_send(self, records: int, size: int) -> bool:
        """Tell whether one more tracked record may leave.

        Args:
            records: tracked records on their way.
            size: their bytes together.
        """

    def on_acknowledged(self, record: SentRecord, now_s: float) -> None:
        """A record arrived."""

    def on_lost(self, record: SentRecord, now_s: float) -> None:
        """A record timed out."""


class RecordLimit:
    """The congestion control of the reference: a fixed number of records, nothing adapts."""

    __slots__ = ()

    def may_send(self, records: int, size: int) -> bool:
        """Allow up to `MAX_TRACKED_RECORDS`."""
        del size
        return records < MAX_TRACKED_RECORDS

    def on_acknowledged(self, record: SentRecord, now_s: float) -> None:
        """Learn nothing."""

    def on_lost(self, record: SentRecord, now_s: float) -> None:
        """Learn nothing."""


class Recovery:
    """Follows every tracked record until it is acknowledged, lost or refused by the transport.

    Args:
        initial_rto_s: time-out until the first round-trip sample.
        congestion: decides how much may be on its way.
    """

    __slots__ = (
        "_bytes",
        "_confirmed",
        "_congestion",
        "_lost",
        "_lost_seqs",
        "_rtt",
        "_seqs",
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
        """Whether one more tracked record may leave now."""
        return self._congestion.may_send(len(self._tracked), self._bytes)

    def track(self, record: SentRecord) -> None:
        """Follow a record that is handed to the transport; its number is the highest so far."""
        self._tracked[record.seq] = record
        self._seqs.append(record.seq)
        self._write_ids[record.write_id] = record
        self._bytes += record.size

    def confirm(self, write_id: int, now_s: float) -> bool:
        """The transport took the record: its clock starts. False when this was known, or late."""
        record = self._write_ids.pop(write_id, None)
        if record is None:
            return False
        record.sent_at_s = now_s
        self._confirmed[record.seq] = record
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
        the record sent last among the covered ones.
        """
        covered: list[tuple[SentRecord, bool]] = []
        for low, high in ranges:
            for seq in _between(self._seqs, low, high):
                record = self._tracked[seq]
                self._drop(record)
                self._congestion.on_acknowledged(record, now_s)
                covered.append((record, False))
            late = _between(self._lost_seqs, low, high)
            covered += [(self._forget_loss(seq), True) for seq in late]
        sent_times = [record.sent_at_s for record, _ in covered if record.sent_at_s is not None]
        if sent_times:
            # A late ACK is a sample as good as any: every transmission has its own number. It
            # raises the time-out to what the path needs, so the next record is not lost too early.
            self._rtt.sample(now_s - max(sent_times))
        return covered

    def sweep(self, now_s: float) -> list[SentRecord]:
        """Return the records whose time-out has passed; it doubles once if there are any."""
        lost: list[SentRecord] = []
        for record in self._confirmed.values():
            assert record.sent_at_s is not None
            if not is_due(record.sent_at_s + self._rtt.rto_s, now_s):
                break
            lost.append(record)
        for record in lost:
            self._drop(record)
            self._remember_loss(record)
            self._congestion.on_lost(record, now_s)
        if lost:
            self._rtt.back_off()
        return lost

    def next_timeout_s(self) -> float | None:
        """Return when the next record counts as lost, or None."""
        for record in self._confirmed.values():
            assert record.sent_at_s is not None
            return record.sent_at_s + self._rtt.rto_s
        return None

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


def _between(seqs: list[int], low: int, high: int) -> list[int]:
    """Return the numbers from `low` to `high`, both included, of an ascending list."""
    if not seqs or high < seqs[0] or low > seqs[-1]:
        return []
    return seqs[bisect_left(seqs, low) : bisect_right(seqs, high)]
