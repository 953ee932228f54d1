"""What the mempool takes and refuses, in Bitcoin Core's words, and what mining makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from primegap.regtest import mempool as mempool_module
from primegap.regtest.blocks import build_block, build_coinbase, header_bits, subsidy_sat
from primegap.regtest.errors import (
    AmountError,
    BlockRefusedError,
    FaucetEmptyError,
    TransactionFormatError,
    TransactionRefusedError,
)
from primegap.regtest.faucet import FAUCET_HASH
from primegap.regtest.ledger import BlockMined, Ledger, TransactionAccepted
from primegap.regtest.mempool import MempoolEntry
from primegap.regtest.policy import MAX_MONEY_SAT
from primegap.regtest.primitives import (
    NULL_HASH,
    NULL_VOUT,
    SEQUENCE_FINAL,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    sha256d,
)
from primegap.regtest.scripts import FAUCET_SCRIPT, TRUE_WITNESS_SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START_S = 1_700_000_000.0
P2WPKH = bytes.fromhex("0014") + bytes(20)
COIN_SAT = subsidy_sat(1)


def grown(data_dir: Path) -> Ledger:
    ledger = Ledger(data_dir)
    for _ in range(110):
        ledger.grow_initial(110, now_s=START_S)
    ledger.take_changes()
    return ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = grown(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def strict_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger that many tests share because it accepts nothing from them."""
    opened = grown(tmp_path_factory.mktemp("strict"))
    yield opened
    opened.close()


def mine(ledger: Ledger) -> BlockMined:
    return ledger.mine(now_s=START_S + ledger.chain.height * 600)


def reward(ledger: Ledger, height: int) -> OutPoint:
    return OutPoint(ledger.chain.index.block_txids(height)[0], 0)


def spend(
    *coins: OutPoint,
    amount_sat: int = COIN_SAT - 10_000,
    script: bytes = FAUCET_SCRIPT,
    outputs: tuple[TxOut, ...] | None = None,
    sequence: int = 0xFFFFFFFD,
    lock_time: int = 0,
    version: int = 2,
) -> Transaction:
    return Transaction(
        version=version,
        inputs=tuple(
            TxIn(prevout=coin, sequence=sequence, witness=(TRUE_WITNESS_SCRIPT,)) for coin in coins
        ),
        outputs=(TxOut(amount_sat=amount_sat, script=script),) if outputs is None else outputs,
        lock_time=lock_time,
    )


def with_input(transaction: Transaction, tx_in: TxIn) -> Transaction:
    return replace(transaction, inputs=(tx_in, *transaction.inputs[1:]))


def refusal(ledger: Ledger, transaction: Transaction) -> str:
    with pytest.raises(TransactionRefusedError) as caught:
        ledger.broadcast(transaction.raw)
    assert transaction.txid not in {e.transaction.txid for e in ledger.mempool.entries()} or (
        caught.value.reason.startswith("txn-")
    )
    return caught.value.reason


# --- accepted ----------------------------------------------------------------------------------


def test_a_good_transaction_waits_and_is_mined(ledger: Ledger) -> None:
    transaction = spend(reward(ledger, 1))
    entry = ledger.broadcast(transaction.raw)
    assert (entry.fee_sat, entry.transaction) == (10_000, transaction)
    mined = mine(ledger)
    assert mined.txids[1:] == (transaction.txid[::-1].hex(),)
    assert len(ledger.mempool) == 0
    coinbase = ledger.chain.index.confirmed(bytes.fromhex(mined.txids[0])[::-1])
    assert coinbase is not None
    coin = ledger.chain.index.coin(OutPoint(bytes.fromhex(mined.txids[0])[::-1], 0))
    assert coin is not None
    assert coin.output.amount_sat == subsidy_sat(111) + 10_000
    assert [type(event) for event in ledger.take_changes().events] == [
        TransactionAccepted,
        BlockMined,
    ]


def test_a_child_of_a_waiting_transaction_is_mined_behind_it(ledger: Ledger) -> None:
    parent = spend(reward(ledger, 1))
    child = spend(OutPoint(parent.txid, 0), amount_sat=COIN_SAT - 50_000)
    ledger.broadcast(parent.raw)
    assert ledger.broadcast(child.raw).has_unconfirmed_inputs
    mined = mine(ledger)
    assert mined.txids[1:] == (parent.txid[::-1].hex(), child.txid[::-1].hex())


