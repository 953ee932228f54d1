"""Bitcoin transactions and blocks as bytes: a strict parser and what is computed from them.

The parser accepts exactly the serialisation that Bitcoin Core writes (BIP-144): shortest counts, no
byte too few or too many, no empty witness. It holds no policy; `policy.py` does. The engine's own
deserialiser judges every transaction a second time before it is accepted.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from primegap.regtest.errors import TransactionFormatError

MAX_BLOCK_WEIGHT: Final = 4_000_000  # consensus, BIP-141
MAX_BLOCK_BYTES: Final = 4_000_000  # a block of witness bytes only weighs its size
WITNESS_SCALE: Final = 4  # BIP-141: a byte outside the witness weighs four units
HEADER_BYTES: Final = 80
NULL_HASH: Final = bytes(32)
NULL_VOUT: Final = 0xFFFFFFFF
SEQUENCE_FINAL: Final = 0xFFFFFFFF

_SMALLEST_INPUT_BYTES: Final = 41  # outpoint 36, empty script 1, sequence 4
_SMALLEST_OUTPUT_BYTES: Final = 9  # amount 8, empty script 1
_SMALLEST_TRANSACTION_BYTES: Final = 10
_LONG_COUNTS: Final = {0xFD: (2, 0xFD), 0xFE: (4, 0x10000), 0xFF: (8, 0x100000000)}
"CompactSize: first byte to (size of what follows, least value that needs it)."


def sha256d(data: bytes) -> bytes:
    """Return the double SHA-256 of `data` in internal (not display) byte order, 32 bytes."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def display_hash(value: bytes) -> str:
    """Return a 32-byte hash the way people write it: reversed, hexadecimal."""
    return value[::-1].hex()


def encode_count(value: int) -> bytes:
    """Encode a CompactSize count, 0 to 2**64 - 1, in its shortest form."""
    if value < 0xFD:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFFFFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def encode_bytes(value: bytes) -> bytes:
    """Encode a byte string with its CompactSize length in front."""
    return encode_count(len(value)) + value


@dataclass(frozen=True, slots=True)
class OutPoint:
    """One output of one transaction."""

    txid: bytes
    "32 bytes, internal byte order."
    vout: int
    "Index of the output, 0 to 2**32 - 1."


