"""The session that counts, and those that wait to be proven (session section 11, #1).

A first message of a handshake can be written by anybody, so a session made from one never pushes
out another. It waits as a candidate until a record opens under its keys, which only the peer can
seal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.errors import InvalidRouteError, RemoteError
from primegap.quantumlink.session.errors import NoSessionForRecordError
from primegap.quantumlink.session.rtt import is_due

if TYPE_CHECKING:
    from primegap.quantumlink.frames import Close
    from primegap.quantumlink.records import SessionRecord
    from primegap.quantumlink.session.session import Session

MAX_CANDIDATES: Final = 4
"""Unproven sessions kept, oldest dropped first. One is what a peer that connects again needs; the
others keep a forger from pushing it out before it is proven."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    session: Session
    deadline_s: float


class SessionSet:
    """At most one current session and `MAX_CANDIDATES` candidates.

    All are with the bound peer; while nobody is bound, candidates may be of several who try.
    """

    __slots__ = ("_candidates", "all", "current")

    def __init__(self) -> None:
        self.current: Session | None = None
        self._candidates: list[_Candidate] = []
        self.all: tuple[Session, ...] = ()
        "Candidates first: they have little to send, and it matters more."

    def _changed(self) -> None:
        sessions = [held.session for held in self._candidates]
        if self.current is not None:
            sessions.append(self.current)
        self.all = tuple(sessions)

    def add_candidate(self, session: Session, deadline_s: float) -> None:
        """Keep a session until it is proven or its time is up."""
        self._candidates.append(_Candidate(session, deadline_s))
        while len(self._candidates) > MAX_CANDIDATES:
            self._candidates.pop(0).session.wipe()
        self._changed()

    def install(self, session: Session) -> bool:
        """Make a session the current one; all others end. True when there was a current one."""
        self._candidates = [held for held in self._candidates if held.session is not session]
        dropped = self.drop_all()
        self.current = session
        self._changed()
        return dropped

    def end_current(self) -> None:
        """End the current session; candidates stay."""
        if self.current is not None:
            self.current.wipe()
            self.current = None
            self._changed()

    def drop_candidates(self) -> None:
        """End the sessions that wait to be proven."""
        for held in self._candidates:
            held.session.wipe()
        self._candidates.clear()
        self._changed()

    def drop_all(self) -> bool:
        """End all sessions silently. True when there was a current one."""
        dropped = self.current is not None
        self.end_current()
        self.drop_candidates()
        return dropped

    def open_record(self, record: SessionRecord) -> tuple[Session, bytes] | None:
        """Return the session a record belongs to and its body, or None for a replay.

        Records do not name their session, so all are tried, the current one first.

        Raises:
            NoSessionForRecordError: there is no session.
            InvalidRouteError: the record comes from somebody else.
            RemoteError: the record opens nowhere. Nothing has changed.
        """
        refusal: RemoteError | None = None
        is_replay = False
        for session in reversed(self.all):
            if record.sender != session.peer.qid:
                refusal = InvalidRouteError("a record of somebody else")
                continue
            try:
                body = session.open_record(record)
            except RemoteError as error:
                refusal = error
                continue
            if body is not None:
                return session, body
            is_replay = True
        if is_replay:
            return None
        raise refusal or NoSessionForRecordError("no session is connected")

    def next_timeout_s(self) -> float | None:
        """Return when `expire_candidates` must be called, or None."""
        return min((held.deadline_s for held in self._candidates), default=None)

    def expire_candidates(self, now_s: float) -> None:
        """Run the timers of the candidates and drop those that were not proven in time."""
        kept: list[_Candidate] = []
        for held in self._candidates:
            if not is_due(held.deadline_s, now_s) and held.session.on_timeout(now_s) is None:
                kept.append(held)
            else:
                held.session.wipe()
        if len(kept) != len(self._candidates):
            self._candidates = kept
            self._changed()

    def expire_current(self, now_s: float) -> Close | None:
        """Run the timers of the current session; return how it ends, if it does."""
        return None if self.current is None else self.current.on_timeout(now_s)
