"""Running handshakes: who starts, who gives way, what is ignored (session sections 3.1 to 3.6)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.codec import MAX_U32
from primegap.quantumlink.errors import (
    InvalidPairingIdError,
    InvalidRouteError,
    LocalError,
)
from primegap.quantumlink.handshake import Handshake, HandshakeResult
from primegap.quantumlink.handshake_setup import Role, TransportParams
from primegap.quantumlink.messages import parse_message_untrusted
from primegap.quantumlink.records import HandshakeKind
from primegap.quantumlink.session.errors import NotPairingError, UnknownPeerError
from primegap.quantumlink.session.first_messages import FirstMessageMemory, first_message_digest
from primegap.quantumlink.session.rtt import is_due
from primegap.quantumlink.session.work_budget import WorkBudget
from primegap.quantumlink.suite import Pattern

if TYPE_CHECKING:
    from primegap.quantumlink.identity import Identity, PeerBundle, Qid, Rng
    from primegap.quantumlink.pairing import Invite, PairingId, PairingToken
    from primegap.quantumlink.records import HandshakeRecord
    from primegap.quantumlink.session.config import LinkConfig
    from primegap.quantumlink.session.trace import Trace

MAX_QUEUED_RECORDS: Final = 4
"Handshake records waiting for the transport; beyond it the oldest is dropped, as if lost."
RESTART_AFTER_S: Final = 1.0
"""Age at which a pairing we answer may be replaced by a fresh start of the same initiator: messages
are never repeated, so whoever lost one starts over (session 11, #15)."""


@dataclass(slots=True, eq=False)
class Attempt:
    """A handshake that is not finished."""

    handshake: Handshake
    pairing_id: PairingId | None
    "With XX."
    started_s: float
    deadline_s: float

    def takes(self, record: HandshakeRecord) -> bool:
        """Tell whether a reply claims to belong to this attempt."""
        return (record.pattern, record.handshake_id) == (
            self.handshake.pattern,
            self.handshake.handshake_id,
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """A handshake came to its end."""

    result: HandshakeResult
    pattern: Pattern
    role: Role
    reply: bytes | None
    "To be sent, unless the peer turns out not to be the bound one."

    @property
    def is_proven(self) -> bool:
        """True when the last message has shown that the peer holds the keys.

        An initiator knows: the last reply does not verify otherwise. A responder does not: anybody
        can write a KK1, replay an IK1, or name the peer in an IK1; and an XX3 shows that its writer
        knows the pairing code, but not that the bundle in it is its own.
        """
        return self.role is Role.INITIATOR


class HandshakeDriver:
    """Runs at most one attempt of our own and answers at most one pairing beside it.

    An attempt of ours lives on while sessions wait to be proven, so that a forged first message
    cannot end it.

    Args:
        config: settings.
        identity: ours.
        rng: source of ephemeral keys.
        trace: takes facts.
    """

    def __init__(self, config: LinkConfig, identity: Identity, rng: Rng, trace: Trace) -> None:
        self._trace = trace
        self._config = config
        self._identity = identity
        self._rng = rng
        self._params = TransportParams(config.initial_stream_receive_window)
        # A random start: a peer may take a number it has seen in this session for a duplicate, and
        # after a restart of ours a counter from 1 would repeat those numbers.
        self._next_id = int.from_bytes(rng(4), "little")
        self._memory = FirstMessageMemory()
        # Two, so that noise of one kind cannot use up what the other kind needs.
        self._first_budget = WorkBudget()
        self._reply_budget = WorkBudget()
        self._queue: deque[tuple[bytes, Attempt | None]] = deque(maxlen=MAX_QUEUED_RECORDS)
        self.token: PairingToken | None = None
        self.initiator: Attempt | None = None
        self.responder: Attempt | None = None

    # --- our own attempts -------------------------------------------------------------------------

    def start_known(self, pattern: Pattern, peer: PeerBundle, now_s: float) -> None:
        """Start IK or KK with the bound peer; what was running is given up."""
        self._start(pattern, peer, None, now_s)

    def start_pairing(self, invite: Invite, now_s: float) -> None:
        """Start XX with an invitation; what was running is given up.

        Raises:
            LocalError: the invitation is for another suite than our identity.
        """
        if invite.suite != self._identity.suite:
            raise LocalError("the invitation is for another suite")
        self._start(Pattern.XX, invite.qid, invite.token, now_s)

    def _start(
        self, pattern: Pattern, remote: PeerBundle | Qid, token: PairingToken | None, now_s: float
    ) -> None:
        self.give_up()
        handshake, record = Handshake.initiate(
            pattern,
            suite=self._identity.suite,
            identity=self._identity,
            remote=remote,
            token=token,
            handshake_id=self._next_id,
            params=self._params,
            rng=self._rng,
        )
        self._next_id = (self._next_id + 1) & MAX_U32
        self.initiator = self._attempt(handshake, token, now_s)
        self._queue.append((record, self.initiator))

    def _attempt(self, handshake: Handshake, token: PairingToken | None, now_s: float) -> Attempt:
        pairing_id = None if token is None else token.pairing_id
        return Attempt(handshake, pairing_id, now_s, now_s + self._config.handshake_timeout_s)

    def give_up(self) -> None:
        """Forget both attempts and everything queued."""
        self.initiator = self.responder = None
        self._queue.clear()

    def drop_initiator(self) -> None:
        """Forget our own attempt and what it has queued."""
        self._unqueue(self.initiator)
        self.initiator = None

    def drop_responder(self) -> None:
        """Forget the pairing we answer and what it has queued."""
        self._unqueue(self.responder)
        self.responder = None

    def _unqueue(self, attempt: Attempt | None) -> None:
        if attempt is not None:
            kept = [item for item in self._queue if item[1] is not attempt]
            self._queue.clear()
            self._queue.extend(kept)

    def queue_reply(self, record: bytes) -> None:
        """Queue the last message of a finished handshake.

        Our own first message, if it still waits, is no longer needed: the peer has started.
        """
        if any(owner is not None and owner is self.initiator for _, owner in self._queue):
            self.drop_initiator()
        self._queue.append((record, None))

    def take_record(self) -> bytes | None:
        """Return the next handshake record to be sent, or None."""
        return self._queue.popleft()[0] if self._queue else None

    # --- messages -------------------------------------------------------------------------------

    def receive(
        self,
        record: HandshakeRecord,
        *,
        peer: PeerBundle | None,
        is_connected: bool,
        now_s: float,
    ) -> Finished | bool:
        """Process a handshake record; a bool tells whether it was looked at or ignored.

        Args:
            record: addressed to us, in our suite.
            peer: the bound peer.
            is_connected: whether a session is up. It is not touched here.
            now_s: time.

        Raises:
            RemoteError: the message does not hold; nothing has changed but the budget for work.
        """
        if record.kind is HandshakeKind.XX1:
            return self._receive_pairing_first(record, is_connected=is_connected, now_s=now_s)
        if record.is_first:
            return self._receive_known_first(
                record, peer=peer, is_connected=is_connected, now_s=now_s
            )
        return self._receive_reply(record, now_s)

    def _may_work(self, record: HandshakeRecord, budget: WorkBudget, now_s: float) -> bool:
        """Tell whether a message is worth its cost; the last question before the costly part.

        Raises:
            RemoteError: the message is not even well formed, so nothing is paid for it.
        """
        parse_message_untrusted(record, self._identity.suite)
        if budget.take(record.kind, now_s):
            return True
        self._trace("work-refused", now_s=now_s)
        return False

    def _receive_known_first(
        self,
        record: HandshakeRecord,
        *,
        peer: PeerBundle | None,
        is_connected: bool,
        now_s: float,
    ) -> Finished | bool:
        digest = first_message_digest(record, self._identity.suite)
        if digest in self._memory:
            return False
        if not is_connected and self._is_ours_stronger(record, peer):
            return False
        if peer is None:
            if record.pattern is not Pattern.IK or not self._config.accept_unknown_ik:
                raise UnknownPeerError("a device that is not paired tried to connect")
        elif record.sender != peer.qid:
            raise InvalidRouteError("another device than the paired one tried to connect")
        if not self._may_work(record, self._first_budget, now_s):
            return False
        handshake, reply = self._respond(record, expected=peer, token=None)
        self._memory.add(digest)
        assert handshake.result is not None  # IK and KK end with the reply
        return Finished(handshake.result, record.pattern, Role.RESPONDER, reply)

    def _is_ours_stronger(self, record: HandshakeRecord, peer: PeerBundle | None) -> bool:
        """Tell whether our own IK or KK attempt wins over an inbound one (3.4)."""
        if self.initiator is None or self.initiator.handshake.pattern is Pattern.XX:
            return False
        ours = self.initiator.handshake
        if ours.pattern is not record.pattern:
            return record.pattern is Pattern.KK
        if peer is None or record.sender != peer.qid:
            return False
        return self._is_our_key_smaller(ours, record)

    def _is_our_key_smaller(self, ours: Handshake, record: HandshakeRecord) -> bool:
        assert ours.ephemeral_public is not None  # our own attempt has one
        theirs = record.peek_ephemeral_public(self._identity.suite)
        return ours.ephemeral_public <= theirs

    def _receive_pairing_first(
        self, record: HandshakeRecord, *, is_connected: bool, now_s: float
    ) -> bool:
        digest = first_message_digest(record, self._identity.suite)
        if digest in self._memory:
            return False
        pairing_id = record.peek_pairing_id()
        if self.responder is not None and not self._may_restart(record, now_s):
            return False
        if self.initiator is not None and not is_connected:
            ours = self.initiator.handshake
            if ours.pattern is not Pattern.XX:
                return False
            is_same = self.initiator.pairing_id == pairing_id and ours.remote_qid == record.sender
            if is_same and self._is_our_key_smaller(ours, record):
                return False
        if self.token is None:
            raise NotPairingError("a device tried to pair")
        if pairing_id != self.token.pairing_id:
            raise InvalidPairingIdError("a device tried to pair with another code")
        if not self._may_work(record, self._first_budget, now_s):
            return False
        handshake, reply = self._respond(record, expected=None, token=self.token)
        self._memory.add(digest)
        self.drop_responder()
        self.responder = self._attempt(handshake, self.token, now_s)
        self._queue.append((reply, self.responder))
        return True

    def _may_restart(self, record: HandshakeRecord, now_s: float) -> bool:
        assert self.responder is not None
        return record.sender == self.responder.handshake.remote_qid and is_due(
            self.responder.started_s + RESTART_AFTER_S, now_s
        )

    def _respond(
        self, record: HandshakeRecord, *, expected: PeerBundle | None, token: PairingToken | None
    ) -> tuple[Handshake, bytes]:
        return Handshake.respond(
            record,
            suite=self._identity.suite,
            identity=self._identity,
            expected=expected,
            token=token,
            params=self._params,
            rng=self._rng,
        )

    def _receive_reply(self, record: HandshakeRecord, now_s: float) -> Finished | bool:
        attempt = self.responder if record.kind is HandshakeKind.XX3 else self.initiator
        if attempt is None or not attempt.takes(record):
            return False
        if not self._may_work(record, self._reply_budget, now_s):
            return False
        handshake, reply = attempt.handshake.receive(record)
        if handshake.result is not None:
            role = handshake.role
            if role is Role.INITIATOR:
                self.drop_initiator()
            else:
                self.drop_responder()
            return Finished(handshake.result, handshake.pattern, role, reply)
        assert reply is not None  # every message but the last is answered
        attempt.handshake = handshake
        self._unqueue(attempt)
        self._queue.append((reply, attempt))
        return True

    # --- timers ---------------------------------------------------------------------------------

    def next_timeout_s(self) -> float | None:
        """Return when `expire` must be called, or None."""
        running = [attempt for attempt in (self.initiator, self.responder) if attempt is not None]
        return min((attempt.deadline_s for attempt in running), default=None)

    def expire(self, now_s: float) -> bool:
        """Drop attempts whose time is up; True when there was one."""
        expired = False
        if self.initiator is not None and is_due(self.initiator.deadline_s, now_s):
            self.drop_initiator()
            expired = True
        if self.responder is not None and is_due(self.responder.deadline_s, now_s):
            self.drop_responder()
            expired = True
        return expired
