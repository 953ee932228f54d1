"""Payments from the faucet: test coins for anyone who asks.

Its coins sit on a script that needs no key (see `scripts.py`); block rewards go there by default.
Payments take the same way in as everybody's: through the mempool and the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.regtest.blocks import COINBASE_MATURITY_BLOCKS
from primegap.regtest.errors import AmountError, FaucetEmptyError
from primegap.regtest.policy import MAX_MONEY_SAT, fee_at_rate_sat
from primegap.regtest.primitives import OutPoint, Transaction, TxIn, TxOut
from primegap.regtest.scripts import (
    FAUCET_SCRIPT,
    TRUE_WITNESS_SCRIPT,
    dust_limit_sat,
    script_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.regtest.chain import Chain
    from primegap.regtest.mempool import Mempool

FAUCET_RATE_SAT_PER_KVB: Final = 2_000
MAX_FAUCET_INPUTS: Final = 500  # 42 vbytes each: a fifth of the largest standard transaction
_MAX_COINS_READ: Final = 1_000  # oldest first, so the mature ones come first
_SEQUENCE: Final = 0xFFFFFFFD  # replaceable, as wallets have it (BIP-125)
FAUCET_HASH: Final = script_hash(FAUCET_SCRIPT)


def build_payment(chain: Chain, mempool: Mempool, script: bytes, amount_sat: int) -> Transaction:
    """Build a payment of `amount_sat` to `script`, with change back to the faucet.

    Raises:
        AmountError: below the dust limit of the script or above all money there is.
        FaucetEmptyError: the coins that can be spent now do not reach.
    """
    least_sat = max(dust_limit_sat(script), 1)
    if not least_sat <= amount_sat <= MAX_MONEY_SAT:
        raise AmountError(f"an amount from {least_sat} to {MAX_MONEY_SAT} satoshi")
    inputs: list[TxIn] = []
    total_sat = 0
    for outpoint, coin_sat in _coins(chain, mempool):
        inputs.append(TxIn(prevout=outpoint, sequence=_SEQUENCE, witness=(TRUE_WITNESS_SCRIPT,)))
        total_sat += coin_sat
        payment = _finish(inputs, script, amount_sat, total_sat)
        if payment is not None:
            return payment
        if len(inputs) == MAX_FAUCET_INPUTS:
            break
    raise FaucetEmptyError(f"{total_sat} satoshi can be spent now")


def _finish(
    inputs: list[TxIn], script: bytes, amount_sat: int, total_sat: int
) -> Transaction | None:
    """Return the payment, or None if the inputs do not cover amount and fee."""
    if total_sat < amount_sat:
        return None

    def assemble(change_sat: int) -> Transaction:
        outputs = [TxOut(amount_sat=amount_sat, script=script)]
        if change_sat >= dust_limit_sat(FAUCET_SCRIPT):
            outputs.append(TxOut(amount_sat=change_sat, script=FAUCET_SCRIPT))
        return Transaction(version=2, inputs=tuple(inputs), outputs=tuple(outputs), lock_time=0)

    rest_sat = total_sat - amount_sat
    with_change_vb = assemble(MAX_MONEY_SAT).vsize_vb
    change_sat = rest_sat - fee_at_rate_sat(FAUCET_RATE_SAT_PER_KVB, with_change_vb)
    payment = assemble(change_sat)
    fee_sat = total_sat - sum(tx_out.amount_sat for tx_out in payment.outputs)
    enough = fee_sat >= fee_at_rate_sat(FAUCET_RATE_SAT_PER_KVB, payment.vsize_vb)
    return payment if enough else None


def _coins(chain: Chain, mempool: Mempool) -> Iterator[tuple[OutPoint, int]]:
    """Yield outpoint and amount of what can be spent: confirmed coins first, then our change."""
    next_height = chain.height + 1
    for coin in chain.index.unspent(FAUCET_HASH, limit=_MAX_COINS_READ):
        immature = coin.is_coinbase and next_height - coin.height < COINBASE_MATURITY_BLOCKS
        if not immature and mempool.spender(coin.outpoint) is None:
            yield coin.outpoint, coin.amount_sat
    for entry in mempool.touching(FAUCET_HASH):
        for vout, tx_out in enumerate(entry.transaction.outputs):
            outpoint = OutPoint(entry.transaction.txid, vout)
            if tx_out.script == FAUCET_SCRIPT and mempool.spender(outpoint) is None:
                yield outpoint, tx_out.amount_sat
