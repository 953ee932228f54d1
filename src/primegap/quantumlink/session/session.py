"""A connected session: records in, records out, timers (session sections 4, 5 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.errors import RemoteError
from primegap.quantumlink.frames import (
    Ack,
    Close,
    CloseCode,
    StreamData,
    StreamReset,
    StreamWindow,
    Unpair,
    encode_frame,
    parse_frames_untrusted,
)
from primegap.quantumlink.session.ack_tracker import AckTracker
from primegap.quantumlink.session.congestion import DeliveryWindow
from primegap.quantumlink.session.events import OutgoingRecord
from primegap.quantumlink.session.packer import PackedRecord, pack_ack, pack_record
from primegap.quantumlink.session.record_size import RecordSizer
from primegap.quantumlink.session.recovery import Recovery, SentRecord
from primegap.quantumlink.session.replay import ReplayWindow
from primegap.quantumlink.session.rtt import is_due
from primegap.quantumlink.session.streams import StreamTable
from primegap.quantumlink.session.trace import no_trace
from primegap.quantumlink.session_keys import SessionOpener, SessionSealer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from primegap.quantumlink.handshake import HandshakeResult
    from primegap.quantumlink.identity import Identity
    from primegap.quantumlink.records import SessionRecord
    from primegap.quantumlink.session.config import LinkConfig
    from primegap.quantumlink.session.events import LinkEvent
    from primegap.quantumlink.session.trace import Trace

MAX_SEQ: Final = 2**64 - 2
"Highest record number used for anything but the closing record."


class Session:
    """State of one session. Events go to `emit`, facts to `trace`.

    Args:
        config: settings.
        identity: ours.
        result: outcome of the handshake; its keys are copied.
        answers_pairing: whether it comes from a pairing that we answered.
        write_ids: source of write ids, never repeating over all sessions of an engine.
        emit: takes events.
        trace: takes facts.
        now_s: time of the start, on the driver's clock.
    """

    def __init__(
        self,
        config: LinkConfig,
        identity: Identity,
        result: HandshakeResult,
        *,
        answers_pairing: bool,
        write_ids: Iterator[int],
        emit: Callable[[LinkEvent], None],
        trace: Trace,
        now_s: float,
    ) -> None:
        suite, own, remote = identity.suite, identity.qid, result.remote_bundle.qid
        self.peer = result.remote_bundle
        self.handshake_hash = result.handshake_hash
        self.answers_pairing = answers_pairing
        self.streams = StreamTable(
            config,
            own,
            remote,
            peer_initial_window=result.remote_params.initial_stream_receive_window,
            emit=emit,
        )
        self._config = config
        self._sealer = SessionSealer(suite, result.tx_key, own, remote)
        self._opener = SessionOpener(suite, result.rx_key, remote, own)
        self._replay = ReplayWindow(config.accepted_record_window)
        self._acks = AckTracker(config.pending_ack_range_limit, config.ack_delay_s)
        self._recovery = Recovery(config.retransmit_timeout_s, DeliveryWindow())
        self._sizer = RecordSizer(config.packet_payload, config.record_max_size)
        self._write_ids = write_ids
        self._trace = trace
        self._is_traced = trace is not no_trace
        self._next_seq = 0
        self._paced_until_s: float | None = None  # when something that waits may leave
        self._ping_is_pending = False
        self._pings_in_flight = 0
        self._last_activity_s = now_s
        self._last_inbound_s = now_s

    # --- receiving ----------------------------------------------------------------------------

    def open_record(self, record: SessionRecord) -> bytes | None:
        """Return the body of a record, or None for a replay. Nothing changes.

        Raises:
            RemoteError: the record is not one of this session.
        """
        if self._replay.is_replay(record.seq):
            return None
        return self._opener.open(record)

    def note_replay(self, seq: int, now_s: float) -> None:
        """A record with a number that was accepted came again; it may be anybody's.

        Our ACK of it may have been lost, so it is told again, at a limited rate. Nothing else
        changes; above all it is no sign of life.
        """
        self._acks.repeat(seq, now_s)

    def receive(self, seq: int, body: bytes, now_s: float) -> Close | Unpair | None:
        """Process a record that was opened; return how the session ends, if it does.

        What the ACKs in the record cover is credited before anything is given up as lost.
        """
        if self._is_traced:
            self._trace("record-received", now_s=now_s, seq=seq, body=len(body))
        self._replay.accept(seq)
        self._acks.note(seq)
        self._last_activity_s = self._last_inbound_s = now_s
        asks_for_ack = False
        try:
            for frame in parse_frames_untrusted(body):
                match frame:
                    case StreamData():
                        self.streams.receive_data(frame)
                    case Ack(ranges):
                        self._acknowledge(ranges, now_s)
                        continue
                    case StreamWindow():
                        self.streams.receive_window(frame)
                    case StreamReset():
                        self.streams.receive_reset(frame)
                    case Close() | Unpair():
                        return frame
                    case _:  # Ping: its acknowledgement is the answer
                        pass
                asks_for_ack = True
        except RemoteError as error:
            self._trace("protocol-violation", now_s=now_s, reason=error.code)
            return Close(CloseCode.PROTOCOL)
        if asks_for_ack:
            self._acks.schedule(now_s, len(body))
        self._settle(now_s)
        return None

    def _acknowledge(self, ranges: Iterable[tuple[int, int]], now_s: float) -> None:
        covered = self._recovery.acknowledge(ranges, now_s)
        self.streams.rtt_s = self._recovery.rtt.smoothed_s
        for record, was_lost in covered:
            content = record.content
            if record.is_loss:
                self._sizer.take_back()
            else:
                self._sizer.note(record.size, arrived=True)
            if content.ack_ranges:
                self._acks.confirm(content.ack_ranges)
            if content.ping and not was_lost:
                self._pings_in_flight -= 1
            self.streams.acknowledge(content, was_lost=was_lost)

    # --- sending ------------------------------------------------------------------------------

    def take_write(self, now_s: float) -> OutgoingRecord | None:
        """Return the next record to be sent, or None."""
        self._settle(now_s)
        if self._next_seq > MAX_SEQ:
            return None
        packed = self._pack(now_s)
        if packed is None:
            return None
        body, content = packed
        seq = self._next_seq
        record = self._seal(body)
        if self._is_traced:
            self._trace("record-sent", now_s=now_s, seq=seq, size=len(record))
        if not content.is_tracked:
            return OutgoingRecord(record, None)
        if content.ping:
            self._ping_is_pending = False
            self._pings_in_flight += 1
        write_id = next(self._write_ids)
        self._recovery.track(SentRecord(seq, write_id, len(record), content), now_s)
        return OutgoingRecord(record, write_id)

    def _pack(self, now_s: float) -> PackedRecord | None:
        ack_is_due = self._acks.is_scheduled and is_due(self._acks.due_s, now_s)
        self._paced_until_s = None
        packed = None
        has_pending = self.streams.has_pending
        if not ack_is_due and not has_pending and not self._ping_is_pending:
            return None
        seq = self._next_seq
        max_size = max(self._sizer.size, self.streams.opening_size)
        may_send = self._recovery.may_send
        if may_send and has_pending:
            self._paced_until_s = self._recovery.paced_until_s(now_s)
        if may_send and self._paced_until_s is None:
            packed = pack_record(
                seq,
                max_size,
                acks=self._acks,
                ack_is_due=ack_is_due,
                ping=self._ping_is_pending,
                streams=self.streams,
                now_s=now_s,
            )
        elif ack_is_due:
            packed = pack_ack(seq, max_size, self._acks, now_s)
        if packed is None and ack_is_due:
            self._acks.give_up()
        return packed

    def seal_last(self, frame: Close | Unpair) -> bytes:
        """Return the closing record; nothing may be sent behind it."""
        return self._seal(encode_frame(frame))

    def wipe(self) -> None:
        """Erase the keys: the session is over, nothing is sealed or opened any more."""
        self._sealer.wipe()
        self._opener.wipe()

    def _seal(self, body: bytes) -> bytes:
        record = self._sealer.seal(self._next_seq, body)
        self._next_seq += 1
        return record

    def queue_ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._ping_is_pending = True

    def withdraw_ping(self) -> None:
        """Ask for no sign of life any more, unless the question is on its way already."""
        self._ping_is_pending = False

    def complete_write(self, write_id: int, *, ok: bool, now_s: float) -> bool:
        """Take the fate of a record; False when the id is not known here (any more)."""
        if ok:
            known = self._recovery.confirm(write_id, now_s)
            if known:
                self._last_activity_s = now_s
            return known
        refused = self._recovery.refuse(write_id)
        if refused is not None:
            self._restore(refused, now_s)
        return refused is not None

    def _settle(self, now_s: float) -> None:
        """Send again what was lost, forget streams that are over."""
        if self._recovery.should_sweep(now_s):
            for record in self._recovery.sweep(now_s):
                self._trace("record-lost", now_s=now_s, seq=record.seq)
                if record.is_loss:
                    self._sizer.note(record.size, arrived=False)
                self._restore(record, now_s)
        if self.streams.may_be_over:
            self.streams.forget_over()

    def _restore(self, record: SentRecord, now_s: float) -> None:
        content = record.content
        self._acks.restore(content.ack_news, now_s)
        if content.ping:
            self._pings_in_flight -= 1
            self._ping_is_pending = True
        self.streams.lose(content)

    # --- timers -------------------------------------------------------------------------------

    def next_timeout_s(self) -> float | None:
        """Return when `on_timeout` must be called, or None."""
        config = self._config
        deadlines = [self._recovery.next_timeout_s()]
        deadlines.append(self._paced_until_s)
        if self._acks.is_scheduled:
            deadlines.append(self._acks.due_s)
        if config.keepalive_interval_s and not self._ping_is_pending and not self._pings_in_flight:
            deadlines.append(self._last_activity_s + config.keepalive_interval_s)
        if config.peer_timeout_s:
            deadlines.append(self._last_inbound_s + config.peer_timeout_s)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def on_timeout(self, now_s: float) -> Close | None:
        """Do what is due; return how the session ends when the peer has been silent too long."""
        config = self._config
        self._settle(now_s)
        if config.peer_timeout_s and is_due(self._last_inbound_s + config.peer_timeout_s, now_s):
            return Close(CloseCode.TIMEOUT)
        if (
            config.keepalive_interval_s
            and not self._pings_in_flight
            and is_due(self._last_activity_s + config.keepalive_interval_s, now_s)
        ):
            self._ping_is_pending = True
        return None
