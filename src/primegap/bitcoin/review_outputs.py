"""Review of the outputs: what leaves, what comes back, what is data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.accounts import Keychain
from primegap.bitcoin.derivation import address_of_script
from primegap.bitcoin.errors import FalseChangeError, OutputScriptError, TooComplexError
from primegap.bitcoin.psbt_fields import OutputField, read_derivations, read_tap_derivations
from primegap.bitcoin.review_claims import is_proved, own_claims
from primegap.bitcoin.review_values import (
    ChangeOutput,
    ExternalOutput,
    OpReturnOutput,
    OwnReceiveOutput,
    ReviewedOutput,
    ReviewWarning,
    WarningKind,
)
from primegap.bitcoin.scripts import ScriptType, classify_script, decode_op_return, dust_limit

if TYPE_CHECKING:
    from primegap.bitcoin.accounts import Account, AddressMatch
    from primegap.bitcoin.psbt import Psbt, PsbtMap
    from primegap.bitcoin.transaction import TxOutput

MAX_DATA_BYTES: Final = 1024  # of one data output: more cannot be read on a small screen
CHANGE_GAP: Final = 200  # air-gap section 9.2, W3


@dataclass(frozen=True, slots=True)
class OutputsReview:
    """The outputs and what is remarkable about them."""

    outputs: tuple[ReviewedOutput, ...]
    warnings: tuple[ReviewWarning, ...]


def review_outputs(psbt: Psbt, account: Account, *, highest_own_index: int) -> OutputsReview:
    """Review every output; raises only PsbtRefusedError.

    Args:
        psbt: whose form holds.
        account: the account that is reviewed.
        highest_own_index: of the coins spent; change far ahead of it is remarkable.
    """
    outputs: list[ReviewedOutput] = []
    warnings: list[ReviewWarning] = []
    for position, (output, part) in enumerate(
        zip(psbt.transaction.outputs, psbt.outputs, strict=True)
    ):
        place, is_unusual = _proved_place(account, part, output.script)
        reviewed = _classify(account, position, output, place)
        outputs.append(reviewed)
        kinds = _remarkable(output, reviewed, highest_own_index)
        if is_unusual:
            kinds.append(WarningKind.UNUSUAL_PATH)
        warnings += (ReviewWarning(kind=kind, position=position) for kind in kinds)
    return OutputsReview(tuple(outputs), tuple(warnings))


def _proved_place(
    account: Account, part: PsbtMap, script: bytes
) -> tuple[AddressMatch | None, bool]:
    """Return where in the account an output is, proved, and whether it claims an odd path.

    Raises:
        FalseChangeError: it claims a place in the account and is not there.
    """
    claims = own_claims(
        account,
        (
            *read_derivations(part, OutputField.DERIVATION),
            *read_tap_derivations(part, OutputField.TAP_DERIVATION),
        ),
    )
    place: AddressMatch | None = None
    is_unusual = False
    for claim in claims:
        if claim.place is None:
            is_unusual = True  # nothing here can prove it, so it stays a payment to a stranger
        elif not is_proved(account, claim, script):
            raise FalseChangeError("an output claims to be ours and is not")
        else:
            place = claim.place
    return place, is_unusual


def _classify(
    account: Account, position: int, output: TxOutput, place: AddressMatch | None
) -> ReviewedOutput:
    script_type = classify_script(output.script)
    if script_type is ScriptType.OP_RETURN:
        if len(output.script) > MAX_DATA_BYTES:
            raise TooComplexError("a data output is too long to be shown")
        return OpReturnOutput(
            position=position,
            amount=output.amount,
            script=output.script,
            data=decode_op_return(output.script),
        )
    address = address_of_script(output.script, account.network)
    if address is None:
        raise OutputScriptError("an output has no address")
    if place is None:
        return ExternalOutput(
            position=position,
            amount=output.amount,
            script=output.script,
            script_type=script_type,
            address=address,
        )
    own = ChangeOutput if place.keychain is Keychain.INTERNAL else OwnReceiveOutput
    return own(
        position=position,
        amount=output.amount,
        script=output.script,
        address=address,
        index=place.index,
    )


def _remarkable(
    output: TxOutput, reviewed: ReviewedOutput, highest_own_index: int
) -> list[WarningKind]:
    kinds: list[WarningKind] = []
    if isinstance(reviewed, OpReturnOutput):
        return [WarningKind.BURNED] if output.amount else kinds
    if output.amount < dust_limit(output):
        kinds.append(WarningKind.DUST)
    if isinstance(reviewed, ExternalOutput):
        if reviewed.script_type is ScriptType.WITNESS_UNKNOWN:
            kinds.append(WarningKind.UNKNOWN_WITNESS)
    elif reviewed.index > highest_own_index + CHANGE_GAP:
        kinds.append(WarningKind.CHANGE_GAP)
    return kinds
