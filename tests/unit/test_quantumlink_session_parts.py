"""The small parts of the session engine (session section 10.2, scenarios 39 to 44)."""

from __future__ import annotations

import pytest
from tests.send_buffer_kit import take

from primegap.quantumlink.identity import Qid
from primegap.quantumlink.session import ConfigError, LinkConfig, StreamOptions
from primegap.quantumlink.session.ack_tracker import MAX_REPEATED_RANGES, AckTracker
from primegap.quantumlink.session.backoff import FIRST_WAIT_S, MAX_WAIT_S, WriteBackoff
from primegap.quantumlink.session.congestion import MAX_TRACKED_RECORDS, DeliveryWindow
from primegap.quantumlink.session.errors import ProtocolViolationError
from primegap.quantumlink.session.first_messages import MAX_REMEMBERED, FirstMessageMemory
from primegap.quantumlink.session.flow import MemoryBudget, ReceiveWindow
from primegap.quantumlink.session.ranges import RangeSet
from primegap.quantumlink.session.receive_buffer import MAX_PIECES, ReceiveBuffer
from primegap.quantumlink.session.recovery import (
    MAX_REMEMBERED_LOSSES,
    RecordContent,
    Recovery,
    SentRecord,
)
from primegap.quantumlink.session.replay import ReplayWindow
from primegap.quantumlink.session.rtt import MAX_RTO_S, MIN_RTO_S, RttEstimator, is_due
from primegap.quantumlink.session.send_buffer import SendBuffer
from primegap.quantumlink.session.stream_ids import MAX_ID_RANGES, StreamIds

MANY = 1 << 40


def ranges_of(*pairs: tuple[int, int]) -> RangeSet:
    found = RangeSet()
    for start, stop in pairs:
        found.add(start, stop)
    return found


# --- range sets (40) -----------------------------------------------------------------------------


@pytest.mark.scenario("session", 40)
def test_touching_and_overlapping_ranges_join() -> None:
    assert list(ranges_of((5, 7), (1, 3), (3, 5))) == [(1, 7)]
    assert list(ranges_of((1, 3), (10, 12), (2, 11))) == [(1, 12)]
    assert list(ranges_of((1, 3), (4, 6), (8, 9))) == [(1, 3), (4, 6), (8, 9)]
    assert list(ranges_of((3, 3))) == []


@pytest.mark.scenario("session", 40)
def test_removal_cuts_and_splits() -> None:
    numbers = ranges_of((0, 10), (20, 30))
    numbers.remove(4, 6)
    assert list(numbers) == [(0, 4), (6, 10), (20, 30)]
    numbers.remove(8, 25)
    assert list(numbers) == [(0, 4), (6, 8), (25, 30)]
    numbers.remove(4, 6)
    numbers.remove(9, 9)
    assert list(numbers) == [(0, 4), (6, 8), (25, 30)]
    numbers.remove(0, 100)
    assert not numbers


@pytest.mark.scenario("session", 40)
def test_a_range_set_knows_its_ends_gaps_and_members() -> None:
    numbers = ranges_of((2, 4), (7, 8))
    assert list(reversed(numbers)) == [(7, 8), (2, 4)]
    assert (numbers.first, numbers.last) == ((2, 4), (7, 8))
    assert [n for n in range(10) if n in numbers] == [2, 3, 7]
    assert numbers.gaps(0, 10) == [(0, 2), (4, 7), (8, 10)]
    assert numbers.gaps(2, 4) == []
    assert numbers.copy().pop_first() == (2, 4)
    assert len(numbers) == 2


# --- replay window (41) and stream ids (42) ------------------------------------------------------


@pytest.mark.scenario("session", 41)
def test_a_number_is_accepted_once_and_only_within_the_window() -> None:
    window = ReplayWindow(4)
    window.accept(10)
    assert window.is_replay(10)
    assert not window.is_replay(7)
    assert window.is_replay(6)
    window.accept(15)
    assert window.is_replay(10)
    assert not window.is_replay(12)
    window.accept(12)
    assert window.is_replay(12)
    assert window.is_replay(11)


