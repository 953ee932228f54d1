"""What a session costs before it moves a byte: handshakes, and memory while it is idle."""

from __future__ import annotations

import os
import time
import tracemalloc
from functools import partial

from benchmarks.figure import Figure, figure, paired_s
from primegap.quantumlink import (
    NATIVE,
    REFERENCE,
    Handshake,
    HandshakeRecord,
    HandshakeResult,
    Identity,
    PairingToken,
    Pattern,
    Suite,
    TransportParams,
    parse_record_untrusted,
)
from primegap.quantumlink.session.simulation import LinkPair

SESSIONS = 1000
STREAMS_EACH = 64
WITH_STREAMS = 256
"Of the pairs."
REQUEST = bytes(1024)


class Handshakes:
    """Runs handshakes between two sides, and the KEM operations in them alone."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.a = Identity.generate(suite, "a", os.urandom)
        self.b = Identity.generate(suite, "b", os.urandom)
        self.token = PairingToken(os.urandom(16))
        self.sizes: list[int] = []

    def run(self, pattern: Pattern) -> HandshakeResult:
        is_pairing = pattern is Pattern.XX
        token = self.token if is_pairing else None
        first, record = Handshake.initiate(
            pattern,
            suite=self.suite,
            identity=self.a,
            remote=self.b.bundle.qid if is_pairing else self.b.bundle,
            token=token,
            handshake_id=1,
            params=TransportParams(),
            rng=os.urandom,
        )
        self.sizes = [len(record)]
        second, reply = Handshake.respond(
            self._parse(record),
            suite=self.suite,
            identity=self.b,
            expected=None if is_pairing else self.a.bundle,
            token=token,
            params=TransportParams(),
            rng=os.urandom,
        )
        sides = [first, second]
        waiting: bytes | None = reply
        turn = 0
        while waiting is not None:
            self.sizes.append(len(waiting))
            sides[turn], waiting = sides[turn].receive(self._parse(waiting))
            turn = 1 - turn
        result = sides[0].result
        assert result is not None
        return result

    def _parse(self, record: bytes) -> HandshakeRecord:
        parsed = parse_record_untrusted(record)
        assert isinstance(parsed, HandshakeRecord)
        return parsed

    def bare(self) -> None:
        """One key pair and three encapsulations with their decapsulations, as in all patterns."""
        kem = self.suite.kem
        private, public = kem.keygen(os.urandom(kem.seed_size))
        for key, peer in (
            (self.b.private_key, self.b.bundle.public_key),
            (private, public),
            (self.a.private_key, self.a.bundle.public_key),
        ):
            ciphertext, _ = kem.encapsulate(peer)
            key.decapsulate(ciphertext)


def handshakes() -> list[Figure]:
    """CPU of both sides of each handshake against its KEM operations; bytes and round trips."""
    figures = []
    for suite in (NATIVE, REFERENCE):
        runs = Handshakes(suite)
        for pattern in (Pattern.KK, Pattern.IK, Pattern.XX):
            mine, theirs = paired_s(partial(runs.run, pattern), runs.bare, rounds=25)
            label = f"{pattern.name.lower()}-{suite.name}"
            is_main = pattern is Pattern.KK and suite is NATIVE
            name = "handshake-cpu-vs-bare-kem" + ("" if is_main else f"-{label}")
            figures.append(figure(name, mine * 1e3, "ms", "its KEM operations", theirs * 1e3))
            carried, messages = sum(runs.sizes), len(runs.sizes)
            figures.append(figure(f"handshake-bytes-{label}", carried, "B", "messages", messages))
            if suite is NATIVE:
                name = f"handshake-round-trips-{pattern.name.lower()}"
                figures.append(figure(name, messages / 2, "", "the fewest there can be", 1))
    return figures


def _connected_pairs() -> list[LinkPair]:
    pairs = []
    for seed in range(SESSIONS // 2):
        pair = LinkPair(seed=seed)
        pair.connect()
        _forget(pair)
        pairs.append(pair)
    return pairs


def _forget(pair: LinkPair) -> None:
    """Drop what the simulation notes for tests: it is no part of a session."""
    for side in (pair.a, pair.b):
        for kept in (side.sent, side.results, side.events):
            kept.clear()


def _exchange(pair: LinkPair) -> None:
    """Ask with 1 KiB and answer with as much."""
    stream_id = pair.a.engine.open_stream(b"request")
    for asker, answerer in ((pair.a, pair.b), (pair.b, pair.a)):
        asker.engine.write(stream_id, REQUEST)
        asker.engine.finish(stream_id)
        pair.advance(0.02)
        assert answerer.engine.read(stream_id, len(REQUEST)) == REQUEST
    _forget(pair)


def _exchange_all(pairs: list[LinkPair]) -> None:
    for pair in pairs:
        _exchange(pair)


def memory() -> list[Figure]:
    """1,000 sessions in one process: their memory, that of idle streams, and their pace."""
    one = LinkPair()  # loads whatever is loaded once
    one.connect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    pairs = _connected_pairs()
    sessions, _ = tracemalloc.get_traced_memory()
    for _ in range(STREAMS_EACH):
        for pair in pairs[:WITH_STREAMS]:
            pair.a.engine.open_stream(b"idle")
    streams, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    per_session = (sessions - before) / SESSIONS
    idle_streams = STREAMS_EACH * WITH_STREAMS
    began = time.process_time()
    pairs = _connected_pairs()
    connecting_s = time.process_time() - began
    among_many, alone = paired_s(
        partial(_exchange_all, pairs), partial(_exchange_all, [one] * len(pairs)), rounds=5
    )
    return [
        figure(
            "memory-idle-session",
            per_session / 1e3,
            "kB",
            "1,000 sessions, MB",
            per_session * SESSIONS / 1e6,
        ),
        figure(
            "memory-idle-stream", (streams - sessions) / idle_streams, "B", "a session", per_session
        ),
        figure("sessions-1000-connect", connecting_s, "s", "sessions", SESSIONS),
        figure(
            "sessions-1000-request",
            among_many / len(pairs) * 1e3,
            "ms",
            "the same with one session",
            alone / len(pairs) * 1e3,
        ),
    ]
