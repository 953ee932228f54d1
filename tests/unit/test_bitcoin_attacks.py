"""A malicious companion tries to have one thing shown and another one signed.

It owns the radio, prepares every PSBT, may answer as often as it likes and may change the bytes
between review and signature. What it wants: a signature that moves more, or elsewhere, than the
person saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import bdkpython as bdk
import pytest
from tests.bitcoin_kit import (
    OUR_ENTROPY,
    STRANGER,
    THEIR_ENTROPY,
    edit_input,
    edit_output,
    edit_transaction,
    funded_wallet,
    raw_psbt,
)

from primegap.bitcoin.accounts import Account, AddressMatch, Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.errors import (
    AmountMismatchError,
    BadSignatureError,
    FalseChangeError,
    LocalError,
    MissingPreviousTransactionError,
    OtherAccountError,
    PreviousTransactionError,
    PsbtDuplicateKeyError,
    PsbtRefusedError,
    PsbtTrailingBytesError,
    ReviewMismatchError,
    UndeclaredInputError,
)
from primegap.bitcoin.keys import AccountSigner
from primegap.bitcoin.psbt import Psbt, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField, OutputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.review_values import (
    ChangeOutput,
    ExternalOutput,
    ForeignInput,
    Review,
    WarningKind,
)
from primegap.bitcoin.sighash import SegwitHasher, p2wpkh_script_code
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.transaction import Transaction, TxOutput, parse_transaction_untrusted
from primegap.bitcoin.wire import encode_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

WALLET = funded_wallet()
ACCOUNT = WALLET.account
EVIL_WALLET = funded_wallet(THEIR_ENTROPY)
EVIL = EVIL_WALLET.account.script(Keychain.EXTERNAL, 0)
PSBT = WALLET.pay(250_000)


@dataclass
class Device:
    """The person, the screen and the key: review, show, approve, sign."""

    shown: Review | None = None

    def receive(self, psbt: bytes) -> Review:
        self.shown = review_psbt(psbt, ACCOUNT)
        return self.shown

    def sign(self, psbt: bytes) -> bytes:
        assert self.shown is not None
        return sign_psbt(psbt, self.shown, self.shown.digest, WALLET.account, WALLET.signer)


def change_of(psbt: bytes) -> tuple[int, bytes, bytes]:
    """Return position, key and origin of the change."""
    position = next(
        o.position for o in review_psbt(psbt, ACCOUNT).outputs if isinstance(o, ChangeOutput)
    )
    ((key, origin),) = parse_psbt_untrusted(psbt).outputs[position].items(OutputField.DERIVATION)
    return position, key, origin


def set_output(
    psbt: bytes, position: int, *, script: bytes | None = None, amount: int | None = None
) -> bytes:
    def edit(transaction: Transaction) -> Transaction:
        outputs = list(transaction.outputs)
        old = outputs[position]
        outputs[position] = TxOutput(
            old.amount if amount is None else Satoshi(amount),
            old.script if script is None else script,
        )
        return replace(transaction, outputs=tuple(outputs))

    return edit_transaction(psbt, edit)


# --- swapping the bytes after the approval ------------------------------------------------------

CHANGE, CHANGE_KEY, CHANGE_ORIGIN = change_of(PSBT)

SWAPS: dict[str, Callable[[], bytes]] = {
    "destination": lambda: set_output(PSBT, 1 - CHANGE, script=EVIL),
    "amount": lambda: set_output(PSBT, 1 - CHANGE, amount=249_999),
    "change": lambda: edit_output(
        set_output(PSBT, CHANGE, script=EVIL), CHANGE, OutputField.DERIVATION, None, CHANGE_KEY
    ),
    "fee": lambda: set_output(PSBT, CHANGE, amount=1_000),
    "lock time": lambda: edit_transaction(PSBT, lambda tx: replace(tx, lock_time=700_000)),
    "version": lambda: edit_transaction(PSBT, lambda tx: replace(tx, version=1)),
    "sequence": lambda: edit_transaction(
        PSBT,
        lambda tx: replace(tx, inputs=(replace(tx.inputs[0], sequence=1), *tx.inputs[1:])),
    ),
    "order": lambda: swap_outputs(PSBT),
    "coins": lambda: drop_input(PSBT),
    "another payment": lambda: WALLET.pay(250_000, EVIL),
}


def swap_outputs(psbt: bytes) -> bytes:
    parsed = parse_psbt_untrusted(psbt)
    transaction = replace(parsed.transaction, outputs=parsed.transaction.outputs[::-1])
    maps = (*parsed.inputs, *parsed.outputs[::-1])
    return raw_psbt(transaction.serialise(), *(part.serialise() for part in maps))


def drop_input(psbt: bytes) -> bytes:
    parsed = parse_psbt_untrusted(set_output(psbt, CHANGE, amount=1))
    transaction = replace(parsed.transaction, inputs=parsed.transaction.inputs[:-1])
    transaction = replace(
        transaction, outputs=tuple(replace(o, amount=Satoshi(1_000)) for o in transaction.outputs)
    )
    maps = (*parsed.inputs[:-1], *parsed.outputs)
    return raw_psbt(transaction.serialise(), *(part.serialise() for part in maps))


@pytest.mark.guarantee("U-6", tried="bytes swapped between review and signature")
@pytest.mark.parametrize("name", SWAPS)
def test_bytes_swapped_after_the_approval(name: str) -> None:
    device = Device()
    device.receive(PSBT)
    swapped = SWAPS[name]()
    review_psbt(swapped, ACCOUNT)  # each would pass on its own
    with pytest.raises(ReviewMismatchError):
        device.sign(swapped)


def test_one_transaction_explained_in_two_ways_has_two_digests() -> None:
    device = Device()
    explained = device.receive(PSBT)
    bare = edit_output(PSBT, CHANGE, OutputField.DERIVATION, None, CHANGE_KEY)
    assert parse_psbt_untrusted(bare).unsigned_bytes == parse_psbt_untrusted(PSBT).unsigned_bytes
    assert review_psbt(bare, ACCOUNT).digest != explained.digest
    with pytest.raises(ReviewMismatchError):
        device.sign(bare)


@pytest.mark.guarantee("U-6", tried="fields added after the approval")
def test_fields_added_after_the_approval_change_no_signature() -> None:
    device = Device()
    device.receive(PSBT)
    noisy = edit_input(PSBT, 0, 0xFC, b"payload", b"\x04evil\x00")
    signed, noisy_signed = (parse_psbt_untrusted(device.sign(data)) for data in (PSBT, noisy))
    for quiet, loud in zip(signed.inputs, noisy_signed.inputs, strict=True):
        assert quiet.items(InputField.PARTIAL_SIG) == loud.items(InputField.PARTIAL_SIG)


# --- lying about change -------------------------------------------------------------------------


def claim(position: int, script: bytes, key: bytes, origin: bytes) -> bytes:
    psbt = set_output(PSBT, position, script=script)
    if position == CHANGE:
        psbt = edit_output(psbt, position, OutputField.DERIVATION, None, CHANGE_KEY)
    return edit_output(psbt, position, OutputField.DERIVATION, origin, key)


def evil_key() -> bytes:
    return EVIL_WALLET.account.public_keys(Keychain.EXTERNAL, 0)[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: claim(CHANGE, EVIL, CHANGE_KEY, CHANGE_ORIGIN),
        lambda: claim(CHANGE, EVIL, evil_key(), CHANGE_ORIGIN),
        lambda: claim(1 - CHANGE, STRANGER, CHANGE_KEY, CHANGE_ORIGIN),
        lambda: claim(CHANGE, ACCOUNT.script(Keychain.INTERNAL, 9), CHANGE_KEY, CHANGE_ORIGIN),
        lambda: claim(CHANGE, ACCOUNT.script(Keychain.EXTERNAL, 0), CHANGE_KEY, CHANGE_ORIGIN),
        lambda: claim(CHANGE, other_script_of_our_key("pkh"), CHANGE_KEY, CHANGE_ORIGIN),
        lambda: claim(CHANGE, other_script_of_our_key("sh(wpkh"), CHANGE_KEY, CHANGE_ORIGIN),
    ],
    ids=["script", "script and key", "payment", "index", "keychain", "legacy", "nested"],
)
def test_change_that_is_none(make: Callable[[], bytes]) -> None:
    with pytest.raises(FalseChangeError):
        Device().receive(make())


def other_script_of_our_key(kind: str) -> bytes:
    closing = ")" * (kind.count("(") + 1)
    text = f"{kind}({CHANGE_KEY.hex()}{closing}"
    descriptor = bdk.Descriptor(text, bdk.NetworkKind.TEST)
    script: bytes = descriptor.derive_address(0, bdk.Network.REGTEST).script_pubkey().to_bytes()
    return script


def test_change_to_another_account_of_the_same_seed_is_shown_as_a_payment() -> None:
    signer = AccountSigner.from_entropy(OUR_ENTROPY, ACCOUNT.network, 1)
    other = Account.from_key(signer.key, ACCOUNT.network)
    place = AddressMatch(Keychain.INTERNAL, 0)
    (key,) = other.public_keys(place.keychain, place.index)
    path = (*other.keys[0].steps, 1, 0)
    origin = bytes.fromhex(other.keys[0].fingerprint)
    origin += b"".join(step.to_bytes(4, "little") for step in path)
    shown = Device().receive(claim(CHANGE, other.script(place.keychain, 0), key, origin))
    output = shown.outputs[CHANGE]
    assert isinstance(output, ExternalOutput)
    assert output.address == other.address(place.keychain, 0)
    assert WarningKind.UNUSUAL_PATH in {warning.kind for warning in shown.warnings}
    assert shown.returned == 0


# --- lying about amounts ------------------------------------------------------------------------


def understate(psbt: bytes, position: int, amount: int) -> bytes:
    coin = parse_psbt_untrusted(psbt).inputs[position].value(InputField.WITNESS_UTXO)
    assert coin is not None
    return edit_input(
        psbt, position, InputField.WITNESS_UTXO, amount.to_bytes(8, "little") + coin[8:]
    )


def test_the_fee_attack_in_two_sessions() -> None:
    """One honest and one understated coin per session, so that each signature is valid.

    A device that trusts the witness field shows a small fee twice and signs away the difference.
    """
    for position in (0, 1):
        lie = understate(PSBT, position, 1_000)
        with pytest.raises(AmountMismatchError):
            Device().receive(lie)
        with pytest.raises(MissingPreviousTransactionError):
            Device().receive(edit_input(lie, position, InputField.NON_WITNESS_UTXO, None))


def test_a_previous_transaction_with_other_amounts() -> None:
    raw = parse_psbt_untrusted(PSBT).inputs[0].value(InputField.NON_WITNESS_UTXO)
    assert raw is not None
    previous = parse_transaction_untrusted(raw)
    outputs = tuple(replace(output, amount=Satoshi(1_000)) for output in previous.outputs)
    forged = replace(previous, outputs=outputs).serialise()
    psbt = edit_input(PSBT, 0, InputField.NON_WITNESS_UTXO, forged)
    with pytest.raises(PreviousTransactionError):
        Device().receive(edit_input(psbt, 0, InputField.WITNESS_UTXO, None))


def test_a_witness_does_not_change_which_transaction_it_is() -> None:
    raw = parse_psbt_untrusted(PSBT).inputs[0].value(InputField.NON_WITNESS_UTXO)
    assert raw is not None
    previous = parse_transaction_untrusted(raw)
    inputs = (replace(previous.inputs[0], witness=(b"\x01",)),)
    longer = replace(previous, inputs=inputs, has_witness=True).serialise()
    assert longer != raw
    shown = Device().receive(edit_input(PSBT, 0, InputField.NON_WITNESS_UTXO, longer))
    assert shown == review_psbt(PSBT, ACCOUNT)


# --- hiding coins -------------------------------------------------------------------------------


def key_and_origin(psbt: Psbt, position: int) -> tuple[bytes, bytes]:
    ((key, origin),) = psbt.inputs[position].items(InputField.DERIVATION)
    return key, origin


def test_coins_signed_away_in_two_sessions() -> None:
    """Each session declares one coin and passes the other off as a stranger's."""
    parsed = parse_psbt_untrusted(PSBT)
    for hidden in range(len(parsed.inputs)):
        key, origin = key_and_origin(parsed, hidden)
        undeclared = edit_input(PSBT, hidden, InputField.DERIVATION, None, key)
        with pytest.raises(UndeclaredInputError):
            Device().receive(undeclared)
        disguised = edit_input(
            PSBT, hidden, InputField.DERIVATION, b"\xde\xad\xbe\xef" + origin[4:], key
        )
        with pytest.raises(UndeclaredInputError):
            Device().receive(disguised)


