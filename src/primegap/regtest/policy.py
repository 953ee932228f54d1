"""What the mempool asks of a transaction before the engine checks its scripts.

Pure functions that raise `TransactionRefusedError` with Bitcoin Core's reject reasons. The rules
follow Bitcoin Core's defaults with two stricter choices: no bare multisignature outputs, and no
version 3 transactions (their topology rules are not built).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.regtest.blocks import COINBASE_MATURITY_BLOCKS
from primegap.regtest.errors import TransactionRefusedError
from primegap.regtest.primitives import (
    MAX_BLOCK_WEIGHT,
    NULL_HASH,
    NULL_VOUT,
    SEQUENCE_FINAL,
    WITNESS_SCALE,
    OutPoint,
    Transaction,
    TxOut,
)
from primegap.regtest.scripts import (
    dust_limit_sat,
    is_push_only,
    is_spendable_kind,
    is_standard_output,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_MONEY_SAT: Final = 21_000_000 * 100_000_000
MAX_STANDARD_WEIGHT: Final = 400_000
MIN_STRIPPED_BYTES: Final = 65  # smaller ones can pose as inner merkle nodes
MAX_SCRIPT_SIG_BYTES: Final = 1_650
STANDARD_VERSIONS: Final = (1, 2)
MIN_RELAY_SAT_PER_KVB: Final = 1_000
INCREMENTAL_RELAY_SAT_PER_KVB: Final = 1_000  # what a replacement pays for its own way (BIP-125)

LOCK_TIME_THRESHOLD: Final = 500_000_000  # below: a height, from here on: seconds
_SEQUENCE_NO_LOCK: Final = 1 << 31  # BIP-68
_SEQUENCE_IS_TIME: Final = 1 << 22
_SEQUENCE_VALUE: Final = 0xFFFF
_SEQUENCE_UNIT_S: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """An unspent output as the next block would see it."""

    output: TxOut
    height: int
    "Height of the block that made it; for one still in the mempool, the height of the next block."
    is_coinbase: bool
    is_confirmed: bool


def fee_at_rate_sat(rate_sat_per_kvb: int, vsize_vb: int) -> int:
    """Return the fee for a size at a rate, in satoshi, rounded up."""
    return -(-rate_sat_per_kvb * vsize_vb // 1000)


def check_structure(transaction: Transaction) -> None:
    """Check what every valid transaction obeys by itself (Core: CheckTransaction)."""
    if not transaction.inputs:
        raise TransactionRefusedError("bad-txns-vin-empty")
    if not transaction.outputs:
        raise TransactionRefusedError("bad-txns-vout-empty")
    if len(transaction.stripped) * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        raise TransactionRefusedError("bad-txns-oversize")
    total_sat = 0
    for tx_out in transaction.outputs:
        if tx_out.amount_sat < 0:
            raise TransactionRefusedError("bad-txns-vout-negative")
        if tx_out.amount_sat > MAX_MONEY_SAT:
            raise TransactionRefusedError("bad-txns-vout-toolarge")
        total_sat += tx_out.amount_sat
        if total_sat > MAX_MONEY_SAT:
            raise TransactionRefusedError("bad-txns-txouttotal-toolarge")
    prevouts = {tx_in.prevout for tx_in in transaction.inputs}
    if len(prevouts) != len(transaction.inputs):
        raise TransactionRefusedError("bad-txns-inputs-duplicate")
    if transaction.is_coinbase:
        raise TransactionRefusedError("coinbase")
    if OutPoint(NULL_HASH, NULL_VOUT) in prevouts:
        raise TransactionRefusedError("bad-txns-prevout-null")


def check_standard(transaction: Transaction) -> None:
    """Check form and size rules that keep a mempool healthy (Core: IsStandardTx)."""
    if transaction.version not in STANDARD_VERSIONS:
        raise TransactionRefusedError("version")
    if transaction.weight > MAX_STANDARD_WEIGHT:
        raise TransactionRefusedError("tx-size", f"{transaction.weight} > {MAX_STANDARD_WEIGHT}")
    for tx_in in transaction.inputs:
        if len(tx_in.script_sig) > MAX_SCRIPT_SIG_BYTES:
            raise TransactionRefusedError("scriptsig-size")
        if not is_push_only(tx_in.script_sig):
            raise TransactionRefusedError("scriptsig-not-pushonly")
    for tx_out in transaction.outputs:
        if not is_standard_output(tx_out.script):
            raise TransactionRefusedError("scriptpubkey")
        limit_sat = dust_limit_sat(tx_out.script)
        if tx_out.amount_sat < limit_sat:
            raise TransactionRefusedError("dust", f"{tx_out.amount_sat} < {limit_sat}")
    if len(transaction.stripped) < MIN_STRIPPED_BYTES:
        raise TransactionRefusedError("tx-size-small")


def check_final(transaction: Transaction, *, next_height: int, median_time_s: int) -> None:
    """Check that the lock time allows the transaction in the next block (BIP-113)."""
    lock_time = transaction.lock_time
    limit = next_height if lock_time < LOCK_TIME_THRESHOLD else median_time_s
    if lock_time < limit or all(i.sequence == SEQUENCE_FINAL for i in transaction.inputs):
        return
    raise TransactionRefusedError("non-final")


def check_relative_locks(
    transaction: Transaction,
    coins: Sequence[Coin],
    *,
    next_height: int,
    median_time_s: int,
    median_time_before_s: Callable[[int], int],
) -> None:
    """Check the relative lock times of the inputs (BIP-68).

    Args:
        transaction: what spends.
        coins: the coin of each input, in order.
        next_height: height of the next block.
        median_time_s: median time past of the tip.
        median_time_before_s: for a height, the median time past of the block before it.
    """
    if transaction.version < 2:
        return
    for tx_in, coin in zip(transaction.inputs, coins, strict=True):
        if tx_in.sequence & _SEQUENCE_NO_LOCK:
            continue
        value = tx_in.sequence & _SEQUENCE_VALUE
        if tx_in.sequence & _SEQUENCE_IS_TIME:
            since_s = median_time_before_s(coin.height) if coin.is_confirmed else median_time_s
            is_open = median_time_s >= since_s + value * _SEQUENCE_UNIT_S
        else:
            is_open = next_height >= coin.height + value
        if not is_open:
            raise TransactionRefusedError("non-BIP68-final")


def check_amounts(transaction: Transaction, coins: Sequence[Coin], *, next_height: int) -> int:
    """Check maturity and amounts of what is spent and return the fee in satoshi.

    Args:
        transaction: what spends.
        coins: the coin of each input, in order.
        next_height: height of the next block.
    """
    total_in_sat = 0
    for coin in coins:
        age = next_height - coin.height
        if coin.is_coinbase and age < COINBASE_MATURITY_BLOCKS:
            raise TransactionRefusedError(
                "bad-txns-premature-spend-of-coinbase",
                f"tried to spend coinbase at depth {age}",
            )
        total_in_sat += coin.output.amount_sat
        if not 0 <= total_in_sat <= MAX_MONEY_SAT:
            raise TransactionRefusedError("bad-txns-inputvalues-outofrange")
    fee_sat = total_in_sat - sum(tx_out.amount_sat for tx_out in transaction.outputs)
    if fee_sat < 0:
        raise TransactionRefusedError("bad-txns-in-belowout")
    if not all(is_spendable_kind(coin.output.script) for coin in coins):
        raise TransactionRefusedError("bad-txns-nonstandard-inputs")
    return fee_sat


def check_relay_fee(fee_sat: int, vsize_vb: int) -> None:
    """Check the fee against the least that is relayed."""
    least_sat = fee_at_rate_sat(MIN_RELAY_SAT_PER_KVB, vsize_vb)
    if fee_sat < least_sat:
        raise TransactionRefusedError("min relay fee not met", f"{fee_sat} < {least_sat}")
