"""Transactions that wait for a block.

A transaction gets in only after our policy and then the engine's own checks: its deserialiser, its
context-free rules and its script verification of every input. What is in is kept in the journal
file and judged again when the chain is opened. Everything here runs on one thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.regtest.blocks import build_block, build_coinbase, header_bits
from primegap.regtest.errors import (
    BlockRefusedError,
    RemoteError,
    TransactionFormatError,
    TransactionRefusedError,
)
from primegap.regtest.policy import (
    INCREMENTAL_RELAY_SAT_PER_KVB,
    MAX_STANDARD_WEIGHT,
    Coin,
    check_amounts,
    check_final,
    check_relative_locks,
    check_relay_fee,
    check_standard,
    check_structure,
    fee_at_rate_sat,
)
from primegap.regtest.primitives import OutPoint, Transaction, parse_transaction_untrusted
from primegap.regtest.scripts import FAUCET_SCRIPT, script_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from primegap.regtest.chain import Chain, ChainChange

_log: Final = logging.getLogger(__name__)

MAX_MEMPOOL_VSIZE_VB: Final = 5_000_000  # five full blocks; keeps memory to some tens of MB
MAX_CHAIN_LENGTH: Final = 25  # unconfirmed ancestors or descendants, itself included, as in Core
MAX_REPLACED: Final = 100  # transactions that one replacement may evict (BIP-125)
TEMPLATE_WEIGHT: Final = 3_990_000  # leaves room in a block for header and coinbase


@dataclass(frozen=True, slots=True, kw_only=True)
class MempoolEntry:
    """One waiting transaction."""

    transaction: Transaction
    fee_sat: int
    coins: tuple[Coin, ...]
    "What each input spends, in order."

    @property
    def vsize_vb(self) -> int:
        """Virtual size in vbytes."""
        return self.transaction.vsize_vb

    @property
    def rate_sat_per_kvb(self) -> int:
        """Fee rate, rounded down."""
        return self.fee_sat * 1000 // self.vsize_vb

    @property
    def has_unconfirmed_inputs(self) -> bool:
        """Whether it spends an output of another waiting transaction."""
        return not all(coin.is_confirmed for coin in self.coins)

    def script_hashes(self) -> set[bytes]:
        """Return the hashes of all scripts it spends from or pays to."""
        spent = (coin.output.script for coin in self.coins)
        paid = (tx_out.script for tx_out in self.transaction.outputs)
        return {script_hash(script) for script in (*spent, *paid)}


class Mempool:
    """The waiting transactions of one chain, in order of arrival (parents before children)."""

    def __init__(self, chain: Chain) -> None:
        """Take up the transactions that were waiting when the chain was last open."""
        self._chain = chain
        self._entries: dict[bytes, MempoolEntry] = {}
        self._spenders: dict[OutPoint, bytes] = {}
        self._by_script: dict[bytes, dict[bytes, None]] = {}
        self._vsize_vb = 0
        self._touched: set[bytes] = set()
        self._readmit([raw for _, raw in chain.index.pending()])

    # --- reading -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[MempoolEntry]:
        """Return all entries in order of arrival."""
        return list(self._entries.values())

    def get(self, txid: bytes) -> MempoolEntry | None:
        """Return the entry of a transaction, or None."""
        return self._entries.get(txid)

    def spender(self, outpoint: OutPoint) -> bytes | None:
        """Return the id of the waiting transaction that spends this output, or None."""
        return self._spenders.get(outpoint)

    def touching(self, hashed_script: bytes) -> list[MempoolEntry]:
        """Return the entries that spend from or pay to a script, in order of arrival."""
        return [self._entries[txid] for txid in self._by_script.get(hashed_script, ())]

    def take_touched(self) -> set[bytes]:
        """Return the script hashes whose entries changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    # --- accepting ---------------------------------------------------------------------------

    def accept(self, raw: bytes) -> MempoolEntry:
        """Judge a transaction and keep it.

        Raises:
            TransactionFormatError: not a transaction.
            TransactionRefusedError: refused; `reason` is Bitcoin Core's word for why.
            DiskFullError, EngineFaultError: it could not be kept or judged.
        """
        if len(raw) > MAX_STANDARD_WEIGHT:  # the weight is at least the size
            raise TransactionRefusedError("tx-size", f"{len(raw)} > {MAX_STANDARD_WEIGHT}")
        transaction = parse_transaction_untrusted(raw)
        engine = self._chain.engine
        if engine.transaction_id(raw) != transaction.txid:
            raise TransactionFormatError("the engine reads it differently")
        check_structure(transaction)
        check_standard(transaction)
        next_height = self._chain.height + 1
        median_time_s = self._chain.median_time_past_s()
        check_final(transaction, next_height=next_height, median_time_s=median_time_s)
        self._check_new(transaction)
        coins = self._find_coins(transaction, next_height)
        check_relative_locks(
            transaction,
            coins,
            next_height=next_height,
            median_time_s=median_time_s,
            median_time_before_s=lambda height: self._chain.median_time_past_s(max(height - 1, 0)),
        )
        fee_sat = check_amounts(transaction, coins, next_height=next_height)
        check_relay_fee(fee_sat, transaction.vsize_vb)
        entry = MempoolEntry(transaction=transaction, fee_sat=fee_sat, coins=tuple(coins))
        replaced = self._check_replacement(entry)
        self._check_room(entry, replaced)
        self._check_with_engine(entry)
        with self._chain.index.transaction():
            for txid in replaced:
                self._chain.index.drop_pending(txid)
            self._chain.index.save_pending(transaction.txid, raw)
        for txid in replaced:
            self._forget(txid)
        self._remember(entry)
        return entry

    def _check_new(self, transaction: Transaction) -> None:
        known = self._entries.get(transaction.txid)
        if known is not None:
            same = known.transaction.wtxid == transaction.wtxid
            raise TransactionRefusedError(
                "txn-already-in-mempool" if same else "txn-same-nonwitness-data-in-mempool"
            )
        if self._chain.index.confirmed(transaction.txid) is not None:
            raise TransactionRefusedError("txn-already-known")

    def _find_coins(self, transaction: Transaction, next_height: int) -> list[Coin]:
        coins: list[Coin] = []
        for tx_in in transaction.inputs:
            parent = self._entries.get(tx_in.prevout.txid)
            coin: Coin | None = None
            if parent is None:
                coin = self._chain.index.coin(tx_in.prevout)
            elif tx_in.prevout.vout < len(parent.transaction.outputs):
                coin = Coin(
                    output=parent.transaction.outputs[tx_in.prevout.vout],
                    height=next_height,
                    is_coinbase=False,
                    is_confirmed=False,
                )
            if coin is None:
                raise TransactionRefusedError("bad-txns-inputs-missingorspent")
            coins.append(coin)
        return coins

    def _check_replacement(self, entry: MempoolEntry) -> list[bytes]:
        """Return the ids that this entry replaces, children first; check that it pays for that.

        The fee rules of BIP-125, without its opt-in signal: today's nodes need none.
        """
        direct = self._conflicts(entry.transaction)
        if not direct:
            return []
        replaced = self._descendants(direct)
        if len(replaced) > MAX_REPLACED:
            raise TransactionRefusedError(
                "too many potential replacements", f"{len(replaced)} > {MAX_REPLACED}"
            )
        if self._ancestors(entry.transaction) & set(replaced):
            raise TransactionRefusedError("bad-txns-spends-conflicting-tx")
        for txid in direct:
            if entry.rate_sat_per_kvb <= self._entries[txid].rate_sat_per_kvb:
                raise TransactionRefusedError("insufficient fee", "fee rate is not higher")
        least_sat = sum(self._entries[txid].fee_sat for txid in replaced) + fee_at_rate_sat(
            INCREMENTAL_RELAY_SAT_PER_KVB, entry.vsize_vb
        )
        if entry.fee_sat < least_sat:
            raise TransactionRefusedError("insufficient fee", f"{entry.fee_sat} < {least_sat}")
        return replaced

    def _check_room(self, entry: MempoolEntry, replaced: Sequence[bytes]) -> None:
        freed_vb = sum(self._entries[txid].vsize_vb for txid in replaced)
        if self._vsize_vb - freed_vb + entry.vsize_vb > MAX_MEMPOOL_VSIZE_VB:
            raise TransactionRefusedError("mempool full")
        ancestors = self._ancestors(entry.transaction)
        if len(ancestors) + 1 > MAX_CHAIN_LENGTH or any(
            len(self._family([ancestor])) + 1 > MAX_CHAIN_LENGTH for ancestor in ancestors
        ):
            raise TransactionRefusedError(
                "too-long-mempool-chain", f"more than {MAX_CHAIN_LENGTH} unconfirmed transactions"
            )

    def _check_with_engine(self, entry: MempoolEntry) -> None:
        """Have the engine judge the transaction alone in a block, then every input's script."""
        tip = self._chain.index.headers(self._chain.height, 1)[0]
        coinbase = build_coinbase(self._chain.height + 1, FAUCET_SCRIPT, 0, [entry.transaction])
        trial = build_block(
            previous_hash=bytes(32),
            time_s=0,
            bits=header_bits(tip),
            transactions=[coinbase, entry.transaction],
        )
        try:
            self._chain.engine.check_block(trial)
        except BlockRefusedError as error:
            raise TransactionRefusedError("bad-txns", error.reason) from error
        self._chain.engine.check_scripts(
            entry.transaction.raw, [coin.output for coin in entry.coins]
        )

    # --- mining ------------------------------------------------------------------------------

    def template(self) -> list[MempoolEntry]:
        """Return what goes into the next block, in order of arrival.

        If not everything fits, higher fee rates go first and take along what they spend from.
        """
        chosen: set[bytes] = set()
        weight = 0
        for entry in sorted(
            self._entries.values(), key=lambda entry: entry.rate_sat_per_kvb, reverse=True
        ):
            package = {entry.transaction.txid, *self._ancestors(entry.transaction)} - chosen
            package_weight = sum(self._entries[txid].transaction.weight for txid in package)
            if weight + package_weight <= TEMPLATE_WEIGHT:
                chosen |= package
                weight += package_weight
        return [entry for txid, entry in self._entries.items() if txid in chosen]

    def evict(self, txid: bytes) -> None:
        """Throw out a transaction and everything that spends from it."""
        self._drop(self._descendants([txid]))

    def follow(self, change: ChainChange) -> None:
        """Adjust to a change of the chain: take out what is confirmed or in conflict with it."""
        if change.disconnected:
            self._readmit(
                [
                    *(
                        transaction.raw
                        for block in change.disconnected
                        for transaction in block.transactions[1:]
                    ),
                    *(entry.transaction.raw for entry in self._entries.values()),
                ]
            )
            return
        with self._chain.index.transaction():
            for block in change.connected:
                for transaction in block.transactions[1:]:
                    if transaction.txid in self._entries:
                        self._drop([transaction.txid])
                    else:
                        self._drop(self._descendants(self._conflicts(transaction)))
        if change.connected:
            self._refresh_coins()

    def _refresh_coins(self) -> None:
        """Look up again the coins of entries whose parents may be confirmed by now."""
        next_height = self._chain.height + 1
        for txid, entry in self._entries.items():
            if entry.has_unconfirmed_inputs:
                coins = self._find_coins(entry.transaction, next_height)
                self._entries[txid] = MempoolEntry(
                    transaction=entry.transaction, fee_sat=entry.fee_sat, coins=tuple(coins)
                )

    def _readmit(self, raws: Iterable[bytes]) -> None:
        """Begin again empty and accept these in order; what is refused now is dropped."""
        with self._chain.index.transaction():
            self._drop([*reversed(self._entries)])
            for txid, _ in self._chain.index.pending():
                self._chain.index.drop_pending(txid)
            for raw in raws:
                try:
                    self.accept(raw)
                except RemoteError as error:
                    _log.info("a waiting transaction is no longer valid: %s", error)

    # --- relations ---------------------------------------------------------------------------

    def _conflicts(self, transaction: Transaction) -> list[bytes]:
        """Return the ids of entries that spend an input of `transaction`, each once."""
        spenders = (self._spenders.get(tx_in.prevout) for tx_in in transaction.inputs)
        return list(dict.fromkeys(txid for txid in spenders if txid is not None))

    def _ancestors(self, transaction: Transaction) -> set[bytes]:
        found: set[bytes] = set()
        queue = [transaction]
        while queue:
            for tx_in in queue.pop().inputs:
                txid = tx_in.prevout.txid
                if txid in self._entries and txid not in found:
                    found.add(txid)
                    queue.append(self._entries[txid].transaction)
        return found

    def _family(self, txids: Iterable[bytes]) -> set[bytes]:
        """Return these ids and those of everything that spends from them."""
        found = set(txids)
        queue = list(found)
        while queue:
            txid = queue.pop()
            for vout in range(len(self._entries[txid].transaction.outputs)):
                child = self._spenders.get(OutPoint(txid, vout))
                if child is not None and child not in found:
                    found.add(child)
                    queue.append(child)
        return found

    def _descendants(self, txids: Iterable[bytes]) -> list[bytes]:
        """Return the family of these ids with children before parents."""
        family = self._family(txids)
        # Arrival order puts parents first, so its reverse puts children first.
        return [txid for txid in reversed(self._entries) if txid in family]

    def _remember(self, entry: MempoolEntry) -> None:
        txid = entry.transaction.txid
        self._entries[txid] = entry
        self._vsize_vb += entry.vsize_vb
        for tx_in in entry.transaction.inputs:
            self._spenders[tx_in.prevout] = txid
        for hashed in entry.script_hashes():
            self._by_script.setdefault(hashed, {})[txid] = None
            self._touched.add(hashed)

    def _forget(self, txid: bytes) -> None:
        entry = self._entries.pop(txid)
        self._vsize_vb -= entry.vsize_vb
        for tx_in in entry.transaction.inputs:
            del self._spenders[tx_in.prevout]
        for hashed in entry.script_hashes():
            waiting = self._by_script[hashed]
            del waiting[txid]
            if not waiting:
                del self._by_script[hashed]
            self._touched.add(hashed)

    def _drop(self, txids: Iterable[bytes]) -> None:
        for txid in txids:
            self._chain.index.drop_pending(txid)
            self._forget(txid)
