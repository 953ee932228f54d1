"""Bitcoin Core's script interpreter (libbitcoinkernel): the judge of what is about to be sent.

It knows nothing of how our signatures were made, so a fault of ours in what they cover, or in how a
witness is put together, is found here and not by the network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from primegap.bitcoin.transaction import Transaction, TxOutput

Satisfaction = tuple[bytes, tuple[bytes, ...]]
"Script and witness of a signed input."


def signed_transaction(unsigned: Transaction, found: Mapping[int, Satisfaction]) -> Transaction:
    """Return a transaction with some of its inputs signed."""
    nothing: Satisfaction = (b"", ())
    inputs = tuple(
        replace(
            txin,
            script_sig=found.get(position, nothing)[0],
            witness=found.get(position, nothing)[1],
        )
        for position, txin in enumerate(unsigned.inputs)
    )
    return replace(unsigned, inputs=inputs, has_witness=any(txin.witness for txin in inputs))


def wrongly_spent(
    unsigned: Transaction, coins: Sequence[TxOutput], found: Mapping[int, Satisfaction]
) -> int | None:
    """Return the first signed input that the network would refuse, or None.

    Args:
        unsigned: the transaction.
        coins: what its inputs spend, in order, all of them.
        found: script and witness of the inputs to be judged.
    """
    import pbk
    from pbk.script import PrecomputedTransactionData

    if not found:
        return None
    transaction = pbk.Transaction(signed_transaction(unsigned, found).serialise())
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(c.script), c.amount) for c in coins]
    shared = PrecomputedTransactionData(transaction, outputs)
    flags = pbk.ScriptVerificationFlags.ALL
    for position in found:
        coin = coins[position]
        script = pbk.ScriptPubkey(coin.script)
        try:
            if not script.verify(coin.amount, transaction, shared, position, flags):
                return position
        except pbk.ScriptVerifyException:
            return position
    return None
