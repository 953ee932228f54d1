"""Review of the inputs: whose they are, what they are worth, whether they are signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.amounts import MAX_MONEY, Satoshi
from primegap.bitcoin.derivation import address_of_script
from primegap.bitcoin.errors import (
    AmountError,
    AmountMismatchError,
    BadSignatureError,
    FalseKeyError,
    InputScriptError,
    MissingPreviousTransactionError,
    OtherAccountError,
    OtherNetworkError,
    PreviousTransactionError,
    ScriptFieldError,
    SighashError,
    UndeclaredInputError,
)
from primegap.bitcoin.psbt_fields import (
    Derivation,
    InputField,
    read_derivations,
    read_final_witness,
    read_previous_transaction,
    read_sighash_type,
    read_tap_derivations,
    read_witness_utxo,
)
from primegap.bitcoin.review_claims import OwnClaim, is_proved, own_claims
from primegap.bitcoin.review_values import ForeignInput, OwnInput, ReviewedInput
from primegap.bitcoin.scripts import ScriptType, classify_script, spending_weight
from primegap.bitcoin.sighash import (
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    SegwitHasher,
    is_signature_of,
    p2wpkh_script_code,
)
from primegap.bitcoin.transaction import WITNESS_SCALE, TxInput, TxOutput
from primegap.bitcoin.wire import encode_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.psbt import Psbt, PsbtMap

UNDECLARED_SEARCH: Final = 200  # addresses beyond the highest one claimed; as the change gap
MAX_UNDECLARED_SEARCH: Final = 1000  # of each keychain: a third of a second, only with strangers

_SIGNATURE_FIELDS: Final = (
    InputField.PARTIAL_SIG,
    InputField.FINAL_SCRIPT_SIG,
    InputField.FINAL_SCRIPT_WITNESS,
    InputField.TAP_KEY_SIG,
    InputField.TAP_SCRIPT_SIG,
)


@dataclass(frozen=True, slots=True)
class InputsReview:
    """The inputs, and what follows from them."""

    inputs: tuple[ReviewedInput, ...]
    weight: int
    "Of all inputs once signed, in weight units."
    any_signed: bool
    "At least one carries a signature of anybody."
    all_signed: bool
    "Every one does."
    fingerprints: tuple[str, ...]
    "Master keys that are asked for, each once."


def review_inputs(psbt: Psbt, account: Account) -> InputsReview:
    """Review every input; raises only PsbtRefusedError."""
    hasher = SegwitHasher(psbt.transaction)
    inputs: list[ReviewedInput] = []
    fingerprints: dict[str, None] = {}
    weight = 0
    signed = 0
    for position, (txin, part) in enumerate(zip(psbt.transaction.inputs, psbt.inputs, strict=True)):
        coin = _proved_coin(txin, part)
        claims = (
            *read_derivations(part, InputField.DERIVATION),
            *read_tap_derivations(part, InputField.TAP_DERIVATION),
        )
        fingerprints.update(dict.fromkeys(claim.fingerprint for claim in claims))
        has_signature = any(part.has(field) for field in _SIGNATURE_FIELDS)
        reviewed: ReviewedInput
        if claim := _proved_claim(account, claims, coin.script):
            reviewed = _own_input(account, claim, txin, coin, part, hasher, position)
            has_signature = not reviewed.needs_signature
        else:
            address = address_of_script(coin.script, account.network)
            reviewed = ForeignInput(
                outpoint=txin.outpoint, amount=coin.amount, script=coin.script, address=address
            )
        _check_sighash(part, classify_script(coin.script))
        inputs.append(reviewed)
        weight += _signed_weight(part, coin.script)
        signed += has_signature
    _refuse_undeclared(account, inputs)
    return InputsReview(
        tuple(inputs), weight, signed > 0, signed == len(inputs), tuple(fingerprints)
    )


def _proved_coin(txin: TxInput, part: PsbtMap) -> TxOutput:
    """Return the output an input spends, taken from the transaction whose hash it names.

    The amount in the witness field alone would be a claim: a segwit version 0 signature covers the
    amount of its own input only, so two lies in two sessions could hide a fee of any size.
    """
    previous = read_previous_transaction(part)
    if previous is None:
        raise MissingPreviousTransactionError("an input comes without its previous transaction")
    if previous.txid != txin.outpoint.txid:
        raise PreviousTransactionError("the previous transaction is another one")
    if txin.outpoint.vout >= len(previous.outputs):
        raise PreviousTransactionError("the previous transaction has no such output")
    coin = previous.outputs[txin.outpoint.vout]
    claimed = read_witness_utxo(part)
    if claimed is not None and claimed != coin:
        raise AmountMismatchError("the spent output and the previous transaction disagree")
    if not 0 < coin.amount <= MAX_MONEY:
        raise AmountError("an input is worth nothing")
    if classify_script(coin.script) in {ScriptType.OTHER, ScriptType.OP_RETURN}:
        raise InputScriptError("an input spends an unknown kind of script")
    return coin


def _proved_claim(
    account: Account, derivations: tuple[Derivation, ...], script: bytes
) -> OwnClaim | None:
    """Return the claim that makes an input ours, proved; None when nothing claims to."""
    proved: OwnClaim | None = None
    for claim in own_claims(account, derivations):
        if claim.is_other_network:
            raise OtherNetworkError("an input claims a key of another network")
        if claim.place is None:
            raise OtherAccountError("an input claims a key outside the account")
        if not is_proved(account, claim, script):
            raise FalseKeyError("an input claims a key that derives to another one")
        proved = claim
    return proved


def _own_input(
    account: Account,
    claim: OwnClaim,
    txin: TxInput,
    coin: TxOutput,
    part: PsbtMap,
    hasher: SegwitHasher,
    position: int,
) -> OwnInput:
    assert claim.place is not None
    for field in (
        InputField.REDEEM_SCRIPT,
        InputField.WITNESS_SCRIPT,
        InputField.FINAL_SCRIPT_SIG,
    ):
        if part.has(field):
            raise ScriptFieldError("a script is given for a coin that has none")
    signatures = list(part.items(InputField.PARTIAL_SIG))
    final = read_final_witness(part)
    if final is not None:
        if len(final) != 2:
            raise BadSignatureError("a finished input does not hold a signature and a key")
        signatures.append((final[1], final[0]))
    if signatures:
        digest = hasher.digest(position, p2wpkh_script_code(coin.script), coin.amount)
        for public_key, signature in signatures:
            if public_key != claim.public_key:
                raise BadSignatureError("a signature of a key that the coin does not name")
            if not is_signature_of(signature, public_key, digest):
                raise BadSignatureError("a signature does not verify")
    return OwnInput(
        outpoint=txin.outpoint,
        amount=coin.amount,
        script=coin.script,
        public_key=claim.public_key,
        fingerprint=claim.key.fingerprint,
        path=claim.path,
        keychain=int(claim.place.keychain),
        index=claim.place.index,
        address=account.address(claim.place.keychain, claim.place.index),
        needs_signature=not signatures,
    )


def _check_sighash(part: PsbtMap, script_type: ScriptType) -> None:
    sighash = read_sighash_type(part)
    is_whole = sighash in {None, SIGHASH_ALL} or (
        sighash == SIGHASH_DEFAULT and script_type is ScriptType.P2TR
    )
    if not is_whole:
        raise SighashError("a signature that does not cover everything is asked for")


def _refuse_undeclared(account: Account, inputs: list[ReviewedInput]) -> None:
    """Refuse coins of the account that pose as a stranger's.

    Otherwise two sessions, each with one of two own coins undeclared, would sign away both while
    each shows only one as spent.
    """
    foreign = {item.script for item in inputs if isinstance(item, ForeignInput)}
    if not foreign:
        return
    highest = max((item.index for item in inputs if isinstance(item, OwnInput)), default=0)
    count = min(highest + 1 + UNDECLARED_SEARCH, MAX_UNDECLARED_SEARCH)
    if foreign & account.scripts(count):
        raise UndeclaredInputError("an input hides that it is ours")


def _signed_weight(part: PsbtMap, script: bytes) -> int:
    final_script = part.value(InputField.FINAL_SCRIPT_SIG)
    final_witness = part.value(InputField.FINAL_SCRIPT_WITNESS)
    if final_script is None and final_witness is None:
        return spending_weight(classify_script(script))
    base = 36 + len(encode_bytes(final_script or b"")) + 4
    return base * WITNESS_SCALE + len(final_witness or b"\x00")


def total(amounts: Iterable[Satoshi]) -> Satoshi:
    """Return a sum of amounts; raises AmountError above all the bitcoin there is."""
    result = sum(amounts)
    if result > MAX_MONEY:
        raise AmountError("amounts add up to more than all the bitcoin there is")
    return Satoshi(result)
