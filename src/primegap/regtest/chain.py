"""The chain in one data directory: the engine, our journal and index, and what keeps them equal.

Layout of the directory: `lock`; `engine-1/`, Bitcoin Core's files (each rebuild takes the next
number); `chain.sqlite`, journal and index.

The engine's active chain is the truth and the index follows it. A killed engine forgets its latest
blocks; the journal has them and feeds them back, through full validation. So at any instant of any
kill the two meet again when the directory is opened. Everything here runs on one thread.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.regtest.blocks import (
    MEDIAN_TIME_SPAN,
    build_block,
    build_coinbase,
    header_bits,
    median_time_past_s,
    subsidy_sat,
)
from primegap.regtest.engine import Engine
from primegap.regtest.errors import (
    BlockRefusedError,
    ClockError,
    DataDirDamagedError,
    DataDirUnusableError,
    DiskFullError,
    TransactionFormatError,
)
from primegap.regtest.index import Index
from primegap.regtest.lock import DataDirLock
from primegap.regtest.primitives import ParsedBlock, parse_block_untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from primegap.regtest.primitives import Transaction

_log: Final = logging.getLogger(__name__)

ENGINE_PREFIX: Final = "engine-"
INDEX_NAME: Final = "chain.sqlite"
MIN_FREE_BYTES: Final = 80 * 1024 * 1024
"The engine asks for 50 MiB free when it opens or grows a file, and grows by 16 MiB and 1 MiB."
MAX_FUTURE_S: Final = 7_200  # consensus: a header may be two hours ahead of the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainChange:
    """How the active chain changed."""

    connected: tuple[ParsedBlock, ...]
    disconnected: tuple[ParsedBlock, ...]
    touched: frozenset[bytes]
    "Script hashes whose history changed."


class Chain:
    """A private chain whose every block was accepted by Bitcoin Core's engine."""

    def __init__(self, data_dir: Path, *, rebuild: bool = False) -> None:
        """Open the chain in `data_dir`, or begin one there.

        Args:
            data_dir: a directory of its own; made if it does not exist.
            rebuild: throw away what is damaged and restore it from what is intact.

        Raises:
            DataDirLockedError, DataDirUnusableError, DataDirDamagedError, DiskFullError,
            ClockError, EngineMissingError: see their hints.
        """
        self.data_dir = data_dir
        self._lock = DataDirLock(data_dir)
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            self._check_free_space()
            if rebuild:
                self._discard_damage()
            self.index = Index(data_dir / INDEX_NAME)
            undo.callback(self.index.close)
            self.engine = Engine(_engine_path(data_dir))
            undo.callback(self.engine.close)
            self._feed_engine()
            self._catch_up()
            undo.pop_all()

    def close(self) -> None:
        """Flush everything and let go of the directory."""
        with contextlib.ExitStack() as steps:
            steps.callback(self._lock.release)
            steps.callback(self.index.close)
            steps.callback(self.engine.close)

    # --- reading -----------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Height of the tip; 0 is the genesis block."""
        return self.index.height

    def header(self, height: int) -> bytes | None:
        """Return the 80 bytes of the header at `height`, or None."""
        headers = self.index.headers(height, 1) if 0 <= height <= self.height else []
        return headers[0] if headers else None

    def median_time_past_s(self, height: int | None = None) -> int:
        """Return the median time past (BIP-113) as of the block at `height`, default the tip."""
        last = self.height if height is None else height
        first = max(0, last - MEDIAN_TIME_SPAN + 1)
        return median_time_past_s(self.index.headers(first, last - first + 1))

    # --- growing -----------------------------------------------------------------------------

    def mine(
        self, script: bytes, transactions: Sequence[Transaction], *, fees_sat: int, now_s: float
    ) -> ChainChange:
        """Make the next block and have the engine judge it.

        Args:
            script: where subsidy and fees go.
            transactions: parents before children; every one must be valid in this block.
            fees_sat: sum of their fees.
            now_s: wall clock, seconds since 1970.

        Raises:
            BlockRefusedError: the engine refused the block.
            ClockError: the next block's time would be too far in the future.
            DiskFullError, EngineFaultError: the block could not be stored.
        """
        raw = self.assemble(script, transactions, fees_sat=fees_sat, now_s=now_s)
        return self.submit(raw)

    def assemble(
        self, script: bytes, transactions: Sequence[Transaction], *, fees_sat: int, now_s: float
    ) -> bytes:
        """Build the next block without submitting it; arguments as for `mine`."""
        height = self.height
        time_s = max(self.median_time_past_s() + 1, int(now_s))
        if time_s > now_s + MAX_FUTURE_S:
            raise ClockError("the chain's time is more than two hours ahead of the clock")
        tip = self.index.headers(height, 1)[0]
        reward_sat = subsidy_sat(height + 1) + fees_sat
        coinbase = build_coinbase(height + 1, script, reward_sat, transactions)
        return build_block(
            previous_hash=self._tip_hash(),
            time_s=time_s,
            bits=header_bits(tip),
            transactions=[coinbase, *transactions],
        )

    def submit(self, raw: bytes) -> ChainChange:
        """Have the engine judge any block; if it extends or changes the best chain, follow.

        A valid block beside the best chain is kept by the engine and changes nothing here.

        Raises:
            BlockRefusedError: the engine refused the block.
            DiskFullError, EngineFaultError: the block could not be stored.
        """
        self._check_free_space()
        self.engine.connect(raw)
        return self._catch_up()

    # --- reconciling -------------------------------------------------------------------------

    def _tip_hash(self) -> bytes:
        value = self.index.block_hash(self.height)
        if value is None:
            raise DataDirDamagedError("the chain's index has no tip")
        return value

    def _check_free_space(self) -> None:
        try:
            free_bytes = shutil.disk_usage(self.data_dir).free
        except OSError as error:
            raise DataDirUnusableError(f"cannot read {self.data_dir}") from error
        if free_bytes < MIN_FREE_BYTES:
            raise DiskFullError(
                f"{free_bytes >> 20} MiB are free where {MIN_FREE_BYTES >> 20} MiB are needed"
            )

    def _feed_engine(self) -> None:
        """Give the engine the journalled blocks that it forgot in a kill."""
        height = self.engine.height
        missing = range(height + 1, self.index.height + 1)
        if not missing or self.index.block_hash(height) != self.engine.block_hash(height):
            return
        _log.info("replaying %d blocks into the engine", len(missing))
        for number in missing:
            try:
                self.engine.connect(self.index.block(number) or b"")
            except BlockRefusedError as error:
                if error.reason == "time-too-new":
                    raise ClockError("the chain is more than two hours ahead") from error
                raise DataDirDamagedError("the engine refuses a journalled block") from error

    def _catch_up(self) -> ChainChange:
        """Make the index follow the engine's active chain."""
        fork = min(self.index.height, self.engine.height)
        while fork >= 0 and self.index.block_hash(fork) != self.engine.block_hash(fork):
            fork -= 1
        disconnected = tuple(
            parse_block_untrusted(self.index.block(height) or b"")
            for height in range(fork + 1, self.index.height + 1)
        )
        connected: list[ParsedBlock] = []
        touched: set[bytes] = set()
        with self.index.transaction():
            if disconnected:
                touched |= self.index.disconnect_above(fork)
            for height in range(fork + 1, self.engine.height + 1):
                block = parse_block_untrusted(self.engine.block(height))
                touched |= self.index.connect(height, block)
                connected.append(block)
        return ChainChange(
            connected=tuple(connected), disconnected=disconnected, touched=frozenset(touched)
        )

    # --- repair ------------------------------------------------------------------------------

    def _discard_damage(self) -> None:
        """Throw away the engine's files or the index, whichever knows less of the chain.

        A kill at any point leaves a directory on which this can be run again.
        """
        index_path = self.data_dir / INDEX_NAME
        engine_path = _engine_path(self.data_dir)
        journal, pending = _read_journal(index_path)
        engine_knows_more = _engine_height(engine_path) >= len(journal) - 1
        new_path = index_path.with_name(INDEX_NAME + ".new")
        _remove_database(new_path)
        with contextlib.closing(Index(new_path)) as index, index.transaction():
            # If the engine knows all of it, the index is made again from the engine's blocks.
            for height, raw in enumerate([] if engine_knows_more else journal):
                index.connect(height, parse_block_untrusted(raw))
            for txid, raw in pending:
                index.save_pending(txid, raw)
        _remove_database(index_path, keep_main=True)
        new_path.replace(index_path)
        if not engine_knows_more:
            # A failed open leaves the engine's lock on that path until this process ends, so the
            # new files get a path of their own.
            fresh_path = engine_path.with_name(f"{ENGINE_PREFIX}{_engine_number(engine_path) + 1}")
            fresh_path.mkdir()
            shutil.rmtree(engine_path, ignore_errors=True)


