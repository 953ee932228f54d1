"""The link engine: one peer, at most one session that counts, no I/O (session sections 2 to 7).

The engine is driven from outside: records in with `receive`, records out with `take_write`, time
with `on_timeout`. After every call the driver drains `take_events`, takes writes until there are
none, and arms one timer for `next_timeout_s`.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.errors import (
    InvalidRemoteBundleError,
    InvalidRouteError,
    InvalidVersionError,
    LocalError,
)
from primegap.quantumlink.frames import Close, Unpair
from primegap.quantumlink.handshake_setup import Role
from primegap.quantumlink.records import SessionRecord, parse_record_untrusted
from primegap.quantumlink.session.backoff import WriteBackoff
from primegap.quantumlink.session.config import StreamOptions
from primegap.quantumlink.session.errors import (
    NoPeerError,
    NoSessionError,
    RecordTooLongError,
)
from primegap.quantumlink.session.events import (
    Halves,
    InboundState,
    LinkEvent,
    NewPeer,
    OutboundState,
    OutgoingRecord,
    PeerStatus,
    PeerStatusChanged,
    SessionClosed,
    SessionDropped,
    Unpaired,
)
from primegap.quantumlink.session.handshaking import Finished, HandshakeDriver
from primegap.quantumlink.session.session import Session
from primegap.quantumlink.session.sessions import SessionSet
from primegap.quantumlink.session.trace import no_trace
from primegap.quantumlink.suite import Pattern

if TYPE_CHECKING:
    from primegap.quantumlink.identity import Identity, PeerBundle, Qid, Rng
    from primegap.quantumlink.pairing import Invite, PairingToken
    from primegap.quantumlink.records import HandshakeRecord
    from primegap.quantumlink.session.config import LinkConfig
    from primegap.quantumlink.session.streams import StreamTable
    from primegap.quantumlink.session.trace import Trace

_DEFAULT_OPTIONS: Final = StreamOptions()


class LinkEngine:
    """One side of a link with one peer. No clock, no randomness of its own, no I/O, no logging.

    A first message of a handshake can be written by anybody. The session made from it waits as a
    candidate: nobody is told of it, and it touches nothing that is there, until a record under its
    keys proves that the peer holds them (session 11, #1). So `PeerStatusChanged` with connected and
    `NewPeer` always mean that the peer has shown its keys.

    Args:
        config: settings.
        identity: ours; its suite is the only one that is spoken.
        rng: source of randomness.
        now_s: time on the driver's clock, which never runs backwards.
        trace: takes facts for viewers and tests.
    """

    def __init__(
        self,
        config: LinkConfig,
        identity: Identity,
        *,
        rng: Rng,
        now_s: float,
        trace: Trace | None = None,
    ) -> None:
        self._config = config
        self._identity = identity
        self._version = identity.suite.version
        self._qid = identity.qid
        self._trace = no_trace if trace is None else trace
        self._handshakes = HandshakeDriver(config, identity, rng, self._trace)
        self._peer: PeerBundle | None = None
        self._sessions = SessionSet()
        self._events: list[LinkEvent] = []
        self._write_ids = count()
        self._backoff = WriteBackoff()
        self._trace("engine-created", now_s=now_s, suite=identity.suite.name)

    # --- what it is ---------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """Ours."""
        return self._identity

    @property
    def peer(self) -> PeerBundle | None:
        """The bound peer."""
        return self._peer

    @property
    def remote_qid(self) -> Qid | None:
        """Whom we talk to: partner of the session, of a pairing, or else the bound peer."""
        if self._sessions.current is not None:
            return self._sessions.current.peer.qid
        for attempt in (self._handshakes.initiator, self._handshakes.responder):
            if attempt is not None and attempt.handshake.pattern is Pattern.XX:
                return attempt.handshake.remote_qid
        return None if self._peer is None else self._peer.qid

    @property
    def status(self) -> PeerStatus:
        """How we stand with the peer."""
        if self._sessions.current is not None:
            return PeerStatus.CONNECTED
        if self._handshakes.initiator is not None:
            return PeerStatus.INITIATOR
        return PeerStatus.DISCONNECTED

    @property
    def handshake_hash(self) -> bytes | None:
        """Transcript hash of the session's handshake, equal on both sides; None without session."""
        session = self._sessions.current
        return None if session is None else session.handshake_hash

    @property
    def armed(self) -> bool:
        """True while a pairing token is armed."""
        return self._handshakes.token is not None

    # --- control ------------------------------------------------------------------------------

    def bind_peer(self, bundle: PeerBundle) -> None:
        """Bind a stored peer, replacing any other; what was running is dropped.

        Raises:
            LocalError: the bundle belongs to another suite than our identity.
            InvalidRemoteBundleError: the bundle does not hold together.
        """
        if bundle.suite != self._identity.suite:
            raise LocalError("the peer belongs to another suite")
        bundle.validate()
        self._handshakes.give_up()
        self._drop_sessions()
        self._peer = bundle

    def arm_pairing(self, token: PairingToken) -> None:
        """Accept one pairing with this token, replacing any other; disarmed by its success.

        Success is the first record of the new peer: until then whoever lost a message starts over.
        """
        self._handshakes.token = token

    def disarm_pairing(self) -> None:
        """Accept no pairing any more; one that is being answered, or not proven yet, ends."""
        self._handshakes.token = None
        self._handshakes.drop_responder()
        if self._peer is None:
            self._sessions.drop_candidates()

    def connect_ik(self, *, now_s: float) -> None:
        """Start an IK handshake with the bound peer; a session or attempt is given up (3.1).

        Raises:
            NoPeerError: nobody is bound.
        """
        self._connect_known(Pattern.IK, now_s)

    def connect_kk(self, *, now_s: float) -> None:
        """Start a KK handshake with the bound peer; a session or attempt is given up (3.1).

        Raises:
            NoPeerError: nobody is bound.
        """
        self._connect_known(Pattern.KK, now_s)

    def _connect_known(self, pattern: Pattern, now_s: float) -> None:
        if self._peer is None:
            raise NoPeerError("no peer is bound")
        self._handshakes.start_known(pattern, self._peer, now_s)
        self._started(pattern, now_s)

    def connect_xx(self, invite: Invite, *, now_s: float) -> None:
        """Start pairing with whoever showed the invitation; a session or attempt is given up.

        Raises:
            LocalError: the invitation is for another suite.
        """
        self._handshakes.start_pairing(invite, now_s)
        self._started(Pattern.XX, now_s)

    def _started(self, pattern: Pattern, now_s: float) -> None:
        self._drop_sessions()
        self._trace("handshake-started", now_s=now_s, pattern=pattern)
        self._emit_status(PeerStatus.INITIATOR)

    def close_session(self, code: int, *, now_s: float) -> None:
        """End the session; nothing happens without one. A running handshake goes on (2.1)."""
        self._sessions.drop_candidates()
        if self._sessions.current is not None:
            self._end_session(Close(code), now_s)

    def unpair(self, *, now_s: float) -> None:
        """Forget the peer, telling it if there is a session (7.3)."""
        if self._sessions.current is not None:
            self._end_session(Unpair(), now_s)
            return
        self._sessions.drop_all()
        self._handshakes.give_up()
        self._handshakes.token = None
        if self._peer is not None:
            self._peer = None
            self._emit(Unpaired(None))
            self._emit_status(PeerStatus.UNPAIRED)

    def queue_ping(self) -> None:
        """Ask the peer for a sign of life with the next record.

        Raises:
            NoSessionError: not connected.
        """
        self._connected().queue_ping()

    # --- records ------------------------------------------------------------------------------

    def receive(self, record: bytes, *, now_s: float) -> bool:
        """Process a record of the transport.

        A record that does not hold changes nothing. A peer that breaks the rules inside a valid
        record is cut off with close code 1; that shows as events, not as an error.

        Returns:
            False when the record was ignored on purpose: a replay, a reply nobody waits for, an
            attempt that gives way to ours, or one more than our budget for strangers allows.

        Raises:
            RemoteError: the record does not hold.
        """
        if len(record) > self._config.inbound_record_max_size:
            raise RecordTooLongError("a record is too long")
        parsed = parse_record_untrusted(record)
        if parsed.version != self._version:
            raise InvalidVersionError("a record of another version")
        if parsed.recipient != self._qid:
            raise InvalidRouteError("a record for somebody else")
        if isinstance(parsed, SessionRecord):
            return self._receive_session_record(parsed, now_s)
        return self._receive_handshake_record(parsed, now_s)

    def _receive_session_record(self, record: SessionRecord, now_s: float) -> bool:
        opened = self._sessions.open_record(record)
        if opened is None:
            self._trace("record-replayed", now_s=now_s, seq=record.seq)
            if self._sessions.current is not None:
                self._sessions.current.note_replay(record.seq, now_s)
            return False
        session, body = opened
        if session is not self._sessions.current:
            self._trace("session-proven", now_s=now_s)
            session.withdraw_ping()
            self._install(session, now_s)
        ending = session.receive(record.seq, body, now_s)
        if ending is not None:
            self._end_session(ending, now_s)
        return True

    def _receive_handshake_record(self, record: HandshakeRecord, now_s: float) -> bool:
        outcome = self._handshakes.receive(
            record,
            peer=self._peer,
            is_connected=self._sessions.current is not None,
            now_s=now_s,
        )
        if isinstance(outcome, Finished):
            self._finish_handshake(outcome, now_s)
            return True
        return outcome

    def take_write(self, *, now_s: float) -> OutgoingRecord | None:
        """Return the next record for the transport, or None: handshakes first, then sessions."""
        handshake = self._handshakes.take_record()
        if handshake is not None:
            return OutgoingRecord(handshake, None)
        if self._backoff.retry_at_s is not None and self._backoff.is_waiting(now_s):
            return None
        for session in self._sessions.all:
            outgoing = session.take_write(now_s)
            if outgoing is not None:
                return outgoing
        return None

    def complete_write(self, write_id: int, *, ok: bool, now_s: float) -> None:
        """Report whether the transport took a record; once for each write id (5.2).

        After a refusal nothing is offered for a while (session 11, #13).
        """
        for session in self._sessions.all:
            if session.complete_write(write_id, ok=ok, now_s=now_s):
                break
        else:
            return
        if ok:
            self._backoff.succeed()
        else:
            self._backoff.fail(now_s)

    # --- timers -------------------------------------------------------------------------------

    def next_timeout_s(self) -> float | None:
        """Return when `on_timeout` must be called next, or None; may lie in the past."""
        deadlines = [self._handshakes.next_timeout_s(), self._sessions.next_timeout_s()]
        # While the transport refuses records, what wants to be sent waits for it.
        deadlines += [
            self._backoff.postpone(session.next_timeout_s()) for session in self._sessions.all
        ]
        deadlines.append(self._backoff.retry_at_s)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def on_timeout(self, *, now_s: float) -> None:
        """Do what is due; harmless when nothing is."""
        self._backoff.end_if_due(now_s)
        if self._handshakes.expire(now_s) and self.status is PeerStatus.DISCONNECTED:
            self._trace("handshake-timed-out", now_s=now_s)
            self._emit_status(PeerStatus.DISCONNECTED)
        self._sessions.expire_candidates(now_s)
        ending = self._sessions.expire_current(now_s)
        if ending is not None:
            self._end_session(ending, now_s)

    def take_events(self) -> list[LinkEvent]:
        """Return the events since the last call, in order."""
        events = self._events
        if events:
            self._events = []
            return events
        return []

    # --- streams --------------------------------------------------------------------------------

    def streams(self) -> list[int]:
        """Return the ids of all streams whose header is known; none without a session."""
        return (
            [] if self._sessions.current is None else [stream.stream_id for stream in self._streams]
        )

    def stream_header(self, stream_id: int) -> bytes:
        """Return the header a stream was opened with.

        Raises:
            NoSessionError, MissingStreamError: as for every call on a stream.
        """
        return self._streams.get(stream_id).header or b""

    def open_stream(self, header: bytes, options: StreamOptions = _DEFAULT_OPTIONS) -> int:
        """Open a stream and return its id. Nothing is sent before its first byte or its end.

        Raises:
            NoSessionError: not connected.
            HeaderTooLargeError: the header leaves no room for data.
            StreamLimitError: no memory is left for the answers.
        """
        return self._streams.open(header, options).stream_id

    def write(self, stream_id: int, data: bytes) -> int:
        """Queue bytes; return how many were taken, which is 0 on a lane that was reset.

        Raises:
            LaneFinishedError: `finish` was called before.
        """
        return self._connected().streams.write(stream_id, data)

    def finish(self, stream_id: int) -> None:
        """Mark the end of our lane, behind what was written; harmless when repeated."""
        self._streams.finish(stream_id)

    def readable_bytes(self, stream_id: int) -> int:
        """Return how many bytes `read` would return at most."""
        return self.inbound_state(stream_id).readable_bytes

    def read(self, stream_id: int, max_bytes: int) -> bytes:
        """Consume up to `max_bytes`; the peer gets credit for them. Empty when there is nothing."""
        return self._connected().streams.read(stream_id, max_bytes)

    def inbound_state(self, stream_id: int) -> InboundState:
        """Return the state of the lane from the peer."""
        return self._streams.get(stream_id).inbound

    def outbound_state(self, stream_id: int) -> OutboundState:
        """Return the state of the lane to the peer."""
        return self._streams.get(stream_id).outbound

    def reset(self, stream_id: int, halves: Halves, code: int) -> None:
        """Reset halves of a stream; what they hold is dropped and the peer is told (6.10).

        Args:
            stream_id: the stream.
            halves: as we see them.
            code: a `ResetCode` or any other u64.
        """
        self._streams.reset(stream_id, halves, code)

    @property
    def _streams(self) -> StreamTable:
        return self._connected().streams

    def _connected(self) -> Session:
        if self._sessions.current is None:
            raise NoSessionError("not connected")
        return self._sessions.current

    # --- sessions come and go -------------------------------------------------------------------

    def _finish_handshake(self, finished: Finished, now_s: float) -> None:
        """Turn a finished handshake into a session (3.7), or into a candidate for one.

        Raises:
            InvalidRemoteBundleError: somebody else is bound. The last message is not sent then.
        """
        bundle = finished.result.remote_bundle
        if self._peer is not None and self._peer != bundle:
            if finished.role is Role.INITIATOR and self._sessions.current is None:
                self._emit_status(PeerStatus.DISCONNECTED)
            raise InvalidRemoteBundleError("another peer is bound")
        if finished.reply is not None:
            self._handshakes.queue_reply(finished.reply)
        session = self._make_session(finished, now_s)
        if finished.is_proven:
            self._install(session, now_s)
        else:
            self._add_candidate(session, now_s)

    def _make_session(self, finished: Finished, now_s: float) -> Session:
        result = finished.result
        session = Session(
            self._config,
            self._identity,
            result,
            answers_pairing=finished.pattern is Pattern.XX and finished.role is Role.RESPONDER,
            write_ids=self._write_ids,
            emit=self._emit,
            trace=self._trace,
            now_s=now_s,
        )
        result.tx_key.wipe()
        result.rx_key.wipe()
        return session

    def _add_candidate(self, session: Session, now_s: float) -> None:
        session.queue_ping()  # its acknowledgement is the proof
        wait_s = self._config.peer_timeout_s or self._config.handshake_timeout_s
        self._sessions.add_candidate(session, now_s + wait_s)
        self._trace("session-candidate", now_s=now_s)

    def _install(self, session: Session, now_s: float) -> None:
        """Make a proven session the one that counts; an older one and all candidates end silently.

        A pairing has succeeded with that, and an attempt of ours beside it is not needed any more.
        """
        self._handshakes.drop_initiator()
        if self._sessions.install(session):
            self._emit(SessionDropped())
        if session.answers_pairing:
            self._handshakes.token = None  # one success is what it was for (session 11, #14)
        if self._peer is None:
            self._peer = session.peer
            self._emit(NewPeer(session.peer))
        self._trace("session-connected", now_s=now_s)
        self._emit_status(PeerStatus.CONNECTED)

    def _drop_sessions(self) -> None:
        if self._sessions.drop_all():
            self._emit(SessionDropped())

    def _end_session(self, last: Close | Unpair, now_s: float) -> None:
        """End the session with a closing record (7.2, 7.3).

        Candidates stay: the peer may have closed the old session and connected again, and the close
        was only slower. They count when they are proven, not before.
        """
        record = self._connected().seal_last(last)
        self._sessions.end_current()
        if isinstance(last, Unpair):
            self._trace("unpaired", now_s=now_s)
            self._sessions.drop_all()
            self._handshakes.give_up()
            self._handshakes.token = None
            self._peer = None
            self._emit(Unpaired(record))
            self._emit_status(PeerStatus.UNPAIRED)
            return
        self._trace("session-closed", now_s=now_s, code=last.code)
        self._emit(SessionClosed(last.code, record))
        self._emit_status(PeerStatus.DISCONNECTED)

    def _emit(self, event: LinkEvent) -> None:
        self._events.append(event)

    def _emit_status(self, status: PeerStatus) -> None:
        self._emit(PeerStatusChanged(status))
