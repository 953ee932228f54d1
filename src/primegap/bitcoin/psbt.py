"""Partially signed transactions (BIP-174, version 0) as the key-value maps they are.

The maps are kept as they came: a field that this program does not know passes through signing byte
for byte, and serialising what was parsed gives the very bytes back. The form of known fields is
checked on parsing (`psbt_fields.py`); what they mean is judged by the review.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
    INPUT_RULES,
    OUTPUT_RULES,
    GlobalField,
    check_fields,
)
from primegap.bitcoin.transaction import Transaction, parse_transaction_untrusted
from primegap.bitcoin.wire import Cursor, encode_bytes, encode_count

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"psbt\xff"
MAX_PSBT_BYTES: Final = 1 << 20  # 1 MiB: 512 inputs with previous transactions of 2 kB each
MAX_INPUTS: Final = 512  # a standard transaction holds hardly more than a thousand
MAX_OUTPUTS: Final = 512  # nobody reviews more addresses on a small screen
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
    "The unsigned transaction."

    @property
    def unsigned_bytes(self) -> bytes:
        """The unsigned transaction as it came."""
        return self.globals.value(GlobalField.UNSIGNED_TX) or b""

    def with_inputs(self, inputs: tuple[PsbtMap, ...]) -> Psbt:
        """Return the PSBT with other input maps."""
        return Psbt(self.globals, inputs, self.outputs, self.transaction)

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
        _check_version(header)
        transaction = _parse_unsigned(header)
        inputs = tuple(_take_counted_map(cursor) for _ in transaction.inputs)
        outputs = tuple(_take_counted_map(cursor) for _ in transaction.outputs)
    except TransactionFormatError as error:
        raise PsbtFormatError("a map is malformed") from error
    if cursor.left:
        raise PsbtTrailingBytesError("bytes follow the last map")
    check_fields(header, GLOBAL_RULES)
    for part in inputs:
        check_fields(part, INPUT_RULES)
    for part in outputs:
        check_fields(part, OUTPUT_RULES)
    return Psbt(header, inputs, outputs, transaction)


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


def _check_version(header: PsbtMap) -> None:
    version = header.value(GlobalField.VERSION)
    if version is None:
        return
    if len(version) != 4:
        raise PsbtFormatError("the version field has a wrong size")
    if version != bytes(4):
        raise PsbtVersionError("not version 0")


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
    if len(transaction.inputs) > MAX_INPUTS or len(transaction.outputs) > MAX_OUTPUTS:
        raise TooComplexError("more inputs or outputs than are reviewed")
    return transaction