def test_a_child_whose_parent_is_mined_first_counts_as_confirmed_then(ledger: Ledger) -> None:
    parent = spend(reward(ledger, 1))
    child = spend(OutPoint(parent.txid, 0), amount_sat=COIN_SAT - 20_000)
    ledger.broadcast(parent.raw)
    ledger.broadcast(child.raw)
    ledger.submit_block(
        ledger.chain.assemble(FAUCET_SCRIPT, [parent], fees_sat=10_000, now_s=START_S + 110 * 600)
    )
    (entry,) = ledger.mempool.entries()
    assert entry.transaction == child
    assert not entry.has_unconfirmed_inputs


def test_what_waits_survives_a_restart(ledger: Ledger, tmp_path: Path) -> None:
    parent = spend(reward(ledger, 1))
    child = spend(OutPoint(parent.txid, 0), amount_sat=COIN_SAT - 20_000)
    for transaction in (parent, child):
        ledger.broadcast(transaction.raw)
    ledger.close()
    again = Ledger(tmp_path)
    assert [entry.transaction for entry in again.mempool.entries()] == [parent, child]
    assert len(mine(again).txids) == 3
    again.close()
    last = Ledger(tmp_path)
    assert len(last.mempool) == 0
    last.close()
    ledger.__init__(tmp_path)  # type: ignore[misc]  # for the fixture to close


# --- refused: form -----------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [b"", b"\x02\x00\x00\x00", bytes(100), b"\xff" * 300])
def test_what_is_no_transaction_is_refused(strict_ledger: Ledger, raw: bytes) -> None:
    with pytest.raises(TransactionFormatError):
        strict_ledger.broadcast(raw)


def test_trailing_bytes_are_refused(strict_ledger: Ledger) -> None:
    with pytest.raises(TransactionFormatError):
        strict_ledger.broadcast(spend(reward(strict_ledger, 1)).raw + b"\x00")


SPOILT: list[tuple[str, Callable[[Transaction], Transaction]]] = [
    ("bad-txns-vout-empty", lambda tx: replace(tx, outputs=())),
    (
        "bad-txns-vout-negative",
        lambda tx: replace(tx, outputs=(TxOut(amount_sat=-1, script=P2WPKH),)),
    ),
    (
        "bad-txns-vout-toolarge",
        lambda tx: replace(tx, outputs=(TxOut(amount_sat=MAX_MONEY_SAT + 1, script=P2WPKH),)),
    ),
    (
        "bad-txns-txouttotal-toolarge",
        lambda tx: replace(tx, outputs=(TxOut(amount_sat=MAX_MONEY_SAT, script=P2WPKH),) * 2),
    ),
    ("bad-txns-inputs-duplicate", lambda tx: replace(tx, inputs=tx.inputs * 2)),
    (
        "bad-txns-prevout-null",
        lambda tx: replace(tx, inputs=(*tx.inputs, TxIn(prevout=OutPoint(NULL_HASH, NULL_VOUT)))),
    ),
    (
        "coinbase",
        lambda tx: with_input(tx, TxIn(prevout=OutPoint(NULL_HASH, NULL_VOUT), script_sig=b"\x00")),
    ),
    ("version", lambda tx: replace(tx, version=3)),
    ("version", lambda tx: replace(tx, version=0)),
    (
        "scriptsig-size",
        lambda tx: with_input(tx, replace(tx.inputs[0], script_sig=b"\x00" * 1_651)),
    ),
    (
        "scriptsig-not-pushonly",
        lambda tx: with_input(tx, replace(tx.inputs[0], script_sig=b"\xac")),
    ),
    ("scriptpubkey", lambda tx: replace(tx, outputs=(TxOut(amount_sat=5_000, script=b"\x51"),))),
    ("dust", lambda tx: replace(tx, outputs=(TxOut(amount_sat=293, script=P2WPKH),))),
    (
        "tx-size-small",
        lambda tx: replace(tx, outputs=(TxOut(amount_sat=0, script=b"\x6a"),)),
    ),
    (
        "tx-size",
        lambda tx: with_input(tx, replace(tx.inputs[0], witness=(bytes(400_000),))),
    ),
    (
        "tx-size",
        lambda tx: replace(
            tx,
            outputs=(
                TxOut(
                    amount_sat=5_000,
                    script=b"\x6a\x4e" + (98_000).to_bytes(4, "little") + bytes(98_000),
                ),
            )
            * 2,
        ),
    ),
]


