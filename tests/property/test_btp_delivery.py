"""BTP: whatever the air does to packets, records come out whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primegap.btp import (
    MAX_OPEN_RECORDS,
    MAX_RECORD_BYTES,
    Chunker,
    Dechunker,
    RemoteBtpError,
    is_newer,
)

sequences = st.integers(0, 65_535)
records = st.integers(1, 2_000).flatmap(lambda n: st.binary(min_size=n, max_size=n))


@pytest.mark.scenario("btp", 14)
@given(start=sequences, old=records, new=records, data=st.data())
def test_two_neighbouring_records_survive_any_order_and_any_duplicates(
    start: int, old: bytes, new: bytes, data: st.DataObject
) -> None:
    chunker = Chunker(start)
    packets = chunker.chunk(old) + chunker.chunk(new)
    order = data.draw(st.permutations(packets))
    receiver = Dechunker()
    out = [receiver.receive(packet, now_s=0.0) for packet in order]
    assert sorted(record for record in out if record is not None) == sorted([old, new])
    assert receiver.open_records == 0


@given(start=sequences, record=records, data=st.data())
def test_duplicates_and_order_do_not_change_a_record(
    start: int, record: bytes, data: st.DataObject
) -> None:
    packets = Chunker(start).chunk(record)
    order = data.draw(st.permutations(packets * 2))
    receiver = Dechunker()
    out = [receiver.receive(packet, now_s=0.0) for packet in order]
    assert {r for r in out if r is not None} == {record}


@pytest.mark.guarantee("L-9", "H-6", tried="hostile chunks")
@given(
    packets=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 700),
            st.integers(0, 250),
            st.floats(0, 10),
        )
        | st.binary(max_size=260),
        max_size=60,
    )
)
def test_hostile_packets_raise_only_the_remote_error_and_memory_stays_bounded(
    packets: list[tuple[int, int, int, int, float] | bytes],
) -> None:
    receiver = Dechunker()
    now_s = 0.0
    for item in packets:
        if isinstance(item, bytes):
            packet = item
        else:
            sequence, index, length, size, wait_s = item
            now_s += wait_s
            packet = (
                sequence.to_bytes(2, "little")
                + index.to_bytes(2, "little")
                + length.to_bytes(3, "little")
                + b"\xb2"
                + bytes(size)
            )
        try:
            record = receiver.receive(packet, now_s=now_s)
        except RemoteBtpError:
            continue
        assert record is None or len(record) <= MAX_RECORD_BYTES
        assert receiver.open_records <= MAX_OPEN_RECORDS


@given(a=sequences, b=sequences)
def test_of_two_different_sequences_at_most_one_is_newer(a: int, b: int) -> None:
    half_turn = (a - b) % 65_536 == 32_768
    assert is_newer(a, b) + is_newer(b, a) == (0 if a == b or half_turn else 1)
