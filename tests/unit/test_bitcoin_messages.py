"""Signed messages: every form for every kind of address, and what does not verify."""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bitcoin_kit import OUR_ENTROPY

from primegap.bitcoin.accounts import Account, AddressMatch, Keychain
from primegap.bitcoin.errors import LocalError, RemoteError
from primegap.bitcoin.keys import AccountSigner
from primegap.bitcoin.messages import (
    MAX_MESSAGE_BYTES,
    MessageForm,
    MessageFormError,
    MessageSignatureError,
    MessageTextError,
    review_message,
    sign_message,
    verify_message,
)
from primegap.bitcoin.networks import Network

PLACE = AddressMatch(Keychain.EXTERNAL, 7)
MESSAGE = b"I own this address.\nChallenge: 4711"
FORMS = [
    (44, MessageForm.BIP137),
    (44, MessageForm.FULL),
    (49, MessageForm.BIP137),
    (49, MessageForm.SIMPLE),
    (49, MessageForm.FULL),
    (84, MessageForm.BIP137),
    (84, MessageForm.SIMPLE),
    (84, MessageForm.FULL),
    (86, MessageForm.SIMPLE),
    (86, MessageForm.FULL),
]


@cache
def account_of(purpose: int) -> Account:
    with AccountSigner.from_entropy(OUR_ENTROPY, Network.REGTEST, 0, purpose=purpose) as signer:
        return Account.from_key(signer.key, Network.REGTEST)


@cache
def signed(purpose: int, form: MessageForm | None, message: bytes = MESSAGE) -> tuple[str, str]:
    """Return an address and a signature."""
    account = account_of(purpose)
    review = review_message(message, account, PLACE, form)
    with AccountSigner.from_entropy(OUR_ENTROPY, Network.REGTEST, 0, purpose=purpose) as signer:
        return review.address, sign_message(review, account, signer)


@pytest.mark.parametrize(("purpose", "form"), FORMS)
def test_what_is_signed_verifies_and_nothing_else_does(purpose: int, form: MessageForm) -> None:
    address, signature = signed(purpose, form)
    assert verify_message(MESSAGE, address, signature, Network.REGTEST) is form
    other = account_of(purpose).address(Keychain.EXTERNAL, 8)
    for message, place in ((MESSAGE + b" ", address), (MESSAGE, other)):
        with pytest.raises(MessageSignatureError):
            verify_message(message, place, signature, Network.REGTEST)
    chance, raw = random.Random(purpose), b64decode(signature)
    for _ in range(12):
        changed = bytearray(raw)
        position = chance.randrange(len(raw))
        changed[position] ^= 1 << chance.randrange(8)
        if form is MessageForm.BIP137 and position == 0:
            continue  # other headers of the same key are read
        with pytest.raises(MessageSignatureError):
            verify_message(MESSAGE, address, b64encode(changed).decode(), Network.REGTEST)


@pytest.mark.parametrize(("purpose", "first"), [(44, 31), (49, 35), (84, 39)])
def test_headers_say_the_kind_of_address(purpose: int, first: int) -> None:
    _, signature = signed(purpose, MessageForm.BIP137)
    assert first <= b64decode(signature)[0] < first + 4


def test_a_header_of_the_wrong_kind_is_refused_and_the_common_one_is_read() -> None:
    address, signature = signed(84, MessageForm.BIP137)
    raw = b64decode(signature)
    common = b64encode(bytes((raw[0] - 8,)) + raw[1:]).decode()
    assert verify_message(MESSAGE, address, common, Network.REGTEST) is MessageForm.BIP137
    nested = b64encode(bytes((raw[0] - 4,)) + raw[1:]).decode()
    with pytest.raises(MessageSignatureError):
        verify_message(MESSAGE, address, nested, Network.REGTEST)


def test_the_usual_form_follows_the_address() -> None:
    for purpose, form in (
        (44, MessageForm.BIP137),
        (84, MessageForm.BIP137),
        (86, MessageForm.SIMPLE),
    ):
        address, signature = signed(purpose, None)
        assert verify_message(MESSAGE, address, signature, Network.REGTEST) is form


@pytest.mark.parametrize(("purpose", "form"), [(44, MessageForm.SIMPLE), (86, MessageForm.BIP137)])
def test_forms_that_an_address_does_not_have(purpose: int, form: MessageForm) -> None:
    with pytest.raises(MessageFormError):
        review_message(MESSAGE, account_of(purpose), PLACE, form)


@pytest.mark.parametrize("message", [b"", b"x" * (MAX_MESSAGE_BYTES + 1)])
def test_messages_have_a_size(message: bytes) -> None:
    with pytest.raises(MessageTextError):
        review_message(message, account_of(84), PLACE, None)


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (b"Hello\nWorld", True),
        (b" Hello", False),
        (b"Hello\n", False),
        (b"a    b", False),
        (b"a\tb", False),
        ("schön".encode(), False),
        ("a\u202eb".encode(), False),
        (b"\xff", False),
    ],
)
def test_only_text_that_shows_every_byte_is_shown_as_text(message: bytes, plain: bool) -> None:
    review = review_message(message, account_of(84), PLACE, None)
    assert review.text == (message.decode() if plain else None)
    assert verify_message(message, *signed(84, None, message), Network.REGTEST)


def test_what_was_not_reviewed_is_not_signed() -> None:
    account = account_of(84)
    review = review_message(MESSAGE, account, PLACE, None)
    with AccountSigner.from_entropy(OUR_ENTROPY, Network.REGTEST, 0) as signer:
        changes: tuple[dict[str, Any], ...] = (
            {"message": b"other"},
            {"index": 8},
            {"address": "x"},
            {"form": MessageForm.FULL},
        )
        for change in changes:
            with pytest.raises(LocalError):
                sign_message(replace(review, **change), account, signer)
    with (
        AccountSigner.from_entropy(OUR_ENTROPY, Network.REGTEST, 1) as stranger,
        pytest.raises(LocalError),
    ):
        sign_message(review, account, stranger)


@settings(max_examples=60)
@given(raw=st.binary(max_size=120), prefix=st.sampled_from(["", "smp", "ful"]))
def test_any_signature_is_judged(raw: bytes, prefix: str) -> None:
    for purpose in (44, 84, 86):
        address = account_of(purpose).address(Keychain.EXTERNAL, 0)
        with pytest.raises(RemoteError):
            verify_message(MESSAGE, address, prefix + b64encode(raw).decode(), Network.REGTEST)
