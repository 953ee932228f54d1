"""Review of transactions: what is shown, what is refused (rules R1 to R19), what is warned of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import bdkpython as bdk
import pytest
from tests.bitcoin_kit import (
    STRANGER,
    THEIR_ENTROPY,
    Wallet,
    edit_global,
    edit_input,
    edit_output,
    edit_transaction,
    funded_wallet,
    make_wallet,
    raw_psbt,
)

from primegap.bitcoin import errors
from primegap.bitcoin.accounts import Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import HARDENED, InputField, OutputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.review_values import (
    ChangeOutput,
    ExternalOutput,
    ForeignInput,
    LockTime,
    OpReturnOutput,
    OwnReceiveOutput,
    Review,
    Severity,
    WarningKind,
)
from primegap.bitcoin.scripts import ScriptType
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.transaction import Transaction, TxOutput

if TYPE_CHECKING:
    from collections.abc import Callable

WALLET = funded_wallet()
ACCOUNT = WALLET.account
PSBT = WALLET.pay(250_000)


def review(psbt: bytes = PSBT) -> Review:
    return review_psbt(psbt, ACCOUNT)


def signed_by_us(psbt: bytes, value: Review) -> bytes:
    return sign_psbt(psbt, value, value.digest, WALLET.account, WALLET.signer)


def kinds(value: Review) -> list[WarningKind]:
    return [warning.kind for warning in value.warnings]


def change_position(psbt: bytes = PSBT) -> int:
    return next(o.position for o in review(psbt).outputs if isinstance(o, ChangeOutput))


def payment_position(psbt: bytes = PSBT) -> int:
    return next(o.position for o in review(psbt).outputs if isinstance(o, ExternalOutput))


def origin(path: tuple[int, ...], fingerprint: str = ACCOUNT.keys[0].fingerprint) -> bytes:
    return bytes.fromhex(fingerprint) + b"".join(step.to_bytes(4, "little") for step in path)


def account_path(keychain: int, index: int) -> tuple[int, ...]:
    return (*ACCOUNT.keys[0].steps, keychain, index)


# --- what is shown ------------------------------------------------------------------------------


def test_a_payment_with_change() -> None:
    value = review()
    assert value.network is Network.REGTEST
    assert value.account_id == ACCOUNT.id
    assert sorted(item.amount for item in value.own_inputs) == [100_000, 100_000, 150_000]
    assert all(item.needs_signature for item in value.own_inputs)
    (payment,) = (o for o in value.outputs if isinstance(o, ExternalOutput))
    (change,) = (o for o in value.outputs if isinstance(o, ChangeOutput))
    assert payment.amount == value.sent == 250_000
    assert payment.script == STRANGER
    assert payment.address == "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    assert change.address == ACCOUNT.address(Keychain.INTERNAL, change.index)
    assert change.amount == value.returned
    assert value.fee == 350_000 - payment.amount - change.amount
    assert value.leaving == value.sent + value.fee
    assert value.warnings == ()
    assert not value.is_self_send
    assert value.replaceable
    assert value.lock_time is None
    assert len(value.digest) == 32


def test_amounts_and_identifier_are_those_of_bdk() -> None:
    from base64 import b64encode

    parsed = bdk.Psbt(b64encode(PSBT).decode())
    value = review()
    assert value.fee == parsed.fee()
    assert value.txid == str(parsed.extract_tx_unchecked_fee_rate().compute_txid())


def test_a_payment_to_oneself() -> None:
    script = ACCOUNT.script(Keychain.EXTERNAL, 7)
    value = review(WALLET.pay(60_000, script))
    (own,) = (o for o in value.outputs if isinstance(o, OwnReceiveOutput))
    assert (own.index, own.amount) == (7, 60_000)
    assert own.address == ACCOUNT.address(Keychain.EXTERNAL, 7)
    assert value.is_self_send
    assert value.sent == 0
    assert value.leaving == value.fee


def test_data_outputs() -> None:
    psbt = WALLET.pay(60_000, build=lambda builder: builder.add_data(b"hello"))
    value = review(psbt)
    (data,) = (o for o in value.outputs if isinstance(o, OpReturnOutput))
    assert data.data.text == "hello"
    assert data.amount == 0
    assert WarningKind.BURNED not in kinds(value)
    assert value.sent == 60_000


def test_burned_money() -> None:
    def burn(transaction: Transaction) -> Transaction:
        outputs = list(transaction.outputs)
        outputs[payment_position()] = TxOutput(Satoshi(250_000), b"\x6a\x01\x21")
        return replace(transaction, outputs=tuple(outputs))

    value = review(edit_transaction(PSBT, burn))
    assert kinds(value) == [WarningKind.BURNED]
    assert value.sent == 250_000


def test_sweeping_without_change() -> None:
    psbt = WALLET.pay(
        250_000, build=lambda b: bdk.TxBuilder().drain_wallet().drain_to(bdk.Script(STRANGER))
    )
    value = review(psbt)
    assert value.returned == 0
    assert value.leaving == 350_000


@pytest.mark.parametrize("network", Network)
def test_every_network(network: Network) -> None:
    wallet = make_wallet(network=network)
    wallet.fund(100_000)
    value = review_psbt(wallet.pay(50_000), wallet.account)
    assert value.network is network
    (payment,) = (o for o in value.outputs if isinstance(o, ExternalOutput))
    assert payment.address.startswith(f"{network.bech32_prefix}1q")


def test_the_same_transaction_has_another_digest_elsewhere() -> None:
    digests = set()
    for network in (Network.TESTNET4, Network.SIGNET, Network.REGTEST):
        account = make_wallet(network=network).account
        digests.add(review_psbt(PSBT, account).digest)
    assert len(digests) == 3


def test_lock_times() -> None:
    def locked(value: int) -> Review:
        return review(edit_transaction(PSBT, lambda tx: replace(tx, lock_time=value)))

    assert locked(800_000).lock_time == LockTime(value=800_000, is_time=False)
    assert kinds(locked(800_000)) == []
    assert locked(1_800_000_000).lock_time == LockTime(value=1_800_000_000, is_time=True)
    assert kinds(locked(1_800_000_000)) == [WarningKind.TIME_LOCK]


def with_sequence(sequence: int, lock_time: int = 5) -> Callable[[Transaction], Transaction]:
    def edit(transaction: Transaction) -> Transaction:
        inputs = tuple(replace(txin, sequence=sequence) for txin in transaction.inputs)
        return replace(transaction, inputs=inputs, lock_time=lock_time)

    return edit


def test_sequences() -> None:
    final = review(edit_transaction(PSBT, with_sequence(0xFFFF_FFFF)))
    assert (final.replaceable, final.lock_time) == (False, None)
    locked = review(edit_transaction(PSBT, with_sequence(0xFFFF_FFFE)))
    assert (locked.replaceable, locked.lock_time) == (False, LockTime(value=5, is_time=False))
    relative = review(edit_transaction(PSBT, with_sequence(144)))
    assert kinds(relative) == [WarningKind.RELATIVE_LOCK]
    version_one = edit_transaction(PSBT, lambda tx: replace(with_sequence(144)(tx), version=1))
    assert kinds(review(version_one)) == []


def test_the_estimated_size_is_that_of_the_signed_transaction() -> None:
    from primegap.bitcoin.finish import finalise

    for amount in (1_000, 60_000, 120_000, 250_000):
        psbt = WALLET.pay(amount)
        value = review(psbt)
        finished = finalise(sign_psbt(psbt, value, value.digest, WALLET.account, WALLET.signer))
        assert 0 <= value.vsize_vb - finished.vsize_vb <= len(value.inputs)
        assert value.fee_rate_sat_per_kvb == -(-value.fee * 1000 // value.vsize_vb)


# --- warnings -----------------------------------------------------------------------------------


def with_fee(amount: int, fee: int) -> bytes:
    return WALLET.pay(
        amount,
        build=lambda b: (
            bdk.TxBuilder()
            .add_recipient(bdk.Script(STRANGER), bdk.Amount.from_sat(amount))
            .fee_absolute(bdk.Amount.from_sat(fee))
        ),
    )


@pytest.mark.parametrize(
    ("amount", "fee", "expected"),
    [
        (100_000, 4_999, []),
        (100_000, 5_000, [WarningKind.BIG_FEE]),
        (100_000, 33_333, [WarningKind.BIG_FEE]),
        (100_000, 33_334, [WarningKind.HUGE_FEE]),
        (10_000, 200_000, [WarningKind.HUGE_FEE]),
    ],
)
def test_fees(amount: int, fee: int, expected: list[WarningKind]) -> None:
    assert kinds(review(with_fee(amount, fee))) == expected


def test_fees_of_a_payment_to_oneself() -> None:
    script = ACCOUNT.script(Keychain.EXTERNAL, 7)
    psbt = WALLET.pay(
        90_000,
        build=lambda b: (
            bdk.TxBuilder()
            .add_recipient(bdk.Script(script), bdk.Amount.from_sat(90_000))
            .fee_absolute(bdk.Amount.from_sat(6_000))
        ),
    )
    value = review(psbt)
    assert value.is_self_send
    total = sum(item.amount for item in value.outputs)
    assert (WarningKind.BIG_FEE in kinds(value)) == (total <= 6_000 * 20)


def move_change(psbt: bytes, keychain: int, index: int) -> bytes:
    """Move the change to another place of the account, rightly declared."""
    position = change_position(psbt)
    place = Keychain(keychain)
    script = ACCOUNT.script(place, index)
    (old,) = parse_psbt_untrusted(psbt).outputs[position].items(OutputField.DERIVATION)

    def edit(transaction: Transaction) -> Transaction:
        outputs = list(transaction.outputs)
        outputs[position] = replace(outputs[position], script=script)
        return replace(transaction, outputs=tuple(outputs))

    (key,) = ACCOUNT.public_keys(place, index)
    psbt = edit_output(edit_transaction(psbt, edit), position, OutputField.DERIVATION, None, old[0])
    path = account_path(keychain, index)
    return edit_output(psbt, position, OutputField.DERIVATION, origin(path), key)


@pytest.mark.parametrize("keychain", [0, 1])
def test_change_far_ahead(keychain: int) -> None:
    highest = max(item.index for item in review().own_inputs)
    assert kinds(review(move_change(PSBT, keychain, highest + 200))) == []
    for index in (highest + 201, (1 << 31) - 1):
        value = review(move_change(PSBT, keychain, index))
        (warning,) = value.warnings
        assert (warning.kind, warning.position) == (WarningKind.CHANGE_GAP, change_position())
        assert warning.kind.severity is Severity.DANGER


@pytest.mark.parametrize(
    "path",
    [
        (84 | HARDENED, 1 | HARDENED, 1 | HARDENED, 1, 0),
        (84 | HARDENED, 0 | HARDENED, 0 | HARDENED, 1, 0),
        (44 | HARDENED, 1 | HARDENED, 0 | HARDENED, 1, 0),
        account_path(2, 0),
        account_path(1, 0 | HARDENED),
        (*account_path(1, 0), 0),
        account_path(1, 0)[:4],
        (5,),
    ],
)
def test_change_on_a_path_outside_the_account_is_a_payment(path: tuple[int, ...]) -> None:
    position = change_position()
    ((key, _),) = parse_psbt_untrusted(PSBT).outputs[position].items(OutputField.DERIVATION)
    value = review(edit_output(PSBT, position, OutputField.DERIVATION, origin(path), key))
    assert isinstance(value.outputs[position], ExternalOutput)
    assert kinds(value)[-1] is WarningKind.UNUSUAL_PATH
    assert value.returned == 0


def test_change_without_a_claim_is_a_payment() -> None:
    position = change_position()
    ((key, _),) = parse_psbt_untrusted(PSBT).outputs[position].items(OutputField.DERIVATION)
    value = review(edit_output(PSBT, position, OutputField.DERIVATION, None, key))
    assert isinstance(value.outputs[position], ExternalOutput)
    assert value.returned == 0


def test_claims_of_others_are_ignored() -> None:
    position = payment_position()
    key = b"\x02" + b"\x11" * 32
    claim = origin(account_path(1, 0), "deadbeef")
    value = review(edit_output(PSBT, position, OutputField.DERIVATION, claim, key))
    assert isinstance(value.outputs[position], ExternalOutput)
    assert value.warnings == ()


def replace_payment(script: bytes, amount: int = 250_000) -> bytes:
    def edit(transaction: Transaction) -> Transaction:
        outputs = list(transaction.outputs)
        outputs[payment_position()] = TxOutput(Satoshi(amount), script)
        return replace(transaction, outputs=tuple(outputs))

    return edit_transaction(PSBT, edit)


def test_dust() -> None:
    assert WarningKind.DUST not in kinds(review(replace_payment(STRANGER, 294)))
    assert WarningKind.DUST in kinds(review(replace_payment(STRANGER, 293)))
    assert WarningKind.DUST in kinds(review(replace_payment(STRANGER, 0)))


@pytest.mark.parametrize("script", ["51024e73", "5220" + "11" * 32, "6002751e"])
def test_addresses_without_rules(script: str) -> None:
    value = review(replace_payment(bytes.fromhex(script)))
    assert kinds(value) == [WarningKind.UNKNOWN_WITNESS]
    payment = value.outputs[payment_position()]
    assert isinstance(payment, ExternalOutput)
    assert payment.script_type is ScriptType.WITNESS_UNKNOWN
    assert payment.address.startswith("bcrt1")


def test_partly_signed() -> None:
    value = review()
    signed = parse_psbt_untrusted(
        sign_psbt(PSBT, value, value.digest, WALLET.account, WALLET.signer)
    )
    parsed = parse_psbt_untrusted(PSBT)
    half = parsed.with_inputs((signed.inputs[0], *parsed.inputs[1:])).serialise()
    again = review(half)
    assert kinds(again) == [WarningKind.PARTLY_SIGNED]
    assert [item.needs_signature for item in again.own_inputs] == [False, True, True]
    assert again.digest != value.digest


# --- coins of others ----------------------------------------------------------------------------


def with_stranger(psbt: bytes, stranger: bytes) -> bytes:
    """Add the first input of another PSBT in front."""
    own, other = parse_psbt_untrusted(psbt), parse_psbt_untrusted(stranger)
    transaction = replace(
        own.transaction, inputs=(other.transaction.inputs[0], *own.transaction.inputs)
    )
    maps = (other.inputs[0], *own.inputs, *own.outputs)
    return raw_psbt(transaction.serialise(), *(part.serialise() for part in maps))


THEIRS = funded_wallet(THEIR_ENTROPY)


def test_coins_of_strangers_are_counted_as_theirs() -> None:
    value = review(with_stranger(PSBT, THEIRS.pay(40_000)))
    assert isinstance(value.inputs[0], ForeignInput)
    assert kinds(value)[-1] is WarningKind.FOREIGN_INPUTS
    assert WarningKind.FOREIGN_INPUTS.severity is Severity.DANGER
    assert value.leaving == review().leaving
    assert value.fee == review().fee + value.inputs[0].amount


def test_a_strangers_coin_without_proof_is_refused() -> None:
    psbt = with_stranger(PSBT, THEIRS.pay(40_000))
    with pytest.raises(errors.MissingPreviousTransactionError):
        review(edit_input(psbt, 0, InputField.NON_WITNESS_UTXO, None))


# --- refusals -----------------------------------------------------------------------------------


def derivation_of(position: int) -> tuple[bytes, bytes]:
    ((key, value),) = parse_psbt_untrusted(PSBT).inputs[position].items(InputField.DERIVATION)
    return key, value


def previous_of(position: int) -> bytes:
    value = parse_psbt_untrusted(PSBT).inputs[position].value(InputField.NON_WITNESS_UTXO)
    assert value is not None
    return value


def coin_of(position: int) -> bytes:
    value = parse_psbt_untrusted(PSBT).inputs[position].value(InputField.WITNESS_UTXO)
    assert value is not None
    return value


def without_inputs() -> bytes:
    parsed = parse_psbt_untrusted(PSBT)
    transaction = replace(parsed.transaction, inputs=())
    return raw_psbt(transaction.serialise(), *(part.serialise() for part in parsed.outputs))


def without_outputs() -> bytes:
    parsed = parse_psbt_untrusted(PSBT)
    transaction = replace(parsed.transaction, outputs=())
    return raw_psbt(transaction.serialise(), *(part.serialise() for part in parsed.inputs))


def tiny() -> bytes:
    parsed = parse_psbt_untrusted(PSBT)
    tx = parsed.transaction
    tx = replace(tx, inputs=tx.inputs[:1], outputs=(TxOutput(Satoshi(1), b"\x51\x02\x4e\x73"),))
    raw = tx.serialise()
    assert len(raw) == 64
    return raw_psbt(raw, parsed.inputs[0].serialise(), b"\0")


def doubled() -> bytes:
    parsed = parse_psbt_untrusted(PSBT)
    tx = replace(parsed.transaction, inputs=(parsed.transaction.inputs[0],) * 2)
    part = parsed.inputs[0].serialise()
    rest = (output.serialise() for output in parsed.outputs)
    return raw_psbt(tx.serialise(), part, part, *rest)


def with_vout(vout: int) -> bytes:
    def edit(transaction: Transaction) -> Transaction:
        first = transaction.inputs[0]
        outpoint = replace(first.outpoint, vout=vout)
        return replace(
            transaction, inputs=(replace(first, outpoint=outpoint), *transaction.inputs[1:])
        )

    return edit_transaction(PSBT, edit)


def paying(amount: int) -> bytes:
    return replace_payment(STRANGER, amount)


def other_wallet(network: Network = Network.REGTEST) -> bytes:
    wallet = make_wallet(THEIR_ENTROPY, network)
    wallet.fund(100_000)
    return wallet.pay(10_000)


def other_account() -> bytes:
    return funded_wallet(account=1).pay(10_000)


def xpub_of(wallet: Wallet) -> bytes:
    from primegap.bitcoin.xpub import parse_xpub_untrusted

    return parse_xpub_untrusted(wallet.account.keys[0].xpub, wallet.account.network).raw


def with_xpub(raw: bytes, path: tuple[int, ...], fingerprint: str | None = None) -> bytes:
    value = origin(path, fingerprint or ACCOUNT.keys[0].fingerprint)
    return edit_global(PSBT, 1, value, raw)


def many_xpubs() -> bytes:
    psbt = PSBT
    for number in range(16):
        raw = bytearray(xpub_of(WALLET))
        raw[60] = number
        psbt = edit_global(psbt, 1, origin(ACCOUNT.keys[0].steps, "deadbeef"), bytes(raw))
    return psbt


def unknown_previous(script: bytes) -> bytes:
    """Spend from a script of a strange kind."""
    previous = Transaction(
        2, parse_psbt_untrusted(PSBT).transaction.inputs[:1], (TxOutput(Satoshi(9), script),), 0
    )
    parsed = parse_psbt_untrusted(with_stranger(PSBT, THEIRS.pay(40_000)))
    first = parsed.transaction.inputs[0]
    outpoint = replace(first.outpoint, txid=previous.txid, vout=0)
    inputs = (replace(first, outpoint=outpoint), *parsed.transaction.inputs[1:])
    psbt = edit_global(
        parsed.serialise(), 0, replace(parsed.transaction, inputs=inputs).serialise()
    )
    psbt = edit_input(psbt, 0, InputField.WITNESS_UTXO, None)
    return edit_input(psbt, 0, InputField.NON_WITNESS_UTXO, previous.serialise())


def worthless_previous() -> bytes:
    psbt = unknown_previous(STRANGER)
    previous = parse_psbt_untrusted(psbt).inputs[0].value(0)
    assert previous is not None
    emptied = previous.replace((9).to_bytes(8, "little"), bytes(8))
    txid = parse_previous(emptied)
    parsed = parse_psbt_untrusted(psbt)
    first = parsed.transaction.inputs[0]
    inputs = (
        replace(first, outpoint=replace(first.outpoint, txid=txid)),
        *parsed.transaction.inputs[1:],
    )
    psbt = edit_global(psbt, 0, replace(parsed.transaction, inputs=inputs).serialise())
    return edit_input(psbt, 0, InputField.NON_WITNESS_UTXO, emptied)


def parse_previous(raw: bytes) -> bytes:
    from primegap.bitcoin.transaction import parse_transaction_untrusted

    return parse_transaction_untrusted(raw).txid


def taproot_claim() -> bytes:
    key = derivation_of(0)[0][1:]
    return edit_input(PSBT, 0, InputField.TAP_DERIVATION, b"\0" + origin(account_path(0, 0)), key)


def all_outputs_at_maximum() -> bytes:
    def edit(transaction: Transaction) -> Transaction:
        outputs = tuple(
            replace(output, amount=Satoshi(21_000_000 * 10**8)) for output in transaction.outputs
        )
        return replace(transaction, outputs=outputs)

    return edit_transaction(PSBT, edit)


def versioned(version: int) -> bytes:
    return edit_transaction(PSBT, lambda tx: replace(tx, version=version))


def sighash(value: int) -> bytes:
    return edit_input(PSBT, 1, InputField.SIGHASH_TYPE, value.to_bytes(4, "little"))


KEY_0, ORIGIN_0 = derivation_of(0)
KEY_1, ORIGIN_1 = derivation_of(1)
OTHER_COIN = (84 | HARDENED, 0 | HARDENED, 0 | HARDENED, 0, 0)
OTHER_NUMBER = (84 | HARDENED, 1 | HARDENED, 1 | HARDENED, 0, 0)

REFUSED: dict[str, tuple[Callable[[], bytes], type[errors.PsbtRefusedError], str]] = {
    "not a PSBT": (lambda: b"hello", errors.PsbtMagicError, "R1"),
    "no transaction": (lambda: edit_global(PSBT, 0, None), errors.UnsignedTransactionError, "R2"),
    "64 bytes": (tiny, errors.UnsignedTransactionError, "R2"),
    "version 0": (lambda: versioned(0), errors.TransactionVersionError, "R3"),
    "version 3": (lambda: versioned(3), errors.TransactionVersionError, "R3"),
    "version -1": (lambda: versioned(0xFFFF_FFFF), errors.TransactionVersionError, "R3"),
    "no inputs": (without_inputs, errors.MapCountError, "R4"),
    "no outputs": (without_outputs, errors.MapCountError, "R4"),
    "bad key": (
        lambda: raw_key_field(b"\x05" + KEY_0[1:]),
        errors.KeyFieldError,
        "R5",
    ),
    "short derivation": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, ORIGIN_0[:4], KEY_0),
        errors.DerivationFieldError,
        "R6",
    ),
    "deep derivation": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, origin((0,) * 13), KEY_0),
        errors.DerivationFieldError,
        "R6",
    ),
    "sighash DEFAULT": (lambda: sighash(0), errors.SighashError, "R7"),
    "sighash NONE": (lambda: sighash(2), errors.SighashError, "R7"),
    "sighash SINGLE": (lambda: sighash(3), errors.SighashError, "R7"),
    "sighash ANYONECANPAY": (lambda: sighash(0x81), errors.SighashError, "R7"),
    "sighash with high bits": (lambda: sighash(0x101), errors.SighashError, "R7"),
    "other previous transaction": (
        lambda: edit_input(PSBT, 0, InputField.NON_WITNESS_UTXO, previous_of(1)),
        errors.PreviousTransactionError,
        "R8",
    ),
    "damaged previous transaction": (
        lambda: edit_input(PSBT, 0, InputField.NON_WITNESS_UTXO, previous_of(0)[:-1]),
        errors.PreviousTransactionError,
        "R8",
    ),
    "output out of range": (lambda: with_vout(1), errors.PreviousTransactionError, "R8"),
    "output far out of range": (
        lambda: with_vout(0xFFFF_FFFF),
        errors.PreviousTransactionError,
        "R8",
    ),
    "same coin twice": (doubled, errors.DuplicateInputError, "R8"),
    "no previous transaction": (
        lambda: edit_input(PSBT, 0, InputField.NON_WITNESS_UTXO, None),
        errors.MissingPreviousTransactionError,
        "19.4",
    ),
    "sums above all the bitcoin": (all_outputs_at_maximum, errors.AmountError, "R9"),
    "worthless coin": (worthless_previous, errors.AmountError, "R9"),
    "another wallet": (other_wallet, errors.NotOursError, "R11"),
    "redeem script": (
        lambda: edit_input(PSBT, 0, InputField.REDEEM_SCRIPT, STRANGER),
        errors.ScriptFieldError,
        "R12",
    ),
    "witness script": (
        lambda: edit_input(PSBT, 0, InputField.WITNESS_SCRIPT, b"\x51"),
        errors.ScriptFieldError,
        "R12",
    ),
    "final script": (
        lambda: edit_input(PSBT, 0, InputField.FINAL_SCRIPT_SIG, b"\x51"),
        errors.ScriptFieldError,
        "R12",
    ),
    "false extended key": (
        lambda: with_xpub(xpub_of(THEIRS), ACCOUNT.keys[0].steps),
        errors.GlobalKeyError,
        "R13",
    ),
    "extended key of another depth": (
        lambda: with_xpub(xpub_of(WALLET), (0,)),
        errors.GlobalKeyError,
        "R13",
    ),
    "many extended keys": (many_xpubs, errors.GlobalKeyError, "R13"),
    "strange input script": (
        lambda: unknown_previous(b"\x51"),
        errors.InputScriptError,
        "R14",
    ),
    "unspendable input script": (
        lambda: unknown_previous(b"\x6a\x01\x01"),
        errors.InputScriptError,
        "R14",
    ),
    "output without address": (
        lambda: replace_payment(b"\x21" + KEY_0 + b"\xac"),
        errors.OutputScriptError,
        "9.4",
    ),
    "empty output script": (lambda: replace_payment(b""), errors.OutputScriptError, "9.4"),
    "payment posing as change": (
        lambda: edit_output(
            PSBT, payment_position(), OutputField.DERIVATION, origin(account_path(1, 0)), KEY_0
        ),
        errors.FalseChangeError,
        "R16",
    ),
    "key of another index": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, ORIGIN_1, KEY_0),
        errors.FalseKeyError,
        "R17",
    ),
    "key of another coin": (
        lambda: edit_input(
            edit_input(PSBT, 0, InputField.DERIVATION, None, KEY_0),
            0,
            InputField.DERIVATION,
            ORIGIN_1,
            KEY_1,
        ),
        errors.FalseKeyError,
        "R17",
    ),
    "a second, false key": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, ORIGIN_1, KEY_1),
        errors.FalseKeyError,
        "R17",
    ),
    "taproot key": (taproot_claim, errors.FalseKeyError, "R17"),
    "another account": (other_account, errors.OtherAccountError, "R17"),
    "key of another account": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, origin(OTHER_NUMBER), KEY_0),
        errors.OtherAccountError,
        "R17",
    ),
    "master key": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, origin((0,)), KEY_0),
        errors.OtherAccountError,
        "R17",
    ),
    "another network": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, origin(OTHER_COIN), KEY_0),
        errors.OtherNetworkError,
        "9.4",
    ),
    "extended key of another network": (
        lambda: with_xpub(
            xpub_of(make_wallet(network=Network.MAINNET)), ACCOUNT.keys[0].steps, "deadbeef"
        ),
        errors.OtherNetworkError,
        "9.4",
    ),
    "amounts disagree": (
        lambda: edit_input(PSBT, 0, InputField.WITNESS_UTXO, b"\x01" + coin_of(0)[1:]),
        errors.AmountMismatchError,
        "R18",
    ),
    "scripts disagree": (
        lambda: edit_input(PSBT, 0, InputField.WITNESS_UTXO, coin_of(0)[:8] + b"\x16" + STRANGER),
        errors.AmountMismatchError,
        "R18",
    ),
    "long data": (
        lambda: replace_payment(b"\x6a\x4d\x00\x04" + bytes(1024)),
        errors.TooComplexError,
        "R19",
    ),
    "pays more than it has": (lambda: paying(350_001), errors.NegativeFeeError, "19.1"),
    "undeclared coin": (
        lambda: edit_input(PSBT, 0, InputField.DERIVATION, None, KEY_0),
        errors.UndeclaredInputError,
        "9.4",
    ),
    "coin declared as another's": (
        lambda: edit_input(
            PSBT, 0, InputField.DERIVATION, origin(account_path(0, 2), "deadbeef"), KEY_0
        ),
        errors.UndeclaredInputError,
        "9.4",
    ),
}


def raw_key_field(key: bytes) -> bytes:
    parsed = parse_psbt_untrusted(PSBT)
    field = bytes((1 + len(key), 6)) + key + bytes((len(ORIGIN_0),)) + ORIGIN_0 + b"\0"
    rest = (part.serialise() for part in (*parsed.inputs[1:], *parsed.outputs))
    return raw_psbt(parsed.unsigned_bytes, field, *rest)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, error, rule = REFUSED[name]
    with pytest.raises(errors.PsbtRefusedError) as caught:
        review(make())
    assert type(caught.value) is error
    assert caught.value.rule == rule
    assert caught.value.code.startswith("psbt-")
    assert caught.value.hint.endswith(".")


def test_every_warning_has_a_sentence_and_a_severity() -> None:
    hints = {kind.hint for kind in WarningKind}
    assert len(hints) == len(WarningKind)
    assert all(hint.endswith(".") for hint in hints)
    assert {kind.severity for kind in WarningKind} == set(Severity)


def test_every_refusal_has_a_code_of_its_own() -> None:
    def below(root: type[Any]) -> set[type[Any]]:
        return {root}.union(*(below(child) for child in root.__subclasses__()))

    found = below(errors.BitcoinError)
    assert len({error.code for error in found}) == len(found)


def test_another_wallet_is_named() -> None:
    with pytest.raises(errors.NotOursError) as caught:
        review(other_wallet())
    assert caught.value.fingerprints == (THEIRS.account.keys[0].fingerprint,)
    assert THEIRS.account.keys[0].fingerprint not in str(caught.value)


def test_what_was_signed_before() -> None:
    value = review()
    signed = sign_psbt(PSBT, value, value.digest, WALLET.account, WALLET.signer)
    with pytest.raises(errors.AlreadySignedError):
        review(signed)


def test_our_part_is_done() -> None:
    psbt = with_stranger(PSBT, THEIRS.pay(40_000))
    value = review(psbt)
    with pytest.raises(errors.NothingToSignError):
        review(sign_psbt(psbt, value, value.digest, WALLET.account, WALLET.signer))


def test_finished_inputs() -> None:
    value = review()
    signed = parse_psbt_untrusted(
        sign_psbt(PSBT, value, value.digest, WALLET.account, WALLET.signer)
    )
    ((key, signature),) = signed.inputs[0].items(InputField.PARTIAL_SIG)

    def finished(*items: bytes) -> bytes:
        witness = bytes((len(items),)) + b"".join(bytes((len(i),)) + i for i in items)
        return edit_input(PSBT, 0, InputField.FINAL_SCRIPT_WITNESS, witness)

    assert not review(finished(signature, key)).own_inputs[0].needs_signature
    for items in ((signature,), (signature, key, b""), (signature[:-1], key), (b"x", KEY_1)):
        with pytest.raises(errors.BadSignatureError):
            review(finished(*items))


def test_extended_keys_of_the_header() -> None:
    expected = review()
    own = with_xpub(xpub_of(WALLET), ACCOUNT.keys[0].steps)
    assert review(own) == expected
    elsewhere = with_xpub(xpub_of(THEIRS), ACCOUNT.keys[0].steps, "deadbeef")
    assert review(elsewhere) == expected
    built = WALLET.pay(250_000, build=lambda builder: builder.add_global_xpubs())
    assert parse_psbt_untrusted(built).globals.has(1)
    review(built)


def test_unknown_fields_do_not_matter() -> None:
    psbt = edit_global(PSBT, 0xFC, b"value", b"\x04test\x01")
    psbt = edit_input(psbt, 0, 0xFC, b"value", b"\x04test\x01")
    psbt = edit_output(psbt, 0, 0x77, b"value", b"key")
    assert review(psbt) == review()