def test_a_run_of_numbers_is_remembered_behind_gaps_and_latecomers() -> None:
    window = ReplayWindow(8)
    for seq in (0, 1, 2, 4, 5, 6):
        window.accept(seq)
    assert [seq for seq in range(8) if not window.is_replay(seq)] == [3, 7]
    window.accept(3)
    assert [seq for seq in range(9) if not window.is_replay(seq)] == [7, 8]
    for seq in (7, 8, 10):
        window.accept(seq)
    assert [seq for seq in range(12) if not window.is_replay(seq)] == [9, 11]
    for seq in range(11, 40):  # a run longer than the window
        window.accept(seq)
    window.accept(41)
    assert [seq for seq in range(43) if not window.is_replay(seq)] == [40, 42]


def test_a_jump_of_any_width_costs_nothing() -> None:
    window = ReplayWindow(4096)
    window.accept(0)
    window.accept(2**64 - 1)
    assert window.is_replay(2**64 - 1)
    assert not window.is_replay(2**64 - 2)
    assert window.is_replay(0)


def test_the_smaller_identity_uses_even_ids() -> None:
    small, large = Qid(bytes(16)), Qid(b"\xff" * 16)
    even, odd = StreamIds(small, large), StreamIds(large, small)
    assert [even.allocate() for _ in range(3)] == [0, 2, 4]
    assert [odd.allocate() for _ in range(3)] == [1, 3, 5]
    assert even.is_ours(4)
    assert even.was_allocated(4)
    assert not even.was_allocated(6)
    assert not even.is_ours(5)


@pytest.mark.scenario("session", 42)
def test_an_id_of_the_peer_is_new_once_in_any_order() -> None:
    ids = StreamIds(Qid(bytes(16)), Qid(b"\xff" * 16))
    assert [ids.is_new(stream_id) for stream_id in (5, 1, 3, 1, 5, 2**64 - 1)] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]


def test_the_memory_of_sparse_ids_is_bounded() -> None:
    ids = StreamIds(Qid(bytes(16)), Qid(b"\xff" * 16))
    for ordinal in range(0, 20 * MAX_ID_RANGES, 2):
        assert ids.is_new(2 * ordinal + 1)
    assert len(ids._seen) == MAX_ID_RANGES
    assert not ids.is_new(2 * 1 + 1)  # an id from a gap that was given up counts as used


def test_the_oldest_first_message_is_forgotten_first() -> None:
    memory = FirstMessageMemory()
    digests = [number.to_bytes(16, "big") for number in range(MAX_REMEMBERED + 1)]
    for digest in digests:
        memory.add(digest)
    assert digests[0] not in memory
    assert all(digest in memory for digest in digests[1:])


# --- acknowledgements (39; 11, #2) ---------------------------------------------------------------


def told(tracker: AckTracker, budget: int = 1000) -> tuple[tuple[int, int], ...]:
    choice = tracker.peek(budget)
    if choice is None:
        return ()
    tracker.commit(choice, 0.0)
    return choice.ranges


@pytest.mark.scenario("session", 39)
def test_numbers_become_descending_ranges() -> None:
    tracker = AckTracker(64, 0.005)
    for seq in (1, 2, 3, 9, 5):
        tracker.note(seq)
    assert told(tracker) == ((9, 9), (5, 5), (1, 3))
    assert told(tracker) == ()


@pytest.mark.scenario("session", 39)
def test_too_many_ranges_drop_the_lowest() -> None:
    tracker = AckTracker(2, 0.005)
    for seq in (1, 3, 5, 7):
        tracker.note(seq)
    assert told(tracker) == ((7, 7), (5, 5))


@pytest.mark.scenario("session", 39)
def test_news_that_does_not_fit_follows_in_pages() -> None:
    tracker = AckTracker(64, 0.005)
    for seq in (1, 3, 5, 7):
        tracker.note(seq)
    tracker.schedule(1.0)
    assert told(tracker, budget=5) == ((7, 7), (5, 5))
    assert tracker.due_s == 1.005
    assert told(tracker, budget=5) == ((3, 3), (1, 1))
    assert tracker.due_s is None


