"""The known fields of a PSBT: their types, the form each must have, and readers of what they hold.

BIP-174 (version 0), BIP-370 (version 2) and BIP-371 (taproot). Fields of the other version are
forbidden. A type that is not listed has no rule and passes through untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.errors import (
    DerivationFieldError,
    KeyFieldError,
    PreviousTransactionError,
    PsbtFormatError,
    TransactionFormatError,
)
from primegap.bitcoin.transaction import (
    Transaction,
    TxOutput,
    parse_output_untrusted,
    parse_transaction_untrusted,
    parse_witness_untrusted,
)
from primegap.bitcoin.wire import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from primegap.bitcoin.psbt import PsbtMap

MAX_DERIVATION_DEPTH: Final = 12  # rule R6
HARDENED: Final = 1 << 31
XPUB_BYTES: Final = 78


class GlobalField(IntEnum):
    """Types of keys in the first map."""

    UNSIGNED_TX = 0x00
    XPUB = 0x01
    TX_VERSION = 0x02
    FALLBACK_LOCK_TIME = 0x03
    INPUT_COUNT = 0x04
    OUTPUT_COUNT = 0x05
    TX_MODIFIABLE = 0x06
    VERSION = 0xFB


class InputField(IntEnum):
    """Types of keys in the map of an input."""

    NON_WITNESS_UTXO = 0x00
    WITNESS_UTXO = 0x01
    PARTIAL_SIG = 0x02
    SIGHASH_TYPE = 0x03
    REDEEM_SCRIPT = 0x04
    WITNESS_SCRIPT = 0x05
    DERIVATION = 0x06
    FINAL_SCRIPT_SIG = 0x07
    FINAL_SCRIPT_WITNESS = 0x08
    POR_COMMITMENT = 0x09
    RIPEMD160_PREIMAGE = 0x0A
    SHA256_PREIMAGE = 0x0B
    HASH160_PREIMAGE = 0x0C
    HASH256_PREIMAGE = 0x0D
    PREVIOUS_TXID = 0x0E
    OUTPUT_INDEX = 0x0F
    SEQUENCE = 0x10
    REQUIRED_TIME = 0x11
    REQUIRED_HEIGHT = 0x12
    TAP_KEY_SIG = 0x13
    TAP_SCRIPT_SIG = 0x14
    TAP_LEAF_SCRIPT = 0x15
    TAP_DERIVATION = 0x16
    TAP_INTERNAL_KEY = 0x17
    TAP_MERKLE_ROOT = 0x18


class OutputField(IntEnum):
    """Types of keys in the map of an output."""

    REDEEM_SCRIPT = 0x00
    WITNESS_SCRIPT = 0x01
    DERIVATION = 0x02
    AMOUNT = 0x03
    SCRIPT = 0x04
    TAP_INTERNAL_KEY = 0x05
    TAP_TREE = 0x06
    TAP_DERIVATION = 0x07


# --- form ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """The sizes a field may have; without key data the type stands alone as the key."""

    key_data: range = range(1)
    value: range = range(1 << 32)
    is_public_key: bool = False
    is_forbidden: bool = False


def _exactly(size: int) -> range:
    return range(size, size + 1)


_PLAIN: Final = _Rule()
_FORBIDDEN: Final = _Rule(is_forbidden=True)
_BY_PUBLIC_KEY: Final = _Rule(key_data=range(33, 66), is_public_key=True)
_BY_20_BYTES: Final = _Rule(key_data=_exactly(20))
_BY_32_BYTES: Final = _Rule(key_data=_exactly(32))
_OF_32_BYTES: Final = _Rule(value=_exactly(32))
_SCHNORR_BYTES: Final = range(64, 66)
_ECDSA_BYTES: Final = range(9, 74)  # DER with its sighash byte
_CONTROL_BLOCK_BYTES: Final = range(33, 33 + 32 * 128 + 1, 32)  # BIP-341

GLOBAL_RULES: Final[Mapping[int, _Rule]] = {
    GlobalField.UNSIGNED_TX: _PLAIN,
    GlobalField.XPUB: _Rule(key_data=_exactly(XPUB_BYTES)),
    **dict.fromkeys(range(0x02, 0x07), _FORBIDDEN),
    GlobalField.VERSION: _Rule(value=_exactly(4)),
}
INPUT_RULES: Final[Mapping[int, _Rule]] = {
    InputField.NON_WITNESS_UTXO: _PLAIN,
    InputField.WITNESS_UTXO: _PLAIN,
    InputField.PARTIAL_SIG: _Rule(key_data=range(33, 66), value=_ECDSA_BYTES, is_public_key=True),
    InputField.SIGHASH_TYPE: _Rule(value=_exactly(4)),
    InputField.REDEEM_SCRIPT: _PLAIN,
    InputField.WITNESS_SCRIPT: _PLAIN,
    InputField.DERIVATION: _BY_PUBLIC_KEY,
    InputField.FINAL_SCRIPT_SIG: _PLAIN,
    InputField.FINAL_SCRIPT_WITNESS: _PLAIN,
    InputField.POR_COMMITMENT: _PLAIN,
    InputField.RIPEMD160_PREIMAGE: _BY_20_BYTES,
    InputField.SHA256_PREIMAGE: _BY_32_BYTES,
    InputField.HASH160_PREIMAGE: _BY_20_BYTES,
    InputField.HASH256_PREIMAGE: _BY_32_BYTES,
    **dict.fromkeys(range(0x0E, 0x13), _FORBIDDEN),
    InputField.TAP_KEY_SIG: _Rule(value=_SCHNORR_BYTES),
    InputField.TAP_SCRIPT_SIG: _Rule(key_data=_exactly(64), value=_SCHNORR_BYTES),
    InputField.TAP_LEAF_SCRIPT: _Rule(key_data=_CONTROL_BLOCK_BYTES, value=range(1, 1 << 32)),
    InputField.TAP_DERIVATION: _BY_32_BYTES,
    InputField.TAP_INTERNAL_KEY: _OF_32_BYTES,
    InputField.TAP_MERKLE_ROOT: _OF_32_BYTES,
}
OUTPUT_RULES: Final[Mapping[int, _Rule]] = {
    OutputField.REDEEM_SCRIPT: _PLAIN,
    OutputField.WITNESS_SCRIPT: _PLAIN,
    OutputField.DERIVATION: _BY_PUBLIC_KEY,
    **dict.fromkeys(range(0x03, 0x05), _FORBIDDEN),
    OutputField.TAP_INTERNAL_KEY: _OF_32_BYTES,
    OutputField.TAP_TREE: _PLAIN,
    OutputField.TAP_DERIVATION: _BY_32_BYTES,
}


_FOUR_BYTES: Final = _Rule(value=_exactly(4))
GLOBAL_RULES_2: Final[Mapping[int, _Rule]] = {
    **GLOBAL_RULES,
    GlobalField.UNSIGNED_TX: _FORBIDDEN,
    GlobalField.TX_VERSION: _FOUR_BYTES,
    GlobalField.FALLBACK_LOCK_TIME: _FOUR_BYTES,
    GlobalField.INPUT_COUNT: _Rule(value=range(1, 10)),
    GlobalField.OUTPUT_COUNT: _Rule(value=range(1, 10)),
    GlobalField.TX_MODIFIABLE: _Rule(value=_exactly(1)),
}
INPUT_RULES_2: Final[Mapping[int, _Rule]] = {
    **INPUT_RULES,
    InputField.PREVIOUS_TXID: _OF_32_BYTES,
    InputField.OUTPUT_INDEX: _FOUR_BYTES,
    InputField.SEQUENCE: _FOUR_BYTES,
    InputField.REQUIRED_TIME: _FOUR_BYTES,
    InputField.REQUIRED_HEIGHT: _FOUR_BYTES,
}
OUTPUT_RULES_2: Final[Mapping[int, _Rule]] = {
    **OUTPUT_RULES,
    OutputField.AMOUNT: _Rule(value=_exactly(8)),
    OutputField.SCRIPT: _PLAIN,
}


def check_fields(part: PsbtMap, rules: Mapping[int, _Rule]) -> None:
    """Raise unless every field with a rule has its form.

    Raises:
        KeyFieldError: a public key is not one (rule R5).
        PsbtFormatError: anything else.
    """
    for key, value in part.entries:
        cursor = Cursor(key)
        rule = rules.get(cursor.count())
        if rule is None:
            continue
        key_data = key[cursor.position :]
        if rule.is_forbidden:
            if not key_data:
                raise PsbtFormatError("a field of another version")
            continue  # with key data it is not the field of version 2, and BIP-174 lets it pass
        if rule.is_public_key:
            check_public_key(key_data)
        if len(key_data) not in rule.key_data or len(value) not in rule.value:
            raise PsbtFormatError("a field has a wrong size")


def check_public_key(data: bytes) -> None:
    """Raise KeyFieldError unless the bytes have the form of a public key for ECDSA (rule R5)."""
    compressed = len(data) == 33 and data[0] in {2, 3}
    if not compressed and not (len(data) == 65 and data[0] == 4):
        raise KeyFieldError("not a public key")


# --- contents -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Derivation:
    """A claim that a public key comes from a master key along a path. Only a claim."""

    public_key: bytes
    "33 or 65 bytes, or 32 for a taproot key."
    fingerprint: str
    "Of the master key, 8 hex digits."
    path: tuple[int, ...]
    "Steps from the master key; hardened ones have bit 31 set."


def read_derivations(part: PsbtMap, field: InputField | OutputField) -> tuple[Derivation, ...]:
    """Return the claims of ECDSA keys; raises DerivationFieldError (rule R6)."""
    return tuple(_derivation(key, value) for key, value in part.items(field))


def read_tap_derivations(part: PsbtMap, field: InputField | OutputField) -> tuple[Derivation, ...]:
    """Return the claims of taproot keys (BIP-371); raises DerivationFieldError (rule R6)."""
    found: list[Derivation] = []
    for key, value in part.items(field):
        cursor = Cursor(value)
        try:
            leaves = cursor.count_of(32)
            cursor.take(32 * leaves)
        except TransactionFormatError as error:
            raise DerivationFieldError("the leaf hashes are malformed") from error
        origin = value[cursor.position :]
        # A master key itself may stand for a taproot key that has no leaves.
        found.append(_derivation(key, origin, shortest=8 if leaves else 4))
    return tuple(found)


def _derivation(public_key: bytes, value: bytes, *, shortest: int = 8) -> Derivation:
    depth = len(value) // 4 - 1
    if len(value) % 4 or len(value) < shortest or depth > MAX_DERIVATION_DEPTH:
        raise DerivationFieldError("not a fingerprint and a path")
    path = tuple(int.from_bytes(value[i : i + 4], "little") for i in range(4, len(value), 4))
    return Derivation(public_key, value[:4].hex(), path)


def read_previous_transaction(part: PsbtMap) -> Transaction | None:
    """Return the previous transaction of an input, parsed; its identity is not checked here.

    Raises:
        PreviousTransactionError: it is malformed (rule R8).
    """
    raw = part.value(InputField.NON_WITNESS_UTXO)
    if raw is None:
        return None
    try:
        return parse_transaction_untrusted(raw)
    except TransactionFormatError as error:
        raise PreviousTransactionError("the previous transaction is malformed") from error


def read_witness_utxo(part: PsbtMap) -> TxOutput | None:
    """Return the coin an input claims to spend; raises PsbtFormatError."""
    raw = part.value(InputField.WITNESS_UTXO)
    if raw is None:
        return None
    try:
        return parse_output_untrusted(raw)
    except TransactionFormatError as error:
        raise PsbtFormatError("the spent output is malformed") from error


def read_sighash_type(part: PsbtMap) -> int | None:
    """Return the sighash type an input asks for, or None."""
    raw = part.value(InputField.SIGHASH_TYPE)
    return None if raw is None else int.from_bytes(raw, "little")


def read_final_witness(part: PsbtMap) -> tuple[bytes, ...] | None:
    """Return the finished witness of an input, or None; raises PsbtFormatError."""
    raw = part.value(InputField.FINAL_SCRIPT_WITNESS)
    if raw is None:
        return None
    try:
        return parse_witness_untrusted(raw)
    except TransactionFormatError as error:
        raise PsbtFormatError("the final witness is malformed") from error
