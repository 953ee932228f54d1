"""Two engines on a scripted link under a virtual clock: for tests, benchmarks and experiments.

Nothing here is needed to run a link. A run is a function of its seed and its script, so it can be
repeated exactly. (Only the encapsulations inside handshakes draw their own randomness; they decide
the keys, not what happens when.)

    pair = LinkPair(seed=7)
    pair.bind_each_other()
    pair.a.engine.connect_ik(now_s=pair.now_s)
    pair.advance(1.0)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from primegap.quantumlink.errors import RemoteError
from primegap.quantumlink.frames import Ack, Frame, encode_frame, parse_frames_untrusted
from primegap.quantumlink.handshake import Handshake
from primegap.quantumlink.handshake_setup import TransportParams
from primegap.quantumlink.identity import Identity, Rng
from primegap.quantumlink.records import (
    HandshakeRecord,
    SessionRecord,
    parse_record_untrusted,
)
from primegap.quantumlink.session.config import LinkConfig
from primegap.quantumlink.session.engine import LinkEngine
from primegap.quantumlink.session.events import LinkEvent, SessionClosed, Unpaired
from primegap.quantumlink.session_keys import SessionOpener, SessionSealer
from primegap.quantumlink.suite import NATIVE, Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from primegap.quantumlink.suite import Suite

    EventT = TypeVar("EventT")


def seeded_rng(label: str) -> Rng:
    """Return a reproducible source of bytes: SHA-256 of label and counter. Not for real keys."""
    blocks = count()
    buffered = bytearray()

    def draw(size: int) -> bytes:
        while len(buffered) < size:
            number = next(blocks).to_bytes(8, "little")
            buffered.extend(hashlib.sha256(label.encode() + number).digest())
        taken = bytes(buffered[:size])
        del buffered[:size]
        return taken

    return draw


@dataclass(slots=True, eq=False)
class Endpoint:
    """One side of a simulated link."""

    name: str
    identity: Identity
    engine: LinkEngine
    events: list[LinkEvent] = field(default_factory=list)
    "All events so far."
    errors: list[RemoteError] = field(default_factory=list)
    "What `receive` raised."
    results: list[bool] = field(default_factory=list)
    "What `receive` returned."
    sent: list[bytes] = field(default_factory=list)
    "Every record handed to the link, lost ones included."
    on_event: Callable[[LinkEvent], None] | None = None
    "Called for every event, as an application would be."

    def events_of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one class."""
        return [event for event in self.events if isinstance(event, kind)]


def make_endpoint(name: str, seed: int, suite: Suite, config: LinkConfig | None) -> Endpoint:
    """Return one side, at time 0; without settings those of its suite."""
    rng = seeded_rng(f"{name}/{seed}")
    identity = Identity.generate(suite, name, rng)
    engine = LinkEngine(config or LinkConfig.tuned(), identity, rng=rng, now_s=0.0)
    return Endpoint(name, identity, engine)


@dataclass(frozen=True, slots=True)
class HeardRecord:
    """A record of the engine, opened."""

    seq: int
    frames: list[Frame]
    write_id: int | None


