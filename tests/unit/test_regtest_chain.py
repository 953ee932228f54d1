"""The chain in its directory: growing, refusing, surviving, repairing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from primegap.regtest import chain as chain_module
from primegap.regtest.blocks import build_block, build_coinbase, header_bits, subsidy_sat
from primegap.regtest.chain import Chain
from primegap.regtest.errors import (
    BlockRefusedError,
    ClockError,
    DataDirDamagedError,
    DataDirLockedError,
    DataDirUnusableError,
    DiskFullError,
)
from primegap.regtest.faucet import FAUCET_HASH
from primegap.regtest.primitives import (
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    parse_block_untrusted,
    sha256d,
)
from primegap.regtest.scripts import FAUCET_SCRIPT, TRUE_WITNESS_SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGTEST_GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
OTHER_SCRIPT = bytes.fromhex("0014") + bytes(20)


def mine(chain: Chain, blocks: int = 1, script: bytes = FAUCET_SCRIPT) -> None:
    for _ in range(blocks):
        # A fixed start in the past: the engine compares with the real clock only for the future.
        chain.mine(script, [], fees_sat=0, now_s=1_600_000_000 + chain.height * 600)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    opened = Chain(tmp_path / "node")
    yield opened
    opened.close()


def spend_of_block_one(chain: Chain, *, witness: bytes = TRUE_WITNESS_SCRIPT) -> Transaction:
    (txid,) = chain.index.block_txids(1)
    return Transaction(
        version=2,
        inputs=(TxIn(prevout=OutPoint(txid, 0), witness=(witness,)),),
        outputs=(TxOut(amount_sat=subsidy_sat(1) - 1_000, script=OTHER_SCRIPT),),
        lock_time=0,
    )


def fork_block(chain: Chain, parent: int, time_s: int) -> bytes:
    """Return an empty block on top of the block at height `parent`."""
    header = chain.header(parent)
    assert header is not None
    return build_block(
        previous_hash=sha256d(header),
        time_s=time_s,
        bits=header_bits(header),
        transactions=[build_coinbase(parent + 1, OTHER_SCRIPT, subsidy_sat(parent + 1), [])],
    )


# --- growing -----------------------------------------------------------------------------------


def test_a_new_chain_begins_with_the_regtest_genesis_block(chain: Chain) -> None:
    assert chain.height == 0
    genesis = chain.index.block_hash(0)
    assert genesis is not None
    assert genesis[::-1].hex() == REGTEST_GENESIS
    header = chain.header(0)
    assert header is not None
    assert sha256d(header) == genesis
    assert chain.header(1) is None
    assert chain.header(-1) is None


def test_each_mined_block_is_the_engines_tip_and_in_the_index(chain: Chain) -> None:
    mine(chain, 300)  # beyond the heights where the length of the height push changes
    assert chain.height == chain.engine.height == 300
    for height in (0, 1, 17, 128, 255, 256, 300):
        assert chain.index.block_hash(height) == chain.engine.block_hash(height)
        assert chain.index.block(height) == chain.engine.block(height)
    assert len(chain.index.history(FAUCET_HASH, limit=1000)) == 300
    assert chain.index.balance_sat(FAUCET_HASH) == sum(map(subsidy_sat, range(1, 301)))


def test_block_times_follow_the_clock_and_never_break_the_median_rule(chain: Chain) -> None:
    for _ in range(30):
        chain.mine(FAUCET_SCRIPT, [], fees_sat=0, now_s=1_600_000_000.9)  # a clock that stands
    assert chain.height == 30
    header = chain.header(1)
    assert header is not None
    assert int.from_bytes(header[68:72], "little") == 1_600_000_000
    chain.mine(FAUCET_SCRIPT, [], fees_sat=0, now_s=1_599_999_000)  # and one that goes back
    assert chain.height == 31


def test_a_clock_far_behind_the_chain_stops_mining(chain: Chain) -> None:
    mine(chain)
    with pytest.raises(ClockError):
        chain.mine(FAUCET_SCRIPT, [], fees_sat=0, now_s=1_000_000_000)


def test_a_spent_coin_moves_in_the_index(chain: Chain) -> None:
    mine(chain, 101)
    spend = spend_of_block_one(chain)
    change = chain.mine(FAUCET_SCRIPT, [spend], fees_sat=1_000, now_s=1_700_000_000)
    assert FAUCET_HASH in change.touched
    assert chain.index.coin(spend.inputs[0].prevout) is None
    coin = chain.index.coin(OutPoint(spend.txid, 0))
    assert coin is not None
    assert (coin.output, coin.height, coin.is_coinbase) == (spend.outputs[0], 102, False)
    found = chain.index.confirmed(spend.txid)
    assert found is not None
    assert (found.raw, found.height, found.position) == (spend.raw, 102, 1)


# --- refusing ----------------------------------------------------------------------------------


def test_the_engine_refuses_a_block_with_a_bad_script(chain: Chain) -> None:
    mine(chain, 101)
    bad = spend_of_block_one(chain, witness=b"\x00")
    with pytest.raises(BlockRefusedError) as caught:
        chain.mine(FAUCET_SCRIPT, [bad], fees_sat=1_000, now_s=1_700_000_000)
    assert "script-verify-flag-failed" in caught.value.reason
    assert chain.height == chain.engine.height == 101
    mine(chain)
    assert chain.height == 102


def test_the_engine_refuses_a_block_that_spends_too_early(chain: Chain) -> None:
    mine(chain, 99)
    with pytest.raises(BlockRefusedError, match="bad-txns-premature-spend-of-coinbase"):
        chain.mine(FAUCET_SCRIPT, [spend_of_block_one(chain)], fees_sat=1_000, now_s=1_700_000_000)


def test_the_engine_refuses_a_block_that_pays_too_much(chain: Chain) -> None:
    with pytest.raises(BlockRefusedError, match="bad-cb-amount"):
        chain.mine(FAUCET_SCRIPT, [], fees_sat=1, now_s=1_600_000_000)


def test_the_engine_refuses_the_same_coin_twice(chain: Chain) -> None:
    mine(chain, 101)
    spend = spend_of_block_one(chain)
    other = Transaction(
        version=2, inputs=spend.inputs, outputs=(TxOut(amount_sat=1, script=b""),), lock_time=0
    )
    with pytest.raises(BlockRefusedError, match="bad-txns-inputs-missingorspent"):
        chain.mine(FAUCET_SCRIPT, [spend, other], fees_sat=0, now_s=1_700_000_000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw[:36] + bytes(32) + raw[68:], "bad-txnmrklroot"),
        (lambda raw: raw[:68] + bytes(4) + raw[72:], "time-too-old"),
        (lambda raw: raw[:4] + bytes(32) + raw[36:], "prev-blk-not-found"),
        (lambda raw: raw[:72] + bytes(4) + raw[76:], "high-hash"),
        (lambda raw: raw[:-1], "Block decode failed"),
        (lambda _raw: b"", "Block decode failed"),
    ],
)
def test_the_engine_refuses_a_spoilt_block(
    chain: Chain, change: Callable[[bytes], bytes], reason: str
) -> None:
    mine(chain)
    raw = chain.assemble(FAUCET_SCRIPT, [], fees_sat=0, now_s=1_600_001_000)
    spoilt = bytearray(change(raw))
    for nonce in range(256):  # find work again, so that the intended rule speaks
        if len(spoilt) >= 80 and reason != "high-hash":
            spoilt[76] = nonce
            if sha256d(bytes(spoilt[:80]))[31] >= 0x7F:
                continue
        break
    with pytest.raises(BlockRefusedError) as caught:
        chain.submit(bytes(spoilt))
    assert caught.value.reason == reason
    assert chain.height == 1


# --- another branch ----------------------------------------------------------------------------


def test_a_shorter_branch_changes_nothing_and_a_longer_one_is_followed(chain: Chain) -> None:
    mine(chain, 103)
    spend = spend_of_block_one(chain)
    chain.mine(FAUCET_SCRIPT, [spend], fees_sat=1_000, now_s=1_700_000_000)
    old_tip = chain.index.block_hash(104)

    side = fork_block(chain, 103, 1_700_000_100)
    assert chain.submit(side).connected == ()
    assert chain.index.block_hash(104) == old_tip

    parsed = parse_block_untrusted(side)
    longer = build_block(
        previous_hash=parsed.block_hash,
        time_s=1_700_000_200,
        bits=header_bits(parsed.header),
        transactions=[build_coinbase(105, OTHER_SCRIPT, subsidy_sat(105), [])],
    )
    change = chain.submit(longer)
    assert [block.raw for block in change.connected] == [side, longer]
    assert [block.block_hash for block in change.disconnected] == [old_tip]
    assert chain.height == chain.engine.height == 105
    assert chain.index.coin(spend.inputs[0].prevout) is not None  # unspent again
    assert chain.index.coin(OutPoint(spend.txid, 0)) is None
    assert chain.index.confirmed(spend.txid) is None
    mine(chain)
    assert chain.height == 106


# --- the directory -----------------------------------------------------------------------------


def test_a_chain_continues_where_it_was_closed(tmp_path: Path) -> None:
    first = Chain(tmp_path)
    mine(first, 5)
    tip = first.index.block_hash(5)
    first.close()
    second = Chain(tmp_path)
    assert (second.height, second.index.block_hash(5)) == (5, tip)
    mine(second)
    second.close()


def test_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    Chain(tmp_path / "node").close()
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700


def test_a_second_chain_in_the_directory_is_refused_by_name(chain: Chain) -> None:
    with pytest.raises(DataDirLockedError, match=f"in use by process {os.getpid()}"):
        Chain(chain.data_dir)


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirUnusableError):
        Chain(tmp_path / "file")


def test_an_engine_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "engine-1").touch()
    with pytest.raises(DataDirUnusableError):
        Chain(tmp_path)


def test_an_index_of_a_newer_release_is_refused_and_kept(tmp_path: Path) -> None:
    Chain(tmp_path).close()
    with sqlite3.connect(tmp_path / "chain.sqlite") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    for rebuild in (False, True):
        with pytest.raises(DataDirUnusableError, match="newer release"):
            Chain(tmp_path, rebuild=rebuild)


def test_an_engine_that_forgot_everything_is_fed_from_the_journal(tmp_path: Path) -> None:
    first = Chain(tmp_path)
    mine(first, 20)
    tip = first.index.block_hash(20)
    first.close()
    shutil.rmtree(tmp_path / "engine-1")
    second = Chain(tmp_path)
    assert second.engine.height == second.height == 20
    assert second.engine.block_hash(20) == tip
    second.close()


def test_an_index_that_is_gone_is_made_again_from_the_engine(tmp_path: Path) -> None:
    first = Chain(tmp_path)
    mine(first, 20)
    first.close()
    (tmp_path / "chain.sqlite").unlink()
    second = Chain(tmp_path)
    assert second.height == 20
    assert len(second.index.history(FAUCET_HASH, limit=100)) == 20
    second.close()


def damage(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(b"\xa5" * min(size, 200_000))


@pytest.mark.parametrize(
    "pattern",
    [
        "engine-1/chainstate/*.ldb",
        "engine-1/chainstate/MANIFEST*",
        "engine-1/blocks/index/CURRENT",
        "engine-1/blocks/blk*.dat",
        "engine-1/blocks/xor.dat",
        "chain.sqlite",
    ],
)
def test_damage_is_named_and_a_rebuild_restores_the_chain(tmp_path: Path, pattern: str) -> None:
    first = Chain(tmp_path)
    mine(first, 20)
    tip = first.index.block_hash(20)
    first.close()
    Chain(tmp_path).close()  # the engine writes its tables when it opens again
    targets = list(tmp_path.glob(pattern))
    assert targets
    for target in targets:
        damage(target)
    with pytest.raises(DataDirDamagedError) as caught:
        Chain(tmp_path)
    assert "--rebuild" in caught.value.hint
    repaired = Chain(tmp_path, rebuild=True)
    assert repaired.height == repaired.engine.height == 20
    assert repaired.index.block_hash(20) == repaired.engine.block_hash(20) == tip
    mine(repaired)
    repaired.close()
    Chain(tmp_path).close()


def test_a_rebuild_of_a_sound_directory_loses_nothing(tmp_path: Path) -> None:
    first = Chain(tmp_path)
    mine(first, 20)
    with first.index.transaction():
        first.index.save_pending(b"\x01" * 32, b"raw")
    first.close()
    second = Chain(tmp_path, rebuild=True)
    assert second.height == 20
    assert second.index.pending() == [(b"\x01" * 32, b"raw")]
    second.close()


def test_a_journal_block_that_the_engine_refuses_is_damage(tmp_path: Path) -> None:
    first = Chain(tmp_path)
    mine(first, 5)
    first.close()
    with sqlite3.connect(tmp_path / "chain.sqlite") as db:
        (raw,) = db.execute("SELECT raw FROM blocks WHERE height = 5").fetchone()
        db.execute("UPDATE blocks SET raw = ? WHERE height = 5", (raw[:-1] + b"\xff",))
    db.close()
    shutil.rmtree(tmp_path / "engine-1")
    with pytest.raises(DataDirDamagedError, match="refuses a journalled block"):
        Chain(tmp_path)


# --- a full disk -------------------------------------------------------------------------------


def test_too_little_free_space_is_said_before_anything_is_written(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine(chain)
    monkeypatch.setattr(chain_module, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(DiskFullError, match="MiB are needed"):
        mine(chain)
    monkeypatch.undo()
    mine(chain)
    assert chain.height == 2


FULL_DISK = """
import resource, sys
from pathlib import Path
from primegap.regtest.chain import Chain
from primegap.regtest.errors import DiskFullError
from primegap.regtest.scripts import FAUCET_SCRIPT
chain = Chain(Path(sys.argv[1]))
mine = lambda: chain.mine(FAUCET_SCRIPT, [], fees_sat=0, now_s=1_600_000_000)
for _ in range(int(sys.argv[3])):
    mine()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
try:
    for _ in range(3000):
        mine()
except DiskFullError as error:
    print(error.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
mine()
chain.close()
print(chain.data_dir)
"""


@pytest.mark.parametrize(
    ("limit_bytes", "blocks_before"),
    [
        pytest.param(4_000, 0, id="engine"),  # the engine's first block file cannot grow
        pytest.param(300_000, 5, id="index"),  # the engine's files are grown, the journal's not
    ],
)
def test_a_disk_that_fills_while_mining_stops_with_one_clear_error(
    tmp_path: Path, limit_bytes: int, blocks_before: int
) -> None:
    """The kernel refuses to let files grow (a file size limit), as a full disk does."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit_bytes), str(blocks_before)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["disk-full", str(tmp_path)]
    reopened = Chain(tmp_path)
    assert reopened.height == reopened.engine.height >= 1
    reopened.close()