def join(first: bytes, second: bytes) -> bytes:
    """Return a PSBT that spends the coins of both and pays the outputs of the first."""
    one, two = parse_psbt_untrusted(first), parse_psbt_untrusted(second)
    transaction = replace(one.transaction, inputs=one.transaction.inputs + two.transaction.inputs)
    maps = (*one.inputs, *two.inputs, *one.outputs)
    return raw_psbt(transaction.serialise(), *(part.serialise() for part in maps))


def test_coins_of_another_account_do_not_pass_as_a_strangers() -> None:
    other = funded_wallet(account=1)
    with pytest.raises(OtherAccountError):
        Device().receive(join(PSBT, other.pay(10_000)))


def test_a_hidden_coin_of_another_account_is_never_signed_and_loudly_warned_of() -> None:
    """The account cannot know it, so it is a stranger's: unsigned, uncounted, in red."""
    other = funded_wallet(account=1)
    bare = other.pay(10_000)
    parsed = parse_psbt_untrusted(bare)
    for position in range(len(parsed.inputs)):
        key, _ = key_and_origin(parsed, position)
        bare = edit_input(bare, position, InputField.DERIVATION, None, key)
    joined = join(PSBT, bare)
    device = Device()
    shown = device.receive(joined)
    assert WarningKind.FOREIGN_INPUTS in {warning.kind for warning in shown.warnings}
    signed = parse_psbt_untrusted(device.sign(joined))
    for item, before, after in zip(
        shown.inputs, parse_psbt_untrusted(joined).inputs, signed.inputs, strict=True
    ):
        assert (before == after) == isinstance(item, ForeignInput)


