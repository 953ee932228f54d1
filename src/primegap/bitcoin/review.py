"""Review of a transaction before a person approves it: pure, no screen, no secret key.

Nothing in a PSBT is believed. A coin is ours when its script is derived again from the account at
the path that is claimed; its amount is what the previous transaction says whose hash the input
names; change is change when the account derives its script. What cannot be proved is treated as a
payment to a stranger, and what is claimed and proves false refuses the whole transaction.

The digest binds an approval to content. It is SHA-256 over

    "primegap/psbt-review/v2" ‖ network ‖ descriptor hash of the account ‖ unsigned transaction ‖
    sighash type ‖ inputs ‖ outputs ‖ warnings

where byte strings and texts have a length of four bytes in front and numbers eight bytes, all big
endian. An input is amount, script and 0, or amount, script, 1, keychain, index, sighash type and
how many signatures are going to be added to it. An output is 0 (leaves), 1 (change) or 2 (receiving
address), the latter two with the index. A warning is its code and one more than the output it is
about, or 0. So whoever approves a digest approves the bytes that are signed *and* the way they were
explained.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.errors import (
    AlreadySignedError,
    DuplicateInputError,
    GlobalKeyError,
    MapCountError,
    NegativeFeeError,
    NothingToSignError,
    NotOursError,
    OtherNetworkError,
    TransactionVersionError,
    UnsignedTransactionError,
)
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import LOCK_TIME_IS_TIME, Psbt, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import GlobalField
from primegap.bitcoin.review_inputs import review_inputs, total
from primegap.bitcoin.review_outputs import review_outputs
from primegap.bitcoin.review_values import (
    ChangeOutput,
    ForeignInput,
    LockTime,
    OwnInput,
    OwnReceiveOutput,
    Review,
    ReviewedInput,
    ReviewedOutput,
    ReviewWarning,
    WarningKind,
)
from primegap.bitcoin.sighash import SIGHASH_ALL
from primegap.bitcoin.transaction import (
    SEQUENCE_FINAL,
    WITNESS_SCALE,
    Transaction,
    display_hash,
)
from primegap.bitcoin.wire import encode_count
from primegap.bitcoin.xpub import parse_xpub_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from primegap.bitcoin.accounts import Account

MIN_TRANSACTION_BYTES: Final = 65  # 64 bytes could pass for two nodes of a Merkle tree
MAX_GLOBAL_KEYS: Final = 15  # rule R13
_TRANSACTION_VERSIONS: Final = (1, 2)
_SEQUENCE_NO_RELATIVE_LOCK: Final = 1 << 31  # BIP-68
_RELATIVE_LOCK_MASK: Final = 0xFFFF  # BIP-68
_REPLACEABLE_BELOW: Final = 0xFFFF_FFFE  # BIP-125
_MARKER_WEIGHT: Final = 2
_DIGEST_LABEL: Final = b"primegap/psbt-review/v2"


def review_psbt(
    psbt: bytes, account: Account, *, progress: Callable[[], None] = lambda: None
) -> Review:
    """Review a transaction that wants signatures of an account.

    Args:
        psbt: binary PSBT, version 0 or 2, at most 8 MiB.
        account: the account that would sign.
        progress: called after each input.

    Returns:
        What to show to the person; to be handed to `sign_psbt` with the digest they approved.

    Raises:
        PsbtRefusedError: a subclass that names the reason; nothing else is raised.
    """
    return review_parsed(parse_psbt_untrusted(psbt), account, progress=progress)


def review_parsed(
    psbt: Psbt, account: Account, *, progress: Callable[[], None] = lambda: None
) -> Review:
    """Review a PSBT whose form was checked; see `review_psbt`."""
    transaction = psbt.transaction
    _check_shape(psbt)
    _check_global_keys(psbt, account)
    spent = review_inputs(psbt, account, progress=progress)
    own = [item for item in spent.inputs if isinstance(item, OwnInput)]
    if spent.all_signed:
        raise AlreadySignedError("every input is signed")
    if not own:
        raise NotOursError(spent.fingerprints)
    if not any(item.needs_signature for item in own):
        raise NothingToSignError("our inputs are signed")
    paid = review_outputs(psbt, account, highest_own_index=max(item.index for item in own))

    total_in = total(item.amount for item in spent.inputs)
    total_out = total(item.amount for item in paid.outputs)
    if total_out > total_in:
        raise NegativeFeeError("the outputs exceed the inputs")
    fee = Satoshi(total_in - total_out)
    returned = total(
        item.amount for item in paid.outputs if isinstance(item, ChangeOutput | OwnReceiveOutput)
    )
    sent = Satoshi(total_out - returned)
    vsize_vb = _signed_vsize(transaction, spent.weight)
    warnings = (
        *_fee_warnings(fee, sent or total_out),
        *_general_warnings(transaction, spent.inputs, is_signed=spent.any_signed),
        *paid.warnings,
    )
    return Review(
        network=account.network,
        account_id=account.id,
        txid=display_hash(transaction.txid),
        inputs=spent.inputs,
        outputs=paid.outputs,
        fee=fee,
        vsize_vb=vsize_vb,
        fee_rate_sat_per_kvb=-(-fee * 1000 // vsize_vb),
        sent=sent,
        returned=returned,
        leaving=Satoshi(sum(item.amount for item in own) - returned),
        lock_time=_lock_time(transaction),
        replaceable=any(txin.sequence < _REPLACEABLE_BELOW for txin in transaction.inputs),
        warnings=warnings,
        digest=_digest(account, psbt.unsigned_bytes, spent.inputs, paid.outputs, warnings),
    )


def _check_shape(psbt: Psbt) -> None:
    transaction = psbt.transaction
    if transaction.version not in _TRANSACTION_VERSIONS:
        raise TransactionVersionError("an unknown transaction version")
    if not transaction.inputs or not transaction.outputs:
        raise MapCountError("no inputs or no outputs")
    if len(psbt.unsigned_bytes) < MIN_TRANSACTION_BYTES:
        raise UnsignedTransactionError("the transaction is too short")
    if len({txin.outpoint for txin in transaction.inputs}) != len(transaction.inputs):
        raise DuplicateInputError("a coin is spent twice")


def _check_global_keys(psbt: Psbt, account: Account) -> None:
    """Check the extended keys of the header: of our master key only ours is accepted."""
    entries = psbt.globals.items(GlobalField.XPUB)
    if len(entries) > MAX_GLOBAL_KEYS:
        raise GlobalKeyError("more extended keys than there can be signers")
    other_versions = {network.xpub_version for network in Network} - {account.network.xpub_version}
    for raw, origin in entries:
        if raw[:4] in other_versions:
            raise OtherNetworkError("an extended key of another network")
        if len(origin) != 4 + 4 * raw[4]:
            raise GlobalKeyError("the path of an extended key has another depth")
        path = tuple(int.from_bytes(origin[i : i + 4], "little") for i in range(4, len(origin), 4))
        for key in account.keys:
            is_claimed = origin[:4].hex() == key.fingerprint and path == key.steps
            if is_claimed and parse_xpub_untrusted(key.xpub, account.network).raw != raw:
                raise GlobalKeyError("an extended key claims to be ours and is not")


def _signed_vsize(transaction: Transaction, inputs_weight: int) -> int:
    rest = 4 + len(encode_count(len(transaction.inputs))) + 4
    rest += len(encode_count(len(transaction.outputs)))
    rest += sum(len(output.serialise()) for output in transaction.outputs)
    weight = rest * WITNESS_SCALE + _MARKER_WEIGHT + inputs_weight
    return -(-weight // WITNESS_SCALE)


def _fee_warnings(fee: Satoshi, amount: Satoshi) -> Iterable[ReviewWarning]:
    """Warn of fees: from 5 % of the amount (W2), loudly from 25 % of amount and fee (section 21).

    The latter covers W1, a fee above the amount. For a pure self-send the amount is all outputs.
    """
    if fee * 4 >= amount + fee:
        yield ReviewWarning(kind=WarningKind.HUGE_FEE, position=None)
    elif fee * 20 >= amount:
        yield ReviewWarning(kind=WarningKind.BIG_FEE, position=None)


def _general_warnings(
    transaction: Transaction, inputs: tuple[ReviewedInput, ...], *, is_signed: bool
) -> Iterable[ReviewWarning]:
    if any(isinstance(item, ForeignInput) for item in inputs):
        yield ReviewWarning(kind=WarningKind.FOREIGN_INPUTS, position=None)
    if is_signed:
        yield ReviewWarning(kind=WarningKind.PARTLY_SIGNED, position=None)
    lock_time = _lock_time(transaction)
    if lock_time is not None and lock_time.is_time:
        yield ReviewWarning(kind=WarningKind.TIME_LOCK, position=None)
    if transaction.version >= 2 and any(
        not txin.sequence & _SEQUENCE_NO_RELATIVE_LOCK and txin.sequence & _RELATIVE_LOCK_MASK
        for txin in transaction.inputs
    ):
        yield ReviewWarning(kind=WarningKind.RELATIVE_LOCK, position=None)


def _lock_time(transaction: Transaction) -> LockTime | None:
    """Return the lock time, if any input makes it count."""
    value = transaction.lock_time
    if not value or all(txin.sequence == SEQUENCE_FINAL for txin in transaction.inputs):
        return None
    return LockTime(value=value, is_time=value >= LOCK_TIME_IS_TIME)


# --- digest -------------------------------------------------------------------------------------


def _digest(
    account: Account,
    unsigned: bytes,
    inputs: tuple[ReviewedInput, ...],
    outputs: tuple[ReviewedOutput, ...],
    warnings: tuple[ReviewWarning, ...],
) -> bytes:
    parts = [
        _DIGEST_LABEL,
        _text(account.network),
        _bytes(account.descriptor_hash),
        _bytes(unsigned),
        _number(SIGHASH_ALL),
        _number(len(inputs)),
        *(_input(item) for item in inputs),
        _number(len(outputs)),
        *(_output(item) for item in outputs),
        _number(len(warnings)),
        *(_warning(item) for item in warnings),
    ]
    return hashlib.sha256(b"".join(parts)).digest()


def _input(item: ReviewedInput) -> bytes:
    coin = _number(item.amount) + _bytes(item.script)
    if isinstance(item, ForeignInput):
        return coin + _number(0)
    own = (1, item.keychain, item.index, item.sighash, len(item.to_make))
    return coin + b"".join(map(_number, own))


def _output(item: ReviewedOutput) -> bytes:
    if isinstance(item, ChangeOutput):
        return _number(1) + _number(item.index)
    if isinstance(item, OwnReceiveOutput):
        return _number(2) + _number(item.index)
    return _number(0)


def _warning(item: ReviewWarning) -> bytes:
    return _text(item.kind) + _number(0 if item.position is None else item.position + 1)


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _bytes(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())