@dataclass(frozen=True, slots=True, kw_only=True)
class TxIn:
    """One input."""

    prevout: OutPoint
    script_sig: bytes = b""
    sequence: int = SEQUENCE_FINAL
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TxOut:
    """One output."""

    amount_sat: int
    "Signed 64-bit on the wire; policy refuses what is out of the money range."
    script: bytes


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One transaction and the values derived from its bytes."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int
    start: int = field(default=0, compare=False)
    "Where its bytes begin in the parsed data (blocks are indexed by this)."

    @property
    def has_witness(self) -> bool:
        """Whether any input carries a witness."""
        return any(tx_in.witness for tx_in in self.inputs)

    @property
    def is_coinbase(self) -> bool:
        """Whether this is a block's reward transaction: one input that spends nothing."""
        return len(self.inputs) == 1 and self.inputs[0].prevout == OutPoint(NULL_HASH, NULL_VOUT)

    @cached_property
    def stripped(self) -> bytes:
        """The serialisation without witness, whose hash is the transaction id."""
        return self._serialise(with_witness=False)

    @cached_property
    def raw(self) -> bytes:
        """The full serialisation (BIP-144)."""
        return self._serialise(with_witness=True) if self.has_witness else self.stripped

    @cached_property
    def txid(self) -> bytes:
        """The transaction id, 32 bytes, internal byte order."""
        return sha256d(self.stripped)

    @cached_property
    def wtxid(self) -> bytes:
        """The hash over the witness too (BIP-141), 32 bytes, internal byte order."""
        return sha256d(self.raw)

    @property
    def weight(self) -> int:
        """Weight units (BIP-141)."""
        return len(self.stripped) * (WITNESS_SCALE - 1) + len(self.raw)

    @property
    def vsize_vb(self) -> int:
        """Virtual size in vbytes, rounded up."""
        return -(-self.weight // WITNESS_SCALE)

    def _serialise(self, *, with_witness: bool) -> bytes:
        parts = [self.version.to_bytes(4, "little")]
        if with_witness:
            parts.append(b"\x00\x01")
        parts.append(encode_count(len(self.inputs)))
        for tx_in in self.inputs:
            parts += (
                tx_in.prevout.txid,
                tx_in.prevout.vout.to_bytes(4, "little"),
                encode_bytes(tx_in.script_sig),
                tx_in.sequence.to_bytes(4, "little"),
            )
        parts.append(encode_count(len(self.outputs)))
        for tx_out in self.outputs:
            parts += (struct.pack("<q", tx_out.amount_sat), encode_bytes(tx_out.script))
        if with_witness:
            for tx_in in self.inputs:
                parts.append(encode_count(len(tx_in.witness)))
                parts += map(encode_bytes, tx_in.witness)
        parts.append(self.lock_time.to_bytes(4, "little"))
        return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBlock:
    """One block taken apart."""

    header: bytes
    "80 bytes."
    transactions: tuple[Transaction, ...]
    raw: bytes = field(repr=False)

    @property
    def block_hash(self) -> bytes:
        """Hash of the header, 32 bytes, internal byte order."""
        return sha256d(self.header)

    @property
    def previous_hash(self) -> bytes:
        """Hash of the block before, 32 bytes, internal byte order."""
        return self.header[4:36]


class _Reader:
    """A cursor over untrusted bytes; every read is checked against what is left."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise TransactionFormatError("ends too early")
        start = self.position
        self.position += size
        return self.data[start : self.position]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def count(self, *, smallest_item: int) -> int:
        """Read a CompactSize that counts items of at least `smallest_item` bytes each."""
        first = self.integer(1)
        size, least = _LONG_COUNTS.get(first, (0, 0))
        value = self.integer(size) if size else first
        if value < least:
            raise TransactionFormatError("a count is not in its shortest form")
        # Checked before anything is allocated: a count can never promise more than there is.
        if value * smallest_item > self.left:
            raise TransactionFormatError("a count is larger than the data")
        return value

    def byte_string(self) -> bytes:
        return self.take(self.count(smallest_item=1))


def _read_inputs(reader: _Reader) -> list[TxIn]:
    return [
        TxIn(
            prevout=OutPoint(reader.take(32), reader.integer(4)),
            script_sig=reader.byte_string(),
            sequence=reader.integer(4),
        )
        for _ in range(reader.count(smallest_item=_SMALLEST_INPUT_BYTES))
    ]


def _read_outputs(reader: _Reader) -> tuple[TxOut, ...]:
    return tuple(
        TxOut(
            amount_sat=int.from_bytes(reader.take(8), "little", signed=True),
            script=reader.byte_string(),
        )
        for _ in range(reader.count(smallest_item=_SMALLEST_OUTPUT_BYTES))
    )


def _read_transaction(reader: _Reader) -> Transaction:
    start = reader.position
    version = reader.integer(4)
    inputs = _read_inputs(reader)
    flags = 0
    outputs: tuple[TxOut, ...] = ()
    if inputs:
        outputs = _read_outputs(reader)
    else:  # BIP-144: an input count of zero is the witness marker; the flag byte follows
        flags = reader.integer(1)
        if flags:
            inputs = _read_inputs(reader)
            outputs = _read_outputs(reader)
    if flags not in {0, 1}:
        raise TransactionFormatError("unknown optional data")
    if flags:
        for index, tx_in in enumerate(inputs):
            witness = tuple(reader.byte_string() for _ in range(reader.count(smallest_item=1)))
            if witness:
                inputs[index] = TxIn(
                    prevout=tx_in.prevout,
                    script_sig=tx_in.script_sig,
                    sequence=tx_in.sequence,
                    witness=witness,
                )
        if not any(tx_in.witness for tx_in in inputs):
            raise TransactionFormatError("superfluous witness record")
    return Transaction(
        version=version,
        inputs=tuple(inputs),
        outputs=outputs,
        lock_time=reader.integer(4),
        start=start,
    )


def parse_transaction_untrusted(raw: bytes) -> Transaction:
    """Parse one transaction that fills `raw` to the last byte.

    Memory and time are linear in `len(raw)`; the caller bounds that.

    Raises:
        TransactionFormatError: anything else than one transaction in its only serialisation.
    """
    reader = _Reader(raw)
    transaction = _read_transaction(reader)
    if reader.left:
        raise TransactionFormatError("bytes after the end")
    return transaction


def parse_block_untrusted(raw: bytes) -> ParsedBlock:
    """Take one serialised block apart; validity is for the engine to judge.

    Raises:
        TransactionFormatError: not a whole block, or larger than `MAX_BLOCK_BYTES`.
    """
    if len(raw) > MAX_BLOCK_BYTES:
        raise TransactionFormatError("larger than a block may be")
    reader = _Reader(raw)
    header = reader.take(HEADER_BYTES)
    transactions = tuple(
        _read_transaction(reader)
        for _ in range(reader.count(smallest_item=_SMALLEST_TRANSACTION_BYTES))
    )
    if reader.left:
        raise TransactionFormatError("bytes after the end")
    return ParsedBlock(header=header, transactions=transactions, raw=raw)
