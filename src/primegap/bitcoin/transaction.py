"""Bitcoin transactions as values: a strict parser of the network serialisation (BIP-144).

It accepts exactly what Bitcoin Core writes: shortest counts, nothing behind the end, no empty
witness, amounts within 21 million. So the identifier of a parsed transaction can be computed from
the value, and there is one byte string for each value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from primegap.bitcoin.amounts import MAX_MONEY, Satoshi
from primegap.bitcoin.errors import TransactionFormatError
from primegap.bitcoin.wire import Cursor, encode_bytes, encode_count, sha256d

SEQUENCE_FINAL: Final = 0xFFFF_FFFF
WITNESS_SCALE: Final = 4  # BIP-141: a byte outside the witness weighs four units

_SMALLEST_INPUT_BYTES: Final = 41  # outpoint 36, empty script 1, sequence 4
_SMALLEST_OUTPUT_BYTES: Final = 9  # amount 8, empty script 1


@dataclass(frozen=True, slots=True)
class OutPoint:
    """A coin: output `vout` of transaction `txid`."""

    txid: bytes
    "32 bytes in internal byte order."
    vout: int

    def __str__(self) -> str:
        return f"{display_hash(self.txid)}:{self.vout}"

    def serialise(self) -> bytes:
        """Return the 36 bytes that stand for it in a transaction."""
        return self.txid + self.vout.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class TxInput:
    """An input of a transaction."""

    outpoint: OutPoint
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TxOutput:
    """An output of a transaction."""

    amount: Satoshi
    script: bytes

    def serialise(self) -> bytes:
        """Return the output as it stands in a transaction."""
        return self.amount.to_bytes(8, "little") + encode_bytes(self.script)


@dataclass(frozen=True)
class Transaction:
    """A transaction, with or without witnesses."""

    version: int
    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]
    lock_time: int
    has_witness: bool = field(default=False)
    "Serialised with witnesses."

    def serialise(self, *, with_witness: bool = True) -> bytes:
        """Return the network serialisation; without witnesses it is what the txid covers."""
        with_witness = with_witness and self.has_witness
        parts = [self.version.to_bytes(4, "little")]
        if with_witness:
            parts.append(b"\x00\x01")
        parts.append(encode_count(len(self.inputs)))
        for txin in self.inputs:
            parts += (
                txin.outpoint.serialise(),
                encode_bytes(txin.script_sig),
                txin.sequence.to_bytes(4, "little"),
            )
        parts.append(encode_count(len(self.outputs)))
        parts += (output.serialise() for output in self.outputs)
        if with_witness:
            for txin in self.inputs:
                parts.append(encode_count(len(txin.witness)))
                parts += (encode_bytes(item) for item in txin.witness)
        parts.append(self.lock_time.to_bytes(4, "little"))
        return b"".join(parts)

    @cached_property
    def txid(self) -> bytes:
        """Identifier, 32 bytes in internal byte order."""
        return sha256d(self.serialise(with_witness=False))

    @property
    def vsize_vb(self) -> int:
        """Virtual size (BIP-141), rounded up."""
        base = len(self.serialise(with_witness=False))
        weight = base * (WITNESS_SCALE - 1) + len(self.serialise())
        return -(-weight // WITNESS_SCALE)


def display_hash(value: bytes) -> str:
    """Return a 32-byte hash the way people write it: reversed, hexadecimal."""
    return value[::-1].hex()


def parse_transaction_untrusted(data: bytes, *, witness_allowed: bool = True) -> Transaction:
    """Parse a transaction.

    Args:
        data: the whole transaction and nothing else.
        witness_allowed: accept the form with witnesses. Without it a transaction that has no input
            is read as such; with it that form begins like one with witnesses and is refused.

    Raises:
        TransactionFormatError: it is not a transaction in its one serialisation.
    """
    cursor = Cursor(data)
    version = cursor.number(4)
    has_witness = witness_allowed and data[4:5] == b"\x00"
    if has_witness and cursor.take(2) != b"\x00\x01":
        raise TransactionFormatError("unknown form")
    inputs = [_take_input(cursor) for _ in range(cursor.count_of(_SMALLEST_INPUT_BYTES))]
    outputs = [_take_output(cursor) for _ in range(cursor.count_of(_SMALLEST_OUTPUT_BYTES))]
    if has_witness:
        witnesses = [take_witness(cursor) for _ in inputs]
        if not any(witnesses):
            raise TransactionFormatError("every witness is empty")
        inputs = [
            TxInput(txin.outpoint, txin.script_sig, txin.sequence, witness)
            for txin, witness in zip(inputs, witnesses, strict=True)
        ]
    lock_time = cursor.number(4)
    cursor.finish()
    return Transaction(version, tuple(inputs), tuple(outputs), lock_time, has_witness)


def parse_output_untrusted(data: bytes) -> TxOutput:
    """Parse one output on its own; raises only TransactionFormatError."""
    cursor = Cursor(data)
    output = _take_output(cursor)
    cursor.finish()
    return output


def parse_witness_untrusted(data: bytes) -> tuple[bytes, ...]:
    """Parse one witness on its own; raises only TransactionFormatError."""
    cursor = Cursor(data)
    witness = take_witness(cursor)
    cursor.finish()
    return witness


def take_witness(cursor: Cursor) -> tuple[bytes, ...]:
    """Read a witness: a count, then items with their lengths."""
    return tuple(cursor.bytes_() for _ in range(cursor.count_of(1)))


def _take_input(cursor: Cursor) -> TxInput:
    outpoint = OutPoint(cursor.take(32), cursor.number(4))
    return TxInput(outpoint, cursor.bytes_(), cursor.number(4))


def _take_output(cursor: Cursor) -> TxOutput:
    amount = cursor.number(8)
    if amount > MAX_MONEY:
        raise TransactionFormatError("an amount is above all the bitcoin there is")
    return TxOutput(Satoshi(amount), cursor.bytes_())