def test_later_acks_repeat_what_was_told() -> None:
    tracker = AckTracker(64, 0.005)
    tracker.note(1)
    assert told(tracker) == ((1, 1),)
    tracker.note(2)
    assert told(tracker) == ((1, 2),)
    tracker.note(5)
    assert told(tracker) == ((5, 5), (1, 2))
    tracker.confirm([(1, 2)])
    tracker.note(7)
    assert told(tracker) == ((7, 7), (5, 5))


def test_only_a_few_ranges_are_repeated() -> None:
    tracker = AckTracker(64, 0.005)
    for seq in range(0, 100, 2):
        tracker.note(seq)
        told(tracker)
    tracker.note(101)
    assert len(told(tracker)) == MAX_REPEATED_RANGES + 1


def test_lost_news_is_due_at_once_and_a_request_keeps_the_earlier_time() -> None:
    tracker = AckTracker(64, 0.005)
    tracker.note(1)
    tracker.schedule(1.0)
    tracker.schedule(1.003)
    assert tracker.due_s == 1.005
    assert tracker.is_scheduled
    told(tracker)
    tracker.restore([(1, 1)], 2.0)
    assert tracker.due_s == 2.0
    assert told(tracker) == ((1, 1),)
    tracker.restore([], 3.0)
    assert tracker.due_s is None


# --- round trips (5, 6) --------------------------------------------------------------------------


def test_the_first_sample_sets_the_time_out() -> None:
    rtt = RttEstimator(0.1)
    rtt.sample(0.08)
    assert rtt.rto_s == pytest.approx(0.24)
    rtt.sample(0.08)
    assert rtt.rto_s == pytest.approx(0.08 + 4 * 0.03)
    assert rtt.smoothed_s == pytest.approx(0.08)


def test_back_off_doubles_up_to_the_bound_and_a_sample_ends_it() -> None:
    rtt = RttEstimator(1.0)
    for _ in range(10):
        rtt.back_off()
    assert rtt.rto_s == MAX_RTO_S
    rtt.sample(0.0)
    assert rtt.rto_s == MIN_RTO_S


def test_a_deadline_is_due_a_tick_of_the_clock_early() -> None:
    assert is_due(0.1 + 0.2, 0.3)
    assert not is_due(0.3, 0.2999)
    assert not is_due(None, 1e9)


# --- records on their way (11, #3) ---------------------------------------------------------------


def recovery_with(count: int, *, confirm: bool = True) -> Recovery:
    recovery = Recovery(1.0, DeliveryWindow())
    for seq in range(count):
        recovery.track(SentRecord(seq, 100 + seq, 50, RecordContent(ping=True)), 0.0)
        if confirm:
            assert recovery.confirm(100 + seq, 0.0)
    return recovery


def test_an_ack_covers_each_record_once_and_ignores_foreign_numbers() -> None:
    recovery = recovery_with(4)
    covered = recovery.acknowledge([(7, 2**64 - 1), (2, 3), (0, 0)], 0.1)
    assert [(record.seq, lost) for record, lost in covered] == [(2, False), (3, False), (0, False)]
    assert recovery.acknowledge([(0, 100)], 0.1)[0][0].seq == 1
    assert recovery.acknowledge([(0, 100)], 0.1) == []
    assert recovery.in_flight == 0


def test_a_record_times_out_once_its_write_was_confirmed() -> None:
    recovery = recovery_with(1, confirm=False)
    assert recovery.next_timeout_s() is None
    assert recovery.sweep(100.0) == []
    assert recovery.confirm(100, 5.0)
    assert not recovery.confirm(100, 6.0)
    assert recovery.next_timeout_s() == 6.0
    assert recovery.sweep(5.9) == []
    assert [record.seq for record in recovery.sweep(6.0)] == [0]
    assert recovery.rtt.rto_s == 2.0


def test_one_sweep_backs_off_once() -> None:
    recovery = recovery_with(10)
    assert len(recovery.sweep(1.0)) == 10
    assert recovery.rtt.rto_s == 2.0