@pytest.mark.parametrize(("reason", "spoil"), SPOILT)
def test_a_spoilt_transaction_is_refused_in_cores_words(
    strict_ledger: Ledger, reason: str, spoil: Callable[[Transaction], Transaction]
) -> None:
    assert refusal(strict_ledger, spoil(spend(reward(strict_ledger, 1)))) == reason
    assert len(mine(strict_ledger).txids) == 1


def test_a_transaction_without_inputs_is_refused(strict_ledger: Ledger) -> None:
    raw = bytes.fromhex("02000000000000000000")
    with pytest.raises(TransactionRefusedError, match="bad-txns-vin-empty"):
        strict_ledger.broadcast(raw)


# --- refused: what it spends -------------------------------------------------------------------


def test_an_input_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    for outpoint in (
        OutPoint(b"\x11" * 32, 0),
        replace(reward(ledger, 1), vout=1),  # the witness commitment is no coin
        replace(reward(ledger, 1), vout=7),
        OutPoint(ledger.chain.index.block_txids(0)[0], 0),  # nor is the genesis reward
    ):
        reason = refusal(ledger, spend(reward(ledger, 1), outpoint))
        assert reason == "bad-txns-inputs-missingorspent"


def test_a_spent_coin_is_refused_after_the_block(ledger: Ledger) -> None:
    ledger.broadcast(spend(reward(ledger, 1)).raw)
    mine(ledger)
    second = spend(reward(ledger, 1), amount_sat=COIN_SAT - 99_000)
    assert refusal(ledger, second) == "bad-txns-inputs-missingorspent"


def test_a_reward_is_spendable_after_100_blocks_and_not_before(ledger: Ledger) -> None:
    early = spend(reward(ledger, 12))
    assert refusal(ledger, early) == "bad-txns-premature-spend-of-coinbase"
    mine(ledger)
    ledger.broadcast(early.raw)
    assert len(mine(ledger).txids) == 2


def test_paying_out_more_than_comes_in_is_refused(ledger: Ledger) -> None:
    assert (
        refusal(ledger, spend(reward(ledger, 1), amount_sat=COIN_SAT + 1)) == "bad-txns-in-belowout"
    )


def test_a_fee_below_the_relay_fee_is_refused_and_one_at_it_is_taken(ledger: Ledger) -> None:
    vsize_vb = spend(reward(ledger, 1)).vsize_vb
    below = spend(reward(ledger, 1), amount_sat=COIN_SAT - vsize_vb + 1)
    with pytest.raises(TransactionRefusedError) as caught:
        ledger.broadcast(below.raw)
    assert str(caught.value) == f"min relay fee not met, {vsize_vb - 1} < {vsize_vb}"
    ledger.broadcast(spend(reward(ledger, 1), amount_sat=COIN_SAT - vsize_vb).raw)


def test_a_wrong_witness_is_refused_by_the_engine(ledger: Ledger) -> None:
    good = spend(reward(ledger, 1), reward(ledger, 2))
    for witness in ((), (b"\x52",), (b"\x00", TRUE_WITNESS_SCRIPT)):
        bad = replace(good, inputs=(good.inputs[0], replace(good.inputs[1], witness=witness)))
        with pytest.raises(TransactionRefusedError) as caught:
            ledger.broadcast(bad.raw)
        assert caught.value.reason == "mandatory-script-verify-flag-failed"
        assert caught.value.detail == "input 1"
    assert len(mine(ledger).txids) == 1