class ScriptedPeer:
    """A paired peer whose every frame is written by hand, and the engine it talks to.

    The peer connects to the engine by a real IK handshake, and proves it with an empty record.

    Args:
        config: settings of the engine, None for those of the suite.
        suite: of both.
        seed: of both identities.
        window: initial stream credit the peer announces.
    """

    def __init__(
        self,
        config: LinkConfig | None = None,
        *,
        suite: Suite = NATIVE,
        seed: int = 0,
        window: int = 16_384,
    ) -> None:
        rng = seeded_rng(f"scripted/{seed}")
        self.identity = Identity.generate(suite, "scripted", rng)
        own = Identity.generate(suite, "engine", rng)
        self.now_s = 0.0
        self.engine = LinkEngine(config or LinkConfig.tuned(), own, rng=rng, now_s=self.now_s)
        self.engine.bind_peer(self.identity.bundle)
        attempt, first = Handshake.initiate(
            Pattern.IK,
            suite=suite,
            identity=self.identity,
            remote=own.bundle,
            token=None,
            handshake_id=1,
            params=TransportParams(window),
            rng=rng,
        )
        self.engine.receive(first, now_s=self.now_s)
        reply = self.engine.take_write(now_s=self.now_s)
        assert reply is not None
        record = parse_record_untrusted(reply.record)
        assert isinstance(record, HandshakeRecord)
        result = attempt.receive(record)[0].result
        assert result is not None
        self.sealer = SessionSealer(suite, result.tx_key, self.identity.qid, own.qid)
        self.opener = SessionOpener(suite, result.rx_key, own.qid, self.identity.qid)
        self.next_seq = 0
        self.say()
        self.engine.take_events()

    def stream_id(self, ordinal: int) -> int:
        """Return the id of the peer's stream with this ordinal."""
        return 2 * ordinal + (0 if self.identity.qid <= self.engine.identity.qid else 1)

    def engine_stream_id(self, ordinal: int) -> int:
        """Return the id of the engine's stream with this ordinal."""
        return self.stream_id(ordinal) ^ 1

    def seal(self, *frames: Frame, seq: int | None = None) -> bytes:
        """Return a record of the peer, under the next number or a higher one."""
        self.next_seq = self.next_seq if seq is None else seq
        record = self.sealer.seal(self.next_seq, b"".join(encode_frame(frame) for frame in frames))
        self.next_seq += 1
        return record

    def say(self, *frames: Frame, seq: int | None = None) -> bool:
        """Hand a record with these frames to the engine; return the result of `receive`."""
        return self.engine.receive(self.seal(*frames, seq=seq), now_s=self.now_s)

    def say_body(self, body: bytes) -> bool:
        """Hand a record with any body to the engine."""
        record = self.sealer.seal(self.next_seq, body)
        self.next_seq += 1
        return self.engine.receive(record, now_s=self.now_s)

    def read(self, record: bytes) -> tuple[int, list[Frame]]:
        """Open a record of the engine; return its number and frames."""
        parsed = parse_record_untrusted(record)
        assert isinstance(parsed, SessionRecord)
        return parsed.seq, list(parse_frames_untrusted(self.opener.open(parsed)))

    def take(self, *, confirm: bool = True) -> HeardRecord | None:
        """Take one record from the engine and read it, or return None when there is none."""
        outgoing = self.engine.take_write(now_s=self.now_s)
        if outgoing is None:
            return None
        if confirm and outgoing.write_id is not None:
            self.engine.complete_write(outgoing.write_id, ok=True, now_s=self.now_s)
        seq, frames = self.read(outgoing.record)
        return HeardRecord(seq, frames, outgoing.write_id)

    def hear(self) -> list[Frame]:
        """Take all the engine has to say now; return the frames, ACKs left out."""
        heard: list[Frame] = []
        while (record := self.take()) is not None:
            heard += [frame for frame in record.frames if not isinstance(frame, Ack)]
        return heard

    def wait(self, duration_s: float) -> None:
        """Let time pass and call the timer once at its end."""
        self.now_s += duration_s
        self.engine.on_timeout(now_s=self.now_s)


