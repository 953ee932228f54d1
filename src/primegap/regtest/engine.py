"""Bitcoin Core's engine (libbitcoinkernel) behind a small typed surface.

The only module that touches `pbk`. Everything in it must run on one thread at a time. Hashes are 32
bytes in internal byte order throughout.

The engine says *that* it refused a block through a callback and *why* in its log, so the log is
read for the reason; otherwise it goes to the logger `primegap.regtest.engine` at debug level.
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from primegap.regtest.errors import (
    BlockRefusedError,
    DataDirDamagedError,
    DataDirUnusableError,
    DiskFullError,
    EngineFaultError,
    EngineMissingError,
    TransactionFormatError,
    TransactionRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from primegap.regtest.primitives import TxOut

_log: Final = logging.getLogger(__name__)

_REFUSAL: Final = re.compile(r"ConnectBlock [0-9a-f]{64} failed, (.+)|AcceptBlock FAILED \((.+)\)")
_DISK_FULL_WORDS: Final = (
    "disk space is too low",
    "no space left",
    "file too large",  # a file size limit of the process
)
_STORAGE_WORDS: Final = ("failed to find position", "failed to write", "leveldb error", "io error")
_KEPT_LINES: Final = 50  # of one call; the reason is among the last few
_MAX_REASON_CHARACTERS: Final = 200


class _EngineLog:
    """One log connection for the process, kept while at least one engine is open.

    The engine logs on the thread that called it, so each thread reads only its own lines.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._connection: Any = None
        self._local = threading.local()

    def open(self) -> None:
        import pbk

        with self._lock:
            self._users += 1
            if self._users == 1:
                pbk.logging_set_options(pbk.LoggingOptions(log_timestamps=False))
                self._connection = pbk.LoggingConnection(self._take)

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                # Gone before the interpreter ends: the engine must not call into a dead one.
                self._connection.__exit__(None, None, None)
                self._connection = None

    def clear(self) -> None:
        self._local.lines = []

    @property
    def lines(self) -> list[str]:
        lines: list[str] = getattr(self._local, "lines", [])
        return lines

    def _take(self, line: str) -> None:
        text = line.strip()
        _log.debug("%s", text)
        lines: list[str] | None = getattr(self._local, "lines", None)
        if lines is not None:
            lines.append(text)
            del lines[:-_KEPT_LINES]


_engine_log: Final = _EngineLog()