def test_an_output_anyone_may_spend_is_not_spent_here(ledger: Ledger) -> None:
    future_script = b"\x60\x20" + bytes(32)  # witness version 16: no rules yet
    maker = spend(reward(ledger, 1), script=future_script)
    ledger.broadcast(maker.raw)
    mine(ledger)
    taker = spend(OutPoint(maker.txid, 0), amount_sat=COIN_SAT - 30_000)
    assert refusal(ledger, taker) == "bad-txns-nonstandard-inputs"


# --- refused: time -----------------------------------------------------------------------------


def test_a_lock_time_by_height_opens_with_its_block(ledger: Ledger) -> None:
    locked = spend(reward(ledger, 1), lock_time=111)
    assert refusal(ledger, locked) == "non-final"
    final = spend(reward(ledger, 2), lock_time=111, sequence=SEQUENCE_FINAL)
    ledger.broadcast(final.raw)  # all inputs final: the lock time does not count
    mine(ledger)
    ledger.broadcast(locked.raw)
    assert len(mine(ledger).txids) == 2


def test_a_lock_time_in_seconds_opens_with_the_median_time(ledger: Ledger) -> None:
    median_s = ledger.chain.median_time_past_s()
    assert refusal(ledger, spend(reward(ledger, 1), lock_time=median_s)) == "non-final"
    ledger.broadcast(spend(reward(ledger, 1), lock_time=median_s - 1).raw)
    assert len(mine(ledger).txids) == 2


def test_a_relative_lock_by_height_opens_with_its_block(ledger: Ledger) -> None:
    fresh = spend(reward(ledger, 1))
    ledger.broadcast(fresh.raw)
    mine(ledger)  # 111
    locked = spend(OutPoint(fresh.txid, 0), amount_sat=COIN_SAT - 30_000, sequence=3)
    assert refusal(ledger, locked) == "non-BIP68-final"
    mine(ledger)
    mine(ledger)  # 113: the next one is three above 111
    ledger.broadcast(locked.raw)
    assert len(mine(ledger).txids) == 2


def test_a_relative_lock_in_time_opens_with_the_median_time(ledger: Ledger) -> None:
    fresh = spend(reward(ledger, 1))
    ledger.broadcast(fresh.raw)
    mine(ledger)
    locked = spend(OutPoint(fresh.txid, 0), amount_sat=COIN_SAT - 30_000, sequence=(1 << 22) | 3)
    waited = 0
    while True:
        try:
            ledger.broadcast(locked.raw)
            break
        except TransactionRefusedError as error:
            assert error.reason == "non-BIP68-final"
            mine(ledger)
            waited += 1
    # Three units of 512 s on a chain of 600 s a block: three blocks, its own among them.
    assert waited == 2
    assert len(mine(ledger).txids) == 2


def test_relative_locks_do_not_bind_version_1(ledger: Ledger) -> None:
    ledger.broadcast(spend(reward(ledger, 1), sequence=500, version=1).raw)
    assert len(mine(ledger).txids) == 2


# --- refused: others ---------------------------------------------------------------------------


def test_the_same_transaction_again_is_known(ledger: Ledger) -> None:
    transaction = spend(reward(ledger, 1))
    ledger.broadcast(transaction.raw)
    assert refusal(ledger, transaction) == "txn-already-in-mempool"
    other = with_input(transaction, replace(transaction.inputs[0], witness=(b"\x01", b"\x51")))
    assert refusal(ledger, other) == "txn-same-nonwitness-data-in-mempool"
    mine(ledger)
    assert refusal(ledger, transaction) == "txn-already-known"


def test_a_replacement_must_pay_more_for_everything_it_replaces(ledger: Ledger) -> None:
    first = spend(reward(ledger, 1))
    child = spend(OutPoint(first.txid, 0), amount_sat=COIN_SAT - 40_000)
    for transaction in (first, child):
        ledger.broadcast(transaction.raw)
    for amount_sat in (COIN_SAT - 10_000, COIN_SAT - 9_000, COIN_SAT - 40_000):
        again = spend(reward(ledger, 1), amount_sat=amount_sat, script=P2WPKH)
        assert refusal(ledger, again) == "insufficient fee"
    paying = spend(reward(ledger, 1), amount_sat=COIN_SAT - 50_000, script=P2WPKH)
    ledger.broadcast(paying.raw)
    assert [entry.transaction for entry in ledger.mempool.entries()] == [paying]
    assert mine(ledger).txids[1:] == (paying.txid[::-1].hex(),)


