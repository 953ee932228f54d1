"""The node as one object, its events and its control socket."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from primegap.regtest import (
    AddressError,
    AmountError,
    BlockMined,
    BlockRefusedError,
    ClockError,
    DataDirLockedError,
    EngineMissingError,
    EventsLostError,
    FaucetEmptyError,
    NotRunningError,
    PortInUseError,
    RegtestNode,
    RequestError,
    StoppedError,
    TransactionAccepted,
    TransactionFormatError,
    TransactionRefusedError,
    call_control,
)
from primegap.regtest import control as control_module
from primegap.regtest import node as node_module
from primegap.regtest.blocks import header_time_s
from primegap.regtest.scripts import script_hash, script_of_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RegtestNode]:
    async with RegtestNode(tmp_path) as running:
        yield running


async def control(node: RegtestNode, method: str, **params: Any) -> Any:
    return await asyncio.to_thread(call_control, node.data_dir, method, params)


# --- life --------------------------------------------------------------------------------------


async def test_a_chain_opened_again_with_more_first_blocks_grows(tmp_path: Path) -> None:
    async with RegtestNode(tmp_path, initial_blocks=20):
        pass
    async with RegtestNode(tmp_path, initial_blocks=60) as node:
        assert (await node.status()).height == 60


async def test_a_node_starts_with_coins_and_continues_after_a_restart(tmp_path: Path) -> None:
    async with RegtestNode(tmp_path) as node:
        first = await node.status()
        assert first.height == 120
        assert 0 <= time.time() - first.tip_time_s < 60
        await node.faucet(ADDRESS, 50_000)
        (block,) = await node.mine()
    async with RegtestNode(tmp_path) as node:
        second = await node.status()
        assert (second.height, second.tip_hash) == (121, block.block_hash)
        assert second.electrum_url == node.electrum_url


async def test_the_first_blocks_are_dated_back_ten_minutes_apart(node: RegtestNode) -> None:
    headers = await node.run(lambda ledger: ledger.chain.index.headers(1, 120))
    times = [header_time_s(header) for header in headers]
    assert 119 * 600 - 60 <= times[-1] - times[0] <= 119 * 600 + 60


async def test_start_and_stop_may_be_repeated(tmp_path: Path) -> None:
    node = RegtestNode(tmp_path, initial_blocks=1)
    await node.stop()
    await node.start()
    await node.start()
    await node.stop()
    await node.stop()
    await node.start()
    assert (await node.status()).height == 1
    await node.stop()


async def test_nothing_is_answered_before_start_and_after_stop(tmp_path: Path) -> None:
    node = RegtestNode(tmp_path, initial_blocks=1)
    with pytest.raises(StoppedError):
        await node.mine()
    async with node:
        pass
    with pytest.raises(StoppedError):
        await node.status()


async def test_two_nodes_in_one_directory_are_refused(node: RegtestNode) -> None:
    with pytest.raises(DataDirLockedError, match="in use by process"):
        await RegtestNode(node.data_dir).start()
    assert (await node.status()).height == 120


async def test_a_port_in_use_is_named_and_nothing_stays_open(
    node: RegtestNode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port = int(node.electrum_url.rsplit(":", 1)[1])
    data_dir = tmp_path_factory.mktemp("second")
    with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use") as caught:
        await RegtestNode(data_dir, electrum_port=port, initial_blocks=1).start()
    assert "--electrum-port" in caught.value.hint
    async with RegtestNode(data_dir, initial_blocks=1):
        pass


async def test_the_loop_stays_free_while_blocks_are_made(node: RegtestNode) -> None:
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    await node.mine(100)
    watcher.cancel()
    assert longest_s < 0.5


async def test_a_cancelled_caller_leaves_a_sound_node(node: RegtestNode) -> None:
    task = asyncio.create_task(node.mine(10_000))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    height = (await node.status()).height
    assert 120 < height < 10_000
    await node.mine()
    assert (await node.status()).height > height


async def test_a_stop_in_the_middle_of_mining_is_clean(tmp_path: Path) -> None:
    node = RegtestNode(tmp_path)
    await node.start()
    mining = asyncio.create_task(node.mine(10_000))
    await asyncio.sleep(0.1)
    await node.stop()
    with pytest.raises(StoppedError):
        await mining
    async with RegtestNode(tmp_path) as again:
        assert 120 < (await again.status()).height < 10_000


@pytest.mark.parametrize("library", ["pbk", "bdkpython"])
async def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    node = RegtestNode(tmp_path, initial_blocks=1)
    with pytest.raises(EngineMissingError, match="cannot be imported"):
        async with node:
            await node.faucet(ADDRESS, 1_000)


async def test_the_clock_is_an_argument(tmp_path: Path) -> None:
    now_s = 1_600_000_000.0
    async with RegtestNode(tmp_path, initial_blocks=20, clock=lambda: now_s) as node:
        assert (await node.status()).tip_time_s == 1_600_000_000
        now_s -= 100_000
        with pytest.raises(ClockError):
            await node.mine()


async def test_the_engines_log_goes_to_logging_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="primegap.regtest.engine"):
        async with RegtestNode(tmp_path, initial_blocks=2):
            pass
    assert any("UpdateTip" in record.message for record in caplog.records)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, primegap.regtest; print([m for m in ('pbk', 'bdkpython') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# --- using it ----------------------------------------------------------------------------------


async def test_rewards_go_where_the_caller_says(node: RegtestNode) -> None:
    blocks = await node.mine(3, ADDRESS)
    assert [block.height for block in blocks] == [121, 122, 123]
    hashed = script_hash(script_of_address(ADDRESS))
    balance_sat = await node.run(lambda ledger: ledger.chain.index.balance_sat(hashed))
    assert balance_sat == 3 * 5_000_000_000


async def test_wrong_arguments_are_refused(node: RegtestNode) -> None:
    for blocks in (0, -1, 10_001):
        with pytest.raises(AmountError):
            await node.mine(blocks)
    with pytest.raises(AddressError):
        await node.mine(1, "nonsense")
    with pytest.raises(AddressError):
        await node.faucet("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", 1_000)
    with pytest.raises(AmountError):
        await node.faucet(ADDRESS, 1)
    with pytest.raises(FaucetEmptyError):
        await node.faucet(ADDRESS, 20_000_000 * 100_000_000)
    with pytest.raises(TransactionFormatError):
        await node.broadcast(b"nonsense")
    with pytest.raises(BlockRefusedError):
        await node.submit_block(b"nonsense")
    assert (await node.status()).height == 120


async def test_events_tell_what_happens_in_order(tmp_path: Path) -> None:
    node = RegtestNode(tmp_path)
    await node.start()
    with node.events() as events:
        txid = await node.faucet(ADDRESS, 50_000)
        blocks = await node.mine(2)
        await node.stop()
        seen = [event async for event in events]
    accepted = seen[0]
    assert isinstance(accepted, TransactionAccepted)
    assert accepted.txid == txid
    assert accepted.fee_sat == 2 * accepted.vsize_vb
    assert seen[1:] == blocks
    assert isinstance(seen[1], BlockMined)
    assert txid in seen[1].txids


async def test_a_reader_that_falls_far_behind_is_told(
    node: RegtestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "MAX_QUEUED_EVENTS", 2)
    with node.events() as events:
        await node.mine(4)
        assert [await anext(events), await anext(events)]
        with pytest.raises(EventsLostError):
            await anext(events)
    await node.mine()


async def test_a_reader_waits_for_the_next_event(node: RegtestNode) -> None:
    with node.events() as events:
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        (block,) = await node.mine()
        assert await waiting == block


# --- the control socket ------------------------------------------------------------------------


async def test_the_control_socket_is_for_the_owner_only(node: RegtestNode) -> None:
    mode = (node.data_dir / control_module.SOCKET_NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert mode & 0o777 == 0o600


async def test_another_process_can_do_everything_through_it(node: RegtestNode) -> None:
    status = await control(node, "status")
    assert (status["height"], status["electrum_url"]) == (120, node.electrum_url)
    txid = await control(node, "faucet", address=ADDRESS, amount_sat=50_000)
    blocks = await control(node, "mine", blocks=2, address=ADDRESS)
    assert [block["height"] for block in blocks] == [121, 122]
    assert txid in blocks[0]["txids"]
    assert len(await control(node, "mine")) == 1
    assert await control(node, "stop") is True
    async with asyncio.timeout(5):
        await node.wait_until_asked_to_stop()


async def test_the_nodes_errors_arrive_as_themselves(node: RegtestNode) -> None:
    with pytest.raises(AddressError, match="not an address"):
        await control(node, "faucet", address="nonsense", amount_sat=50_000)
    with pytest.raises(AmountError, match="294"):
        await control(node, "faucet", address=ADDRESS, amount_sat=1)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("faucet", {}),
        ("faucet", {"address": 5, "amount_sat": 50_000}),
        ("faucet", {"address": ADDRESS, "amount_sat": "much"}),
        ("mine", {"blocks": 1.5}),
        ("mine", {"pages": 1}),
        ("status", {"verbose": True}),
        ("dance", {}),
    ]
    for method, params in wrong:
        with pytest.raises(RequestError):
            await control(node, method, **params)


async def test_garbage_on_the_control_socket_is_answered(node: RegtestNode) -> None:
    path = node.data_dir / control_module.SOCKET_NAME
    reader, writer = await asyncio.open_unix_connection(path)
    for line in (b"garbage\n", b"[]\n", b"7\n", b"[" * 60_000 + b"\n"):
        writer.write(line)
        answer = json.loads(await reader.readline())
        assert answer["error"]["data"]["code"] == "bad-request"
    writer.write(b"x" * 100_000)
    assert await reader.read() == b""
    writer.close()
    assert (await control(node, "status"))["height"] == 120


async def test_control_connections_have_a_largest_number(
    node: RegtestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "MAX_CONNECTIONS", 1)
    path = node.data_dir / control_module.SOCKET_NAME
    _, writer = await asyncio.open_unix_connection(path)
    await asyncio.sleep(0.05)
    with pytest.raises(NotRunningError):
        await control(node, "status")
    writer.close()


async def test_without_a_node_the_caller_is_told_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError) as caught:
        call_control(tmp_path, "status")
    assert "python -m primegap.regtest" in caught.value.hint


def test_an_answer_that_never_comes_ends_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / control_module.SOCKET_NAME))
        deaf.listen()
        with pytest.raises(NotRunningError):
            call_control(tmp_path, "status", timeout_s=0.1)


async def test_a_deep_directory_is_reachable_too(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-directory-with-a-long-name"] * 6)
    async with RegtestNode(deep, initial_blocks=1) as node:
        assert (await control(node, "status"))["height"] == 1


async def test_a_socket_left_by_a_killed_node_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / control_module.SOCKET_NAME))
    async with RegtestNode(tmp_path, initial_blocks=1) as node:
        assert (await control(node, "status"))["height"] == 1
    assert not (tmp_path / control_module.SOCKET_NAME).exists()


def test_refusals_carry_their_reason() -> None:
    error = TransactionRefusedError("dust", "1 < 294")
    assert (str(error), error.reason, error.code) == ("dust, 1 < 294", "dust", "tx-refused")
