"""Two engines over a simulated Bluetooth connection, under a virtual clock.

The air is modelled by its times: packets are exchanged in pairs, one each way, within connection
events; a record is cut into packets of 244 bytes; the chip queues a few and then pushes back. A run
is a function of its seed. Nothing here is needed to run a link.

    link = PacedLink(AirProfile(packet_loss=0.05), seed=7)
    rate = link.measure_goodput(10.0)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count
from math import expm1, inf, log
from typing import TYPE_CHECKING, Final

from primegap.btp import (
    PACKET_BYTES,
    PAYLOAD_BYTES,
    Chunker,
    Dechunker,
    RemoteBtpError,
)
from primegap.quantumlink.errors import RemoteError
from primegap.quantumlink.records import MAX_RECORD_SIZE
from primegap.quantumlink.session.record_size import RECORD_COST
from primegap.quantumlink.session.simulation import Endpoint, make_endpoint, seeded_rng
from primegap.quantumlink.suite import NATIVE

if TYPE_CHECKING:
    from primegap.quantumlink.session.config import LinkConfig
    from primegap.quantumlink.session.events import OutgoingRecord
    from primegap.quantumlink.suite import Suite

BYTE_S: Final = 4e-6
"On the 2M PHY."
GAP_S: Final = 150e-6
"Between two packets, either way."
EMPTY_BYTES: Final = 2 + 4 + 2 + 3
"Preamble, access address, header and CRC of a packet without payload."
DATA_BYTES: Final = EMPTY_BYTES + 4 + 3 + PACKET_BYTES + 4
"The same with L2CAP and ATT headers, the value and the MIC of an encrypted link."
EXCHANGE_S: Final = (DATA_BYTES + EMPTY_BYTES) * BYTE_S + 2 * GAP_S
"A packet one way, nothing the other: 1.408 ms."
FULL_EXCHANGE_S: Final = 2 * DATA_BYTES * BYTE_S + 2 * GAP_S
"A packet each way: 2.428 ms."
CEILING: Final = PACKET_BYTES / EXCHANGE_S
"Bytes of packets per second in one direction when nothing comes back: 173 kB/s."
OVERDUE_S: Final = 0.001
"A timer that stays due, because the port takes nothing, is called this often."


@dataclass(frozen=True, slots=True, kw_only=True)
class AirProfile:
    """What the air does; probabilities are 0 to 1 and count for each packet."""

    interval_s: float = 0.030
    "Connection interval; an event may fill all of it."
    packet_loss: float = 0.0
    fade_s: float = 0.0
    """Mean length of a fade, in which every packet is lost, either way; there are as many as make
    the loss. 0 for losses that know nothing of each other."""
    reordering: float = 0.0
    "Probability that a packet is overtaken by the next one to three."
    queue_packets: int = 32
    "Packets the chip holds before it pushes back."

    @property
    def clear_s(self) -> float:
        """Mean time between fades."""
        return self.fade_s * (1 - self.packet_loss) / self.packet_loss if self.packet_loss else inf

    def loss_behind_arrival(self, wait_s: float) -> float:
        """Return the probability that a packet is lost, `wait_s` behind one that arrived."""
        if not self.fade_s:
            return self.packet_loss
        # Two states with given mean times: the chain forgets where it was at the sum of the rates.
        return self.packet_loss * -expm1(-wait_s * (1 / self.fade_s + 1 / self.clear_s))


def best_goodput(
    air: AirProfile, *, record_max_size: int = MAX_RECORD_SIZE, exchange_s: float = EXCHANGE_S
) -> float:
    """Return the bytes per second a sender reaches that knows the loss and repeats for nothing.

    All headers are counted, and what is left of a connection interval behind its last exchange;
    acknowledgements are not.

    Args:
        air: whose interval and loss count.
        record_max_size: largest record.
        exchange_s: what a packet takes.
    """
    packet_s = air.interval_s / (air.interval_s // exchange_s)
    loss_behind_arrival = air.loss_behind_arrival(packet_s)

    def goodput(packets: int) -> float:
        record = min(packets * PAYLOAD_BYTES, record_max_size)
        arrives = (1 - air.packet_loss) * (1 - loss_behind_arrival) ** (packets - 1)
        return arrives * (record - RECORD_COST) / (packets * packet_s)

    return max(map(goodput, range(1, -(-record_max_size // PAYLOAD_BYTES) + 1)))


class _Way:
    """Packets from one side to the other."""

    def __init__(self, sender: Endpoint, receiver: Endpoint) -> None:
        self.sender = sender
        self.receiver = receiver
        self.chunker = Chunker()
        self.dechunker = Dechunker()
        self.queue: deque[bytes] = deque()
        self.writing: OutgoingRecord | None = None
        self.packets: deque[bytes] = deque()  # of the record being written
        self.late: list[tuple[int, bytes]] = []  # (packets still to pass, packet)
        self.idle_until_s = 0.0


class PacedLink:
    """Endpoints `a` (the central) and `b`, connected, with the air between them.

    Args:
        profile: of the air.
        seed: of everything random.
        suite: of both.
        config: settings of both, None for those of the suite.
    """

    def __init__(
        self,
        profile: AirProfile,
        *,
        seed: int = 0,
        suite: Suite = NATIVE,
        config: LinkConfig | None = None,
    ) -> None:
        self.profile = AirProfile(interval_s=profile.interval_s)  # perfect until connected
        self.now_s = 0.0
        self.a = make_endpoint("a", seed, suite, config)
        self.b = make_endpoint("b", seed, suite, config)
        self.exchanges = 0
        self._draw = seeded_rng(f"air/{seed}")
        self._ways = (_Way(self.a, self.b), _Way(self.b, self.a))
        self._events = count(1)
        self._event_end_s = 0.0
        self._air_at_s = 0.0
        self._in_fade = True  # ends at once
        self._state_ends_s = 0.0
        self._arriving: list[tuple[_Way, bytes]] = []
        self.a.engine.bind_peer(self.b.identity.bundle)
        self.b.engine.bind_peer(self.a.identity.bundle)
        self.a.engine.connect_ik(now_s=self.now_s)
        self.advance(0.5)
        self.profile = profile

    def is_faded(self) -> bool:
        """Tell whether the air carries nothing now."""
        while self._state_ends_s <= self.now_s:
            self._in_fade = not self._in_fade
            mean_s = self.profile.fade_s if self._in_fade else self.profile.clear_s
            self._state_ends_s += mean_s * -log(1 - self._chance())
        return self._in_fade

    def _chance(self) -> float:
        return int.from_bytes(self._draw(4), "big") / 2**32

    # --- time -----------------------------------------------------------------------------------

    def advance(self, duration_s: float) -> None:
        """Let time pass."""
        end_s = self.now_s + duration_s
        for way in self._ways:
            self._pump(way)
        while True:
            timer_s, timed = self._next_timer()
            at_s = min(timer_s, self._air_at_s)
            if at_s > end_s:
                self.now_s = end_s
                return
            self.now_s = max(self.now_s, at_s)
            if timed is not None and timer_s < self._air_at_s:
                timed.idle_until_s = self.now_s + OVERDUE_S
                timed.sender.engine.on_timeout(now_s=self.now_s)
                self._pump(timed)
            else:
                self._exchange()

    def _next_timer(self) -> tuple[float, _Way | None]:
        earliest_s, timed = float("inf"), None
        for way in self._ways:
            due_s = way.sender.engine.next_timeout_s()
            if due_s is not None:
                due_s = max(due_s, way.idle_until_s)
                if due_s < earliest_s:
                    earliest_s, timed = due_s, way
        return earliest_s, timed

    # --- the air --------------------------------------------------------------------------------

    def _exchange(self) -> None:
        """Finish the exchange that ends now and begin the next one, or wait for an event."""
        arriving, self._arriving = self._arriving, []
        for way, packet in arriving:
            self._land(way, packet)
        size = sum(DATA_BYTES if way.queue else EMPTY_BYTES for way in self._ways)
        ends_at_s = self.now_s + size * BYTE_S + 2 * GAP_S
        if ends_at_s > self._event_end_s or not any(way.queue for way in self._ways):
            self._wait_for_event()  # no room is left in this one, or it closes for want of packets
            return
        self._arriving = [(way, way.queue.popleft()) for way in self._ways if way.queue]
        self.exchanges += 1
        self._air_at_s = ends_at_s
        for way in self._ways:
            self._pump(way)

    def _wait_for_event(self) -> None:
        interval_s = self.profile.interval_s
        start_s = next(self._events) * interval_s
        while start_s < self.now_s:
            start_s = next(self._events) * interval_s
        self._air_at_s = start_s
        self._event_end_s = start_s + interval_s

    def _land(self, way: _Way, packet: bytes) -> None:
        ready = [packet]
        profile = self.profile
        is_lost = self.is_faded() if profile.fade_s else self._chance() < profile.packet_loss
        if is_lost:
            ready.clear()
        elif self._chance() < profile.reordering:
            ready.clear()
            way.late.append((1 + int(3 * self._chance()), packet))
            return
        waiting = [(passes - 1, late) for passes, late in way.late]
        ready += [late for passes, late in waiting if passes <= 0]
        way.late = [item for item in waiting if item[0] > 0]
        for arrived in ready:
            self._receive(way, arrived)

    def _receive(self, way: _Way, packet: bytes) -> None:
        receiver = way.receiver
        try:
            record = way.dechunker.receive(packet, now_s=self.now_s)
        except RemoteBtpError:
            return
        if record is None:
            return
        try:
            receiver.results.append(receiver.engine.receive(record, now_s=self.now_s))
        except RemoteError as error:
            receiver.errors.append(error)
        for back in self._ways:
            if back.sender is receiver:
                self._pump(back)

    # --- drivers --------------------------------------------------------------------------------

    def _pump(self, way: _Way) -> None:
        """Do what a driver does: drain events, hand packets to the chip while it takes them."""
        side, engine = way.sender, way.sender.engine
        while True:
            for event in engine.take_events():
                side.events.append(event)
                if side.on_event is not None:
                    side.on_event(event)
            if way.writing is None:
                way.writing = engine.take_write(now_s=self.now_s)
                if way.writing is None:
                    return
                way.packets.extend(way.chunker.chunk(way.writing.record))
            while way.packets and len(way.queue) < self.profile.queue_packets:
                way.queue.append(way.packets.popleft())
            if way.packets:
                return
            if way.writing.write_id is not None:
                engine.complete_write(way.writing.write_id, ok=True, now_s=self.now_s)
            way.writing = None

    # --- measuring ------------------------------------------------------------------------------

    def measure_goodput(self, duration_s: float, *, warm_up_s: float = 2.0) -> float:
        """Send from `a` to `b` without end; return the bytes per second that `b` could read.

        Args:
            duration_s: measured time.
            warm_up_s: time before, in which the engines learn the path.
        """
        return self._measure_bulk(duration_s, warm_up_s, (self.a,))[0]

    def measure_both_ways(
        self, duration_s: float, *, warm_up_s: float = 2.0
    ) -> tuple[float, float]:
        """Send without end from both sides; return the bytes per second of `a` and of `b`."""
        from_a, from_b = self._measure_bulk(duration_s, warm_up_s, (self.a, self.b))
        return from_a, from_b

    def _measure_bulk(
        self, duration_s: float, warm_up_s: float, senders: tuple[Endpoint, ...]
    ) -> list[float]:
        flows = [
            (side.engine, side.engine.open_stream(b"bulk"), self._other(side).engine)
            for side in senders
        ]
        received = [0] * len(flows)
        data, step_s = bytes(65_536), 0.005
        start_s = self.now_s + warm_up_s
        while self.now_s < start_s + duration_s:
            for sender, stream_id, _ in flows:
                sender.write(stream_id, data)
            self.advance(step_s)
            for number, (_, stream_id, receiver) in enumerate(flows):
                if stream_id in receiver.streams():
                    read = len(receiver.read(stream_id, 1 << 20))
                    received[number] += read if self.now_s > start_s else 0
        return [total / duration_s for total in received]

    def _other(self, side: Endpoint) -> Endpoint:
        return self.b if side is self.a else self.a

    def measure_latency_s(self, size: int, stream_id: int | None = None) -> float:
        """Send a request of `size` bytes and an answer of as many; return the time it took.

        Args:
            size: of both, in bytes; within every window.
            stream_id: a stream of `a` that is kept full meanwhile, None for an idle link.
        """
        begin_s = self.now_s
        request = self.a.engine.open_stream(b"latency")
        self.a.engine.write(request, bytes(size))
        self.a.engine.finish(request)
        asked = answered = 0
        while answered < size:
            if stream_id is not None:
                self.a.engine.write(stream_id, bytes(65_536))
            self.advance(0.001)
            open_there = self.b.engine.streams()
            if stream_id in open_there and stream_id is not None:
                self.b.engine.read(stream_id, 1 << 20)
            if request in open_there and asked < size:
                asked += len(self.b.engine.read(request, size))
                if asked == size:
                    self.b.engine.write(request, bytes(size))
                    self.b.engine.finish(request)
            answered += len(self.a.engine.read(request, size))
        return self.now_s - begin_s
