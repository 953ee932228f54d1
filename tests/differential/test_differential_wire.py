"""Our decoders of the wire against a second one: the same value, or the same refusal."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.differential import second_wire as second

from primegap.btp import Chunker, Dechunker, RemoteBtpError
from primegap.quantumlink import (
    NATIVE,
    REFERENCE,
    Ack,
    Close,
    Frame,
    Ping,
    RemoteError,
    StreamData,
    StreamReset,
    StreamWindow,
    Suite,
    Unpair,
    parse_frames_untrusted,
    parse_record_untrusted,
)
from primegap.quantumlink.messages import parse_message_untrusted
from primegap.quantumlink.records import HandshakeRecord
from primegap.quantumlink.rpc import AppRouteKey, RpcError, ServiceRouteKey

VECTORS: Final = Path(__file__).parents[1] / "vectors"
WIRE: Final[dict[str, Any]] = json.loads((VECTORS / "quantumlink-v2-wire-vectors.json").read_text())
API: Final[dict[str, Any]] = json.loads((VECTORS / "quantumlink-v2-api-vectors.json").read_text())

Outcome = tuple[str, Any]


def hex_strings(value: object) -> Iterator[bytes]:
    """Return every piece of a file of vectors that is hexadecimal."""
    if isinstance(value, dict):
        for item in value.values():
            yield from hex_strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from hex_strings(item)
    elif isinstance(value, str) and len(value) % 2 == 0:
        try:
            yield bytes.fromhex(value)
        except ValueError:
            return


SEEDS: Final = sorted({data for data in hex_strings(WIRE) if len(data) <= 9000})
ROUTES: Final = sorted(set(hex_strings(API["route_keys"])))


def mutations(seed: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data) + 1)
            action = chance.randrange(4)
            if action == 0 and at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            elif action == 1:
                del data[at : at + chance.randint(1, 8)]
            elif action == 2:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
            elif at < len(data):
                data[at] = chance.choice((0, 1, 2, 3, 0x7F, 0x80, 0xFF))
        yield bytes(data)


# --- ours, in the second decoder's words ----------------------------------------------------------


def plain(frame: Frame) -> tuple[Any, ...]:
    match frame:
        case Ping():
            return ("ping",)
        case Ack(ranges):
            return ("ack", tuple(ranges))
        case StreamData():
            opening = frame.opening
            return (
                "data",
                frame.stream_id,
                frame.offset,
                frame.fin,
                None
                if opening is None
                else (
                    opening.receive_window,
                    opening.requested_peer_receive_window,
                    bytes(opening.header),
                ),
                bytes(frame.payload),
            )
        case StreamWindow():
            return ("window", frame.stream_id, frame.maximum_offset)
        case StreamReset():
            return ("reset", frame.stream_id, int(frame.target), frame.code)
        case Close():
            return ("close", frame.code)
        case Unpair():
            return ("unpair",)


def our_frames(body: bytes) -> tuple[list[tuple[Any, ...]], str | None]:
    found = []
    try:
        for frame in parse_frames_untrusted(body):
            found.append(plain(frame))  # noqa: PERF401 - what came before an error counts
    except RemoteError as error:
        return found, error.name
    return found, None


def our_record(data: bytes) -> Outcome:
    try:
        record = parse_record_untrusted(data)
    except RemoteError as error:
        return "refused", error.name
    outside = (record.version, bytes(record.sender), bytes(record.recipient))
    if isinstance(record, HandshakeRecord):
        return "value", (
            "handshake",
            *outside,
            int(record.kind),
            record.handshake_id,
            bytes(record.message),
        )
    return "value", (
        "session",
        *outside,
        record.seq,
        bytes(record.tag),
        bytes(record.ciphertext),
    )


def second_outcome(function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return "value", function(*arguments)
    except second.RefusedError as refused:
        return "refused", refused.name


def check_record(data: bytes) -> None:
    ours, theirs = our_record(data), second_outcome(second.record, data)
    assert ours == theirs
    if theirs[0] == "value" and theirs[1][0] == "handshake":
        for suite in (NATIVE, REFERENCE):
            check_message(data, theirs[1][4], theirs[1][6], suite)


def check_message(data: bytes, number: int, body: bytes, suite: Suite) -> None:
    record = parse_record_untrusted(data)
    assert isinstance(record, HandshakeRecord)
    theirs = second_outcome(second.message, number, body, suite.name)
    try:
        ours = parse_message_untrusted(record, suite)
    except RemoteError as error:
        # IK1 needs a bundle and KK1 none; that is said when the message is processed (wire 6.3).
        assert theirs == ("refused", error.name)
        return
    assert theirs[0] == "value"
    *fields, rest = theirs[1]
    if number in {1, 3, 6, 7}:  # behind the others, extra bytes are ignored
        fields.append(rest)
    assert ours.encode() == b"".join(fields)


def check_routes(header: bytes) -> None:
    theirs = second_outcome(second.app_route, header)
    try:
        app = AppRouteKey.parse_untrusted(header)
    except RpcError:
        assert theirs[0] == "refused"
    else:
        assert theirs == ("value", (bytes(app.app_id), app.route_id))
    theirs = second_outcome(second.service_route, header)
    try:
        service = ServiceRouteKey.parse_untrusted(header)
    except RpcError:
        assert theirs[0] == "refused"
    else:
        assert theirs == ("value", (service.service_id, service.route_id))


# --- the comparison -------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [check_record, check_routes])
def test_vectors(check: Callable[[bytes], None]) -> None:
    assert len(SEEDS) > 150
    for data in [*SEEDS, *ROUTES]:
        check(data)


def test_frames_of_vectors() -> None:
    for data in SEEDS:
        assert our_frames(data) == second.frames(data)


def test_mutated_vectors() -> None:
    chance = random.Random(20_331)
    for seed in SEEDS:
        for data in mutations(seed, chance, 8):
            check_record(data)
            assert our_frames(data) == second.frames(data)
    for seed in ROUTES:
        for data in mutations(seed, chance, 40):
            check_routes(data)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes(data: bytes) -> None:
    assert our_frames(data) == second.frames(data)
    check_record(b"\x82" + bytes(32) + data)
    check_routes(data)
    check_routes(bytes(16) + data[:7])


def leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 2**64 + 5).map(leb128),
            st.sampled_from([b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07"]),
            st.integers(0, 20).map(lambda value: bytes([value])),
        ),
        max_size=12,
    )
)
def test_random_frames(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert our_frames(body) == second.frames(body)


ERRORS: Final = {
    "btp-header-too-small": "header too small",
    "btp-unsupported-version": "unsupported version",
    "btp-record-too-large": "record too large",
    "btp-invalid-chunk-index": "invalid chunk index",
    "btp-chunk-too-small": "chunk too small",
    "btp-stale-sequence": "stale sequence",
    "btp-length-changed": "length changed",
}


@pytest.mark.parametrize("seed", range(6))
def test_btp_receivers_agree_on_every_packet(seed: int) -> None:
    chance = random.Random(seed)
    ours, theirs = Dechunker(), second.Receiver()
    now_s, seen = 0.0, set()
    base = chance.randrange(65536)
    for _ in range(2500):
        sequence = (base + chance.choice((0, 0, 1, 1, 2, 3, 32768, 65000))) % 65536
        size = chance.choice((1, 236, 237, 500, 1000, 8192, 131072))
        packets = Chunker(sequence).chunk(bytes([sequence & 0xFF]) * size)
        packet = packets[chance.randrange(min(len(packets), 3))]
        if chance.random() < 0.2:
            packet = next(mutations(packet, chance, 1))
        if chance.random() < 0.01:
            packet = packet[:6] + b"\x03" + packet[7:]
        if chance.random() < 0.05:
            packet = packet[: chance.randrange(len(packet) + 1)]
        now_s += chance.choice(
            (0.0, 0.001, 0.3, 1.0, 4.999, 5.0) if chance.random() < 0.1 else (0,)
        )
        if chance.random() < 0.01:
            base = chance.randrange(65536)
        expected = second_outcome(theirs.receive, packet, now_s)
        try:
            outcome: Outcome = "value", ours.receive(packet, now_s=now_s)
        except RemoteBtpError as error:
            outcome = "refused", ERRORS[error.code]
        assert outcome == expected
        seen.add(expected[0] if expected[0] == "value" else expected[1])
    assert seen >= set(ERRORS.values()) | {"value"}
