"""BTP against the published reference's own output (tests/vectors/btp-v2-vectors.json)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from primegap.btp import (
    BtpVersion,
    Chunker,
    Dechunker,
    RemoteBtpError,
    packet_version,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "btp-v2-vectors.json").read_text()
)
VERSIONS = {"v1": BtpVersion.V1, "v2": BtpVersion.V2, "none": None}


def stream(label: str, size: int) -> bytes:
    blocks = (
        hashlib.sha256(label.encode() + b"\x00" + counter.to_bytes(4, "little")).digest()
        for counter in range(-(-size // 32))
    )
    return b"".join(blocks)[:size]


def by_name(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", VECTORS[section], ids=[c["name"] for c in VECTORS[section]]
    )


@by_name("sender")
def test_sender_produces_the_reference_packets(case: dict[str, Any]) -> None:
    record = stream(case["record_stream"], case["record_length"])
    assert hashlib.sha256(record).hexdigest() == case["record_sha256"]
    packets = Chunker(case["sequence"]).chunk(record)
    assert len(packets) == case["packet_count"]
    assert hashlib.sha256(b"".join(packets)).hexdigest() == case["packets_sha256"]
    if "packets" in case:
        assert [packet.hex() for packet in packets] == case["packets"]
    else:
        assert packets[-1].hex() == case["last_packet"]
        for index, header in case["headers"].items():
            assert packets[int(index)][:8].hex() == header


@by_name("sender_counter")
def test_sequence_counter_runs_and_wraps(case: dict[str, Any]) -> None:
    for key, start in (("first", 0), ("around_wrap", case["around_wrap"][0])):
        chunker = Chunker(start)
        seen = [int.from_bytes(chunker.chunk(b"x")[0][:2], "little") for _ in case[key]]
        assert seen == case[key]


@by_name("version")
def test_version_is_read_from_the_tag(case: dict[str, Any]) -> None:
    assert packet_version(bytes.fromhex(case["packet"])) is VERSIONS[case["version"]]


def step_packet(step: dict[str, Any], packets: dict[str, list[bytes]]) -> bytes:
    if "packet" in step:
        return bytes.fromhex(step["packet"])
    packet = bytearray(packets[step["record"]][step["index"]])
    for offset, value in step.get("set", []):
        packet[offset : offset + len(value) // 2] = bytes.fromhex(value)
    if "length" in step:
        del packet[step["length"] :]
    return bytes(packet) + bytes.fromhex(step.get("append", ""))


@pytest.mark.scenario("btp", 8, 9, 10, 12, 15)
@by_name("receiver")
def test_receiver_gives_the_reference_result_at_every_step(case: dict[str, Any]) -> None:
    records = {name: stream(r["stream"], r["length"]) for name, r in case["records"].items()}
    packets = {
        name: Chunker(case["records"][name]["sequence"]).chunk(record)
        for name, record in records.items()
    }
    receiver = Dechunker(case.get("timeout_ms", 5000) / 1000)
    now_s = 1000.0
    for number, step in enumerate(case["steps"]):
        if "wait_ms" in step:
            now_s += step["wait_ms"] / 1000
            continue
        where = f"step {number}"
        packet = step_packet(step, packets)
        if step["result"] == "error":
            with pytest.raises(RemoteBtpError) as caught:
                receiver.receive(packet, now_s=now_s)
            assert caught.value.code == "btp-" + step["error"].replace("_", "-"), where
            assert caught.value.detail == step["detail"], where
            continue
        result = receiver.receive(packet, now_s=now_s)
        if step["result"] == "incomplete":
            assert result is None, where
        elif "gives" in step:
            assert result == records[step["gives"]], where
        else:
            assert result is not None, where
            assert result.hex() == step["record_hex"], where
