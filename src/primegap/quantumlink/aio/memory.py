"""Two ports joined in memory, with the faults of a radio: for tests, simulations and benchmarks."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.aio.port import PortClosedError
from primegap.quantumlink.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

PACKET_BYTES: Final = 244
"As of a Bluetooth link."
QUEUED_PACKETS: Final = 64
"Packets on their way in one direction; `send` waits while there are more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """What happens to packets of one direction; probabilities are 0 to 1."""

    loss: float = 0.0
    "Probability that a packet is lost."
    duplication: float = 0.0
    "Probability that it arrives twice."
    reordering: float = 0.0
    "Probability that it is overtaken: it takes `late_s` longer."
    delay_s: float = 0.0
    "Time on the way; 0 delivers at once."
    late_s: float = 0.02
    "Extra time of an overtaken packet and of a second copy."


PERFECT: Final = Impairment()
"Nothing happens to packets."


class _Direction:
    """Packets from one end to the other."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.impairment = PERFECT
        self.sent_packets = 0
        self.closed = False
        self._chance = chance
        self._arrived: deque[bytes] = deque()
        self._on_the_way: list[tuple[float, int, bytes]] = []  # a heap: when, order, packet
        self._order = count()
        self._something = asyncio.Event()
        self._room = asyncio.Event()

    async def send(self, packet: bytes) -> None:
        while not self.closed and len(self._on_the_way) + len(self._arrived) >= QUEUED_PACKETS:
            self._room.clear()
            await self._room.wait()
        if self.closed:
            raise PortClosedError("the memory link was cut")
        self.sent_packets += 1
        faults = self.impairment
        if self._chance() < faults.loss:
            return
        late_s = faults.late_s if self._chance() < faults.reordering else 0.0
        self._deliver(packet, faults.delay_s + late_s)
        if self._chance() < faults.duplication:
            self._deliver(packet, faults.delay_s + faults.late_s)

    def _deliver(self, packet: bytes, delay_s: float) -> None:
        if not delay_s and not self._on_the_way:
            self._arrive(packet)
            return
        loop = asyncio.get_running_loop()
        # Timers of the event loop that are due at one time run in any order; packets must not.
        heappush(self._on_the_way, (loop.time() + delay_s, next(self._order), packet))
        loop.call_later(delay_s, self._arrive_next)

    def _arrive_next(self) -> None:
        _, _, packet = heappop(self._on_the_way)
        self._arrive(packet)

    def _arrive(self, packet: bytes) -> None:
        if not self.closed:
            self._arrived.append(packet)
            self._something.set()

    async def receive(self) -> bytes:
        while not self._arrived:
            if self.closed:
                raise PortClosedError("the memory link was cut")
            self._something.clear()
            await self._something.wait()
        self._room.set()
        return self._arrived.popleft()

    def close(self) -> None:
        self.closed = True
        self._something.set()
        self._room.set()


class MemoryPort:
    """One end of a `MemoryLink`."""

    packet_size = PACKET_BYTES

    def __init__(self, outgoing: _Direction, incoming: _Direction) -> None:
        """Make an end; `MemoryLink` does this."""
        self._outgoing = outgoing
        self._incoming = incoming

    @property
    def impairment(self) -> Impairment:
        """What happens to packets sent here; may be set at any time."""
        return self._outgoing.impairment

    @impairment.setter
    def impairment(self, impairment: Impairment) -> None:
        self._outgoing.impairment = impairment

    @property
    def sent_packets(self) -> int:
        """Packets handed over by `send`, lost ones included."""
        return self._outgoing.sent_packets

    @property
    def closed(self) -> bool:
        """Whether the link was cut."""
        return self._outgoing.closed

    async def send(self, packet: bytes) -> None:
        """Hand over one packet, when fewer than `QUEUED_PACKETS` are on their way."""
        if not 0 < len(packet) <= self.packet_size:
            raise LocalError(f"a packet has 1 to {self.packet_size} bytes")
        await self._outgoing.send(packet)

    async def receive(self) -> bytes:
        """Return the next packet that arrived."""
        return await self._incoming.receive()

    async def close(self) -> None:
        """Cut the link, for both ends."""
        self._outgoing.close()
        self._incoming.close()


class MemoryLink:
    """A pair of joined ports.

        link = MemoryLink(chance=random.Random(7).random)
        link.a.impairment = Impairment(loss=0.01)

    Args:
        chance: returns numbers of [0, 1) that decide about faults; without it there are none.
    """

    def __init__(self, chance: Callable[[], float] = lambda: 1.0) -> None:
        forth, back = _Direction(chance), _Direction(chance)
        self.a = MemoryPort(forth, back)
        self.b = MemoryPort(back, forth)

    def impair(self, impairment: Impairment) -> None:
        """Set what happens to packets in both directions."""
        self.a.impairment = self.b.impairment = impairment

    async def cut(self) -> None:
        """Close both ends; what is on its way is lost, what has arrived can still be received."""
        await self.a.close()
