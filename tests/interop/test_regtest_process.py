"""The private chain as a process: started, asked, stopped, killed at any moment, started again."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from primegap.regtest import RegtestError, call_control
from primegap.regtest.blocks import subsidy_sat
from primegap.regtest.chain import Chain
from primegap.regtest.ledger import Ledger
from primegap.regtest.primitives import sha256d

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pbk")

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


class NodeProcess:
    """`python -m primegap.regtest` with its first line read."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "primegap.regtest",
                f"--data-dir={data_dir}",
                "--electrum-port=0",
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def first_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.finish()

    def finish(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def ask(data_dir: Path, method: str, **params: Any) -> Any:
    return call_control(data_dir, method, params)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path)
    yield node
    if node.process.poll() is None:
        node.kill()


def assert_consistent(data_dir: Path) -> int:
    """Open the chain and check it from end to end; return its height."""
    chain = Chain(data_dir)
    try:
        assert chain.engine.height == chain.height
        headers = chain.index.headers(0, chain.height + 1)
        assert len(headers) == chain.height + 1
        for height, header in enumerate(headers):
            block_hash = sha256d(header)
            assert chain.engine.block_hash(height) == block_hash
            assert chain.index.block_hash(height) == block_hash
            assert height == 0 or header[4:36] == sha256d(headers[height - 1])
        (total_sat,) = chain.index._db.execute(
            "SELECT coalesce(sum(amount_sat), 0) FROM coins WHERE spent_height IS NULL"
        ).fetchone()
        assert total_sat == sum(subsidy_sat(height) for height in range(1, chain.height + 1))
        return chain.height
    finally:
        chain.close()


def test_a_process_says_when_it_is_ready_and_stops_when_asked(started: NodeProcess) -> None:
    ready = started.first_line()["ready"]
    assert ready["height"] == 120
    assert ready["pid"] == started.process.pid
    host, port = ready["electrum_url"].removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b'{"id": 1, "method": "server.ping"}\n')
        assert json.loads(connection.makefile().readline())["result"] is None
    assert ask(started.data_dir, "stop") is True
    assert started.finish() == (0, "")
    assert assert_consistent(started.data_dir) == 120


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(started: NodeProcess, number: signal.Signals) -> None:
    started.first_line()
    started.process.send_signal(number)
    assert started.finish() == (0, "")
    assert not (started.data_dir / "control.sock").exists()


def test_it_ends_with_whoever_started_it_if_told_so(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path, "--until-stdin-closes", "--initial-blocks=1")
    node.first_line()
    assert node.process.stdin is not None
    node.process.stdin.write("ignored\n")
    node.process.stdin.flush()
    assert node.process.poll() is None
    node.process.stdin.close()
    assert node.process.wait(timeout=10) == 0
    for stream in (node.process.stdout, node.process.stderr):
        assert stream is not None
        stream.close()


def test_a_second_process_in_the_directory_ends_with_one_clear_error(
    started: NodeProcess,
) -> None:
    started.first_line()
    second = NodeProcess(started.data_dir)
    error = second.first_line()["error"]
    assert error["code"] == "data-dir-locked"
    assert error["message"].endswith(f"is in use by process {started.process.pid}")
    status, words = second.finish()
    assert status == 1
    assert words == f"{error['message']}\n{error['hint']}\n"
    assert len(ask(started.data_dir, "mine")) == 1


def test_a_port_in_use_ends_with_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = NodeProcess(tmp_path, "--initial-blocks=1", f"--electrum-port={port}")
        error = node.first_line()["error"]
        assert (error["code"], error["message"]) == (
            "port-in-use",
            f"port {port} on 127.0.0.1 is in use",
        )
        assert node.finish()[0] == 1


def test_a_kill_between_blocks_loses_nothing(started: NodeProcess) -> None:
    started.first_line()
    mined = ask(started.data_dir, "faucet", address=ADDRESS, amount_sat=70_000)
    (block,) = ask(started.data_dir, "mine")
    assert mined in block["txids"]
    waiting = ask(started.data_dir, "faucet", address=ADDRESS, amount_sat=80_000)
    started.kill()
    assert assert_consistent(started.data_dir) == 121
    ledger = Ledger(started.data_dir)
    assert ledger.mempool.get(bytes.fromhex(waiting)[::-1]) is not None
    ledger.close()


@pytest.mark.parametrize("after_s", [0.15, 0.2, 0.25, 0.3, 0.35])
def test_a_kill_at_any_moment_of_the_first_start_leaves_a_usable_directory(
    tmp_path: Path, after_s: float
) -> None:
    node = NodeProcess(tmp_path)
    time.sleep(after_s)
    node.kill()
    assert_consistent(tmp_path)
    again = NodeProcess(tmp_path)
    assert again.first_line()["ready"]["height"] == 120
    again.kill()


def test_kills_in_the_middle_of_mining_lose_no_acknowledged_block(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    acknowledged = 120
    for round_number in range(5):
        node = NodeProcess(tmp_path)
        assert node.first_line()["ready"]["height"] >= acknowledged, (seed, round_number)

        ask(tmp_path, "faucet", address=ADDRESS, amount_sat=70_000)

        def mine_on() -> None:
            nonlocal acknowledged
            try:
                while True:
                    for block in ask(tmp_path, "mine", blocks=3):
                        acknowledged = max(acknowledged, block["height"])
                    ask(tmp_path, "faucet", address=ADDRESS, amount_sat=70_000)
            except RegtestError:
                return  # the node is gone

        miner = threading.Thread(target=mine_on)
        miner.start()
        time.sleep(chance.uniform(0.01, 0.25))
        node.kill()
        miner.join(timeout=30)
        assert assert_consistent(tmp_path) >= acknowledged, (seed, round_number)
    assert acknowledged > 120
