"""Signing what was approved.

`sign_psbt` reviews the very bytes it is going to sign once more, and signs a PSBT of its own making
that holds only reviewed values. So no field of a peer reaches the library that holds the key, and
no two parsers can disagree about what is signed. Each signature is then verified against a digest
computed from the review before it is put into the peer's PSBT, whose other fields stay untouched.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from primegap.bitcoin.errors import ReviewMismatchError, SigningFaultError
from primegap.bitcoin.psbt import Psbt, PsbtMap, build_psbt, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField
from primegap.bitcoin.review import review_parsed
from primegap.bitcoin.review_values import OwnInput, Review
from primegap.bitcoin.sighash import SegwitHasher, is_signature_of, p2wpkh_script_code
from primegap.bitcoin.transaction import TxOutput
from primegap.bitcoin.wire import encode_count

if TYPE_CHECKING:
    from primegap.bitcoin.keys import AccountSigner


def sign_psbt(psbt: bytes, review: Review, approved_digest: bytes, signer: AccountSigner) -> bytes:
    """Sign our inputs of a transaction that a person approved.

    Args:
        psbt: the bytes that were reviewed.
        review: what was shown.
        approved_digest: the digest the approval is bound to.
        signer: of the account that was reviewed.

    Returns:
        The PSBT with our partial signatures added and everything else as it came.

    Raises:
        ReviewMismatchError: bytes, review, approval and account do not belong together.
        PsbtRefusedError: the bytes do not pass the review.
        SigningFaultError: a signature that was made does not verify.
    """
    parsed = parse_psbt_untrusted(psbt)
    again = review_parsed(parsed, signer.account)
    if not compare_digest(again.digest, approved_digest) or again != review:
        raise ReviewMismatchError("the transaction is not the one that was approved")
    signatures = signer.sign(_own_psbt(parsed, again))
    hasher = SegwitHasher(parsed.transaction)
    inputs = list(parsed.inputs)
    for position, item in enumerate(again.inputs):
        if not (isinstance(item, OwnInput) and item.needs_signature):
            continue
        signature = signatures[position].get(item.public_key, b"")
        digest = hasher.digest(position, p2wpkh_script_code(item.script), item.amount)
        if not is_signature_of(signature, item.public_key, digest):
            raise SigningFaultError("a new signature does not verify")
        inputs[position] = inputs[position].adding(
            InputField.PARTIAL_SIG, {item.public_key: signature}
        )
    return parsed.with_inputs(tuple(inputs)).serialise()


def _own_psbt(psbt: Psbt, review: Review) -> bytes:
    """Build the PSBT that is really signed, from reviewed values only."""
    inputs = tuple(
        _own_map(item) if isinstance(item, OwnInput) and item.needs_signature else PsbtMap()
        for item in review.inputs
    )
    outputs = tuple(PsbtMap() for _ in review.outputs)
    return build_psbt(psbt.transaction.serialise(), inputs, outputs)


def _own_map(item: OwnInput) -> PsbtMap:
    origin = bytes.fromhex(item.fingerprint)
    origin += b"".join(step.to_bytes(4, "little") for step in item.path)
    return PsbtMap(
        (
            (encode_count(InputField.WITNESS_UTXO), TxOutput(item.amount, item.script).serialise()),
            (encode_count(InputField.DERIVATION) + item.public_key, origin),
        )
    )
