"""Readers of lanes under noise and arbitrary cuts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from primegap.quantumlink.rpc import (
    PART_END,
    AppRouteKey,
    EventReader,
    InvalidRouteKeyError,
    LaneReader,
    MultipartReader,
    PartBody,
    PartTag,
    Pause,
    ProgressReader,
    ProgressTag,
    RpcError,
    ServiceRouteKey,
    ValueReader,
    encode_part,
    encode_tagged_part,
)

small = st.binary(max_size=24)
READERS: tuple[Callable[[], LaneReader[object]], ...] = (
    lambda: ValueReader(64),
    lambda: EventReader(20),
    lambda: ProgressReader(20),
    lambda: MultipartReader(preamble_limit=20, header_limit=20),
)
chunks = st.lists(
    small
    | st.builds(encode_part, small)
    | st.builds(encode_tagged_part, st.sampled_from([*PartTag, *ProgressTag]), small)
    | st.just(PART_END),
    max_size=8,
).map(b"".join)


def outcome(reader: LaneReader[object], pieces: list[bytes]) -> list[object]:
    items: list[object] = []
    item: object = None
    body = bytearray()
    for index in range(len(pieces) + 1):
        if index == len(pieces):
            reader.receive_end()
        else:
            reader.receive(pieces[index])
        while True:
            try:
                item = reader.take()
            except RpcError as error:
                return [*items, bytes(body), type(error)]
            if isinstance(item, Pause):
                break
            if isinstance(item, PartBody):
                assert item.data
                body += item.data
            else:
                items.append(item)
    return [*items, bytes(body), item]


@given(stream=chunks, cuts=st.lists(st.integers(0, 200), max_size=8))
def test_cuts_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    for make in READERS:
        assert outcome(make(), pieces) == outcome(make(), [stream])


@given(values=st.lists(small, max_size=6))
def test_events_come_back(values: list[bytes]) -> None:
    stream = b"".join(map(encode_part, values))
    assert outcome(EventReader(24), [stream]) == [*values, b"", Pause.END]


@given(header=small)
def test_headers_parse_to_what_encodes_to_them_or_are_refused(header: bytes) -> None:
    for kind in (AppRouteKey, ServiceRouteKey):
        try:
            key = kind.parse_untrusted(header)
        except InvalidRouteKeyError:
            continue
        assert key.encode() == header