class Engine:
    """A regtest chain kept and judged by Bitcoin Core's engine in one directory."""

    def __init__(self, data_dir: Path) -> None:
        """Open the chain in `data_dir`, or begin one there.

        Raises:
            EngineMissingError: `py-bitcoinkernel` is not installed.
            DataDirDamagedError: the engine's files are not consistent.
            DataDirUnusableError: the directory cannot be written.
            DiskFullError: the engine asks for 50 MiB of free space and more.
        """
        try:
            import pbk
        except ImportError as error:
            raise EngineMissingError("py-bitcoinkernel cannot be imported") from error
        self._pbk = pbk
        self._faults: list[str] = []
        self._verdicts: dict[bytes, int] = {}
        _engine_log.open()
        _engine_log.clear()
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._open(data_dir)
        except RuntimeError as error:
            raised = self._open_error()
            _engine_log.close()
            raise raised from error
        except OSError as error:
            _engine_log.close()
            raise DataDirUnusableError("the engine's directory cannot be made") from error

    def _open(self, data_dir: Path) -> None:
        from pbk.notifications import NotificationInterfaceCallbacks

        pbk = self._pbk
        self._parameters = pbk.ChainParameters(pbk.ChainType.REGTEST)
        options = pbk.ContextOptions()
        options.set_chainparams(self._parameters)
        options.set_validation_interface(
            pbk.ValidationInterfaceCallbacks(block_checked=self._on_block_checked)
        )
        options.set_notifications(
            NotificationInterfaceCallbacks(
                flush_error=self._on_engine_fault, fatal_error=self._on_engine_fault
            )
        )
        chain_options = pbk.ChainstateManagerOptions(
            pbk.Context(options), str(data_dir.absolute()), str((data_dir / "blocks").absolute())
        )
        chain_options.set_worker_threads_num(0)  # blocks here are small: threads would only wait
        self._manager = pbk.ChainstateManager(chain_options)
        self._chain = self._manager.get_active_chain()

    def close(self) -> None:
        """Flush to disk and let go of the directory; a second call does nothing."""
        if self._manager is None:
            return
        manager, self._manager, self._chain = self._manager, None, None
        manager.__exit__(None, None, None)
        _engine_log.close()

    # --- the chain ---------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Height of the tip; 0 is the genesis block."""
        height: int = self._chain.height
        return height

    def block_hash(self, height: int) -> bytes:
        """Return the hash of the block at `height` of the active chain."""
        return bytes(self._entry(height).block_hash)

    def block(self, height: int) -> bytes:
        """Return the serialised block at `height` of the active chain.

        Raises:
            DataDirDamagedError: the block cannot be read back.
        """
        try:
            return bytes(self._manager.blocks[self._entry(height)])
        except RuntimeError as error:
            raise DataDirDamagedError("a block cannot be read back") from error

    def _entry(self, height: int) -> Any:
        if not 0 <= height <= self.height:
            raise IndexError(height)
        return self._chain.block_tree_entries[height]

    def connect(self, raw: bytes) -> None:
        """Have a block judged and, if it is valid, stored; it may become the tip.

        Raises:
            BlockRefusedError: the engine found the block invalid; `reason` says why.
            DiskFullError, EngineFaultError: the engine could not do its work.
        """
        block = self._parse_block(raw)
        block_hash = bytes(block.block_hash)
        _engine_log.clear()
        self._verdicts.clear()
        failed = False
        try:
            self._manager.process_block(block)
        except self._pbk.ProcessBlockException:
            failed = True
        self._raise_faults()
        invalid = self._verdicts.get(block_hash) == int(self._pbk.ValidationMode.INVALID)
        if failed or invalid:
            raise BlockRefusedError(self._reason())

    def check_block(self, raw: bytes) -> None:
        """Run the checks that need no chain: form, sizes, merkle root, each transaction by itself.

        Raises:
            BlockRefusedError: the block fails one.
        """
        block = self._parse_block(raw)
        state = block.check(self._parameters.consensus_params)
        if state.validation_mode != self._pbk.ValidationMode.VALID:
            raise BlockRefusedError(str(state.block_validation_result.name).lower())

    # --- transactions ------------------------------------------------------------------------

    def transaction_id(self, raw: bytes) -> bytes:
        """Deserialise a transaction with the engine's own code and return its id.

        Raises:
            TransactionFormatError: the engine cannot read it, or writes it back differently.
        """
        transaction = self._parse_transaction(raw)
        if bytes(transaction) != raw:
            raise TransactionFormatError("not the engine's own serialisation")
        return bytes(transaction.txid)

    def check_scripts(self, raw: bytes, spent: Sequence[TxOut]) -> None:
        """Verify the script of every input with all verification flags.

        Args:
            raw: the spending transaction.
            spent: the output that each input spends, in order.

        Raises:
            TransactionRefusedError: an input does not satisfy its script.
        """
        from pbk.script import PrecomputedTransactionData

        pbk = self._pbk
        transaction = self._parse_transaction(raw)
        if len(transaction.inputs) != len(spent):  # the engine would abort the process
            raise EngineFaultError("not one spent output for each input")
        outputs = [
            pbk.TransactionOutput(pbk.ScriptPubkey(tx_out.script), tx_out.amount_sat)
            for tx_out in spent
        ]
        shared = PrecomputedTransactionData(transaction, outputs)
        for index, (tx_out, output) in enumerate(zip(spent, outputs, strict=True)):
            try:
                satisfied = output.script_pubkey.verify(
                    tx_out.amount_sat,
                    transaction,
                    shared,
                    index,
                    pbk.ScriptVerificationFlags.ALL,
                )
            except pbk.ScriptVerifyException as error:
                raise EngineFaultError("the script check could not run") from error
            if not satisfied:
                raise TransactionRefusedError(
                    "mandatory-script-verify-flag-failed", f"input {index}"
                )

    # --- inside ------------------------------------------------------------------------------

    def _parse_block(self, raw: bytes) -> Any:
        try:
            return self._pbk.Block(raw)
        except RuntimeError as error:
            raise BlockRefusedError("Block decode failed") from error

    def _parse_transaction(self, raw: bytes) -> Any:
        try:
            return self._pbk.Transaction(raw)
        except RuntimeError as error:
            raise TransactionFormatError("the engine cannot read it") from error

    def _on_block_checked(self, _user_data: object, block: Any, state: Any) -> None:
        self._verdicts[bytes(block.block_hash)] = int(state.validation_mode)

    def _on_engine_fault(self, _user_data: object, message: Any, size: int) -> None:
        self._faults.append(ctypes.string_at(message, size).decode(errors="replace"))

    def _raise_faults(self) -> None:
        """Raise if the engine could not do its work, as opposed to refusing something."""
        words = " ".join([*self._faults, *_engine_log.lines]).lower()
        faulty = bool(self._faults) or any(sign in words for sign in _STORAGE_WORDS)
        self._faults.clear()
        if any(sign in words for sign in _DISK_FULL_WORDS):
            raise DiskFullError("the engine could not store a block")
        if faulty:
            raise EngineFaultError("the engine could not store a block")

    def _open_error(self) -> Exception:
        words = " ".join([*self._faults, *_engine_log.lines]).lower()
        if any(sign in words for sign in _DISK_FULL_WORDS):
            return DiskFullError("the engine could not open its files")
        if "permission denied" in words or "read-only file system" in words:
            return DataDirUnusableError("the engine's files cannot be written")
        return DataDirDamagedError("the engine cannot open its files")

    @staticmethod
    def _reason() -> str:
        for line in reversed(_engine_log.lines):
            if found := _REFUSAL.search(line):
                return (found[1] or found[2]).split(", ")[0][:_MAX_REASON_CHARACTERS]
        return "invalid"
