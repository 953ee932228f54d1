"""Session records of the reference suite against the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from primegap.quantumlink import (
    MAX_RECORD_SIZE,
    REFERENCE,
    Ack,
    BodyBuilder,
    Close,
    Frame,
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
    Unpair,
    parse_frames_untrusted,
    parse_record_untrusted,
    session_overhead,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "quantumlink-v2-wire-vectors.json").read_text()
)
RECORDS: dict[str, dict[str, Any]] = {case["id"]: case for case in VECTORS["sessions"]}
RUNS: dict[str, dict[str, Any]] = {run["id"]: run for run in VECTORS["handshakes"]}


def route(case: Mapping[str, Any]) -> tuple[Qid, Qid]:
    return Qid(bytes.fromhex(case["sender"])), Qid(bytes.fromhex(case["recipient"]))


def key_of(case: Mapping[str, Any]) -> SecretBytes:
    return SecretBytes(bytes.fromhex(case["key"]))


def frame_of(fields: Mapping[str, Any]) -> Frame:
    match fields["k"]:
        case "ping":
            return Ping()
        case "unpair":
            return Unpair()
        case "ack":
            return Ack(tuple((low, high) for low, high in fields["ranges"]))
        case "window":
            return StreamWindow(fields["id"], fields["max"])
        case "reset":
            return StreamReset(fields["id"], ResetTarget(fields["target"]), fields["code"])
        case "close":
            return Close(fields["code"])
    assert fields["k"] == "data"
    opening = None
    if fields["open"] is not None:
        header = bytes.fromhex(fields["open"]["header"])
        opening = StreamOpening(fields["open"]["rw"], fields["open"]["rq"], header)
    payload = bytes.fromhex(fields["bytes"])
    return StreamData(fields["id"], fields["off"], fields["fin"], opening, payload)


def session_record(data: bytes) -> SessionRecord:
    record = parse_record_untrusted(data)
    assert isinstance(record, SessionRecord)
    return record


@pytest.mark.parametrize("name", RECORDS)
def test_record_is_built_and_sealed_as_recorded(name: str) -> None:
    case = RECORDS[name]
    builder = BodyBuilder(case["seq"], case.get("maximum_size", MAX_RECORD_SIZE))
    frames = [frame_of(fields) for fields in case["frames"]]
    appended = [builder.append(frame) for frame in frames]
    assert appended == case.get("appended", [True] * len(frames))
    assert builder.body().hex() == case["body"]
    record = SessionSealer(REFERENCE, key_of(case), *route(case)).seal(case["seq"], builder.body())
    assert record.hex() == case["record"]
    assert len(record) == session_overhead(case["seq"]) + len(builder.body())
    assert len(record) + builder.remaining == case.get("maximum_size", MAX_RECORD_SIZE)


@pytest.mark.scenario("wire", 13)
@pytest.mark.parametrize("name", RECORDS)
def test_record_is_opened_as_recorded(name: str) -> None:
    case = RECORDS[name]
    record = session_record(bytes.fromhex(case["record"]))
    assert (record.version, record.sender, record.recipient) == (REFERENCE.version, *route(case))
    assert record.seq == case["seq"]
    body = SessionOpener(REFERENCE, key_of(case), *route(case)).open(record)
    assert body.hex() == case["body"]
    appended = case.get("appended", [True] * len(case["frames"]))
    expected = [frame_of(f) for f, kept in zip(case["frames"], appended, strict=True) if kept]
    assert list(parse_frames_untrusted(body)) == expected


@pytest.mark.parametrize("name", [name for name in RECORDS if "handshake" in RECORDS[name]])
def test_recorded_keys_are_those_of_the_handshakes(name: str) -> None:
    case = RECORDS[name]
    run = RUNS[case["handshake"]]
    assert case["key"] == run["k1" if case["sent_by"] == "initiator" else "k2"]


def changed(case: Mapping[str, Any], change: Mapping[str, Any]) -> bytes:
    data = bytearray.fromhex(case["record"])
    if "truncate_to" in change:
        return bytes(data[: change["truncate_to"]])
    if "append" in change:
        return bytes(data) + bytes.fromhex(change["append"])
    if "swap" in change:
        data[1:33] = data[17:33] + data[1:17]
    elif "seq_bytes" in change:
        seq_size = session_overhead(case["seq"]) - 50
        data[34 : 34 + seq_size] = bytes.fromhex(change["seq_bytes"])
    elif "xor" in change:
        data[change["offset"]] ^= int(change["xor"], 16)
    elif "set" in change:
        data[change["offset"]] = int(change["set"], 16)
    else:
        assert "key" in change
    return bytes(data)


@pytest.mark.scenario("wire", 13)
@pytest.mark.guarantee("L-3", tried="recorded records, changed, replayed, out of order")
@pytest.mark.parametrize(
    "refused", VECTORS["refused"]["session"], ids=lambda refused: str(refused["id"])
)
def test_changed_record_has_the_recorded_outcome(refused: dict[str, Any]) -> None:
    case = RECORDS[refused["record"]]
    change = refused["change"]
    data = changed(case, change)
    key = SecretBytes(bytes.fromhex(change["key"])) if "key" in change else key_of(case)
    opener = SessionOpener(REFERENCE, key, *route(case))
    if refused["result"] == "ok":
        # Version and record type are not authenticated: a receiver dispatches by them.
        assert (data[0], data[33]) == (refused["header_version"], refused["header_type"])
        if refused["header_type"] == 2:
            record = session_record(data)
            assert record.version == refused["header_version"]
        else:
            record = session_record(data[:33] + b"\x02" + data[34:])
        assert opener.open(record).hex() == case["body"]
        return
    with pytest.raises(RemoteError) as caught:
        opener.open(session_record(data))
    assert caught.value.name == refused["result"]
    # A refused record leaves the opener as it was.
    if "key" not in change:
        genuine = session_record(bytes.fromhex(case["record"]))
        assert opener.open(genuine).hex() == case["body"]