def test_a_replacement_may_not_spend_what_it_replaces(ledger: Ledger) -> None:
    first = spend(reward(ledger, 1))
    ledger.broadcast(first.raw)
    both = spend(reward(ledger, 1), OutPoint(first.txid, 0), amount_sat=COIN_SAT)
    assert refusal(ledger, both) == "bad-txns-spends-conflicting-tx"


def test_a_replacement_of_too_many_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool_module, "MAX_REPLACED", 1)
    first = spend(reward(ledger, 1))
    child = spend(OutPoint(first.txid, 0), amount_sat=COIN_SAT - 40_000)
    for transaction in (first, child):
        ledger.broadcast(transaction.raw)
    big = spend(reward(ledger, 1), amount_sat=COIN_SAT - 900_000)
    assert refusal(ledger, big) == "too many potential replacements"


def test_chains_of_waiting_transactions_end_at_25(ledger: Ledger) -> None:
    coin, amount_sat = reward(ledger, 1), COIN_SAT
    for _ in range(25):
        amount_sat -= 1_000
        link = spend(coin, amount_sat=amount_sat)
        ledger.broadcast(link.raw)
        coin = OutPoint(link.txid, 0)
    one_more = spend(coin, amount_sat=amount_sat - 1_000)
    assert refusal(ledger, one_more) == "too-long-mempool-chain"
    assert len(mine(ledger).txids) == 26
    ledger.broadcast(one_more.raw)


def test_a_transaction_may_not_have_too_many_children(ledger: Ledger) -> None:
    parent = spend(
        reward(ledger, 1),
        outputs=(TxOut(amount_sat=100_000_000, script=FAUCET_SCRIPT),) * 30,
    )
    ledger.broadcast(parent.raw)
    for vout in range(24):
        ledger.broadcast(spend(OutPoint(parent.txid, vout), amount_sat=99_990_000).raw)
    last = spend(OutPoint(parent.txid, 24), amount_sat=99_990_000)
    assert refusal(ledger, last) == "too-long-mempool-chain"


def test_a_full_mempool_takes_no_more(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mempool_module, "MAX_MEMPOOL_VSIZE_VB", 150)
    ledger.broadcast(spend(reward(ledger, 1)).raw)
    assert refusal(ledger, spend(reward(ledger, 2))) == "mempool full"


# --- mining ------------------------------------------------------------------------------------


