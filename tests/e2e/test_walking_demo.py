"""The demonstration as a person runs it, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from primegap.bitcoin.finish import finalise
from primegap.linktrace import Story, read_recording_untrusted
from primegap.quantumlink import HandshakeKind
from primegap.regtest import RegtestNode

DEMO_LIMIT_S = 60
DISSECTOR = Path(__file__).parents[2] / "docs" / "wireshark" / "primegap.lua"
TSHARK = shutil.which("tshark")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("demo")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "primegap.cli",
            "--data-dir",
            str(folder),
            "demo",
            "--exit",
            "--json",
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, object] = json.loads(run.stdout)
    return {**answer, "log": run.stderr}


def test_every_step_has_its_time(result: dict[str, object]) -> None:
    seconds = result["seconds"]
    assert isinstance(seconds, dict)
    assert list(seconds) == [
        "chain",
        "device",
        "set-up",
        "pair",
        "account",
        "receive",
        "pay",
        "pay-qr",
        "search",
        "total",
    ]
    assert str(result["log"]).count(" s  ") == len(seconds) - 1


def test_the_evidence_is_there(result: dict[str, object]) -> None:
    evidence = Path(str(result["folder"])) / "evidence"
    names = {path.name.partition("-")[2] for path in evidence.glob("*.png")}
    wanted = {"pairing", "confirm-pairing", "share-account", "address-ours", "review", "signed-qr"}
    assert {f"{name}.png" for name in wanted} <= names
    for payment in ("payment-1", "payment-2"):
        assert (evidence / f"{payment}-unsigned.psbt").read_bytes().startswith(b"psbt\xff")
    assert (evidence / "radio.btsnoop").stat().st_size > 10_000


def story_of(result: dict[str, object], name: str) -> Story:
    path = Path(str(result["folder"])) / "evidence" / name
    return read_recording_untrusted(path.read_bytes())


def sizes_of(story: Story, sender: str) -> list[int]:
    lane = story.lanes.index(sender)
    return [step.size for step in story.messages if step.sender == lane]


@pytest.mark.parametrize("sender", ["Companion", "Device"])
def test_three_recordings_tell_the_same_story(result: dict[str, object], sender: str) -> None:
    names = ["radio.btsnoop", "link-device.jsonl", "link-companion.jsonl"]
    assert result["recordings_searched"] == sorted(names)
    air, *traces = (sizes_of(story_of(result, name), sender) for name in names)
    assert len(air) > 8
    for trace in traces:  # what was on its way when Bluetooth was switched off may be missing
        count = min(len(trace), len(air))
        assert count >= len(air) - 2
        assert trace[:count] == air[:count]


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed (Debian: tshark)")
def test_wireshark_reads_the_capture_as_we_do(result: dict[str, object]) -> None:
    assert TSHARK is not None
    capture = Path(str(result["folder"])) / "evidence" / "radio.btsnoop"
    fields = ["primegap_link.kind", "primegap_link.handshake_id", "primegap_link.seq"]
    command = [TSHARK, "-X", f"lua_script:{DISSECTOR}", "-r", str(capture)]
    command += ["-Y", "primegap_link", "-T", "fields"]
    run = subprocess.run(
        [*command, *(part for field in fields for part in ("-e", field))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen = [tuple(line.split("\t")) for line in run.stdout.splitlines()]
    told = []
    for step in story_of(result, "radio.btsnoop").messages:
        if step.seq is not None:
            told.append(("", "", str(step.seq)))
        else:
            told.append((str(HandshakeKind[step.kind].value), str(step.handshake_id), ""))
    assert seen == told
    faults = "_ws.lua.error or _ws.malformed or primegap_btp.bad_version or primegap_btp.bad_length"
    run = subprocess.run(
        [*command[:-4], "-Y", f"{faults} or primegap_btp.bad_index or primegap_btp.short"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == ""


async def test_the_chain_holds_both_payments(result: dict[str, object]) -> None:
    """Another start of the engine on the same directory knows the same blocks."""
    folder = Path(str(result["folder"]))
    async with RegtestNode(folder / "regtest") as node:
        for name in ("payment-1", "payment-2"):
            noted = result[name]
            assert isinstance(noted, dict)
            finished = finalise((folder / "evidence" / f"{name}-signed.psbt").read_bytes())
            assert finished.txid == noted["txid"]
            assert noted["height"] <= (await node.status()).height


def test_no_process_is_left(result: dict[str, object]) -> None:
    folder = str(result["folder"])
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert folder.encode() not in path.read_bytes()
        except OSError:
            continue
