"""Signing what was approved, and taking it over into the draft."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import bdkpython as bdk
import pytest
from tests.bitcoin_kit import (
    STRANGER,
    THEIR_ENTROPY,
    edit_global,
    edit_input,
    edit_output,
    edit_transaction,
    engine_accepts,
    funded_wallet,
    spent_coins,
    unsigned_of,
)

from primegap.bitcoin.accounts import Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.errors import (
    BadSignatureError,
    IncompleteError,
    OtherTransactionError,
    PsbtFormatError,
    PsbtRefusedError,
    PsbtTrailingBytesError,
    ReviewMismatchError,
    SigningFaultError,
)
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.keys import AccountSigner
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField, OutputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sign import sign_psbt

if TYPE_CHECKING:
    from collections.abc import Callable

WALLET = funded_wallet()
PSBT = WALLET.pay(250_000)
REVIEW = review_psbt(PSBT, WALLET.account)
SIGNED = sign_psbt(PSBT, REVIEW, REVIEW.digest, WALLET.account, WALLET.signer)


# --- signing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [1_000, 150_000, 250_000, 340_000])
def test_the_engine_accepts_what_is_signed(amount: int) -> None:
    psbt = WALLET.pay(amount)
    review = review_psbt(psbt, WALLET.account)
    signed = sign_psbt(psbt, review, review.digest, WALLET.account, WALLET.signer)
    finished = finalise(merge_signed(psbt, signed))
    assert finished.txid == review.txid
    assert unsigned_of(finished.raw) == parse_psbt_untrusted(psbt).transaction
    coins = spent_coins(psbt)
    assert engine_accepts(finished.raw, coins)
    assert not engine_accepts(finished.raw, [(amount + 1, script) for amount, script in coins])


def test_signing_adds_signatures_and_changes_nothing_else() -> None:
    before, after = parse_psbt_untrusted(PSBT), parse_psbt_untrusted(SIGNED)
    assert (after.globals, after.outputs) == (before.globals, before.outputs)
    for old, new, item in zip(before.inputs, after.inputs, REVIEW.own_inputs, strict=True):
        assert new.entries[: len(old.entries)] == old.entries
        ((key, signature),) = new.items(InputField.PARTIAL_SIG)
        assert len(new.entries) == len(old.entries) + 1
        assert (key,) == WALLET.account.public_keys(Keychain(item.keychain), item.index)
        assert signature[-1] == 1
        assert len(signature) <= 71


def test_fields_nobody_knows_pass_through_byte_for_byte() -> None:
    psbt = edit_global(PSBT, 0xFC, b"global", b"\x04test\x01")
    psbt = edit_input(psbt, 1, 0xFC, b"\x00\xff", b"\x04test\x01")
    psbt = edit_input(psbt, 1, 0x4321, bytes(300))
    psbt = edit_output(psbt, 0, 0x55, b"", b"\x00")
    review = review_psbt(psbt, WALLET.account)
    signed = parse_psbt_untrusted(
        sign_psbt(psbt, review, review.digest, WALLET.account, WALLET.signer)
    )
    assert signed.globals.items(0xFC) == ((b"\x04test\x01", b"global"),)
    assert signed.inputs[1].items(0xFC) == ((b"\x04test\x01", b"\x00\xff"),)
    assert signed.inputs[1].value(0x4321) == bytes(300)
    assert signed.outputs[0].items(0x55) == ((b"\x00", b""),)


def test_signing_twice_gives_the_same_bytes() -> None:
    assert sign_psbt(PSBT, REVIEW, REVIEW.digest, WALLET.account, WALLET.signer) == SIGNED


def test_other_programs_read_what_is_signed() -> None:
    parsed = bdk.Psbt(b64encode(SIGNED).decode())
    assert all(len(part.partial_sigs) == 1 for part in parsed.input())
    assert parsed.finalize().could_finalize


def test_a_half_signed_transaction_gets_the_other_half() -> None:
    parsed, signed = parse_psbt_untrusted(PSBT), parse_psbt_untrusted(SIGNED)
    half = parsed.with_inputs((signed.inputs[0], *parsed.inputs[1:])).serialise()
    review = review_psbt(half, WALLET.account)
    assert sign_psbt(half, review, review.digest, WALLET.account, WALLET.signer) == SIGNED


# --- refusing to sign ---------------------------------------------------------------------------


def test_without_the_approved_digest_nothing_is_signed() -> None:
    flipped = bytes((REVIEW.digest[0] ^ 1,)) + REVIEW.digest[1:]
    for digest in (b"", bytes(32), flipped, REVIEW.digest[:-1], REVIEW.digest + b"\0"):
        with pytest.raises(ReviewMismatchError):
            sign_psbt(PSBT, REVIEW, digest, WALLET.account, WALLET.signer)


def test_the_bytes_must_be_those_that_were_reviewed() -> None:
    other = WALLET.pay(250_001)
    with pytest.raises(ReviewMismatchError):
        sign_psbt(other, REVIEW, REVIEW.digest, WALLET.account, WALLET.signer)
    with pytest.raises(PsbtTrailingBytesError):
        sign_psbt(PSBT + b"\0", REVIEW, REVIEW.digest, WALLET.account, WALLET.signer)


def test_the_value_shown_must_be_the_review_of_the_bytes() -> None:
    first = replace(REVIEW.outputs[0], amount=Satoshi(1))
    for shown in (
        replace(REVIEW, outputs=(first, *REVIEW.outputs[1:])),
        replace(REVIEW, fee=Satoshi(0)),
        replace(REVIEW, warnings=REVIEW.warnings * 2, sent=Satoshi(5)),
        replace(REVIEW, digest=bytes(32)),
    ):
        with pytest.raises(ReviewMismatchError):
            sign_psbt(PSBT, shown, REVIEW.digest, WALLET.account, WALLET.signer)


def test_the_signer_must_be_the_accounts() -> None:
    for signer in (
        AccountSigner.from_entropy(THEIR_ENTROPY, WALLET.account.network, 0),
        AccountSigner.from_entropy(bytes(range(16)), WALLET.account.network, 1),
    ):
        with pytest.raises(ReviewMismatchError):
            sign_psbt(PSBT, REVIEW, REVIEW.digest, WALLET.account, signer)


class LyingSigner(AccountSigner):
    """A signing library gone wrong."""

    __slots__ = ("_lie",)

    def __init__(self, lie: Callable[[bytes], bytes]) -> None:
        self._key = WALLET.signer.key
        self._lie = lie

    def sign_ecdsa(self, chain: int, index: int, digest: bytes) -> bytes:
        return self._lie(WALLET.signer.sign_ecdsa(chain, index, digest))


@pytest.mark.parametrize(
    "lie",
    [
        lambda signature: b"",
        lambda signature: signature[:-1],
        lambda signature: signature[:20] + bytes((signature[20] ^ 1,)) + signature[21:],
        lambda signature: signature + b"\x01",
        lambda signature: WALLET.signer.sign_ecdsa(1, 999, bytes(32)),
    ],
    ids=["empty", "short", "damaged", "long", "another"],
)
def test_a_signature_that_does_not_verify_stays_inside(
    lie: Callable[[bytes], bytes],
) -> None:
    with pytest.raises(SigningFaultError):
        sign_psbt(PSBT, REVIEW, REVIEW.digest, WALLET.account, LyingSigner(lie))


def test_high_numbers_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import utils

    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

    def raise_s(signature: bytes) -> bytes:
        r, s = utils.decode_dss_signature(signature)
        return utils.encode_dss_signature(r, order - s)

    with pytest.raises(SigningFaultError):
        sign_psbt(PSBT, REVIEW, REVIEW.digest, WALLET.account, LyingSigner(raise_s))


# --- the companion's side -----------------------------------------------------------------------


def test_only_signatures_are_taken_over() -> None:
    returned = edit_global(SIGNED, 0xFC, b"tracker", b"\x04evil\x01")
    returned = edit_input(returned, 0, InputField.WITNESS_UTXO, bytes(8) + b"\x16" + STRANGER)
    returned = edit_input(returned, 0, InputField.NON_WITNESS_UTXO, None)
    returned = edit_output(returned, 0, OutputField.DERIVATION, bytes(8), b"\x02" + bytes(32))
    assert merge_signed(PSBT, returned) == SIGNED


def test_merging_is_idempotent() -> None:
    assert merge_signed(SIGNED, SIGNED) == SIGNED
    assert merge_signed(PSBT, PSBT) == PSBT


def test_finished_inputs_are_taken_over() -> None:
    returned = bdk.Psbt(b64encode(SIGNED).decode()).finalize().psbt
    from base64 import b64decode

    merged = merge_signed(PSBT, b64decode(returned.serialize()))
    assert finalise(merged).raw == finalise(SIGNED).raw


def test_another_transaction_is_not_merged() -> None:
    def cheaper(psbt: bytes) -> bytes:
        return edit_transaction(psbt, lambda tx: replace(tx, lock_time=1))

    with pytest.raises(OtherTransactionError):
        merge_signed(cheaper(PSBT), SIGNED)
    with pytest.raises(OtherTransactionError):
        merge_signed(PSBT, cheaper(SIGNED))


def test_wrong_signatures_are_not_merged() -> None:
    ((key, signature),) = parse_psbt_untrusted(SIGNED).inputs[0].items(InputField.PARTIAL_SIG)
    ((other_key, other),) = parse_psbt_untrusted(SIGNED).inputs[1].items(InputField.PARTIAL_SIG)
    for wrong_key, wrong in (
        (key, other),
        (other_key, other),
        (key, signature[:-1] + b"\x81"),
        (key, signature[:30] + b"\x00" + signature[31:]),
    ):
        returned = edit_input(SIGNED, 0, InputField.PARTIAL_SIG, wrong, wrong_key)
        with pytest.raises(BadSignatureError):
            merge_signed(PSBT, returned)
    for witness in (b"\x00", b"\x01\x00", b"\x02\x01a\x21" + key):
        returned = edit_input(PSBT, 0, InputField.FINAL_SCRIPT_WITNESS, witness)
        with pytest.raises(BadSignatureError):
            merge_signed(PSBT, returned)


def test_the_coin_may_be_known_from_its_transaction_only() -> None:
    draft = PSBT
    for position in range(3):
        draft = edit_input(draft, position, InputField.WITNESS_UTXO, None)
    finished = finalise(merge_signed(draft, SIGNED))
    assert finished.txid == REVIEW.txid


def test_a_draft_that_knows_nothing_of_its_coins_is_judged_on_finishing() -> None:
    draft = PSBT
    for position in range(3):
        draft = edit_input(draft, position, InputField.WITNESS_UTXO, None)
        draft = edit_input(draft, position, InputField.NON_WITNESS_UTXO, None)
    merged = merge_signed(draft, SIGNED)
    with pytest.raises(PsbtRefusedError):
        finalise(merged)


def test_an_incomplete_transaction_is_not_finished() -> None:
    with pytest.raises(IncompleteError):
        finalise(PSBT)
    half = parse_psbt_untrusted(SIGNED)
    half = half.with_inputs((parse_psbt_untrusted(PSBT).inputs[0], *half.inputs[1:]))
    with pytest.raises(IncompleteError):
        finalise(half.serialise())


def test_a_wrong_signature_does_not_finish() -> None:
    ((key, signature),) = parse_psbt_untrusted(SIGNED).inputs[0].items(InputField.PARTIAL_SIG)
    wrong = signature[:30] + bytes((signature[30] ^ 1,)) + signature[31:]
    with pytest.raises(PsbtRefusedError):
        finalise(edit_input(SIGNED, 0, InputField.PARTIAL_SIG, wrong, key))


def test_what_the_library_cannot_read_is_not_finished() -> None:
    odd = edit_input(SIGNED, 0, InputField.TAP_LEAF_SCRIPT, b"\xc0", b"\x02" + bytes(32))
    with pytest.raises(PsbtFormatError):
        finalise(odd)


@pytest.mark.parametrize("data", [b"", b"psbt\xff", PSBT[:-1], SIGNED + b"\0"])
def test_what_is_malformed_is_neither_merged_nor_finished(data: bytes) -> None:
    for call in (finalise, lambda d: merge_signed(PSBT, d), lambda d: merge_signed(d, PSBT)):
        with pytest.raises(PsbtRefusedError):
            call(data)