class LinkPair:
    """Two endpoints, `a` and `b`, and the link between them.

    Args:
        seed: of identities and ephemeral keys.
        suite: of both.
        config_a, config_b: settings, None for those of the suite.
        delay_s: one way.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        suite: Suite = NATIVE,
        config_a: LinkConfig | None = None,
        config_b: LinkConfig | None = None,
        delay_s: float = 0.01,
    ) -> None:
        self.now_s = 0.0
        self.delay_s = delay_s
        configs = [config or LinkConfig.tuned() for config in (config_a, config_b)]
        self._settling_s = max(config.ack_delay_s for config in configs) + 0.001
        # Decides after which delays copies of a record arrive; none when it is lost.
        self.fate: Callable[[Endpoint, bytes], Sequence[float]] = self._arrives
        self._arrivals: list[tuple[float, int, Endpoint, bytes]] = []
        self._order = count()
        self.a = make_endpoint("a", seed, suite, config_a)
        self.b = make_endpoint("b", seed, suite, config_b)

    def _arrives(self, sender: Endpoint, record: bytes) -> Sequence[float]:
        del sender, record
        return (self.delay_s,)

    def other(self, side: Endpoint) -> Endpoint:
        """Return the side opposite to `side`."""
        return self.b if side is self.a else self.a

    def bind_each_other(self) -> None:
        """Bind both sides as if they had been paired before."""
        self.a.engine.bind_peer(self.b.identity.bundle)
        self.b.engine.bind_peer(self.a.identity.bundle)

    def connect(self) -> None:
        """Bind both sides, connect by IK and prove the session in both directions."""
        self.bind_each_other()
        self.a.engine.connect_ik(now_s=self.now_s)
        self.settle()
        self.a.engine.queue_ping()
        self.settle()
        self.a.events.clear()
        self.b.events.clear()

    def inject(self, receiver: Endpoint, record: bytes) -> bool | RemoteError:
        """Hand a record to a side now; return the result of `receive`, or what it raised."""
        outcome: bool | RemoteError
        try:
            outcome = receiver.engine.receive(record, now_s=self.now_s)
            receiver.results.append(outcome)
        except RemoteError as error:
            outcome = error
            receiver.errors.append(error)
        self.pump(receiver)
        return outcome

    def pump(self, side: Endpoint) -> None:
        """Do what a driver does after every call: drain events, send all there is."""
        engine = side.engine
        while True:
            for event in engine.take_events():
                side.events.append(event)
                if isinstance(event, SessionClosed | Unpaired) and event.last_record is not None:
                    self._send(side, event.last_record)
                if side.on_event is not None:
                    side.on_event(event)
            outgoing = engine.take_write(now_s=self.now_s)
            if outgoing is None:
                return
            self._send(side, outgoing.record)
            if outgoing.write_id is not None:
                engine.complete_write(outgoing.write_id, ok=True, now_s=self.now_s)

    def _send(self, side: Endpoint, record: bytes) -> None:
        side.sent.append(record)
        for delay_s in self.fate(side, record):
            arrival = (self.now_s + delay_s, next(self._order), self.other(side), record)
            heappush(self._arrivals, arrival)

    def settle(self, *, at_most_s: float = 1.0) -> None:
        """Run until no record is on its way and no ACK is owed, at most for a time."""
        limit_s = self.now_s + at_most_s
        quiet_steps = 0
        while self.now_s < limit_s and quiet_steps < 2:
            self.advance(self._settling_s)
            quiet_steps = 0 if self._arrivals else quiet_steps + 1

    def advance(self, duration_s: float) -> None:
        """Let time pass, delivering records and calling timers in order."""
        end_s = self.now_s + duration_s
        self.pump(self.a)
        self.pump(self.b)
        while True:
            timer_s, timed = self._next_timer()
            arrival_s = self._arrivals[0][0] if self._arrivals else None
            if arrival_s is not None and arrival_s <= end_s and arrival_s <= timer_s:
                self.now_s = max(self.now_s, arrival_s)
                _, _, receiver, record = heappop(self._arrivals)
                self.inject(receiver, record)
            elif timed is not None and timer_s <= end_s:
                self.now_s = max(self.now_s, timer_s)
                timed.engine.on_timeout(now_s=self.now_s)
                self.pump(timed)
            else:
                self.now_s = end_s
                return

    def _next_timer(self) -> tuple[float, Endpoint | None]:
        earliest_s, timed = float("inf"), None
        for side in (self.a, self.b):
            due_s = side.engine.next_timeout_s()
            if due_s is not None and due_s < earliest_s:
                earliest_s, timed = due_s, side
        return earliest_s, timed
