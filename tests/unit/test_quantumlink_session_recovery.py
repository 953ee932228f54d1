"""Loss, window, pacing and record size: when records are given up, and how many may leave."""

from __future__ import annotations

from dataclasses import replace
from math import log1p

import pytest

from primegap.quantumlink.aio.paced_simulation import AirProfile, PacedLink
from primegap.quantumlink.session import Halves, LinkConfig, StreamOptions
from primegap.quantumlink.session.ack_tracker import ACK_EVERY_BYTES, AckTracker
from primegap.quantumlink.session.congestion import (
    FAST_WINDOW,
    INITIAL_WINDOW,
    MAX_TRACKED_RECORDS,
    MIN_WINDOW,
    PACING_BURST,
    PACING_GAIN,
    DeliveryWindow,
)
from primegap.quantumlink.session.flow import ReceiveWindow
from primegap.quantumlink.session.record_size import RECORD_COST, RecordSizer, best_packets
from primegap.quantumlink.session.recovery import (
    MAX_PACKET_THRESHOLD,
    MAX_TIME_THRESHOLD,
    PACKET_THRESHOLD,
    PEER_ACK_DELAY_S,
    RecordContent,
    Recovery,
    SentRecord,
)
from primegap.quantumlink.session.simulation import LinkPair

SIZE = 1000


class Path:
    """Records sent one by one over a path whose answers are written by hand."""

    def __init__(self, window: DeliveryWindow | None = None) -> None:
        self.window = window or DeliveryWindow()
        self.recovery = Recovery(1.0, self.window)
        self.sent = 0

    def send(self, now_s: float, count: int = 1) -> None:
        for _ in range(count):
            record = SentRecord(self.sent, self.sent, SIZE, RecordContent(ping=True))
            self.recovery.track(record, now_s)
            assert self.recovery.confirm(self.sent, now_s)
            self.sent += 1

    def acknowledge(self, now_s: float, low: int, high: int | None = None) -> None:
        self.recovery.acknowledge([(low, low if high is None else high)], now_s)

    def lost(self, now_s: float) -> list[int]:
        return [record.seq for record in self.recovery.sweep(now_s)]


# --- loss (11, #4) -------------------------------------------------------------------------------


def test_a_record_is_lost_when_the_third_behind_it_arrives() -> None:
    path = Path()
    path.send(0.0, 5)
    path.acknowledge(0.1, 1, 2)
    assert path.lost(0.1) == []
    path.acknowledge(0.1, 3)
    assert path.lost(0.1) == [0]
    assert path.recovery.rtt.rto_s < 1.0  # it is not a time-out, so nothing backs off


def test_a_record_is_lost_an_eighth_of_a_round_trip_behind_one_that_arrived() -> None:
    path = Path()
    path.send(0.0, 2)
    path.acknowledge(0.08, 1)
    assert path.lost(0.08) == []
    assert path.recovery.next_timeout_s() == pytest.approx(0.09)
    assert path.lost(0.0899) == []
    assert path.lost(0.09) == [0]


def test_a_silent_tail_is_probed_before_it_times_out() -> None:
    path = Path()
    for sent_s in (0.0, 1.0, 2.0, 3.0):
        path.send(sent_s)
        path.acknowledge(sent_s + 0.1, path.sent - 1)
    path.send(4.0, 3)
    path.recovery.rtt.sample(0.3)  # a path that varies: its time-out is late
    smoothed_s = path.recovery.rtt.smoothed_s
    assert smoothed_s is not None
    probe_s = 4.0 + 2 * smoothed_s + PEER_ACK_DELAY_S
    assert path.recovery.next_timeout_s() == pytest.approx(probe_s)
    assert path.lost(probe_s) == [6]
    assert path.lost(probe_s) == []  # one probe, and then the time-out
    rto_s = path.recovery.rtt.rto_s
    assert path.lost(4.0 + rto_s + PEER_ACK_DELAY_S) == [4, 5]
    assert path.recovery.rtt.rto_s == 2 * rto_s


def test_one_lost_ack_gives_nothing_up() -> None:
    path = Path()
    path.send(0.0)
    path.acknowledge(0.1, 0)
    path.send(1.0, 4)
    path.acknowledge(1.1, 1)
    assert path.lost(1.1 + path.recovery.rtt.rto_s) == [4]  # the probe
    path.acknowledge(1.2 + path.recovery.rtt.rto_s, 2, 4)
    assert path.recovery.in_flight == 0


def test_a_path_that_reorders_is_waited_for() -> None:
    path = Path()
    path.send(0.0, 5)
    path.acknowledge(0.1, 1, 4)
    assert path.lost(0.1) == [0]
    path.acknowledge(0.11, 0)  # it was only late
    path.send(1.0, 7)
    path.acknowledge(1.1, 6, 8)
    assert path.lost(1.1) == []  # three behind it are no longer proof
    path.acknowledge(1.1, 9, 11)
    assert path.lost(1.1) == [5]
    for _ in range(20):
        first = path.sent
        path.send(2.0, 40)
        path.acknowledge(2.1, first + 1, first + 39)
        path.lost(2.1)
        path.acknowledge(2.1, first)
    assert path.recovery._packet_threshold == MAX_PACKET_THRESHOLD > PACKET_THRESHOLD
    assert path.recovery._time_threshold == MAX_TIME_THRESHOLD