def test_a_late_ack_counts_and_is_a_sample() -> None:
    recovery = recovery_with(2)
    recovery.sweep(1.0)
    covered = recovery.acknowledge([(0, 0)], 1.5)
    assert [(record.seq, lost) for record, lost in covered] == [(0, True)]
    assert recovery.rtt.smoothed_s == 1.5
    assert recovery.acknowledge([(0, 0)], 1.6) == []


def test_an_ack_of_an_unconfirmed_record_counts_without_a_sample() -> None:
    recovery = recovery_with(1, confirm=False)
    assert len(recovery.acknowledge([(0, 0)], 3.0)) == 1
    assert recovery.rtt.smoothed_s is None
    assert recovery.refuse(100) is None


def test_a_refused_record_is_forgotten_and_not_after_it_was_taken() -> None:
    recovery = recovery_with(1, confirm=False)
    refused = recovery.refuse(100)
    assert refused is not None
    assert refused.seq == 0
    assert recovery.in_flight == 0
    taken = recovery_with(1)
    assert taken.refuse(100) is None
    assert taken.in_flight == 1


def test_records_on_their_way_and_remembered_losses_are_bounded() -> None:
    recovery = Recovery(0.01, DeliveryWindow())
    seq = 0
    for round_number in range(10):
        while recovery.may_send:
            recovery.track(SentRecord(seq, seq, 50, RecordContent(ping=True)), 100.0 * round_number)
            recovery.confirm(seq, 100.0 * round_number)
            seq += 1
        assert recovery.in_flight == MAX_TRACKED_RECORDS
        recovery.sweep(100.0 * round_number + 50)
    assert len(recovery._lost) == len(recovery._lost_seqs) == MAX_REMEMBERED_LOSSES


# --- reassembly (43) -----------------------------------------------------------------------------


@pytest.mark.scenario("session", 43)
def test_bytes_are_read_in_order_whatever_order_they_came_in() -> None:
    buffer = ReceiveBuffer()
    buffer.insert(3, b"def", fin=False)
    assert buffer.readable == 0
    buffer.insert(0, b"abc", fin=False)
    assert buffer.read(4) == b"abcd"
    buffer.insert(2, b"xxxxgh", fin=True)
    assert buffer.is_complete
    assert buffer.read(100) == b"efgh"
    assert buffer.is_drained
    assert buffer.consumed == 8


@pytest.mark.scenario("session", 43)
def test_what_came_first_stays() -> None:
    buffer = ReceiveBuffer()
    buffer.insert(2, b"CD", fin=False)
    buffer.insert(6, b"GH", fin=False)
    buffer.insert(0, b"abcdefghij", fin=False)
    assert buffer.read(100) == b"abCDefGHij"


@pytest.mark.scenario("session", 43)
def test_several_gaps_are_filled_one_by_one() -> None:
    buffer = ReceiveBuffer()
    for offset in (8, 4, 2, 6):
        buffer.insert(offset, bytes([offset]), fin=False)
    buffer.insert(0, bytes(2), fin=False)
    assert buffer.readable == 3
    for offset in (3, 5, 7):
        buffer.insert(offset, bytes([offset]), fin=False)
    assert buffer.read(100) == bytes([0, 0, 2, 3, 4, 5, 6, 7, 8])


def test_too_many_pieces_are_noticed() -> None:
    buffer = ReceiveBuffer()
    for i in range(MAX_PIECES):
        buffer.insert(2 * i + 1, b"x", fin=False)
    assert not buffer.is_too_fragmented
    buffer.insert(2 * MAX_PIECES + 1, b"x", fin=False)
    assert buffer.is_too_fragmented


@pytest.mark.parametrize(
    ("offset", "payload", "fin"), [(0, b"abcdefg", False), (6, b"", False), (0, b"ab", True)]
)
def test_the_final_offset_is_final(offset: int, payload: bytes, fin: bool) -> None:
    buffer = ReceiveBuffer()
    buffer.insert(0, b"abcdef", fin=True)
    buffer.insert(2, b"cdef", fin=True)
    buffer.insert(6, b"", fin=True)
    if (offset, payload) == (6, b""):
        offset = 7
    with pytest.raises(ProtocolViolationError):
        buffer.insert(offset, payload, fin=fin)


