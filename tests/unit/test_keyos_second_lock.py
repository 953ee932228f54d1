"""The second lock against the real kernel: what a filtered socket lets through."""

from __future__ import annotations

import itertools
import os
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.keyos.channel import channel_pair
from primegap.keyos.frame import CALLER, HEADER, Frame, Kind, encode_frame
from primegap.keyos.sandbox.second_lock import (
    STUB_BYTES,
    attach,
    connection_filter,
    parse_stub_untrusted,
    ranges_of,
    service_filter,
)

ids = st.integers(0, 2**32 - 1) | st.integers(0, 40)


def through(program: bytes, *datagrams: bytes, lock: bool = False) -> list[bytes]:
    """Return what is received of these datagrams by a socket with a filter."""
    ours, theirs = channel_pair()
    with ours, theirs:
        attach(ours, program, lock=lock)
        ours.setblocking(False)
        for data in datagrams:
            theirs.send(data)
        found = []
        try:
            while True:
                found.append(ours.recv(8192))
        except BlockingIOError:
            return found


def request(message_id: int, *, kind: int = Kind.REQUEST, payload: bytes = b"secret") -> bytes:
    data = bytearray(encode_frame(Frame(kind=Kind.REQUEST, correlation=77, payload=payload)))
    data[1] = kind
    data[4:8] = struct.pack(">I", message_id)
    return bytes(data)


@pytest.mark.guarantee("P-1", "P-2", tried="random sets of ids against the kernel's filter")
@given(granted=st.sets(ids, max_size=40), asked=st.lists(ids, max_size=20))
@settings(deadline=None, max_examples=60)
def test_only_granted_ids_pass_whole(granted: set[int], asked: list[int]) -> None:
    asked += [i for g in list(granted)[:6] for i in (g - 1, g, g + 1) if 0 <= i < 2**32]
    found = through(connection_filter(granted), *map(request, asked))
    assert len(found) == len(asked)
    for data, message_id in zip(found, asked, strict=True):
        whole = request(message_id)
        if message_id in granted:
            assert data == whole
        else:
            assert data == whole[:STUB_BYTES]
            assert parse_stub_untrusted(data) == (Kind.REQUEST, message_id, 77)


@pytest.mark.guarantee("P-8", tried="kinds that a client may not send, against the kernel's filter")
@given(granted=st.sets(ids, max_size=10), kind=st.integers(0, 255), message_id=ids)
@settings(deadline=None, max_examples=60)
def test_only_requests_and_cancels_pass_whole(
    granted: set[int], kind: int, message_id: int
) -> None:
    data = request(message_id, kind=kind)
    (found,) = through(connection_filter(granted), data)
    passes = kind == Kind.CANCEL or (kind == Kind.REQUEST and message_id in granted)
    assert found == (data if passes else data[:STUB_BYTES])


def test_what_is_shorter_than_a_header_is_left_to_the_router() -> None:
    short = [os.urandom(size) for size in range(1, HEADER.size)]
    assert through(connection_filter({1}), *short) == short


def test_another_version_is_cut() -> None:
    data = b"\x02" + request(1)[1:]
    assert through(connection_filter({1}), data) == [data[:STUB_BYTES]]
    assert parse_stub_untrusted(data[:STUB_BYTES]) is None


@given(offered=st.sets(ids, max_size=20), asked=st.lists(ids, max_size=20))
@settings(deadline=None, max_examples=40)
def test_a_service_gets_what_its_manifest_offers_and_cancels(
    offered: set[int], asked: list[int]
) -> None:
    sent = [bytes(CALLER.size) + request(message_id) for message_id in asked]
    cancel = bytes(CALLER.size) + request(0, kind=Kind.CANCEL, payload=b"")
    answer = bytes(CALLER.size) + request(0, kind=Kind.REPLY)
    found = through(service_filter(offered), *sent, cancel, answer, b"x", lock=True)
    wanted = [data for data, number in zip(sent, asked, strict=True) if number in offered]
    assert found == [*wanted, cancel]


@pytest.mark.guarantee("P-2", tried="the filter removed from its socket")
def test_a_locked_filter_stays() -> None:
    ours, theirs = channel_pair()
    with ours, theirs:
        attach(ours, service_filter({1}), lock=True)
        with pytest.raises(PermissionError):
            attach(ours, service_filter({1, 2}))
        with pytest.raises(PermissionError):
            ours.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER
        with pytest.raises(PermissionError):
            ours.setsockopt(socket.SOL_SOCKET, 44, 0)  # SO_LOCK_FILTER


@pytest.mark.guarantee("P-9", tried="a filter replaced between two datagrams")
def test_a_replaced_filter_holds_for_the_next_datagram() -> None:
    ours, theirs = channel_pair()
    with ours, theirs:
        attach(ours, connection_filter({1}))
        theirs.send(request(1))
        attach(ours, connection_filter({2}))
        theirs.send(request(1))
        theirs.send(request(2))
        assert [len(ours.recv(8192)) for _ in range(3)] == [70, STUB_BYTES, 70]


@given(numbers=st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_the_ids(numbers: set[int]) -> None:
    ranges = ranges_of(numbers)
    assert {n for low, high in ranges for n in range(low, high + 1)} == numbers
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(ranges))


def test_a_filter_too_large_for_the_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="more message ids"):
        connection_filter(range(0, 8000, 2))