# --- window and pacing (11, #5) ------------------------------------------------------------------


def flow(window: DeliveryWindow, *, rate: float, rtt_s: float, rounds: int) -> Path:
    """Send as much as the window lets over a path that delivers `rate` bytes per second."""
    path = Path(window)
    now_s, arrives_s, arrivals = 0.0, 0.0, list[tuple[float, int]]()
    while now_s < rounds * rtt_s:
        while path.recovery.may_send and path.recovery.paced_until_s(now_s) is None:
            arrives_s = max(arrives_s, now_s) + SIZE / rate
            arrivals.append((arrives_s + rtt_s, path.sent))
            path.send(now_s)
        while arrivals and arrivals[0][0] <= now_s:
            path.acknowledge(now_s, arrivals.pop(0)[1])
        now_s += rtt_s / 50
    return path


def test_the_window_follows_what_the_path_delivers() -> None:
    narrow, wide = DeliveryWindow(), DeliveryWindow()
    assert narrow.window == INITIAL_WINDOW
    flow(narrow, rate=100_000, rtt_s=0.05, rounds=30)
    assert narrow.window == MIN_WINDOW
    assert narrow.rate == pytest.approx(100_000, rel=0.2)
    flow(wide, rate=1_000_000, rtt_s=0.04, rounds=30)
    assert 40_000 < wide.window < 400_000
    assert wide.rate == pytest.approx(1_000_000, rel=0.2)


def test_a_fast_path_has_a_larger_smallest_window() -> None:
    windows = []
    for rtt_s in (0.001, 0.003):
        path = Path()
        for number in range(10):
            path.send(number * 0.01)
            path.acknowledge(number * 0.01 + rtt_s, number)
        windows.append(path.window.window)
    assert windows == [FAST_WINDOW, MIN_WINDOW]


def test_the_window_and_the_number_of_records_bound_what_is_on_its_way() -> None:
    window = DeliveryWindow()
    assert window.may_send(0, 0)
    assert not window.may_send(MAX_TRACKED_RECORDS, 0)
    assert not window.may_send(1, INITIAL_WINDOW)


def test_silence_closes_the_window_and_loss_alone_does_not() -> None:
    path = Path()
    path.send(0.0, 20)
    path.acknowledge(0.1, 10, 19)
    assert path.lost(0.1) == list(range(10))
    assert path.window.rate > 0
    path.send(0.2, 10)
    assert len(path.lost(10.0)) == 10
    assert path.window.window == MIN_WINDOW
    assert path.window.rate == 0


def test_a_burst_may_leave_at_once_and_the_rest_is_spread() -> None:
    window = DeliveryWindow()
    path = flow(window, rate=1_000_000, rtt_s=0.04, rounds=30)
    path.acknowledge(2.0, 0, path.sent)
    path.recovery.paced_until_s(3.0)
    first = path.sent
    while path.recovery.paced_until_s(3.0) is None:
        path.send(3.0)
    assert (path.sent - first) * SIZE == pytest.approx(PACING_BURST, abs=SIZE)
    until_s = path.recovery.paced_until_s(3.0)
    assert until_s is not None
    assert 3.0 < until_s <= 3.0 + SIZE / (window.rate * PACING_GAIN)
    assert path.recovery.paced_until_s(until_s + 1e-6) is None


# --- receive windows (11, #6) --------------------------------------------------------------------


def test_a_window_that_holds_the_peer_back_doubles_up_to_its_limit() -> None:
    window = ReceiveWindow(100)
    assert window.wanted_growth(60, 1000, now_s=1.0, rtt_s=0.1) == 0  # nothing to measure by
    window.advertise(60, 1.0)
    assert window.wanted_growth(160, 1000, now_s=1.1, rtt_s=0.1) == 100
    assert window.wanted_growth(160, 130, now_s=1.1, rtt_s=0.1) == 30
    assert window.wanted_growth(160, 1000, now_s=2.0, rtt_s=0.1) == 0  # read slowly
    assert window.wanted_growth(60, 1000, now_s=1.0, rtt_s=0.1) == 0  # not read at all


def long_path(config: LinkConfig) -> tuple[LinkPair, int]:
    """Send one megabyte over a path with round trips of 200 ms; return the pair and stream."""
    pair = LinkPair(delay_s=0.1, config_b=config)
    pair.connect()
    stream_id = pair.a.engine.open_stream(b"long", StreamOptions(send_buffer_size=1 << 20))
    assert pair.a.engine.write(stream_id, bytes(1 << 20)) == 1 << 20
    read = 0
    for _ in range(3000):
        pair.advance(0.005)
        if stream_id in pair.b.engine.streams():
            read += len(pair.b.engine.read(stream_id, 1 << 20))
            pair.pump(pair.b)
        if read == 1 << 20:
            break
    assert read == 1 << 20
    return pair, stream_id


