"""The attacker on the air alone: two engines, BTP, and a virtual clock; no chip and no event loop.

One seed takes milliseconds, so that thousands of them fit into a minute. The whole device with its
chip is in `hostile_chip`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from heapq import heappop, heappush
from itertools import count
from typing import Final

from tests.adversary.attack import (
    PEACE,
    TO_DEVICE,
    TO_PHONE,
    Attack,
    Attacker,
    Book,
    deep_size,
    stranger_packets,
)

from primegap.btp import Chunker, Dechunker, RemoteBtpError
from primegap.quantumlink import NATIVE, REFERENCE, Identity, RemoteError, Suite
from primegap.quantumlink.session import (
    InboundFinished,
    LinkConfig,
    LinkEngine,
    LinkEvent,
    OutboundFinished,
    PeerStatus,
    PeerStatusChanged,
    SessionClosed,
    SessionDropped,
    StreamOpened,
    StreamReadable,
    StreamResetReceived,
    Unpaired,
)
from primegap.quantumlink.session.simulation import seeded_rng
from primegap.quantumlink.suite import AeadCipher, suite_for_version

LENGTHS: Final = (1, 10, 60, 200)
"Of messages, in marks of 16 bytes."
PACKET_S: Final = 0.0014
"Of one packet on the air."
ATTACK_S: Final = 4.0
RECOVERY_S: Final = 240.0
MAX_STATE_BYTES: Final = 2 << 20
SIZED_SEEDS: Final = 8
"Of so many seeds one looks at the memory, which takes as long as all the rest."


class End:
    """One side."""

    def __init__(self, identity: Identity, engine: LinkEngine, sends: int) -> None:
        self.identity = identity
        self.engine = engine
        self.sends = sends
        "Direction of what it sends."
        self.chunker = Chunker()
        self.dechunker = Dechunker()
        self.due_s: float | None = None
        "Of the engine's timer; moves only when the engine is called."
        self.retry_s = 0.0
        self.kk_next = True
        self.received: dict[int, bytearray] = {}
        self.sent: dict[int, bytes] = {}


@cache
def _identities(
    version: int, new_cipher: Callable[[bytes], AeadCipher]
) -> tuple[Identity, Identity, tuple[list[bytes], list[bytes]]]:
    """Return phone, device, and packets of strangers to both: the same for all seeds."""
    suite = replace(suite_for_version(version), new_cipher=new_cipher)
    phone, device = (
        Identity.generate(suite, name, seeded_rng(f"air/{name}")) for name in ("phone", "device")
    )
    strangers = stranger_packets(1, suite, device), stranger_packets(2, suite, phone)
    return phone, device, strangers


class AirBench:
    """Both ends and what is on the air between them."""

    def __init__(
        self, seed: int, *, suite: Suite | None = None, attack: Attack | None = None
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        if suite is None:
            suite = REFERENCE if seed % 10 == 9 else NATIVE
        phone, device, strangers = _identities(suite.version, suite.new_cipher)
        self.attacker = Attacker(self.chance, strangers)
        self.book = Book(self.chance)
        self.now_s = 0.0
        self.ends = tuple(
            End(identity, self._engine(seed, suite, identity, peer), sends)
            for identity, peer, sends in ((phone, device, TO_DEVICE), (device, phone, TO_PHONE))
        )
        self._attack = attack
        self._arrivals: list[tuple[float, int, int, bytes]] = []
        self._order = count()
        self._free_s = [0.0, 0.0]

    @staticmethod
    def _engine(seed: int, suite: Suite, identity: Identity, peer: Identity) -> LinkEngine:
        rng = seeded_rng(f"{seed}/{identity.name}")
        engine = LinkEngine(LinkConfig.tuned(), identity, rng=rng, now_s=0.0)
        engine.bind_peer(peer.bundle)
        return engine

    # -- the air ----------------------------------------------------------------------------------

    def _transmit(self, direction: int, record: bytes) -> None:
        for packet in self.ends[direction].chunker.chunk(record):
            hold_s, arriving = self.attacker.mangle(direction, packet)
            self._free_s[direction] = max(self._free_s[direction], self.now_s) + hold_s
            for one in arriving:
                self._free_s[direction] += PACKET_S
                item = (self._free_s[direction], next(self._order), direction, one)
                heappush(self._arrivals, item)
            if self.attacker.strikes("cut"):
                self._cut()

    def _cut(self) -> None:
        """The connection is lost, with all that was on its way."""
        self._arrivals.clear()
        self._free_s = [self.now_s, self.now_s]
        for end in self.ends:
            end.dechunker.clear()

    def _arrive(self, direction: int, packet: bytes) -> None:
        end = self.ends[1 - direction]
        try:
            record = end.dechunker.receive(packet, now_s=self.now_s)
        except RemoteBtpError:
            return
        if record is not None:
            with contextlib.suppress(RemoteError):
                end.engine.receive(record, now_s=self.now_s)
            self._pump(end)

    # -- both ends --------------------------------------------------------------------------------

    def _pump(self, end: End) -> None:
        while True:
            for event in end.engine.take_events():
                self._react(end, event)
            outgoing = end.engine.take_write(now_s=self.now_s)
            if outgoing is None:
                end.due_s = end.engine.next_timeout_s()
                return
            self._transmit(end.sends, outgoing.record)
            if outgoing.write_id is not None:
                end.engine.complete_write(outgoing.write_id, ok=True, now_s=self.now_s)

    def _react(self, end: End, event: LinkEvent) -> None:
        match event:
            case StreamOpened(stream_id, header):
                end.received[stream_id] = bytearray()
                self.book.receive(1 - end.sends, header, b"", whole=False)
            case StreamReadable(stream_id) | InboundFinished(stream_id):
                self._read(end, stream_id, whole=isinstance(event, InboundFinished))
            case OutboundFinished(stream_id):
                number = end.sent.pop(stream_id, None)
                if number is not None:
                    self.book.acknowledge(number)
                    if number in self.book.lost:
                        self.book.failures.append("acknowledged, but not delivered")
            case StreamResetReceived(stream_id):
                end.sent.pop(stream_id, None)
            case SessionClosed(_, record):
                self._transmit(end.sends, record)
                self._forget(end)
            case SessionDropped():
                self._forget(end)
            case Unpaired():
                self.book.failures.append("the pairing was undone")
            case PeerStatusChanged(PeerStatus.CONNECTED):
                end.retry_s = self.now_s
            case _:
                pass

    @staticmethod
    def _forget(end: End) -> None:
        end.received.clear()
        end.sent.clear()

    def _read(self, end: End, stream_id: int, *, whole: bool) -> None:
        received = end.received.get(stream_id)
        if received is None or stream_id not in end.engine.streams():
            return
        header = end.engine.stream_header(stream_id)
        received += end.engine.read(stream_id, 1 << 20)
        self.book.receive(1 - end.sends, header, bytes(received), whole=whole)
        if whole:
            end.engine.finish(stream_id)

    def send(self, end: End) -> bytes:
        """Send a message; return its number."""
        number, message = self.book.compose(end.sends, LENGTHS)
        stream_id = end.engine.open_stream(number)
        end.sent[stream_id] = number
        end.engine.write(stream_id, message)
        end.engine.finish(stream_id)
        self._pump(end)
        return number

    def _reconnect(self) -> None:
        """Do as a driver does: the phone tries again and again, KK and IK in turn."""
        phone = self.ends[0]
        if phone.engine.status is PeerStatus.CONNECTED or self.now_s < phone.retry_s:
            return
        connect = phone.engine.connect_kk if phone.kk_next else phone.engine.connect_ik
        phone.retry_s = self.now_s + (2.5 if phone.kk_next else self.chance.uniform(5.0, 7.0))
        phone.kk_next = not phone.kk_next
        connect(now_s=self.now_s)
        self._pump(phone)

    # -- time -------------------------------------------------------------------------------------

    def advance(self, duration_s: float) -> None:
        """Let time pass; everything that must hold is checked on the way."""
        end_s = self.now_s + duration_s
        while True:
            timed = min((end.due_s for end in self.ends if end.due_s is not None), default=1e9)
            arrival = self._arrivals[0][0] if self._arrivals else end_s + 1
            if arrival <= min(timed, end_s):
                at_s, _, direction, packet = heappop(self._arrivals)
                self.now_s = max(self.now_s, at_s)
                self._arrive(direction, packet)
            elif timed <= end_s:
                self.now_s = max(self.now_s, timed)
                for end in self.ends:
                    if end.due_s is not None and end.due_s <= timed:
                        end.engine.on_timeout(now_s=self.now_s)
                        self._pump(end)
            else:
                self.now_s = end_s
                break
            if self.book.failures or self.attacker.plaintext_seen:
                break
        assert not self.book.failures, self.book.failures[:3]
        assert not self.attacker.plaintext_seen, "plain text in a packet"

    def _pass_one_each_way(self) -> None:
        until_s = self.now_s + RECOVERY_S
        for end in self.ends:
            number: bytes | None = None
            while number not in self.book.acknowledged:
                assert self.now_s < until_s, "no recovery"
                self._reconnect()
                if number not in end.sent.values():
                    is_up = end.engine.status is PeerStatus.CONNECTED
                    number = self.send(end) if is_up else None
                self.advance(0.1)

    def run(self) -> None:
        """Attack, then stop and see both ends recover."""
        self._pass_one_each_way()
        self.attacker.attack = self._attack or Attack.draw(self.chance)
        end_s = self.now_s + ATTACK_S
        while self.now_s < end_s:
            self._reconnect()
            for end in self.ends:
                if end.engine.status is PeerStatus.CONNECTED and self.chance.random() < 0.7:
                    self.send(end)
            self.advance(self.chance.uniform(0.1, 0.8))
        if self.seed % SIZED_SEEDS == 0:
            for end in self.ends:
                size = deep_size((end.engine, end.dechunker), without=(self,))
                assert size < MAX_STATE_BYTES, size
        self.attacker.attack = PEACE
        self._pass_one_each_way()
        self.advance(1.0)
        assert not self.book.lost, f"{len(self.book.lost)} acknowledged messages never arrived"
