"""What an attacker who holds the radio does to packets, and the book of what must hold."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections import deque
from dataclasses import dataclass, field, fields
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Final

from primegap.btp import Chunker
from primegap.quantumlink import Identity, Suite
from primegap.quantumlink.session import LinkConfig, LinkEngine
from primegap.quantumlink.session.simulation import seeded_rng
from primegap.radio.messages import MAX_PACKET_BYTES

MARK: Final = b"\x00plaintext mark\xff"
"Fills every message, so that any 32 bytes of plain text contain it."
RECORDED_PACKETS: Final = 2000
"What the attacker remembers of each direction, to replay it."
TO_DEVICE, TO_PHONE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Probabilities, per packet or per answer."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    truncate: float = 0.0
    delay: float = 0.0
    flood: float = 0.0
    "Random packets behind a real one."
    replay: float = 0.0
    "A run of packets of earlier, of any session."
    reflect: float = 0.0
    "A run of the receiver's own packets."
    swap: float = 0.0
    "A handshake of a stranger who knows both identities."
    splice: float = 0.0
    "Headers of one packet, content of another."
    stall: float = 0.0
    "Nothing passes for a while."
    lie: float = 0.0
    "A wrong answer to the host: another state, a packet nobody sent, garbage, silence."
    mute: float = 0.0
    "The chip answers the host nothing any more, until it is reset."
    cut: float = 0.0
    "The connection is closed."

    @classmethod
    def draw(cls, chance: random.Random) -> Attack:
        """Return a mixture of two to five kinds."""
        kinds = chance.sample([one.name for one in fields(cls)], chance.randint(2, 5))
        rare = {"stall": 0.01, "cut": 0.01, "mute": 0.005}
        rare |= {"swap": 0.03, "replay": 0.03, "reflect": 0.03}
        return cls(**{kind: chance.random() * rare.get(kind, 0.2) for kind in kinds})


PEACE: Final = Attack()


def stranger_packets(seed: int, suite: Suite, victim: Identity) -> list[bytes]:
    """Return a first message of somebody else to a side, in packets."""
    rng = seeded_rng(f"stranger/{seed}")
    stranger = Identity.generate(suite, "stranger", rng)
    engine = LinkEngine(LinkConfig.tuned(), stranger, rng=rng, now_s=0.0)
    engine.bind_peer(victim.bundle)
    engine.connect_ik(now_s=0.0)
    outgoing = engine.take_write(now_s=0.0)
    assert outgoing is not None
    return list(Chunker().chunk(outgoing.record))


class Attacker:
    """Sees and changes every packet of both directions.

    Args:
        chance: decides everything.
        strangers: packets of a stranger, by direction.
    """

    def __init__(self, chance: random.Random, strangers: tuple[list[bytes], list[bytes]]) -> None:
        self.chance = chance
        self.attack = PEACE
        self.packets = 0
        self.plaintext_seen = False
        self._strangers = strangers
        self._recorded: tuple[deque[bytes], deque[bytes]] = (
            deque(maxlen=RECORDED_PACKETS),
            deque(maxlen=RECORDED_PACKETS),
        )
        self._held: list[bytes | None] = [None, None]

    def strikes(self, kind: str) -> bool:
        probability: float = getattr(self.attack, kind)
        return probability > 0 and self.chance.random() < probability

    def mangle(self, direction: int, packet: bytes) -> tuple[float, list[bytes]]:
        """Return after how long what arrives instead of a packet; and look into it first."""
        self.packets += 1
        self.plaintext_seen = self.plaintext_seen or MARK in packet
        recorded, own = self._recorded[direction], self._recorded[1 - direction]
        recorded.append(packet)
        if self.attack is PEACE:
            held, self._held[direction] = self._held[direction], None
            return 0.0, [packet] if held is None else [held, packet]
        hold_s = 0.0
        if self.strikes("stall"):
            hold_s = self.chance.uniform(0.5, 40.0)
        elif self.strikes("delay"):
            hold_s = self.chance.uniform(0.01, 1.0)
        if self.strikes("drop"):
            return hold_s, []
        if self.strikes("corrupt"):
            at = self.chance.randrange(len(packet))
            flip = self.chance.randint(1, 255)
            packet = packet[:at] + bytes([packet[at] ^ flip]) + packet[at + 1 :]
        if self.strikes("truncate"):
            packet = packet[: self.chance.randrange(len(packet))]
        if self.strikes("splice"):
            at = self.chance.randrange(len(packet) + 1)
            packet = packet[:at] + self.chance.choice(recorded)[at:]
        arriving = [packet]
        if self.strikes("duplicate"):
            arriving *= self.chance.randint(2, 4)
        if self.strikes("flood"):
            size = self.chance.randint(1, MAX_PACKET_BYTES)
            arriving += [self.chance.randbytes(size) for _ in range(self.chance.randint(1, 20))]
        for kind, store in (("replay", recorded), ("reflect", own)):
            if store and self.strikes(kind):
                start = self.chance.randrange(len(store))
                arriving += list(store)[start : start + self.chance.randint(1, 80)]
        if self.strikes("swap"):
            arriving += self._strangers[direction]
        if self.strikes("reorder"):
            held, self._held[direction] = self._held[direction], arriving.pop(0)
            if held is not None:
                arriving.append(held)
        return hold_s, arriving


@dataclass(slots=True)
class Book:
    """Who sent what, and what came of it."""

    chance: random.Random
    failures: list[str] = field(default_factory=list)
    delivered: tuple[dict[bytes, int], dict[bytes, int]] = field(default_factory=lambda: ({}, {}))
    "By direction: messages that arrived whole, and how often."
    acknowledged: set[bytes] = field(default_factory=set)
    _sent: dict[bytes, bytes] = field(default_factory=dict)

    def compose(self, direction: int, lengths: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Return number and content of a new message."""
        number = bytes([direction]) + len(self._sent).to_bytes(4)
        message = number + MARK * self.chance.choice(lengths)
        self._sent[number] = message
        return number, message

    def receive(self, direction: int, number: bytes, received: bytes, *, whole: bool) -> None:
        """Compare what arrived, in part or whole, with what was sent."""
        expected = self._sent.get(number)
        if expected is None or expected[0] != direction:
            self.failures.append("a stream that nobody opened")
        elif not expected.startswith(received):
            self.failures.append("forged bytes")
        elif whole and received != expected:
            self.failures.append("a shortened message")
        elif whole:
            counts = self.delivered[direction]
            counts[number] = counts.get(number, 0) + 1
            if counts[number] > 1:
                self.failures.append("a doubled message")

    def acknowledge(self, number: bytes) -> None:
        """The sender was told that everything has arrived."""
        self.acknowledged.add(number)

    @property
    def lost(self) -> set[bytes]:
        """Messages that were acknowledged and never delivered."""
        return self.acknowledged - self.delivered[0].keys() - self.delivered[1].keys()


NOT_STATE: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, asyncio.Task)
"What is reachable from an object but is code, or leads to the whole program."


def deep_size(root: object, *, without: tuple[object, ...]) -> int:
    """Return the bytes of everything reachable from an object, code and tasks aside."""
    seen = {id(one) for one in without}
    todo: list[object] = [root]
    total = 0
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, NOT_STATE):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        todo += gc.get_referents(one)
    return total