# --- two readers, two transactions --------------------------------------------------------------


def test_a_second_transaction_behind_the_first() -> None:
    evil = WALLET.pay(250_000, EVIL)
    with pytest.raises(PsbtTrailingBytesError):
        Device().receive(PSBT + evil)
    unsigned = parse_psbt_untrusted(evil).unsigned_bytes
    second = b"\x01\x00" + encode_bytes(unsigned)
    with pytest.raises(PsbtDuplicateKeyError):
        Device().receive(PSBT[:5] + second + PSBT[5:])
    other_name = b"\x03\xfd\x00\x00" + encode_bytes(unsigned)
    with pytest.raises(PsbtRefusedError):
        Device().receive(PSBT[:5] + other_name + PSBT[5:])


class Spy(AccountSigner):
    """Keeps what reaches the key."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self._key = WALLET.signer.key
        self.seen: list[tuple[int, int, bytes]] = []

    def sign_ecdsa(self, chain: int, index: int, digest: bytes) -> bytes:
        self.seen.append((chain, index, digest))
        return WALLET.signer.sign_ecdsa(chain, index, digest)


def test_nothing_of_the_peer_reaches_the_key_but_what_was_reviewed() -> None:
    noisy = edit_input(PSBT, 0, 0xFC, b"payload", b"\x04evil\x00")
    noisy = edit_input(noisy, 0, InputField.TAP_INTERNAL_KEY, bytes(32))
    noisy = edit_input(noisy, 1, InputField.SIGHASH_TYPE, b"\x01\0\0\0")
    noisy = edit_output(noisy, 0, OutputField.WITNESS_SCRIPT, b"\x51")
    review = review_psbt(noisy, ACCOUNT)
    spy = Spy()
    sign_psbt(noisy, review, review.digest, WALLET.account, spy)
    hasher = SegwitHasher(parse_psbt_untrusted(PSBT).transaction)
    assert spy.seen == [
        (
            item.keychain,
            item.index,
            hasher.digest(position, p2wpkh_script_code(item.script), item.amount),
        )
        for position, item in enumerate(review.own_inputs)
    ]


# --- signatures of before -----------------------------------------------------------------------


def test_signatures_that_cover_less_than_everything_are_not_carried_along() -> None:
    device = Device()
    device.receive(PSBT)
    signed = parse_psbt_untrusted(device.sign(PSBT))
    ((key, signature),) = signed.inputs[0].items(InputField.PARTIAL_SIG)
    for sighash in (b"\x02", b"\x03", b"\x81", b"\x83", b"\x00"):
        forged = edit_input(PSBT, 0, InputField.PARTIAL_SIG, signature[:-1] + sighash, key)
        with pytest.raises(BadSignatureError):
            Device().receive(forged)


def test_a_mark_of_being_finished_does_not_hide_a_coin() -> None:
    """A forged final witness would take the coin out of what is signed, and out of sight."""
    key, _ = key_and_origin(parse_psbt_untrusted(PSBT), 0)
    witness = b"\x02" + encode_bytes(bytes(71)) + encode_bytes(key)
    with pytest.raises(BadSignatureError):
        Device().receive(edit_input(PSBT, 0, InputField.FINAL_SCRIPT_WITNESS, witness))


@pytest.mark.guarantee("U-5", "U-6", tried="an approval used as a key")
def test_an_approval_is_not_a_key() -> None:
    """With the approved digest but without the signer nothing can be signed."""
    shown = Device().receive(PSBT)
    closed = AccountSigner.from_entropy(OUR_ENTROPY, ACCOUNT.network, 0)
    closed.close()
    with pytest.raises(LocalError):
        sign_psbt(PSBT, shown, shown.digest, WALLET.account, closed)
