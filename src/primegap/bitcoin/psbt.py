"""Partially signed transactions (BIP-174, BIP-370) as the key-value maps they are.

The maps are kept as they came: a field that this program does not know passes through signing byte
for byte, and serialising what was parsed gives the very bytes back. The form of known fields is
checked on parsing (`psbt_fields.py`); what they mean is judged by the review.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.amounts import MAX_MONEY, Satoshi
from primegap.bitcoin.errors import (
    MapCountError,
    PsbtDuplicateKeyError,
    PsbtFormatError,
    PsbtMagicError,
    PsbtTrailingBytesError,
    PsbtVersionError,
    TooComplexError,
    TransactionFormatError,
    UnsignedTransactionError,
)
from primegap.bitcoin.psbt_fields import (
    GLOBAL_RULES,
    GLOBAL_RULES_2,
    INPUT_RULES,
    INPUT_RULES_2,
    OUTPUT_RULES,
    OUTPUT_RULES_2,
    GlobalField,
    InputField,
    OutputField,
    check_fields,
)
from primegap.bitcoin.transaction import (
    SEQUENCE_FINAL,
    OutPoint,
    Transaction,
    TxInput,
    TxOutput,
    parse_transaction_untrusted,
)
from primegap.bitcoin.wire import Cursor, encode_bytes, encode_count

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"psbt\xff"
MAX_PSBT_BYTES: Final = 8 << 20  # 8 MiB: 1000 inputs with previous transactions of some kB, or 2 MB
MAX_INPUTS: Final = 1024  # a standard transaction holds hardly more than a thousand
MAX_OUTPUTS: Final = 2048  # a standard transaction holds hardly more than three thousand
LOCK_TIME_IS_TIME: Final = 500_000_000  # consensus: below it a lock time is a block height
_MODIFIABLE: Final = 0b11  # BIP-370: inputs and outputs may be added
MAX_FIELDS: Final = 256  # in one map: fifteen signers with key, path and signature, and more


@dataclass(frozen=True, slots=True)
class PsbtMap:
    """One key-value map, in the order it came."""

    entries: tuple[tuple[bytes, bytes], ...] = ()

    def value(self, field: int) -> bytes | None:
        """Return the value of a field that has no key data, or None."""
        key = encode_count(field)
        return next((value for k, value in self.entries if k == key), None)

    def items(self, field: int) -> tuple[tuple[bytes, bytes], ...]:
        """Return key data and value of every entry of a type, in order."""
        kind = encode_count(field)
        size = len(kind)
        return tuple((k[size:], value) for k, value in self.entries if k[:size] == kind)

    def has(self, field: int) -> bool:
        """Whether there is an entry of a type."""
        return bool(self.items(field))

    def adding(self, field: int, values: Mapping[bytes, bytes]) -> PsbtMap:
        """Return the map with entries added at its end; keys that are there already stay."""
        present = {key for key, _ in self.entries}
        new = ((encode_count(field) + data, value) for data, value in values.items())
        return PsbtMap(self.entries + tuple(item for item in new if item[0] not in present))

    def serialise(self) -> bytes:
        """Return the map with its closing byte."""
        body = b"".join(encode_bytes(key) + encode_bytes(value) for key, value in self.entries)
        return body + b"\x00"


@dataclass(frozen=True, slots=True)
class Psbt:
    """A PSBT whose form holds; none of its claims is proved."""

    globals: PsbtMap
    inputs: tuple[PsbtMap, ...]
    outputs: tuple[PsbtMap, ...]
    transaction: Transaction
    "The unsigned transaction; of version 2 put together from its fields."
    version: int = 0
    "0, or 2 (BIP-370)."

    @property
    def unsigned_bytes(self) -> bytes:
        """The unsigned transaction, serialised."""
        return self.transaction.serialise()

    def with_inputs(self, inputs: tuple[PsbtMap, ...]) -> Psbt:
        """Return the PSBT with other input maps."""
        return replace(self, inputs=inputs)

    def as_version_0(self) -> Psbt:
        """Return it in the form that every program reads."""
        if self.version == 0:
            return self
        header = {encode_count(field) for field in _GLOBALS_OF_2}
        entries = tuple(entry for entry in self.globals.entries if entry[0] not in header)
        unsigned = (encode_count(GlobalField.UNSIGNED_TX), self.unsigned_bytes)
        return Psbt(
            PsbtMap((unsigned, *entries)),
            tuple(_without(part, _INPUTS_OF_2) for part in self.inputs),
            tuple(_without(part, _OUTPUTS_OF_2) for part in self.outputs),
            self.transaction,
        )

    def signed_with(self, inputs: tuple[PsbtMap, ...]) -> Psbt:
        """Return the PSBT with signatures in its input maps.

        A PSBT of version 2 then says that nothing may be added any more (BIP-370): our signatures
        cover everything.
        """
        key = encode_count(GlobalField.TX_MODIFIABLE)
        entries = tuple(
            (k, bytes((value[0] & ~_MODIFIABLE,))) if k == key and self.version == 2 else (k, value)
            for k, value in self.globals.entries
        )
        return replace(self, globals=PsbtMap(entries), inputs=inputs)

    def serialise(self) -> bytes:
        """Return the bytes; of an untouched PSBT those it was parsed from."""
        maps = (self.globals, *self.inputs, *self.outputs)
        return MAGIC + b"".join(part.serialise() for part in maps)


def build_psbt(
    unsigned_transaction: bytes, inputs: tuple[PsbtMap, ...], outputs: tuple[PsbtMap, ...]
) -> bytes:
    """Return the bytes of a PSBT around an unsigned transaction."""
    header = PsbtMap(((encode_count(GlobalField.UNSIGNED_TX), unsigned_transaction),))
    return MAGIC + b"".join(part.serialise() for part in (header, *inputs, *outputs))


def _without(part: PsbtMap, fields: tuple[int, ...]) -> PsbtMap:
    keys = {encode_count(field) for field in fields}
    return PsbtMap(tuple(entry for entry in part.entries if entry[0] not in keys))


_GLOBALS_OF_2: Final = (*range(GlobalField.TX_VERSION, 0x07), GlobalField.VERSION)
_INPUTS_OF_2: Final = tuple(range(InputField.PREVIOUS_TXID, InputField.REQUIRED_HEIGHT + 1))
_OUTPUTS_OF_2: Final = (OutputField.AMOUNT, OutputField.SCRIPT)


# --- parsing ------------------------------------------------------------------------------------


def parse_psbt_untrusted(data: bytes) -> Psbt:
    """Parse the binary form of a PSBT, all of it.

    Raises:
        PsbtRefusedError: a subclass that names what does not hold; nothing else is raised.
    """
    if len(data) > MAX_PSBT_BYTES:
        raise TooComplexError("more bytes than are reviewed")
    if not data.startswith(MAGIC):
        raise PsbtMagicError("does not begin like a PSBT")
    cursor = Cursor(data)
    cursor.take(len(MAGIC))
    try:
        header = _take_map(cursor)
        version = _version(header)
        if version:
            check_fields(header, GLOBAL_RULES_2)
            given = None
            fields = GlobalField.INPUT_COUNT, GlobalField.OUTPUT_COUNT
            counts = _count(header, fields[0]), _count(header, fields[1])
            _check_counts(*counts)
        else:
            given = _parse_unsigned(header)
            counts = len(given.inputs), len(given.outputs)
        inputs = tuple(_take_counted_map(cursor) for _ in range(counts[0]))
        outputs = tuple(_take_counted_map(cursor) for _ in range(counts[1]))
    except TransactionFormatError as error:
        raise PsbtFormatError("a map is malformed") from error
    if cursor.left:
        raise PsbtTrailingBytesError("bytes follow the last map")
    if not version:
        check_fields(header, GLOBAL_RULES)
    for part in inputs:
        check_fields(part, INPUT_RULES_2 if version else INPUT_RULES)
    for part in outputs:
        check_fields(part, OUTPUT_RULES_2 if version else OUTPUT_RULES)
    transaction = _assemble(header, inputs, outputs) if given is None else given
    return Psbt(header, inputs, outputs, transaction, version)


def _take_map(cursor: Cursor) -> PsbtMap:
    entries: list[tuple[bytes, bytes]] = []
    seen: set[bytes] = set()
    while size := cursor.count():
        key = cursor.take(size)
        kind = Cursor(key)
        kind.count()  # the type must be in its shortest form, or one field could have two names
        if key in seen:
            raise PsbtDuplicateKeyError("a key stands twice in one map")
        if len(entries) == MAX_FIELDS:
            raise TooComplexError("more fields than are reviewed")
        seen.add(key)
        entries.append((key, cursor.bytes_()))
    return PsbtMap(tuple(entries))


def _take_counted_map(cursor: Cursor) -> PsbtMap:
    if not cursor.left:
        raise MapCountError("fewer maps than inputs and outputs")
    return _take_map(cursor)


def _version(header: PsbtMap) -> int:
    raw = header.value(GlobalField.VERSION)
    if raw is None:
        return 0
    if len(raw) != 4:
        raise PsbtFormatError("the version field has a wrong size")
    version = int.from_bytes(raw, "little")
    if version not in {0, 2}:
        raise PsbtVersionError("neither version 0 nor 2")
    return version


# --- version 2 (BIP-370) ------------------------------------------------------------------------


def _count(header: PsbtMap, field: GlobalField) -> int:
    cursor = Cursor(_needed(header, field))
    count = cursor.count()
    cursor.finish()
    return count


def _needed(part: PsbtMap, field: int) -> bytes:
    value = part.value(field)
    if value is None:
        raise PsbtFormatError("a field of version 2 is missing")
    return value


def _optional(part: PsbtMap, field: int, default: int) -> int:
    value = part.value(field)
    return default if value is None else int.from_bytes(value, "little")


def _assemble(
    header: PsbtMap, inputs: tuple[PsbtMap, ...], outputs: tuple[PsbtMap, ...]
) -> Transaction:
    """Put the unsigned transaction together, as BIP-370 prescribes."""
    transaction = Transaction(
        int.from_bytes(_needed(header, GlobalField.TX_VERSION), "little"),
        tuple(
            TxInput(
                OutPoint(
                    _needed(part, InputField.PREVIOUS_TXID),
                    int.from_bytes(_needed(part, InputField.OUTPUT_INDEX), "little"),
                ),
                b"",
                _optional(part, InputField.SEQUENCE, SEQUENCE_FINAL),
            )
            for part in inputs
        ),
        tuple(
            TxOutput(
                Satoshi(int.from_bytes(_needed(part, OutputField.AMOUNT), "little")),
                _needed(part, OutputField.SCRIPT),
            )
            for part in outputs
        ),
        _lock_time(header, inputs),
    )
    if any(output.amount > MAX_MONEY for output in transaction.outputs):
        raise UnsignedTransactionError("an amount is above all the bitcoin there is")
    return transaction


def _lock_time(header: PsbtMap, inputs: tuple[PsbtMap, ...]) -> int:
    """Return the lock time that suits every input which asks for one; heights go first."""
    times = [_optional(part, InputField.REQUIRED_TIME, 0) for part in inputs]
    heights = [_optional(part, InputField.REQUIRED_HEIGHT, 0) for part in inputs]
    for part, time, height in zip(inputs, times, heights, strict=True):
        if part.has(InputField.REQUIRED_TIME) and time < LOCK_TIME_IS_TIME:
            raise PsbtFormatError("a required time is none")
        if part.has(InputField.REQUIRED_HEIGHT) and not 0 < height < LOCK_TIME_IS_TIME:
            raise PsbtFormatError("a required height is none")
    asking = [(t, h) for t, h in zip(times, heights, strict=True) if t or h]
    if not asking:
        return _optional(header, GlobalField.FALLBACK_LOCK_TIME, 0)
    if all(height for _, height in asking):
        return max(heights)
    if all(time for time, _ in asking):
        return max(times)
    raise UnsignedTransactionError("the inputs ask for lock times that exclude each other")


def _check_counts(inputs: int, outputs: int) -> None:
    if inputs > MAX_INPUTS or outputs > MAX_OUTPUTS:
        raise TooComplexError("more inputs or outputs than are reviewed")


# --- version 0 ----------------------------------------------------------------------------------


def _parse_unsigned(header: PsbtMap) -> Transaction:
    raw = header.value(GlobalField.UNSIGNED_TX)
    if raw is None:
        raise UnsignedTransactionError("there is no unsigned transaction")
    try:
        transaction = parse_transaction_untrusted(raw, witness_allowed=False)
    except TransactionFormatError as error:
        raise UnsignedTransactionError("the unsigned transaction is malformed") from error
    if any(txin.script_sig for txin in transaction.inputs):
        raise UnsignedTransactionError("the unsigned transaction is signed")
    _check_counts(len(transaction.inputs), len(transaction.outputs))
    return transaction
