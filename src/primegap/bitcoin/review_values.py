"""The values a review consists of: what a person is shown, and nothing else.

They are plain frozen data without BDK, so the process that draws them need not import it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from primegap.bitcoin.amounts import Satoshi
    from primegap.bitcoin.networks import Network
    from primegap.bitcoin.scripts import OpReturnData, ScriptType
    from primegap.bitcoin.transaction import OutPoint


class Severity(enum.IntEnum):
    """How loudly to warn."""

    NOTICE = 1
    "Worth a line."
    CAUTION = 2
    "Unusual; the person should know why before going on."
    DANGER = 3
    "Money may be lost; show it on a screen of its own."


class WarningKind(enum.StrEnum):
    """Reasons to warn (air-gap section 9.2); the value is the stable code."""

    HUGE_FEE = "huge-fee"
    BIG_FEE = "big-fee"
    CHANGE_GAP = "change-gap"
    UNUSUAL_PATH = "unusual-path"
    FOREIGN_INPUTS = "foreign-inputs"
    PARTLY_SIGNED = "partly-signed"
    DUST = "dust"
    BURNED = "burned"
    UNKNOWN_WITNESS = "unknown-witness"
    TIME_LOCK = "time-lock"
    RELATIVE_LOCK = "relative-lock"

    @property
    def severity(self) -> Severity:
        """How loudly to warn."""
        return _SEVERITIES[self]

    @property
    def hint(self) -> str:
        """A sentence for a person."""
        return _HINTS[self]


_SEVERITIES = {
    WarningKind.HUGE_FEE: Severity.DANGER,
    WarningKind.BIG_FEE: Severity.CAUTION,
    WarningKind.CHANGE_GAP: Severity.DANGER,
    WarningKind.UNUSUAL_PATH: Severity.CAUTION,
    WarningKind.FOREIGN_INPUTS: Severity.DANGER,
    WarningKind.PARTLY_SIGNED: Severity.NOTICE,
    WarningKind.DUST: Severity.CAUTION,
    WarningKind.BURNED: Severity.DANGER,
    WarningKind.UNKNOWN_WITNESS: Severity.DANGER,
    WarningKind.TIME_LOCK: Severity.CAUTION,
    WarningKind.RELATIVE_LOCK: Severity.CAUTION,
}
_HINTS = {
    WarningKind.HUGE_FEE: "The fee is a quarter or more of all that is paid.",
    WarningKind.BIG_FEE: "The fee is 5 % or more of the amount.",
    WarningKind.CHANGE_GAP: "Change goes to an address so far ahead that a wallet may not find it.",
    WarningKind.UNUSUAL_PATH: "An output claims a key of this device that cannot be checked; "
    "it is treated as a payment to somebody else.",
    WarningKind.FOREIGN_INPUTS: "Others pay into this transaction too. "
    "Only coins of this account are counted as yours.",
    WarningKind.PARTLY_SIGNED: "Somebody has signed this transaction already.",
    WarningKind.DUST: "An output is too small to be relayed or spent later.",
    WarningKind.BURNED: "Money is destroyed in a data output.",
    WarningKind.UNKNOWN_WITNESS: "An address is of a kind without rules yet: "
    "anyone may take what is sent there.",
    WarningKind.TIME_LOCK: "The payment cannot be confirmed before a set time.",
    WarningKind.RELATIVE_LOCK: "The payment cannot be confirmed until its coins are old enough.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewWarning:
    """Something a person should know; they may go on all the same."""

    kind: WarningKind
    position: int | None
    "Index of the output it is about, None when it is about the whole transaction."


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafToSign:
    """A script of a taproot tree, proved to be of the coin."""

    script: bytes
    control_block: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureToMake:
    """A signature that this device can add to an input."""

    chains: tuple[int, int]
    "Last step but one of our key in receiving and change addresses."
    public_key: bytes
    "33 bytes, derived here."
    leaf: LeafToSign | None = None
    "The script it is for; None for the output key of a taproot coin, and for all other kinds."


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnInput:
    """A coin of the account, proved: its script was derived again and its amount hashed."""

    outpoint: OutPoint
    amount: Satoshi
    script: bytes
    keychain: int
    index: int
    address: str
    sighash: int
    "What our signatures of it cover: everything, written as ALL or, for taproot, DEFAULT."
    to_make: tuple[SignatureToMake, ...]
    "Signatures of ours that it lacks."
    is_finished: bool
    "It carries its final witness."

    @property
    def needs_signature(self) -> bool:
        """Whether we have something to sign."""
        return bool(self.to_make)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignInput:
    """A coin that is not of this account. Its amount is proved too."""

    outpoint: OutPoint
    amount: Satoshi
    script: bytes
    address: str | None
    "None for scripts that have no address."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalOutput:
    """Money that leaves the account."""

    position: int
    amount: Satoshi
    script: bytes
    script_type: ScriptType
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOutput:
    """Money that comes back to the account's change addresses, proved."""

    position: int
    amount: Satoshi
    script: bytes
    address: str
    index: int
    "Of the change address."


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnReceiveOutput:
    """Money that goes to a receiving address of the account, proved."""

    position: int
    amount: Satoshi
    script: bytes
    address: str
    index: int
    "Of the receiving address."


@dataclass(frozen=True, slots=True, kw_only=True)
class OpReturnOutput:
    """Data written into the chain; an amount given to it is destroyed."""

    position: int
    amount: Satoshi
    script: bytes
    data: OpReturnData


ReviewedInput = OwnInput | ForeignInput
ReviewedOutput = ExternalOutput | ChangeOutput | OwnReceiveOutput | OpReturnOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTime:
    """The earliest moment the transaction can be confirmed."""

    value: int
    "Block height, or seconds since 1970."
    is_time: bool
    "Seconds, not blocks."


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A transaction as a person approves it. The screen shows this value and nothing else."""

    network: Network
    account_id: str
    txid: str
    "Identifier the transaction will have, when all inputs are native segwit."
    inputs: tuple[ReviewedInput, ...]
    outputs: tuple[ReviewedOutput, ...]
    fee: Satoshi
    "Of the whole transaction."
    vsize_vb: int
    "Estimated size once signed; exact within a byte per input for our own."
    fee_rate_sat_per_kvb: int
    "Fee per 1000 virtual bytes, rounded up; `format_fee_rate` writes it."
    sent: Satoshi
    "Sum of what goes to others, data outputs included."
    returned: Satoshi
    "Sum of what comes back to the account."
    leaving: Satoshi
    "What the account has less afterwards: own inputs less `returned`. Negative when it gains."
    lock_time: LockTime | None
    replaceable: bool
    "Its sender may replace it until it is confirmed (BIP-125)."
    warnings: tuple[ReviewWarning, ...]
    digest: bytes
    "SHA-256 of all of this; see `review.py`. An approval is bound to it."

    @property
    def own_inputs(self) -> tuple[OwnInput, ...]:
        """The coins of the account that are spent."""
        return tuple(item for item in self.inputs if isinstance(item, OwnInput))

    @property
    def is_self_send(self) -> bool:
        """Whether everything but the fee stays in the account."""
        return all(isinstance(item, (ChangeOutput, OwnReceiveOutput)) for item in self.outputs)
