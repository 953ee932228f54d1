"""Properties of the wire layer: round trips, refusal of damaged bytes, bounded memory."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.quantumlink import (
    NATIVE,
    SUITES,
    Ack,
    AckBuilder,
    BodyBuilder,
    Close,
    Frame,
    Handshake,
    HandshakeRecord,
    Identity,
    Invite,
    PairingLink,
    PairingToken,
    Pattern,
    PeerBundle,
    Ping,
    Qid,
    RemoteError,
    ResetTarget,
    SecretBytes,
    SessionOpener,
    SessionRecord,
    SessionSealer,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    Suite,
    TransportParams,
    Unpair,
    encode_frame,
    fit_ack_ranges,
    parse_frames_untrusted,
    parse_record_untrusted,
)
from primegap.quantumlink.codec import Reader, put_varint, varint_size

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)


@st.composite
def ack_ranges(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """Draw descending ranges with gaps, near the top or the bottom of the numbers."""
    steps = draw(st.lists(st.tuples(st.integers(2, 300), st.integers(0, 300)), max_size=150))
    first_length = draw(st.integers(0, 2**40))
    need = first_length + sum(gap + length for gap, length in steps)
    high = draw(st.integers(need, 2**64 - 1) | st.just(need))
    ranges = [(high - first_length, high)]
    for gap, length in steps:
        high = ranges[-1][0] - gap
        ranges.append((high - length, high))
    return tuple(ranges)


openings = st.builds(StreamOpening, U32, U32, st.binary(max_size=40))
frames: st.SearchStrategy[Frame] = st.one_of(
    st.just(Ping()),
    st.just(Unpair()),
    st.builds(Ack, ack_ranges()),
    st.builds(StreamData, U64, U64, st.booleans(), st.none(), st.binary(max_size=200)),
    st.builds(StreamData, U64, st.just(0), st.booleans(), openings, st.binary(max_size=200)),
    st.builds(StreamWindow, U64, U64),
    st.builds(StreamReset, U64, st.sampled_from(ResetTarget), U64),
    st.builds(Close, U64),
)


@given(value=U64, bits=st.sampled_from([8, 16, 32, 64]), tail=st.binary(max_size=3))
def test_varint_round_trip(value: int, bits: int, tail: bytes) -> None:
    value &= (1 << bits) - 1
    encoded = put_varint(value)
    assert len(encoded) == varint_size(value)
    reader = Reader(encoded + tail)
    assert reader.varint(bits) == value
    assert reader.remaining == len(tail)


@given(data=st.binary(max_size=12), bits=st.sampled_from([8, 16, 32, 64]))
def test_every_varint_has_one_encoding(data: bytes, bits: int) -> None:
    reader = Reader(data)
    try:
        value = reader.varint(bits)
    except RemoteError:
        return
    assert value < 1 << bits
    assert put_varint(value) == data[: reader.position]


@given(body=st.lists(frames, max_size=8))
def test_frames_round_trip(body: list[Frame]) -> None:
    assert list(parse_frames_untrusted(b"".join(map(encode_frame, body)))) == body


@given(body=st.lists(frames, max_size=8), seq=U64, size=st.integers(60, 2000))
def test_builder_keeps_to_its_size(body: list[Frame], seq: int, size: int) -> None:
    builder = BodyBuilder(seq, size)
    kept = [frame for frame in body if builder.append(frame)]
    assert list(parse_frames_untrusted(builder.body())) == kept
    source = SessionSealer(SUITES[1], SecretBytes(bytes(32)), Qid(bytes(16)), Qid(bytes(16)))
    assert len(source.seal(seq, builder.body())) + builder.remaining == size


@given(data=st.binary(max_size=300))
def test_random_bodies_raise_only_remote_errors(data: bytes) -> None:
    try:
        read = list(parse_frames_untrusted(data))
    except RemoteError:
        return
    assert list(parse_frames_untrusted(b"".join(map(encode_frame, without_openings(read))))) == (
        without_openings(read)
    )


def without_openings(read: list[Frame]) -> list[Frame]:
    """Leave out what is read but never written: an opening at another offset than 0."""
    return [f for f in read if not (isinstance(f, StreamData) and f.opening and f.offset)]


@given(body=st.lists(frames, min_size=1, max_size=4), data=st.data())
def test_damaged_bodies_raise_only_remote_errors(body: list[Frame], data: st.DataObject) -> None:
    encoded = bytearray(b"".join(map(encode_frame, body)))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    with contextlib.suppress(RemoteError):
        list(parse_frames_untrusted(bytes(encoded[:cut])))


@given(ranges=ack_ranges(), budget=st.integers(0, 400))
def test_ack_fits_its_budget_and_takes_all_it_can(
    ranges: tuple[tuple[int, int], ...], budget: int
) -> None:
    kept = fit_ack_ranges(ranges, budget)
    assert kept == ranges[: len(kept)]
    if kept:
        assert len(encode_frame(Ack(kept))) - 1 <= budget
    if len(kept) < len(ranges):
        assert len(encode_frame(Ack(ranges[: len(kept) + 1]))) - 1 > budget
    builder = AckBuilder()
    assert all(builder.add(low, high) for low, high in ranges)
    assert b"\x02" + builder.encode() == encode_frame(Ack(ranges))


@pytest.mark.parametrize(
    "body",
    [
        b"\x02\x2a" + b"\xff\xff\xff\xff\x0f" + bytes(4000),
        b"\x03\x01\x00\x00" + b"\xff\xff\xff\xff\x0f" + bytes(4000),
        b"\x03\x01\x00\x02\x01\x01" + b"\xff\xff\xff\xff\x0f" + bytes(4000),
    ],
    ids=["ack-blocks", "payload", "header"],
)
def test_announced_sizes_reserve_no_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RemoteError):
            list(parse_frames_untrusted(body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@given(data=st.binary(max_size=200))
def test_random_records_raise_only_remote_errors(data: bytes) -> None:
    try:
        record = parse_record_untrusted(data)
    except RemoteError:
        return
    sink = SessionOpener(NATIVE, SecretBytes(bytes(32)), record.sender, record.recipient)
    if isinstance(record, SessionRecord):
        with pytest.raises(RemoteError):
            sink.open(record)


@given(data=st.binary(max_size=1800), suite=st.sampled_from(SUITES))
def test_random_bundles_raise_only_remote_errors(data: bytes, suite: Suite) -> None:
    with pytest.raises(RemoteError):
        PeerBundle.parse_untrusted(data, suite).validate()


@given(body=st.binary(max_size=500), seq=st.integers(0, 2**17 - 1), suite=st.sampled_from(SUITES))
def test_sealed_records_open(body: bytes, seq: int, suite: Suite) -> None:
    route = (Qid(b"\x01" * 16), Qid(b"\x02" * 16))
    record = parse_record_untrusted(
        SessionSealer(suite, SecretBytes(b"k" * 32), *route).seal(seq, body)
    )
    assert isinstance(record, SessionRecord)
    assert SessionOpener(suite, SecretBytes(b"k" * 32), *route).open(record) == body


@cache
def waiting(suite: Suite) -> list[tuple[Handshake | None, bytes]]:
    """Return states that wait for a message, with the genuine one; None: a fresh responder."""
    states: list[tuple[Handshake | None, bytes]] = []
    for pattern in Pattern:
        xx = pattern is Pattern.XX
        state, first = Handshake.initiate(
            pattern,
            suite=suite,
            identity=peer(suite, 1),
            remote=peer(suite, 2).qid if xx else peer(suite, 2).bundle,
            token=PairingToken(bytes(16)) if xx else None,
            handshake_id=1,
            params=TransportParams(),
            rng=random.Random(3).randbytes,
        )
        states.append((None, first))
        responder, second = respond(suite, first)
        states.append((state, second))
        if xx:
            state, third = state.receive(handshake_record(second))
            assert third is not None
            _, fourth = responder.receive(handshake_record(third))
            assert fourth is not None
            states += [(responder, third), (state, fourth)]
    return states


@cache
def peer(suite: Suite, number: int) -> Identity:
    return Identity.generate(suite, f"peer {number}", random.Random(number).randbytes)


def handshake_record(data: bytes) -> HandshakeRecord:
    record = parse_record_untrusted(data)
    assert isinstance(record, HandshakeRecord)
    return record


def respond(suite: Suite, data: bytes) -> tuple[Handshake, bytes]:
    return Handshake.respond(
        handshake_record(data),
        suite=suite,
        identity=peer(suite, 2),
        expected=peer(suite, 1).bundle,
        token=PairingToken(bytes(16)),
        params=TransportParams(),
        rng=random.Random(4).randbytes,
    )


@settings(max_examples=60)
@given(suite=st.sampled_from(SUITES), choice=st.integers(0, 7), data=st.data())
def test_damaged_handshake_messages_raise_only_remote_errors(
    suite: Suite, choice: int, data: st.DataObject
) -> None:
    state, genuine = waiting(suite)[choice]
    damaged = bytearray(genuine)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(33, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(damaged) - 60, len(damaged)) | st.integers(0, len(damaged)))
    try:
        record = parse_record_untrusted(bytes(damaged[:cut]))
        if isinstance(record, HandshakeRecord):
            if state is None:
                respond(suite, bytes(damaged[:cut]))
            else:
                state.receive(record)
    except RemoteError:
        pass
    if state is not None:
        state.receive(handshake_record(genuine))  # the attempt is not spoiled


addresses = st.none() | st.binary(min_size=6, max_size=6)
names = st.none() | st.text(max_size=60)


@given(
    suite=st.sampled_from(SUITES),
    qid=st.binary(min_size=16, max_size=16),
    token=st.binary(min_size=16, max_size=16),
    address=addresses,
    name=names,
)
def test_pairing_links_round_trip(
    suite: Suite, qid: bytes, token: bytes, address: bytes | None, name: str | None
) -> None:
    link = PairingLink(Invite(suite, Qid(qid), PairingToken(token)), address, name)
    assert PairingLink.parse_untrusted(link.encode()) == link


LINK = PairingLink(Invite(NATIVE, Qid(bytes(16)), PairingToken(bytes(16))), bytes(6), "é").encode()


@given(text=st.text(max_size=200), at=st.integers(0, len(LINK)), length=st.integers(0, 3))
def test_damaged_links_raise_only_remote_errors(text: str, at: int, length: int) -> None:
    for candidate in (text, "primegap:pair?" + text, LINK[:at] + text[:5] + LINK[at + length :]):
        with contextlib.suppress(RemoteError):
            PairingLink.parse_untrusted(candidate)
