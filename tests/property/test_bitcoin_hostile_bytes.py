"""Whatever arrives: a typed refusal, or a review that is true; and amounts always add up."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING

import bdkpython as bdk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bitcoin_kit import edit_input, funded_wallet, make_wallet

from primegap.bitcoin.accounts import Account
from primegap.bitcoin.address_uri import parse_payment_request
from primegap.bitcoin.amounts import MAX_MONEY, Satoshi, format_btc, parse_amount
from primegap.bitcoin.errors import PsbtRefusedError, RemoteError, TransactionFormatError
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.keys import entropy_to_words, words_to_entropy
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.review_values import ExternalOutput, OpReturnOutput
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.transaction import parse_transaction_untrusted

if TYPE_CHECKING:
    from primegap.bitcoin.review_values import Review

WALLET = funded_wallet()
ACCOUNT = WALLET.account
PSBT = WALLET.pay(250_000)
REVIEW = review_psbt(PSBT, ACCOUNT)
SIGNED = sign_psbt(PSBT, REVIEW, REVIEW.digest, WALLET.account, WALLET.signer)
EXAMPLES = settings(max_examples=100, deadline=None)
FEW_EXAMPLES = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def check(data: bytes) -> Review | None:
    """Review bytes; whatever passes must say about the transaction what BDK says about it."""
    try:
        review = review_psbt(data, ACCOUNT)
    except PsbtRefusedError:
        return None
    # One digest, one explanation.
    assert (review.digest == REVIEW.digest) == (review == REVIEW)
    try:
        other = bdk.Psbt(b64encode(data).decode())
    except bdk.PsbtParseError:
        return review  # BDK also looks into taproot fields, which have no say here
    transaction = other.extract_tx_unchecked_fee_rate()
    assert transaction.serialize() == parse_psbt_untrusted(data).unsigned_bytes
    assert review.txid == str(transaction.compute_txid())
    assert review.fee == other.fee()
    assert [item.amount for item in review.outputs] == [
        output.value.to_sat() for output in transaction.output()
    ]
    for item, output in zip(review.outputs, transaction.output(), strict=True):
        if not isinstance(item, OpReturnOutput):
            script = bdk.Address(item.address, bdk.Network.REGTEST).script_pubkey()
            assert script.to_bytes() == output.script_pubkey.to_bytes()
    return review


def test_every_byte_changed() -> None:
    for position in range(len(PSBT)):
        for flip in (0x01, 0xFF):
            changed = bytearray(PSBT)
            changed[position] ^= flip
            check(bytes(changed))


@given(st.binary(max_size=300))
@EXAMPLES
def test_random_bytes(data: bytes) -> None:
    for call in (
        lambda: review_psbt(data, ACCOUNT),
        lambda: review_psbt(b"psbt\xff" + data, ACCOUNT),
        lambda: merge_signed(PSBT, data),
        lambda: finalise(b"psbt\xff" + data),
    ):
        with suppress(PsbtRefusedError):
            call()
    with suppress(TransactionFormatError):
        assert parse_transaction_untrusted(data).serialise() == data


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Pieces cut out, doubled, moved and overwritten."""
    data = bytearray(draw(st.sampled_from((PSBT, SIGNED))))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 80)))
        piece = data[start:end]
        match draw(st.sampled_from(("cut", "double", "move", "overwrite", "insert"))):
            case "cut":
                del data[start:end]
            case "double":
                data[end:end] = piece
            case "move":
                del data[start:end]
                at = draw(st.integers(0, len(data)))
                data[at:at] = piece
            case "overwrite":
                data[start:end] = draw(st.binary(min_size=len(piece), max_size=len(piece)))
            case _:
                data[start:start] = draw(st.binary(max_size=40))
    return bytes(data)


@given(mutations())
@EXAMPLES
def test_mutated_transactions(data: bytes) -> None:
    check(data)
    for call in (lambda: merge_signed(PSBT, data), lambda: finalise(data)):
        with suppress(PsbtRefusedError):
            call()
    with suppress(PsbtRefusedError):
        assert parse_psbt_untrusted(data).serialise() == data


@given(
    position=st.integers(0, 2),
    kind=st.integers(0, 0x18),
    key_data=st.sampled_from((b"", b"\x02" + bytes(range(32)), bytes(32))) | st.binary(max_size=66),
    value=st.binary(max_size=90),
)
@EXAMPLES
def test_any_field_of_an_input(position: int, kind: int, key_data: bytes, value: bytes) -> None:
    check(edit_input(PSBT, position, kind, value, key_data))


@given(st.text(max_size=200))
@EXAMPLES
def test_random_texts(text: str) -> None:
    for call in (
        lambda: parse_payment_request(text, Network.REGTEST),
        lambda: parse_payment_request(f"bitcoin:{text}", Network.REGTEST),
        lambda: parse_payment_request(
            f"bitcoin:bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080?{text}", Network.REGTEST
        ),
        lambda: ACCOUNT.find_address(text, count=1),
        lambda: Account.parse_untrusted(text, text, Network.REGTEST),
        lambda: Account.parse_untrusted(f"wpkh({text})", None, Network.REGTEST, name=text),
        lambda: parse_amount(text),
        lambda: words_to_entropy(text.split(" ")),
        lambda: words_to_entropy([text] * 12),
    ):
        with suppress(RemoteError):
            call()


@given(st.integers(0, MAX_MONEY))
@EXAMPLES
def test_amounts_written_are_read_back(amount: int) -> None:
    text = format_btc(Satoshi(amount), grouped=False, unit="")
    assert parse_amount(text) == amount
    assert format_btc(Satoshi(amount), unit="").replace(" ", "") == text


@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32))
@EXAMPLES
def test_words_written_are_read_back(entropy: bytes) -> None:
    assert words_to_entropy(entropy_to_words(entropy)) == entropy


@given(
    coins=st.lists(st.integers(1_000, 10_000_000), min_size=1, max_size=6),
    share=st.integers(1, 100),
    fee_rate=st.integers(1, 60),
    data=st.binary(max_size=80) | st.none(),
)
@FEW_EXAMPLES
def test_what_a_wallet_prepares_is_reviewed_signed_and_adds_up(
    coins: list[int], share: int, fee_rate: int, data: bytes | None
) -> None:
    wallet = make_wallet()
    for coin in coins:
        wallet.fund(coin)
    try:
        psbt = wallet.pay(
            sum(coins) * share // 100,
            fee_rate=fee_rate,
            build=lambda builder: builder.add_data(data) if data else builder,
        )
    except bdk.CreateTxError:
        return  # not enough money, or dust
    review = review_psbt(psbt, wallet.account)
    spent = sum(item.amount for item in review.inputs)
    assert spent == sum(item.amount for item in review.outputs) + review.fee
    assert review.leaving == review.sent + review.fee == spent - review.returned
    assert review.sent == sum(
        item.amount for item in review.outputs if isinstance(item, ExternalOutput | OpReturnOutput)
    )
    finished = finalise(sign_psbt(psbt, review, review.digest, wallet.account, wallet.signer))
    assert finished.txid == review.txid
    assert 0 <= review.vsize_vb - finished.vsize_vb <= len(review.inputs)
