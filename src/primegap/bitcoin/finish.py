"""The companion's side of signing: taking signatures over into a draft, and finishing it.

A draft goes out, something comes back over the radio, by QR or in a file, perhaps late and perhaps
another one. Only signatures are taken from it, and only for the very transaction that was sent.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

import bdkpython

from primegap.bitcoin.errors import (
    BadSignatureError,
    IncompleteError,
    OtherTransactionError,
    PsbtFormatError,
    TransactionFormatError,
)
from primegap.bitcoin.psbt import Psbt, PsbtMap, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import (
    InputField,
    read_derivations,
    read_final_witness,
    read_previous_transaction,
    read_witness_utxo,
)
from primegap.bitcoin.scripts import ScriptType, classify_script
from primegap.bitcoin.sighash import SegwitHasher, is_signature_of, p2wpkh_script_code
from primegap.bitcoin.transaction import (
    Transaction,
    TxInput,
    TxOutput,
    display_hash,
    parse_transaction_untrusted,
)

_TAKEN_OVER: Final = (
    InputField.PARTIAL_SIG,
    InputField.FINAL_SCRIPT_SIG,
    InputField.FINAL_SCRIPT_WITNESS,
    InputField.TAP_KEY_SIG,
    InputField.TAP_SCRIPT_SIG,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTransaction:
    """A transaction ready to be broadcast."""

    raw: bytes
    "Network serialisation."
    txid: str
    vsize_vb: int


def merge_signed(draft: bytes, signed: bytes) -> bytes:
    """Take the signatures of a returned PSBT over into the draft that was sent out.

    Everything else of what came back is left behind. Fewer signatures than needed are fine; more
    can be merged later.

    Args:
        draft: our own PSBT.
        signed: what came back.

    Returns:
        The draft with the signatures.

    Raises:
        OtherTransactionError: the unsigned transactions differ by a byte or more.
        BadSignatureError: a signature for a P2WPKH coin of the draft does not verify.
        PsbtRefusedError: what came back is malformed.
    """
    own, other = parse_psbt_untrusted(draft), parse_psbt_untrusted(signed)
    if own.unsigned_bytes != other.unsigned_bytes:
        raise OtherTransactionError("the unsigned transactions differ")
    hasher = SegwitHasher(own.transaction)
    merged: list[PsbtMap] = []
    for position, (ours, theirs) in enumerate(zip(own.inputs, other.inputs, strict=True)):
        _check_signatures(own, position, theirs, hasher)
        result = ours
        for field in _TAKEN_OVER:
            result = result.adding(field, dict(theirs.items(field)))
        merged.append(result)
    return own.with_inputs(tuple(merged)).serialise()


def finalise(psbt: bytes) -> FinishedTransaction:
    """Turn a completely signed PSBT into the transaction to broadcast.

    BDK builds the witnesses and runs each through its script interpreter.

    Raises:
        IncompleteError: signatures are missing or do not satisfy the scripts.
        PsbtRefusedError: the PSBT is malformed.
    """
    parsed = parse_psbt_untrusted(psbt)
    try:
        result = bdkpython.Psbt(b64encode(parsed.as_version_0().serialise()).decode()).finalize()
        if not result.could_finalize:
            raise IncompleteError("not every input is satisfied")
        raw = bytes(result.psbt.extract_tx_unchecked_fee_rate().serialize())
        transaction = parse_transaction_untrusted(raw)
    except (
        bdkpython.PsbtParseError,
        bdkpython.PsbtFinalizeError,
        bdkpython.ExtractTxError,
        TransactionFormatError,
    ) as error:
        raise PsbtFormatError("the transaction cannot be finished") from error
    if _unsigned(transaction) != parsed.transaction:
        raise OtherTransactionError("finishing changed the transaction")
    return FinishedTransaction(
        raw=raw, txid=display_hash(transaction.txid), vsize_vb=transaction.vsize_vb
    )


def _unsigned(transaction: Transaction) -> Transaction:
    inputs = tuple(TxInput(txin.outpoint, b"", txin.sequence) for txin in transaction.inputs)
    return Transaction(transaction.version, inputs, transaction.outputs, transaction.lock_time)


def _check_signatures(own: Psbt, position: int, theirs: PsbtMap, hasher: SegwitHasher) -> None:
    """Verify what came back for a P2WPKH coin; other kinds are judged on finishing."""
    coin = _coin(own, position)
    if coin is None or classify_script(coin.script) is not ScriptType.P2WPKH:
        return
    signatures = list(theirs.items(InputField.PARTIAL_SIG))
    final = read_final_witness(theirs)
    if final is not None:
        if len(final) != 2:
            raise BadSignatureError("a finished input does not hold a signature and a key")
        signatures.append((final[1], final[0]))
    if not signatures:
        return
    ours = own.inputs[position]
    keys = {claim.public_key for claim in read_derivations(ours, InputField.DERIVATION)}
    digest = hasher.digest(position, p2wpkh_script_code(coin.script), coin.amount)
    for public_key, signature in signatures:
        if public_key not in keys or not is_signature_of(signature, public_key, digest):
            raise BadSignatureError("a signature that came back does not verify")


def _coin(own: Psbt, position: int) -> TxOutput | None:
    part = own.inputs[position]
    coin = read_witness_utxo(part)
    if coin is not None:
        return coin
    previous = read_previous_transaction(part)
    vout = own.transaction.inputs[position].outpoint.vout
    if previous is None or vout >= len(previous.outputs):
        return None
    return previous.outputs[vout]
