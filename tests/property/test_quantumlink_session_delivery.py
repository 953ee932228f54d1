"""Random conversations of two engines over a bad link (session section 10.4).

After every action: what arrived is a prefix of what was written, streams are announced once, a
session ends once, and nothing but remote errors is raised. Afterwards the link becomes good, and
then everything must have arrived and nothing may be left to do.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primegap.quantumlink import REFERENCE, Identity, Invite, PairingToken, RemoteError
from primegap.quantumlink.session import (
    Halves,
    InboundFinished,
    LanePhase,
    LinkConfig,
    LinkEngine,
    MissingStreamError,
    NoPeerError,
    NoSessionError,
    OutboundFinished,
    PeerStatus,
    SessionClosed,
    SessionDropped,
    StreamLimitError,
    StreamOpened,
    Unpaired,
)
from primegap.quantumlink.session.simulation import seeded_rng

TOKEN = bytes(range(16))
IDENTITIES = [Identity.generate(REFERENCE, name, seeded_rng(name)) for name in ("ann", "ben")]
SLOTS = 4
SOME = settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Action = tuple[str, int, int]
"Name, side, and a number that means what the action makes of it."


def actions(*names: str) -> st.SearchStrategy[list[Action]]:
    one = st.tuples(st.sampled_from(names), st.integers(0, 1), st.integers(0, 1000))
    return st.integers(0, 150).flatmap(lambda size: st.lists(one, min_size=size, max_size=size))


LINK = ("take", "take", "confirm", "reject", "deliver", "deliver", "drop", "duplicate", "reorder")
TIME = ("advance", "timers")
STREAMS = ("open", "write", "write", "finish", "read")


@dataclass
class Stream:
    """What the world knows about a stream, whichever side looks."""

    written: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])
    "By side."
    received: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])
    finished: list[bool] = field(default_factory=lambda: [False, False])
    announced: int = 0
    ends_seen: list[int] = field(default_factory=lambda: [0, 0])
    ends_confirmed: list[int] = field(default_factory=lambda: [0, 0])


class World:
    """Two engines, the records between them, and what must be true."""

    def __init__(self, config: LinkConfig, *, connected: bool) -> None:
        self.now_s = 0.0
        self.engines = [
            LinkEngine(config, identity, rng=seeded_rng(identity.name), now_s=0.0)
            for identity in IDENTITIES
        ]
        self.taken: list[list[tuple[int, bytes]]] = [[], []]
        self.wire: list[list[bytes]] = [[], []]
        "Records on their way to a side."
        self.streams: dict[int, Stream] = {}
        self.slots: list[list[int]] = [[], []]
        self.ends = [0, 0]
        if connected:
            for side in (0, 1):
                self.engines[side].bind_peer(IDENTITIES[1 - side].bundle)
            self.engines[0].connect_ik(now_s=0.0)
            self.quiesce(rounds=2)
            hashes = [engine.handshake_hash for engine in self.engines]
            assert hashes[0] == hashes[1] is not None

    # --- actions

    def act(self, name: str, side: int, number: int) -> None:
        with suppress(NoSessionError, MissingStreamError, NoPeerError, StreamLimitError):
            getattr(self, f"do_{name}")(side, number)
        self.check()

    def do_connect(self, side: int, number: int) -> None:
        engine = self.engines[side]
        if number % 3 == 0:
            engine.connect_ik(now_s=self.now_s)
        elif number % 3 == 1:
            engine.connect_kk(now_s=self.now_s)
        else:
            invite = Invite(REFERENCE, IDENTITIES[1 - side].qid, PairingToken(TOKEN))
            engine.connect_xx(invite, now_s=self.now_s)

    def do_arm(self, side: int, number: int) -> None:
        if number % 4:
            self.engines[side].arm_pairing(PairingToken(TOKEN))
        else:
            self.engines[side].disarm_pairing()

    def do_bind(self, side: int, number: int) -> None:
        if number % 4 == 0:
            self.engines[side].bind_peer(IDENTITIES[1 - side].bundle)

    def do_end(self, side: int, number: int) -> None:
        if number % 6 == 0:
            self.engines[side].unpair(now_s=self.now_s)
        elif number % 3 == 0:
            self.engines[side].close_session(number, now_s=self.now_s)

    def do_advance(self, side: int, number: int) -> None:
        del side
        self.now_s += number % 41 / 1000

    def do_timers(self, side: int, number: int) -> None:
        del number
        self.engines[side].on_timeout(now_s=self.now_s)

    def do_take(self, side: int, number: int) -> None:
        del number
        outgoing = self.engines[side].take_write(now_s=self.now_s)
        if outgoing is None:
            return
        if outgoing.write_id is None:
            self.wire[1 - side].append(outgoing.record)
        else:
            self.taken[side].append((outgoing.write_id, outgoing.record))

    def do_confirm(self, side: int, number: int) -> None:
        if self.taken[side]:
            write_id, record = self.taken[side].pop(number % len(self.taken[side]))
            self.wire[1 - side].append(record)
            self.engines[side].complete_write(write_id, ok=True, now_s=self.now_s)

    def do_reject(self, side: int, number: int) -> None:
        if self.taken[side] and number % 4 == 0:
            write_id, _ = self.taken[side].pop(number % len(self.taken[side]))
            self.engines[side].complete_write(write_id, ok=False, now_s=self.now_s)

    def do_deliver(self, side: int, number: int) -> None:
        del number
        if self.wire[side]:
            record = self.wire[side].pop(0)
            with suppress(RemoteError):
                self.engines[side].receive(record, now_s=self.now_s)

    def do_drop(self, side: int, number: int) -> None:
        if self.wire[side]:
            self.wire[side].pop(number % len(self.wire[side]))

    def do_duplicate(self, side: int, number: int) -> None:
        if self.wire[side]:
            self.wire[side].append(self.wire[side][number % len(self.wire[side])])

    def do_reorder(self, side: int, number: int) -> None:
        if self.wire[side]:
            self.wire[side].insert(0, self.wire[side].pop(number % len(self.wire[side])))

    def do_open(self, side: int, number: int) -> None:
        if len(self.slots[side]) < SLOTS:
            stream_id = self.engines[side].open_stream(bytes(number % 20))
            self.slots[side].append(stream_id)
            self.streams[stream_id] = Stream()

    def _stream(self, number: int) -> tuple[int, Stream] | None:
        if not self.streams:
            return None
        stream_id = sorted(self.streams)[number % len(self.streams)]
        return stream_id, self.streams[stream_id]

    def do_write(self, side: int, number: int) -> None:
        found = self._stream(number)
        if found is not None and not found[1].finished[side]:
            payload = bytes((number + i) % 251 for i in range(512 + number % 1536))
            accepted = self.engines[side].write(found[0], payload)
            found[1].written[side] += payload[:accepted]

    def do_finish(self, side: int, number: int) -> None:
        found = self._stream(number)
        if found is not None:
            self.engines[side].finish(found[0])
            found[1].finished[side] = True

    def do_read(self, side: int, number: int) -> None:
        found = self._stream(number)
        if found is not None:
            found[1].received[side] += self.engines[side].read(found[0], 1 + number)

    def do_reset(self, side: int, number: int) -> None:
        found = self._stream(number)
        if found is not None and number % 3 == 0:
            halves = (Halves.READER, Halves.WRITER, Halves.BOTH)[number // 3 % 3]
            self.engines[side].reset(found[0], halves, number)

    # --- what must be true

    def check(self) -> None:
        for side, engine in enumerate(self.engines):
            for event in engine.take_events():
                match event:
                    case SessionDropped() | SessionClosed() | Unpaired():
                        self.ends[side] += 1
                        record = getattr(event, "last_record", None)
                        if record is not None:
                            self.wire[1 - side].append(record)
                    case StreamOpened(stream_id):
                        self.streams[stream_id].announced += 1
                        assert self.streams[stream_id].announced == 1
                        assert stream_id not in self.slots[side]
                    case InboundFinished(stream_id):
                        self.streams[stream_id].ends_seen[side] += 1
                        assert self.streams[stream_id].finished[1 - side]
                    case OutboundFinished(stream_id):
                        self.streams[stream_id].ends_confirmed[side] += 1
                        assert self.streams[stream_id].finished[side]
            if engine.status is PeerStatus.CONNECTED:
                assert engine.peer is not None
        for stream in self.streams.values():
            for side in (0, 1):
                assert stream.written[1 - side].startswith(stream.received[side])
                assert stream.ends_seen[side] <= 1
                assert stream.ends_confirmed[side] <= 1

    def quiesce(self, rounds: int = 12) -> None:
        """Orderly delivery and time for every time-out, until nothing is left to do."""
        for _ in range(rounds):
            for step_s in (0.006, 35.0):  # an ACK is due, then every other time-out
                while self.orderly_step():
                    pass
                self.now_s += step_s
                for engine in self.engines:
                    engine.on_timeout(now_s=self.now_s)
                self.check()
        while self.orderly_step():
            pass

    def orderly_step(self) -> bool:
        """Let both sides send, confirm and receive one record; False when there was none."""
        before = [len(wire) for wire in self.wire] + [len(taken) for taken in self.taken]
        for side in (0, 1):
            self.do_take(side, 0)
        found = [len(wire) for wire in self.wire] + [len(taken) for taken in self.taken]
        for side in (0, 1):
            self.do_confirm(side, 0)
            self.do_deliver(side, 0)
            self.read_all(side)
        self.check()
        return any(before) or any(found)

    def read_all(self, side: int) -> None:
        engine = self.engines[side]
        for stream_id in engine.streams():
            self.streams[stream_id].received[side] += engine.read(stream_id, 1 << 20)

    def nothing_is_left(self) -> None:
        for side, engine in enumerate(self.engines):
            assert engine.take_write(now_s=self.now_s) is None
            assert engine.next_timeout_s() is None
            assert not self.wire[side]
            assert not self.taken[side]


CONFIG = LinkConfig(
    record_max_size=154, retransmit_timeout_s=0.01, keepalive_interval_s=0.0, peer_timeout_s=0.0
)


@pytest.mark.scenario("session", 73)
@SOME
@given(actions("connect", "connect", "arm", "bind", "end", *LINK, *TIME))
def test_handshakes_come_to_rest(script: list[Action]) -> None:
    world = World(CONFIG, connected=False)
    for action in script:
        world.act(*action)
    world.quiesce()
    world.nothing_is_left()
    assert world.streams == {}


@SOME
@given(actions("connect", "arm", *LINK, *TIME))
def test_two_sides_that_connect_agree_in_the_end(script: list[Action]) -> None:
    world = World(LinkConfig(), connected=False)
    for side in (0, 1):
        world.engines[side].bind_peer(IDENTITIES[1 - side].bundle)
    for action in script:
        world.act(*action)
    # Whatever happened, one clean start from here must work and last.
    world.quiesce(rounds=4)
    world.engines[0].connect_ik(now_s=world.now_s)
    for _ in range(200):
        for side in (0, 1):
            world.do_take(side, 0)
            world.do_confirm(side, 0)
            world.do_deliver(side, 0)
            world.do_timers(side, 0)
            world.check()
        world.now_s += 0.01
    first, second = world.engines
    assert first.handshake_hash == second.handshake_hash is not None


@pytest.mark.scenario("session", 74, 75, 76)
@SOME
@given(actions(*STREAMS, *LINK, *TIME))
def test_everything_written_arrives_in_order(script: list[Action]) -> None:
    world = World(CONFIG, connected=True)
    for action in script:
        world.act(*action)
    world.quiesce()
    world.nothing_is_left()
    for stream_id, stream in world.streams.items():
        opener = 0 if stream_id in world.slots[0] else 1
        for side in (opener, 1 - opener):
            assert stream.received[1 - side] == stream.written[side]
            assert (
                stream.ends_seen[1 - side]
                == stream.ends_confirmed[side]
                == int(stream.finished[side])
            )
        was_used = bool(stream.written[opener]) or stream.finished[opener]
        assert stream.announced == int(was_used)
        if all(stream.finished):
            assert stream_id not in world.engines[0].streams() + world.engines[1].streams()
    assert world.ends == [0, 0]


@pytest.mark.scenario("session", 77)
@SOME
@given(actions(*STREAMS, "reset", *LINK, *TIME))
def test_resets_and_ends_come_to_rest(script: list[Action]) -> None:
    world = World(CONFIG, connected=True)
    for action in script:
        world.act(*action)
    world.quiesce()
    world.nothing_is_left()
    for stream_id, stream in world.streams.items():
        holders = [side for side in (0, 1) if stream_id in world.engines[side].streams()]
        opener = 0 if stream_id in world.slots[0] else 1
        if len(holders) == 1:
            assert holders == [opener]  # and the other side never saw its opening
            assert not stream.written[opener]
            assert not stream.finished[opener]
        for side in holders:
            state = world.engines[side].inbound_state(stream_id)
            ends = [state.phase, world.engines[side].outbound_state(stream_id).phase]
            assert LanePhase.OPEN in ends  # else it were forgotten
            if len(holders) == 2:
                outbound = world.engines[1 - side].outbound_state(stream_id)
                arrived_whole = state.phase is LanePhase.FINISHED  # what a late reset leaves alone
                assert state.phase is outbound.phase or arrived_whole
    assert world.ends == [0, 0]