def test_when_a_block_is_full_higher_fee_rates_go_first(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = spend(reward(ledger, 1), amount_sat=COIN_SAT - 1_000)
    dear = spend(reward(ledger, 2), amount_sat=COIN_SAT - 50_000)
    dear_child = spend(OutPoint(dear.txid, 0), amount_sat=COIN_SAT - 90_000)
    for transaction in (cheap, dear, dear_child):
        ledger.broadcast(transaction.raw)
    monkeypatch.setattr(mempool_module, "TEMPLATE_WEIGHT", 2 * dear.weight)
    assert mine(ledger).txids[1:] == (dear.txid[::-1].hex(), dear_child.txid[::-1].hex())
    assert mine(ledger).txids[1:] == (cheap.txid[::-1].hex(),)


def test_mining_goes_on_without_what_only_the_engine_refuses(ledger: Ledger) -> None:
    good = [spend(reward(ledger, height)) for height in (1, 2, 3)]
    for transaction in good[:2]:
        ledger.broadcast(transaction.raw)
    # Something our checks wrongly let in, put where it would then be.
    bad = with_input(spend(reward(ledger, 4)), TxIn(prevout=reward(ledger, 4), witness=(b"\x00",)))
    coin = ledger.chain.index.coin(reward(ledger, 4))
    assert coin is not None
    ledger.chain.index.save_pending(bad.txid, bad.raw)
    ledger.mempool._remember(MempoolEntry(transaction=bad, fee_sat=10_000, coins=(coin,)))
    ledger.broadcast(good[2].raw)
    confirmed: set[str] = set()
    for _ in range(6):
        confirmed |= set(mine(ledger).txids[1:])
    assert confirmed == {transaction.txid[::-1].hex() for transaction in good}
    assert len(ledger.mempool) == 0
    assert ledger.chain.index.pending() == []


def test_a_block_is_refused_to_the_caller_if_it_is_not_a_transactions_fault(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.broadcast(spend(reward(ledger, 1)).raw)
    monkeypatch.setattr("primegap.regtest.chain.subsidy_sat", lambda _height: COIN_SAT * 2)
    with pytest.raises(BlockRefusedError, match="bad-cb-amount"):
        mine(ledger)
    assert len(ledger.mempool) == 1


def test_a_block_from_elsewhere_throws_out_what_it_contradicts(ledger: Ledger) -> None:
    mine_tx = spend(reward(ledger, 1))
    child = spend(OutPoint(mine_tx.txid, 0), amount_sat=COIN_SAT - 30_000)
    for transaction in (mine_tx, child):
        ledger.broadcast(transaction.raw)
    theirs = spend(reward(ledger, 1), amount_sat=COIN_SAT - 5_000, script=P2WPKH)
    ledger.submit_block(
        ledger.chain.assemble(FAUCET_SCRIPT, [theirs], fees_sat=5_000, now_s=START_S + 66_000)
    )
    assert ledger.mempool.entries() == []
    assert ledger.chain.index.pending() == []


def test_a_longer_branch_puts_its_losers_transactions_back(ledger: Ledger) -> None:
    transaction = spend(reward(ledger, 1))
    ledger.broadcast(transaction.raw)
    mine(ledger)
    fork = ledger.chain.header(110)
    assert fork is not None
    previous_hash = sha256d(fork)
    for height in (111, 112):
        raw = build_block(
            previous_hash=previous_hash,
            time_s=int(START_S) + 200_000 + height,
            bits=header_bits(fork),
            transactions=[build_coinbase(height, P2WPKH, subsidy_sat(height), [])],
        )
        previous_hash = sha256d(raw[:80])
        ledger.submit_block(raw)
    assert ledger.chain.height == 112
    assert [entry.transaction for entry in ledger.mempool.entries()] == [transaction]
    change = ledger.take_changes()
    assert FAUCET_HASH in change.touched
    assert change.tip_changed


# --- the faucet --------------------------------------------------------------------------------


def test_the_faucet_pays_exactly_and_keeps_its_change(ledger: Ledger) -> None:
    txid = ledger.pay(P2WPKH, 123_456)
    entry = ledger.mempool.get(bytes.fromhex(txid)[::-1])
    assert entry is not None
    paid, change = entry.transaction.outputs
    assert paid == TxOut(amount_sat=123_456, script=P2WPKH)
    assert change.script == FAUCET_SCRIPT
    assert entry.fee_sat == entry.vsize_vb * 2


def test_the_faucet_uses_several_coins_and_leaves_no_dust(ledger: Ledger) -> None:
    txid = ledger.pay(P2WPKH, COIN_SAT * 3 - 500)
    entry = ledger.mempool.get(bytes.fromhex(txid)[::-1])
    assert entry is not None
    assert len(entry.transaction.outputs) == 1
    assert entry.fee_sat == 500


def test_the_faucet_pays_on_from_its_waiting_change_until_the_chain_is_long(
    ledger: Ledger,
) -> None:
    payments = 0

    def pay_until_refused() -> None:
        nonlocal payments
        for payments in range(400):  # noqa: B007 - read outside
            ledger.pay(P2WPKH, 200_000_000)

    with pytest.raises(FaucetEmptyError, match="wait for a block"):
        pay_until_refused()
    assert payments >= 25
    mine(ledger)
    ledger.pay(P2WPKH, 200_000_000)


def test_the_faucet_says_when_it_is_empty(ledger: Ledger) -> None:
    with pytest.raises(FaucetEmptyError, match="can be spent now"):
        ledger.pay(P2WPKH, COIN_SAT * 50)


@pytest.mark.parametrize("amount_sat", [-1, 0, 293, MAX_MONEY_SAT + 1])
def test_the_faucet_refuses_amounts_that_cannot_be_paid(ledger: Ledger, amount_sat: int) -> None:
    with pytest.raises(AmountError, match="294"):
        ledger.pay(P2WPKH, amount_sat)
