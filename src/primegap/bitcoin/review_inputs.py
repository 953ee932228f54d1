"""Review of the inputs: whose they are, what they are worth, whether they are signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.amounts import MAX_MONEY, Satoshi
from primegap.bitcoin.derivation import address_of_script
from primegap.bitcoin.engine import Satisfaction, wrongly_spent
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
from primegap.bitcoin.review_claims import is_proved, own_claims
from primegap.bitcoin.review_spending import (
    Digests,
    check_finished,
    check_signatures,
    signatures_to_make,
    spending_of,
)
from primegap.bitcoin.review_values import (
    ForeignInput,
    OwnInput,
    ReviewedInput,
    SignatureToMake,
)
from primegap.bitcoin.scripts import ScriptType, classify_script, spending_weight
from primegap.bitcoin.sighash import SIGHASH_ALL, SIGHASH_DEFAULT
from primegap.bitcoin.transaction import WITNESS_SCALE, Transaction, TxInput, TxOutput
from primegap.bitcoin.wire import encode_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from primegap.bitcoin.accounts import Account, AddressMatch
    from primegap.bitcoin.psbt import Psbt, PsbtMap

UNDECLARED_SEARCH: Final = 200  # addresses beyond the highest one claimed; as the change gap
MAX_UNDECLARED_SEARCH: Final = 1000  # of each keychain: a third of a second, only with strangers

_OUTPOINT_AND_SEQUENCE_WEIGHT: Final = 4 * (36 + 4 + 1)  # and the length of the script
_WITNESS_VERSIONS: Final = frozenset((b"\x00", b"\x51"))
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


def review_inputs(
    psbt: Psbt, account: Account, *, progress: Callable[[], None] = lambda: None
) -> InputsReview:
    """Review every input; raises only PsbtRefusedError.

    Args:
        psbt: whose form holds.
        account: the account that is reviewed.
        progress: called after each input.
    """
    coins = _proved_coins(psbt, account)
    digests = Digests(psbt.transaction, coins)
    inputs: list[ReviewedInput] = []
    fingerprints: dict[str, None] = {}
    weight = 0
    any_signed = False
    signed = 0
    finished: dict[int, Satisfaction] = {}
    for position, (txin, part) in enumerate(zip(psbt.transaction.inputs, psbt.inputs, strict=True)):
        coin = coins[position]
        claims = (
            *read_derivations(part, InputField.DERIVATION),
            *read_tap_derivations(part, InputField.TAP_DERIVATION),
        )
        fingerprints.update(dict.fromkeys(claim.fingerprint for claim in claims))
        has_signature = any(part.has(field) for field in _SIGNATURE_FIELDS)
        _check_sighash(part, classify_script(coin.script))
        reviewed: ReviewedInput
        if place := _proved_place(account, claims, coin.script):
            own = _own_input(account, place, txin, coin, part, digests, position)
            if own.is_finished:
                finished[position] = _final(part)
            is_signed = own.is_finished or (account.is_standard and not own.needs_signature)
            reviewed = own
        else:
            address = address_of_script(coin.script, account.network)
            reviewed = ForeignInput(
                outpoint=txin.outpoint, amount=coin.amount, script=coin.script, address=address
            )
            is_signed = has_signature
        inputs.append(reviewed)
        weight += _signed_weight(account, part, reviewed)
        any_signed |= has_signature
        signed += is_signed
        progress()
    _refuse_undeclared(account, inputs)
    if wrongly_spent(psbt.transaction, coins, finished) is not None:
        raise BadSignatureError("a finished input of ours is not spent rightly")
    return InputsReview(
        tuple(inputs), weight, any_signed, signed == len(inputs), tuple(fingerprints)
    )


def _proved_coins(psbt: Psbt, account: Account) -> tuple[TxOutput, ...]:
    """Return what the inputs spend. Inputs that spend from one transaction read it once."""
    coins: list[TxOutput] = []
    raw: bytes | None = None
    previous: Transaction | None = None
    for txin, part in zip(psbt.transaction.inputs, psbt.inputs, strict=True):
        given = part.value(InputField.NON_WITNESS_UTXO)
        if previous is None or given != raw:
            raw, previous = given, read_previous_transaction(part)
        covered = _covered_coin(part, account) if previous is None else None
        coins.append(_proved_coin(txin, part, previous) if covered is None else covered)
    return tuple(coins)


def _covered_coin(part: PsbtMap, account: Account) -> TxOutput | None:
    """Return a taproot coin that a taproot account need not prove, else None.

    Each of our signatures then covers amount and script of every coin (BIP-341): of a transaction
    that lies about one, no signature is worth anything.
    """
    coin = read_witness_utxo(part)
    if coin is None or account.script_type is not ScriptType.P2TR:
        return None
    if classify_script(coin.script) is not ScriptType.P2TR:
        return None
    if not 0 < coin.amount <= MAX_MONEY:
        raise AmountError("an input is worth nothing")
    return coin


def _proved_coin(txin: TxInput, part: PsbtMap, previous: Transaction | None) -> TxOutput:
    """Return the output an input spends, taken from the transaction whose hash it names.

    The amount in the witness field alone would be a claim: a segwit version 0 signature covers the
    amount of its own input only, so two lies in two sessions could hide a fee of any size.
    """
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


def _proved_place(
    account: Account, derivations: tuple[Derivation, ...], script: bytes
) -> AddressMatch | None:
    """Return where in the account a coin is, proved; None when nothing claims to be ours."""
    proved: AddressMatch | None = None
    for claim in own_claims(account, derivations):
        if claim.is_own and claim.is_other_network:
            raise OtherNetworkError("an input claims a key of another network")
        if claim.place is None:
            raise OtherAccountError("an input claims a key outside the account")
        if not is_proved(account, claim, script):
            raise FalseKeyError("an input claims a key that derives to another one")
        proved = claim.place
    return proved


def _own_input(
    account: Account,
    place: AddressMatch,
    txin: TxInput,
    coin: TxOutput,
    part: PsbtMap,
    digests: Digests,
    position: int,
) -> OwnInput:
    is_finished = part.has(InputField.FINAL_SCRIPT_SIG) or part.has(InputField.FINAL_SCRIPT_WITNESS)
    if part.has(InputField.FINAL_SCRIPT_SIG) and coin.script[:1] in _WITNESS_VERSIONS:
        raise ScriptFieldError("a script is given for a coin that has none")
    spending = spending_of(account, place, coin, part, is_finished=is_finished)
    check_signatures(spending, part, digests, position)
    to_make: tuple[SignatureToMake, ...] = ()
    if is_finished:
        script_sig, witness = _final(part)
        check_finished(witness, script_sig)
    else:
        to_make = signatures_to_make(account, spending, part)
    return OwnInput(
        outpoint=txin.outpoint,
        amount=coin.amount,
        script=coin.script,
        keychain=int(place.keychain),
        index=place.index,
        address=address_of_script(coin.script, account.network) or "",
        sighash=spending.sighash,
        to_make=to_make,
        is_finished=is_finished,
    )


def _final(part: PsbtMap) -> Satisfaction:
    return part.value(InputField.FINAL_SCRIPT_SIG) or b"", read_final_witness(part) or ()


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


def _signed_weight(account: Account, part: PsbtMap, item: ReviewedInput) -> int:
    final_script = part.value(InputField.FINAL_SCRIPT_SIG)
    final_witness = part.value(InputField.FINAL_SCRIPT_WITNESS)
    if final_script is None and final_witness is None:
        if isinstance(item, OwnInput) and not account.is_standard:
            return _OUTPOINT_AND_SEQUENCE_WEIGHT + account.spending_weight
        return spending_weight(classify_script(item.script))
    base = 36 + len(encode_bytes(final_script or b"")) + 4
    return base * WITNESS_SCALE + len(final_witness or b"\x00")


def total(amounts: Iterable[Satoshi]) -> Satoshi:
    """Return a sum of amounts; raises AmountError above all the bitcoin there is."""
    result = sum(amounts)
    if result > MAX_MONEY:
        raise AmountError("amounts add up to more than all the bitcoin there is")
    return Satoshi(result)
