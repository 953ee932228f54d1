"""The demonstration as a person runs it, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from primegap.bitcoin.finish import finalise
from primegap.regtest import RegtestNode

DEMO_LIMIT_S = 60


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