def _engine_number(path: Path) -> int:
    number = path.name.removeprefix(ENGINE_PREFIX)
    return int(number) if number.isascii() and number.isdecimal() else 0


def _engine_path(data_dir: Path) -> Path:
    """Return the engine's directory: the one with the highest number."""
    numbers = [_engine_number(path) for path in data_dir.glob(f"{ENGINE_PREFIX}*")]
    return data_dir / f"{ENGINE_PREFIX}{max([1, *numbers])}"


def _read_journal(path: Path) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """Return the intact first blocks of a journal and its unconfirmed transactions."""
    blocks: list[bytes] = []
    pending: list[tuple[bytes, bytes]] = []
    if not path.exists():
        return blocks, pending
    try:
        index = Index(path)
    except DataDirDamagedError:
        return blocks, pending
    with (
        contextlib.closing(index),
        contextlib.suppress(DataDirDamagedError, TransactionFormatError),
    ):
        previous_hash: bytes | None = None
        while (raw := index.block(len(blocks))) is not None:
            block = parse_block_untrusted(raw)
            if previous_hash is not None and block.previous_hash != previous_hash:
                break
            previous_hash = block.block_hash
            blocks.append(raw)
        pending = index.pending()
    return blocks, pending


def _engine_height(path: Path) -> int:
    """Return the height that the engine's files hold, or -1 if they cannot be opened."""
    if not path.exists():
        return -1
    try:
        engine = Engine(path)
    except DataDirDamagedError:
        return -1
    height = engine.height
    engine.close()
    return height


def _remove_database(path: Path, *, keep_main: bool = False) -> None:
    for suffix in ("-wal", "-shm") if keep_main else ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
