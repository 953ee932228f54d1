"""The parts of the session engine against plain models of what they mean."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.send_buffer_kit import take

from primegap.quantumlink.session.ack_tracker import AckTracker
from primegap.quantumlink.session.ranges import RangeSet
from primegap.quantumlink.session.receive_buffer import ReceiveBuffer
from primegap.quantumlink.session.replay import ReplayWindow
from primegap.quantumlink.session.send_buffer import SendBuffer

SMALL = st.integers(0, 60)
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), SMALL, SMALL), max_size=40))
def test_a_range_set_is_a_set_of_numbers(steps: list[tuple[str, int, int]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for action, start, stop in steps:
        if action == "add":
            ranges.add(start, stop)
            model |= set(range(start, stop))
        else:
            ranges.remove(start, stop)
            model -= set(range(start, stop))
        held = list(ranges)
        assert {n for low, high in held for n in range(low, high)} == model
        assert all(low < high for low, high in held)
        assert all(a[1] < b[0] for a, b in pairwise(held))  # never touching
        assert [n for n in range(61) if n in ranges] == sorted(model)
        missing = {n for low, high in ranges.gaps(5, 50) for n in range(low, high)}
        assert missing == set(range(5, 50)) - model


@FEW
@given(
    size=st.integers(1, 12),
    steps=st.lists(st.sampled_from([1, 1, 1, 2, 5, 0, -1, -2, -4]), max_size=60),
)
def test_a_replay_window_accepts_each_number_once(size: int, steps: list[int]) -> None:
    window, accepted = ReplayWindow(size), set[int]()
    seq = 5
    for step in steps:  # mostly in order, with gaps and latecomers
        seq = max(seq + step, 0)
        is_old = bool(accepted) and seq < max(accepted) - (size - 1)
        assert window.is_replay(seq) == (seq in accepted or is_old)
        if not window.is_replay(seq):
            window.accept(seq)
            accepted.add(seq)


@FEW
@given(
    data=st.integers(30, 80).map(lambda size: bytes(range(1, size + 1))),
    pieces=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), max_size=30),
    reads=st.lists(st.integers(0, 20), max_size=30),
)
def test_reassembly_gives_the_bytes_in_order(
    data: bytes, pieces: list[tuple[int, int]], reads: list[int]
) -> None:
    buffer, got = ReceiveBuffer(), b""
    for (a, b), amount in zip(pieces, [*reads, *[0] * len(pieces)], strict=False):
        low, high = min(a, b, len(data)), min(max(a, b), len(data))
        buffer.insert(low, data[low:high], fin=high == len(data))
        got += buffer.read(amount)
        assert data.startswith(got)
    buffer.insert(0, data, fin=True)
    got += buffer.read(1000)
    assert got == data
    assert buffer.is_drained


@FEW
@given(
    data=st.binary(min_size=1, max_size=60),
    size=st.integers(1, 40),
    script=st.lists(
        st.tuples(st.sampled_from(["write", "take", "ack", "lose", "credit"]), st.integers(0, 25)),
        max_size=60,
    ),
)
def test_a_send_buffer_sends_everything_in_the_end(
    data: bytes, size: int, script: list[tuple[str, int]]
) -> None:
    buffer, credit, written = SendBuffer(size), 10, 0
    arrived = dict[int, int]()
    in_flight: list[tuple[int, bytes, bool]] = []
    ended = False
    for action, number in [*script, *[("credit", 25), ("write", 25)] * 3]:
        if action == "write":
            written += buffer.write(data[written : written + number])
        elif action == "credit":
            credit += number
        elif action == "take":
            chunk = take(buffer, number, credit)
            if chunk is not None:
                offset, payload, fin = chunk
                assert offset + len(payload) <= max(credit, 0)
                assert payload == data[offset : offset + len(payload)]
                in_flight.append(chunk)
        elif in_flight:
            offset, payload, fin = in_flight.pop(number % len(in_flight))
            if action == "ack":
                arrived.update(zip(range(offset, offset + len(payload)), payload, strict=True))
                buffer.acknowledge(offset, offset + len(payload), fin=fin)
            else:
                buffer.lose(offset, offset + len(payload), fin=fin)
        assert buffer.capacity <= size
    credit = 1000
    for offset, payload, fin in in_flight:
        buffer.lose(offset, offset + len(payload), fin=fin)
    while not ended:
        written += buffer.write(data[written:])
        if written == len(data):
            buffer.finish()
        chunk = take(buffer, 7, credit)
        assert chunk is not None
        offset, payload, fin = chunk
        arrived.update(zip(range(offset, offset + len(payload)), payload, strict=True))
        buffer.acknowledge(offset, offset + len(payload), fin=fin)
        ended = buffer.is_acknowledged
    assert bytes(arrived[i] for i in range(len(data))) == data
    assert take(buffer, 7, credit) is None


@FEW
@given(
    seqs=st.lists(st.integers(0, 200), unique=True, max_size=60),
    budgets=st.lists(st.integers(3, 30), min_size=1, max_size=10),
)
def test_every_number_is_told_and_none_that_did_not_come(
    seqs: list[int], budgets: list[int]
) -> None:
    tracker, told = AckTracker(1000, 0.0), set[int]()
    for i, seq in enumerate(seqs):
        tracker.note(seq)
        choice = tracker.peek(budgets[i % len(budgets)])
        if choice is not None and i % 3:
            tracker.commit(choice, 0.0)
            told |= {n for low, high in choice.ranges for n in range(low, high + 1)}
    while (choice := tracker.peek(10)) is not None:
        tracker.commit(choice, 0.0)
        told |= {n for low, high in choice.ranges for n in range(low, high + 1)}
    assert told == set(seqs)