def test_an_end_below_what_was_read_is_refused() -> None:
    buffer = ReceiveBuffer()
    buffer.insert(0, b"abcdef", fin=False)
    buffer.read(6)
    with pytest.raises(ProtocolViolationError):
        buffer.insert(0, b"abc", fin=True)


def test_a_piece_behind_a_gap_joins_one_that_was_kept_whole() -> None:
    buffer = ReceiveBuffer()
    buffer.insert(0, b"ab", fin=False)
    assert buffer.highest == 2
    buffer.insert(4, b"ef", fin=False)
    assert (buffer.highest, buffer.readable) == (6, 2)
    buffer.insert(2, b"cd", fin=False)
    assert buffer.read(100) == b"abcdef"


def test_a_piece_kept_whole_is_discarded() -> None:
    buffer = ReceiveBuffer()
    buffer.insert(0, b"abcdef", fin=False)
    buffer.discard()
    assert (buffer.consumed, buffer.readable, buffer.highest) == (0, 0, 0)


def test_discarding_keeps_the_position() -> None:
    buffer = ReceiveBuffer()
    buffer.insert(0, b"abcdef", fin=False)
    buffer.read(2)
    buffer.discard()
    assert (buffer.consumed, buffer.readable) == (2, 0)


# --- send buffer (44) ----------------------------------------------------------------------------


def buffer_with(data: bytes, *, finish: bool = False) -> SendBuffer:
    buffer = SendBuffer(1000)
    assert buffer.write(data) == len(data)
    if finish:
        buffer.finish()
    return buffer


@pytest.mark.scenario("session", 44)
def test_a_full_buffer_takes_what_fits() -> None:
    buffer = SendBuffer(4)
    assert buffer.write(b"abcdef") == 4
    assert buffer.capacity == 0
    assert take(buffer, 100, MANY) == (0, b"abcd", False)
    buffer.acknowledge(0, 3, fin=False)
    assert buffer.capacity == 3
    assert buffer.write(b"xyz!") == 3
    assert take(buffer, 100, MANY) == (4, b"xyz", False)


@pytest.mark.scenario("session", 44)
def test_lost_bytes_go_before_new_ones_and_join_them_when_adjacent() -> None:
    buffer = buffer_with(b"abcdef")
    take(buffer, 2, MANY)
    take(buffer, 2, MANY)
    buffer.lose(0, 2, fin=False)
    assert take(buffer, 100, MANY) == (0, b"ab", False)  # apart from the new ones
    buffer.lose(2, 4, fin=False)
    assert take(buffer, 3, MANY) == (2, b"cde", False)  # joined, as far as there is room
    assert take(buffer, 100, MANY) == (5, b"f", False)
    assert take(buffer, 100, MANY) is None


def test_credit_limits_new_bytes_only() -> None:
    buffer = buffer_with(b"abcdef", finish=True)
    assert take(buffer, 100, 3) == (0, b"abc", False)
    assert take(buffer, 100, 3) is None
    buffer.lose(0, 3, fin=False)
    assert take(buffer, 100, 3) == (0, b"abc", False)
    assert take(buffer, 100, 6) == (3, b"def", True)


@pytest.mark.scenario("session", 44)
def test_the_end_rides_along_or_goes_alone() -> None:
    buffer = buffer_with(b"ab")
    assert take(buffer, 100, MANY) == (0, b"ab", False)
    buffer.finish()
    assert take(buffer, 0, MANY) == (2, b"", True)
    assert take(buffer, 0, MANY) is None
    buffer.lose(2, 2, fin=True)
    buffer.lose(0, 2, fin=False)
    assert take(buffer, 100, MANY) == (0, b"ab", True)
    empty = SendBuffer(1)
    empty.finish()
    assert take(empty, 0, 0) == (0, b"", True)


def test_finished_means_that_all_arrived() -> None:
    buffer = buffer_with(b"abcd", finish=True)
    take(buffer, 2, MANY)
    take(buffer, 2, MANY)
    buffer.acknowledge(2, 4, fin=True)
    assert not buffer.is_acknowledged
    buffer.acknowledge(0, 2, fin=False)
    assert buffer.is_acknowledged