def test_windows_grow_over_a_long_path_within_the_memory() -> None:
    grown, stream_id = long_path(LinkConfig(max_stream_receive_window=262_144))
    assert grown.b.engine._streams.get(stream_id).window.size == 262_144
    bounded, stream_id = long_path(
        LinkConfig(max_stream_receive_window=262_144, max_receive_memory=65_536)
    )
    assert bounded.b.engine._streams.get(stream_id).window.size == 2 * 16_384
    assert grown.now_s < 0.5 * bounded.now_s


def sender_over_a_long_path(
    config: LinkConfig, options: StreamOptions | None = None
) -> tuple[LinkPair, list[int]]:
    """Send on two streams for six seconds over a path with round trips of half a second."""
    pair = LinkPair(delay_s=0.25, config_a=config)
    pair.connect()
    engine = pair.a.engine
    ids = [engine.open_stream(b"long", options or StreamOptions()) for _ in range(2)]
    for _ in range(120):
        for stream_id in ids:
            engine.write(stream_id, bytes(65_536))
        pair.advance(0.05)
        for stream_id in ids:
            if stream_id in pair.b.engine.streams():
                pair.b.engine.read(stream_id, 1 << 20)
                pair.pump(pair.b)
    return pair, ids


def test_send_buffers_grow_over_a_long_path_within_their_memory() -> None:
    def sizes(config: LinkConfig, options: StreamOptions | None = None) -> list[int]:
        pair, ids = sender_over_a_long_path(config, options)
        table = pair.a.engine._streams
        grown = [table.get(stream_id).send_buffer_size for stream_id in ids]
        used = sum(table.get(stream_id).send_growth for stream_id in ids)
        assert table._send_growth == config.max_send_growth - used >= 0
        for stream_id in ids:
            pair.a.engine.reset(stream_id, Halves.BOTH, 0)
        pair.advance(2.0)
        assert table._send_growth == config.max_send_growth  # given back with the streams
        return grown

    tuned = LinkConfig.tuned()
    assert sizes(tuned) == [262_144, 262_144]
    assert sum(sizes(replace(tuned, max_send_growth=100_000))) == 2 * 65_536 + 100_000
    assert sizes(tuned, StreamOptions(send_buffer_size=30_000)) == [30_000, 30_000]
    assert sizes(LinkConfig()) == [16_384, 16_384]


def test_a_send_buffer_does_not_grow_while_its_bytes_wait_here() -> None:
    link = PacedLink(AirProfile(), seed=1)
    link.measure_goodput(3.0)
    (stream,) = link.a.engine._streams
    assert stream.send_growth == 0


# --- record size ---------------------------------------------------------------------------------


def yield_of(packets: int, loss: float) -> float:
    return (1 - loss) ** packets * (packets * 236 - RECORD_COST) / packets


@pytest.mark.parametrize("loss", [0.001, 0.01, 0.03, 0.05, 0.1, 0.3])
def test_the_best_record_size_is_the_best(loss: float) -> None:
    best = max(range(1, 35), key=lambda packets: yield_of(packets, loss))
    found = best_packets(-log1p(-loss), packet_payload=236, record_cost=RECORD_COST, most=34)
    assert yield_of(found, loss) == pytest.approx(yield_of(best, loss))
    if loss == 0.05:
        assert found in (2, 3)


def test_records_are_largest_until_something_is_lost_and_again_long_after() -> None:
    sizer = RecordSizer(236, 8192)
    for _ in range(100):
        sizer.note(8192, arrived=True)
    assert sizer.size == 8192
    sizer.note(8192, arrived=False)
    sizer.note(8192, arrived=False)
    assert sizer.size < 8192
    for _ in range(1000):
        sizer.note(sizer.size, arrived=True)
    assert sizer.size == 8192
    assert sizer.loss_rate == 0


def test_a_loss_that_was_none_is_taken_back() -> None:
    sizer = RecordSizer(236, 8192)
    sizer.note(8192, arrived=False)
    assert sizer.size < 8192
    sizer.take_back()
    assert sizer.size == 8192


@pytest.mark.parametrize(("payload", "most"), [(0, 8192), (236, 300)])
def test_records_that_are_not_cut_keep_their_size(payload: int, most: int) -> None:
    sizer = RecordSizer(payload, most)
    for _ in range(10):
        sizer.note(most, arrived=False)
    assert sizer.size == most


# --- ACKs of a fast path -------------------------------------------------------------------------


def test_many_bytes_are_acknowledged_at_once() -> None:
    tracker = AckTracker(64, 0.02)
    tracker.note(0)
    tracker.schedule(1.0, ACK_EVERY_BYTES - 1)
    assert tracker.due_s == 1.02
    tracker.note(1)
    tracker.schedule(1.001, 1)
    assert tracker.due_s == 1.001
    choice = tracker.peek(100)
    assert choice is not None
    tracker.commit(choice, 0.0)
    tracker.note(2)
    tracker.schedule(1.002, 1)
    assert tracker.due_s == pytest.approx(1.022)
