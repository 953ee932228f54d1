"""Signing what was approved.

`sign_psbt` reviews the very bytes it is going to sign once more, and signs digests computed from
reviewed values only: no field of a peer reaches the key. Each signature is verified, and every
input that is complete is run through Bitcoin Core's engine, before anything goes into the peer's
PSBT, whose other fields stay untouched.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from primegap.bitcoin.accounts import AddressMatch, Keychain
from primegap.bitcoin.engine import wrongly_spent
from primegap.bitcoin.errors import ReviewMismatchError, SigningFaultError
from primegap.bitcoin.psbt import PsbtMap, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField
from primegap.bitcoin.review import review_parsed
from primegap.bitcoin.review_spending import Digests, Spending, spending_of
from primegap.bitcoin.review_values import OwnInput, Review, SignatureToMake
from primegap.bitcoin.satisfy import satisfy
from primegap.bitcoin.sighash import (
    SIGHASH_ALL,
    encode_schnorr,
    is_signature_of,
    is_taproot_signature,
)
from primegap.bitcoin.transaction import TxOutput
from primegap.bitcoin.wire import encode_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.keys import AccountSigner

_SIGNATURES = (InputField.PARTIAL_SIG, InputField.TAP_KEY_SIG, InputField.TAP_SCRIPT_SIG)


def sign_psbt(
    psbt: bytes,
    review: Review,
    approved_digest: bytes,
    account: Account,
    signer: AccountSigner,
    *,
    progress: Callable[[], None] = lambda: None,
) -> bytes:
    """Sign our inputs of a transaction that a person approved.

    Args:
        psbt: the bytes that were reviewed.
        review: what was shown.
        approved_digest: the digest the approval is bound to.
        account: that was reviewed.
        signer: of the account's own key.
        progress: called twice for each input: when it is reviewed again, and when it is signed.

    Returns:
        The PSBT with our signatures added and everything else as it came.

    Raises:
        ReviewMismatchError: bytes, review, approval and account do not belong together.
        PsbtRefusedError: the bytes do not pass the review.
        SigningFaultError: a signature that was made does not verify.
    """
    if signer.key != account.own_key:
        raise ReviewMismatchError("the key is not the one of the account that was reviewed")
    parsed = parse_psbt_untrusted(psbt)
    again = review_parsed(parsed, account, progress=progress)
    if not compare_digest(again.digest, approved_digest) or again != review:
        raise ReviewMismatchError("the transaction is not the one that was approved")
    coins = tuple(TxOutput(item.amount, item.script) for item in again.inputs)
    digests = Digests(parsed.transaction, coins)
    inputs = list(parsed.inputs)
    ours: dict[int, PsbtMap] = {}
    for position, item in enumerate(again.inputs):
        if isinstance(item, OwnInput) and item.to_make:
            place = AddressMatch(Keychain(item.keychain), item.index)
            part = parsed.inputs[position]
            spending = spending_of(account, place, coins[position], part, is_finished=False)
            for wanted in item.to_make:
                field, data, value = _make(signer, item, spending, wanted, digests, position)
                part = part.adding(field, {data: value})
            inputs[position] = part
            ours[position] = _own_map(spending, part, coins[position])
        progress()
    complete = satisfy(account, parsed.transaction, ours)
    if wrongly_spent(parsed.transaction, coins, complete) is not None:
        raise SigningFaultError("the network would refuse what was signed")
    return parsed.signed_with(tuple(inputs)).serialise()


def _make(
    signer: AccountSigner,
    item: OwnInput,
    spending: Spending,
    wanted: SignatureToMake,
    digests: Digests,
    position: int,
) -> tuple[InputField, bytes, bytes]:
    """Make one signature and verify it; return field, key data and value that hold it."""
    chain = wanted.chains[item.keychain]
    try:
        if spending.merkle_root is None:
            digest = spending.ecdsa_digest(digests, position)
            signature = signer.sign_ecdsa(chain, item.index, digest) + bytes((SIGHASH_ALL,))
            if not is_signature_of(signature, wanted.public_key, digest):
                raise SigningFaultError("a new signature does not verify")
            return InputField.PARTIAL_SIG, wanted.public_key, signature
        leaf = wanted.leaf
        leaf_hash = None if leaf is None else leaf.leaf_hash
        digest = digests.taproot.digest(position, item.sighash, leaf_hash)
        root = spending.merkle_root if leaf is None else None
        made = signer.sign_schnorr(chain, item.index, digest, merkle_root=root)
    except ValueError as error:
        raise SigningFaultError("the key could not sign") from error
    signature = encode_schnorr(made, item.sighash)
    key = item.script[2:] if leaf is None else wanted.public_key[1:]
    if not is_taproot_signature(signature, key, digests.taproot, position, leaf_hash):
        raise SigningFaultError("a new signature does not verify")
    if leaf_hash is None:
        return InputField.TAP_KEY_SIG, b"", signature
    return InputField.TAP_SCRIPT_SIG, key + leaf_hash, signature


def _own_map(spending: Spending, part: PsbtMap, coin: TxOutput) -> PsbtMap:
    """Return an input made of reviewed values and verified signatures, to be completed."""
    entries = [(encode_count(InputField.WITNESS_UTXO), coin.serialise())]
    for field, script in (
        (InputField.REDEEM_SCRIPT, spending.redeem_script),
        (InputField.WITNESS_SCRIPT, spending.witness_script),
    ):
        if script is not None:
            entries.append((encode_count(field), script))
    if spending.merkle_root is not None:
        internal = spending.public_keys[0][1:]
        entries.append((encode_count(InputField.TAP_INTERNAL_KEY), internal))
        if spending.merkle_root:
            entries.append((encode_count(InputField.TAP_MERKLE_ROOT), spending.merkle_root))
        entries += (
            (encode_count(InputField.TAP_LEAF_SCRIPT) + leaf.control_block, leaf.script + b"\xc0")
            for leaf in spending.leaves
        )
    # Miniscript's satisfier looks keys up by their hash; where they come from does not matter.
    field, origin = (
        (InputField.DERIVATION, bytes(4))
        if spending.merkle_root is None
        else (InputField.TAP_DERIVATION, bytes(5))
    )
    for key in dict.fromkeys(spending.public_keys):
        named = key if spending.merkle_root is None else key[1:]
        entries.append((encode_count(field) + named, origin))
    for field in _SIGNATURES:
        entries += ((encode_count(field) + data, value) for data, value in part.items(field))
    return PsbtMap(tuple(entries))