@pytest.mark.scenario("session", 44)
def test_what_was_acknowledged_is_never_sent_again() -> None:
    buffer = buffer_with(b"abcdefgh")
    take(buffer, 8, MANY)
    buffer.acknowledge(2, 4, fin=False)
    buffer.lose(0, 8, fin=False)
    assert take(buffer, 100, MANY) == (0, b"ab", False)
    buffer.acknowledge(5, 6, fin=False)  # a late ACK of what is known as lost
    assert take(buffer, 100, MANY) == (4, b"e", False)
    assert take(buffer, 100, MANY) == (6, b"gh", False)
    buffer.acknowledge(0, 2, fin=False)
    assert buffer.end == 8
    buffer.lose(0, 2, fin=False)
    assert take(buffer, 100, MANY) is None


def test_a_finished_buffer_takes_nothing_more() -> None:
    buffer = buffer_with(b"ab", finish=True)
    assert buffer.write(b"c") == 0
    buffer.discard()
    assert take(buffer, 100, MANY) is None


# --- credit, memory, back-off, settings ----------------------------------------------------------


def test_credit_is_told_when_it_is_news_or_the_peer_runs_dry() -> None:
    window = ReceiveWindow(100)
    assert window.allows(100, 0)
    assert not window.allows(101, 0)
    assert not window.should_update(0, 0)
    assert not window.should_update(24, 24)
    assert window.should_update(25, 25)
    assert window.should_update(1, 50)
    assert window.advertise(25, 0.0) == 125
    window.grow(200)
    assert (window.size, window.growth) == (300, 200)
    assert window.should_update(25, 25)
    assert window.advertise(25, 0.0) == 325


def test_memory_is_set_aside_and_given_back() -> None:
    budget = MemoryBudget(100)
    assert budget.reserve(60)
    assert not budget.reserve(41)
    assert budget.free == 40
    assert budget.reserve_growth(60) == 25  # a quarter of all
    assert budget.reserve_growth(1) == 0
    assert budget.reserve_growth(-1) == 0
    window = ReceiveWindow(60)
    window.grow(25)
    budget.release(window)
    assert budget.reserve(90)
    assert budget.reserve_growth(60) == 10


def test_refused_writes_wait_longer_and_longer() -> None:
    backoff = WriteBackoff()
    assert not backoff.is_waiting(0.0)
    backoff.fail(0.0)
    backoff.fail(0.0)
    assert backoff.retry_at_s == FIRST_WAIT_S
    assert backoff.postpone(0.0) == FIRST_WAIT_S
    assert backoff.postpone(None) is None
    backoff.end_if_due(FIRST_WAIT_S)
    assert backoff.postpone(0.0) == 0.0
    for second in range(1, 20):
        backoff.fail(float(second * 10))
        backoff.end_if_due(float(second * 10 + 5))
    backoff.fail(1000.0)
    assert backoff.retry_at_s == 1000.0 + MAX_WAIT_S
    backoff.succeed()
    backoff.fail(2000.0)
    assert backoff.retry_at_s == 2000.0 + FIRST_WAIT_S


@pytest.mark.parametrize(
    "values",
    [
        {"record_max_size": 60},
        {"initial_stream_receive_window": 0},
        {"initial_stream_receive_window": 40_000},
        {"accepted_record_window": 0},
        {"stream_send_buffer_size": 0},
        {"max_stream_send_buffer_size": -1},
        {"max_send_growth": -1},
        {"max_receive_memory": 1},
        {"pending_ack_range_limit": 0},
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        LinkConfig(**values)  # type: ignore[arg-type]  # the keys are checked by the call
    with pytest.raises(ConfigError):
        StreamOptions(receive_window=0)


def test_our_settings_have_larger_windows_within_the_memory() -> None:
    tuned = LinkConfig.tuned()
    assert tuned.initial_stream_receive_window == 65_536
    for_peer = tuned.max_peer_streams * tuned.initial_stream_receive_window
    assert for_peer == tuned.max_receive_memory // 2
    assert LinkConfig().max_own_header_size == 8089
