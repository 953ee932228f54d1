"""Chain, mempool and faucet as one thing that changes, and the record of what changed.

Synchronous and single-threaded; `node.py` runs it on a thread of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.regtest.chain import Chain, ChainChange
from primegap.regtest.errors import (
    BlockRefusedError,
    EngineFaultError,
    FaucetEmptyError,
    TransactionRefusedError,
)
from primegap.regtest.faucet import build_payment
from primegap.regtest.mempool import Mempool, MempoolEntry
from primegap.regtest.primitives import display_hash
from primegap.regtest.scripts import FAUCET_SCRIPT

if TYPE_CHECKING:
    from pathlib import Path

_log: Final = logging.getLogger(__name__)

INITIAL_BLOCK_SPACING_S: Final = 600  # the first blocks are dated back, ten minutes apart


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMined:
    """A block became part of the active chain."""

    height: int
    block_hash: str
    "Display order, hexadecimal."
    txids: tuple[str, ...]
    "All transactions of the block in order, the coinbase first; display order, hexadecimal."


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionAccepted:
    """A transaction entered the mempool; the engine has verified its scripts."""

    txid: str
    "Display order, hexadecimal."
    fee_sat: int
    vsize_vb: int


NodeEvent = BlockMined | TransactionAccepted


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerChange:
    """What changed since it was last asked for."""

    events: tuple[NodeEvent, ...]
    touched: frozenset[bytes]
    "Script hashes whose Electrum history may be different now."
    tip_changed: bool


class Ledger:
    """The private chain, its mempool and its faucet."""

    def __init__(self, data_dir: Path, *, rebuild: bool = False) -> None:
        """Open everything in `data_dir`; arguments and errors as for `Chain`."""
        self.chain = Chain(data_dir, rebuild=rebuild)
        try:
            self.mempool = Mempool(self.chain)
        except BaseException:
            self.chain.close()
            raise
        self.mempool.take_touched()
        self._events: list[NodeEvent] = []
        self._touched: set[bytes] = set()
        self._tip_changed = False

    def close(self) -> None:
        """Flush everything and let go of the directory."""
        self.chain.close()

    def take_changes(self) -> LedgerChange:
        """Return what changed since the last call."""
        change = LedgerChange(
            events=tuple(self._events),
            touched=frozenset(self._touched | self.mempool.take_touched()),
            tip_changed=self._tip_changed,
        )
        self._events = []
        self._touched = set()
        self._tip_changed = False
        return change

    def grow_initial(self, blocks: int, *, now_s: float) -> None:
        """Mine one block of the first `blocks`, dated back so that the last is about now."""
        age_s = (blocks - self.chain.height - 1) * INITIAL_BLOCK_SPACING_S
        # A chain that was shorter before ends about then: it grows on from its own last time.
        dated_s = max(now_s - age_s, min(self.chain.median_time_past_s() + 1, now_s))
        self._follow(self.chain.mine(FAUCET_SCRIPT, [], fees_sat=0, now_s=dated_s))

    def mine(self, script: bytes = FAUCET_SCRIPT, *, now_s: float) -> BlockMined:
        """Mine one block of what waits in the mempool; subsidy and fees go to `script`.

        Raises:
            BlockRefusedError, ClockError, DiskFullError, EngineFaultError: no block was made.
        """
        entries = self.mempool.template()
        suspect: MempoolEntry | None = None
        change: ChainChange | None = None
        while change is None:
            try:
                change = self.chain.mine(
                    script,
                    [entry.transaction for entry in entries],
                    fees_sat=sum(entry.fee_sat for entry in entries),
                    now_s=now_s,
                )
            except BlockRefusedError as error:
                # Our checks let in what the engine refuses in a block (say, too many signature
                # operations together). Mining goes on with fewer; a lone culprit is thrown out.
                _log.warning("the engine refused a block of %d: %s", len(entries), error)
                if not entries:
                    raise
                suspect = entries[0] if len(entries) == 1 else None
                entries = entries[: len(entries) // 2]
        if suspect is not None:
            self.mempool.evict(suspect.transaction.txid)
        mined = self._follow(change)
        if not mined:
            raise EngineFaultError("the engine took a block and did not connect it")
        return mined[-1]

    def submit_block(self, raw: bytes) -> None:
        """Have the engine judge a block made elsewhere; errors as for `Chain.submit`."""
        self._follow(self.chain.submit(raw))

    def broadcast(self, raw: bytes) -> MempoolEntry:
        """Put a transaction into the mempool; errors as for `Mempool.accept`."""
        entry = self.mempool.accept(raw)
        self._events.append(
            TransactionAccepted(
                txid=display_hash(entry.transaction.txid),
                fee_sat=entry.fee_sat,
                vsize_vb=entry.vsize_vb,
            )
        )
        return entry

    def pay(self, script: bytes, amount_sat: int) -> str:
        """Pay `amount_sat` from the faucet to `script` and return the transaction id.

        Raises:
            AmountError: not an amount that can be paid.
            FaucetEmptyError: not enough coins that can be spent now.
        """
        payment = build_payment(self.chain, self.mempool, script, amount_sat)
        try:
            entry = self.broadcast(payment.raw)
        except TransactionRefusedError as error:
            if error.reason == "too-long-mempool-chain":
                raise FaucetEmptyError("too many payments wait for a block") from error
            raise
        return display_hash(entry.transaction.txid)

    def _follow(self, change: ChainChange) -> list[BlockMined]:
        self.mempool.follow(change)
        first = self.chain.height - len(change.connected) + 1
        mined = [
            BlockMined(
                height=first + offset,
                block_hash=display_hash(block.block_hash),
                txids=tuple(display_hash(tx.txid) for tx in block.transactions),
            )
            for offset, block in enumerate(change.connected)
        ]
        self._events += mined
        self._touched |= change.touched
        self._tip_changed |= bool(change.connected or change.disconnected)
        return mined
