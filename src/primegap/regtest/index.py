"""One SQLite file: the journal of blocks, and the indexes an Electrum server answers from.

The engine keeps recent blocks in memory and forgets them when the process is killed, so each block
it accepts is also written here, whole, in one transaction with its index rows. After a kill the
journal feeds the engine; `chain.py` reconciles the two. Hashes are 32 bytes in internal byte order.

WAL with `synchronous=NORMAL`: a killed process loses nothing; a power cut may lose the last blocks
but leaves a consistent file, which is enough for test coins.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.regtest.errors import (
    DataDirDamagedError,
    DataDirUnusableError,
    DiskFullError,
    RegtestError,
)
from primegap.regtest.policy import Coin
from primegap.regtest.primitives import HEADER_BYTES, OutPoint, ParsedBlock, TxOut
from primegap.regtest.scripts import is_unspendable, script_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_S: Final = 5.0  # a person may look into the file with another tool
_DISK_FULL_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
_DAMAGE_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_SCHEMA: Final = """
CREATE TABLE blocks (
    height INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, raw BLOB NOT NULL
);
CREATE TABLE transactions (
    txid BLOB PRIMARY KEY, height INTEGER NOT NULL, position INTEGER NOT NULL,
    start INTEGER NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX transactions_by_place ON transactions (height, position);
CREATE TABLE coins (
    txid BLOB NOT NULL, vout INTEGER NOT NULL, script_hash BLOB NOT NULL, script BLOB NOT NULL,
    amount_sat INTEGER NOT NULL, height INTEGER NOT NULL, position INTEGER NOT NULL,
    spent_height INTEGER, PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE INDEX coins_unspent ON coins (script_hash, height, position, vout)
    WHERE spent_height IS NULL;
CREATE INDEX coins_by_height ON coins (height);
CREATE INDEX coins_by_spent_height ON coins (spent_height) WHERE spent_height IS NOT NULL;
CREATE TABLE history (
    script_hash BLOB NOT NULL, height INTEGER NOT NULL, position INTEGER NOT NULL,
    txid BLOB NOT NULL, PRIMARY KEY (script_hash, height, position)
) WITHOUT ROWID;
CREATE INDEX history_by_height ON history (height);
CREATE TABLE mempool (sequence INTEGER PRIMARY KEY, txid BLOB NOT NULL UNIQUE, raw BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedTransaction:
    """A transaction in a block of the active chain."""

    raw: bytes
    height: int
    position: int
    "Place in the block; 0 is the coinbase."


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A confirmed transaction that touched a script."""

    txid: bytes
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnspentEntry:
    """An unspent confirmed output of a script."""

    outpoint: OutPoint
    amount_sat: int
    height: int
    is_coinbase: bool


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Map SQLite's faults to ours."""
    try:
        yield
    except sqlite3.ProgrammingError:  # our own misuse, not the file's fault
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _DISK_FULL_CODES:
            raise DiskFullError("the chain's index could not be written") from error
        if code & 0xFF in _DAMAGE_CODES or not code:
            raise DataDirDamagedError("the chain's index is damaged") from error
        raise DataDirUnusableError("the chain's index cannot be used") from error


class Index:
    """The journal and indexes of one active chain, in one SQLite file.

    All methods raise `DiskFullError`, `DataDirDamagedError` or `DataDirUnusableError` when the
    file fails them. Must be used on one thread.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it."""
        with _mapped_errors():
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            self._prepare()
        except RegtestError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        with _mapped_errors():
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise DataDirUnusableError("the chain's index is from a newer release")
            if version == 0:
                self._db.executescript(
                    f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
                )

    def close(self) -> None:
        """Close the file."""
        with _mapped_errors():
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one atomic change; an exception undoes it.

        Inside another one it is part of that.
        """
        if self._db.in_transaction:
            yield
            return
        with _mapped_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # SQLite has already done it when the disk is full
            self._db.execute("ROLLBACK")

    # --- writing -----------------------------------------------------------------------------

    def connect(self, height: int, block: ParsedBlock) -> set[bytes]:
        """Append a block that the engine accepted; call inside `transaction()`.

        Returns:
            The script hashes whose history it changed.
        """
        execute = self._db.execute
        execute("INSERT INTO blocks VALUES (?, ?, ?)", (height, block.block_hash, block.raw))
        touched: set[bytes] = set()
        for position, transaction in enumerate(block.transactions):
            txid = transaction.txid
            execute(
                "INSERT INTO transactions VALUES (?, ?, ?, ?, ?)",
                (txid, height, position, transaction.start, len(transaction.raw)),
            )
            hashes: set[bytes] = set()
            if position:
                for tx_in in transaction.inputs:
                    row = execute(
                        "UPDATE coins SET spent_height = ? WHERE txid = ? AND vout = ? "
                        "AND spent_height IS NULL RETURNING script_hash",
                        (height, tx_in.prevout.txid, tx_in.prevout.vout),
                    ).fetchone()
                    if row is None:
                        raise DataDirDamagedError("the chain's index misses a coin")
                    hashes.add(row[0])
            for vout, tx_out in enumerate(transaction.outputs):
                if is_unspendable(tx_out.script) or not height:  # nor is the genesis reward a coin
                    continue
                hashes.add(hashed := script_hash(tx_out.script))
                execute(
                    "INSERT INTO coins VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                    (txid, vout, hashed, tx_out.script, tx_out.amount_sat, height, position),
                )
            self._db.executemany(
                "INSERT INTO history VALUES (?, ?, ?, ?)",
                [(hashed, height, position, txid) for hashed in hashes],
            )
            touched |= hashes
        return touched

    def disconnect_above(self, height: int) -> set[bytes]:
        """Remove all blocks above `height` (a reorganisation); call inside `transaction()`.

        Returns:
            The script hashes whose history it changed.
        """
        execute = self._db.execute
        touched: set[bytes] = {
            row[0] for row in execute("SELECT script_hash FROM history WHERE height > ?", (height,))
        }
        execute("UPDATE coins SET spent_height = NULL WHERE spent_height > ?", (height,))
        for table in ("coins", "history", "transactions", "blocks"):
            execute(f"DELETE FROM {table} WHERE height > ?", (height,))  # noqa: S608 - fixed names
        return touched

    def save_pending(self, txid: bytes, raw: bytes) -> None:
        """Keep an unconfirmed transaction over restarts."""
        with _mapped_errors():
            self._db.execute("INSERT INTO mempool (txid, raw) VALUES (?, ?)", (txid, raw))

    def drop_pending(self, txid: bytes) -> None:
        """Forget an unconfirmed transaction."""
        with _mapped_errors():
            self._db.execute("DELETE FROM mempool WHERE txid = ?", (txid,))

    # --- reading -----------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Height of the last block, or -1 if there is none."""
        with _mapped_errors():
            (height,) = self._db.execute("SELECT max(height) FROM blocks").fetchone()
        return -1 if height is None else int(height)

    def block_hash(self, height: int) -> bytes | None:
        """Return the hash of the block at `height`, or None."""
        return self._value("SELECT hash FROM blocks WHERE height = ?", height)

    def block(self, height: int) -> bytes | None:
        """Return the serialised block at `height`, or None."""
        return self._value("SELECT raw FROM blocks WHERE height = ?", height)

    def headers(self, start: int, count: int) -> list[bytes]:
        """Return up to `count` headers of 80 bytes from height `start` on."""
        return self._values(
            f"SELECT substr(raw, 1, {HEADER_BYTES}) FROM blocks "  # noqa: S608 - a constant
            "WHERE height >= ? ORDER BY height LIMIT ?",
            start,
            count,
        )

    def block_hashes(self, last: int) -> list[bytes]:
        """Return the hashes of all blocks from genesis to height `last`."""
        return self._values("SELECT hash FROM blocks WHERE height <= ? ORDER BY height", last)

    def block_txids(self, height: int) -> list[bytes]:
        """Return the transaction ids of a block in order; empty if there is no such block."""
        return self._values(
            "SELECT txid FROM transactions WHERE height = ? ORDER BY position", height
        )

    def confirmed(self, txid: bytes) -> ConfirmedTransaction | None:
        """Return a transaction of the active chain, or None."""
        with _mapped_errors():
            row = self._db.execute(
                "SELECT substr(raw, start + 1, size), height, position "
                "FROM transactions JOIN blocks USING (height) WHERE txid = ?",
                (txid,),
            ).fetchone()
        if row is None:
            return None
        return ConfirmedTransaction(raw=row[0], height=row[1], position=row[2])

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """Return an unspent confirmed output, or None."""
        with _mapped_errors():
            row = self._db.execute(
                "SELECT amount_sat, script, height, position FROM coins "
                "WHERE txid = ? AND vout = ? AND spent_height IS NULL",
                (outpoint.txid, outpoint.vout),
            ).fetchone()
        if row is None:
            return None
        return Coin(
            output=TxOut(amount_sat=row[0], script=row[1]),
            height=row[2],
            is_coinbase=row[3] == 0,
            is_confirmed=True,
        )

    def history(self, script_hash: bytes, *, limit: int) -> list[HistoryEntry]:
        """Return the confirmed history of a script in chain order, at most `limit` entries."""
        with _mapped_errors():
            rows = self._db.execute(
                "SELECT txid, height FROM history WHERE script_hash = ? "
                "ORDER BY height, position LIMIT ?",
                (script_hash, limit),
            ).fetchall()
        return [HistoryEntry(txid=txid, height=height) for txid, height in rows]

    def unspent(self, script_hash: bytes, *, limit: int) -> list[UnspentEntry]:
        """Return unspent outputs of a script, oldest first, at most `limit`."""
        with _mapped_errors():
            rows = self._db.execute(
                "SELECT txid, vout, amount_sat, height, position FROM coins "
                "WHERE script_hash = ? AND spent_height IS NULL "
                "ORDER BY height, position, vout LIMIT ?",
                (script_hash, limit),
            ).fetchall()
        return [
            UnspentEntry(
                outpoint=OutPoint(txid, vout),
                amount_sat=amount_sat,
                height=height,
                is_coinbase=position == 0,
            )
            for txid, vout, amount_sat, height, position in rows
        ]

    def balance_sat(self, script_hash: bytes) -> int:
        """Return the sum of a script's unspent confirmed outputs, in satoshi."""
        with _mapped_errors():
            (total,) = self._db.execute(
                "SELECT coalesce(sum(amount_sat), 0) FROM coins "
                "WHERE script_hash = ? AND spent_height IS NULL",
                (script_hash,),
            ).fetchone()
        return int(total)

    def pending(self) -> list[tuple[bytes, bytes]]:
        """Return id and bytes of the kept unconfirmed transactions in the order they came."""
        with _mapped_errors():
            return self._db.execute("SELECT txid, raw FROM mempool ORDER BY sequence").fetchall()

    def _value(self, sql: str, *arguments: object) -> bytes | None:
        with _mapped_errors():
            row = self._db.execute(sql, arguments).fetchone()
        return None if row is None else bytes(row[0])

    def _values(self, sql: str, *arguments: object) -> list[bytes]:
        with _mapped_errors():
            return [row[0] for row in self._db.execute(sql, arguments).fetchall()]
