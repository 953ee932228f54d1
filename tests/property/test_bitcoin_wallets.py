"""Random wallets of every kind, and mutated PSBTs: what is signed is what was approved.

A few examples by default; `PRIMEGAP_WALLETS=500` tries that many.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

import bdkpython as bdk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bitcoin_kit import engine_accepts, wallet_of

from primegap.bitcoin.accounts import Account
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.keys import AccountSigner, key_at, private_key_at
from primegap.bitcoin.networks import Network
from primegap.bitcoin.paths import account_path
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.wallet_policy import parse_template_untrusted

NETWORK = Network.REGTEST
SINGLE = (44, 49, 84, 86)
SHARED = (
    "wsh(sortedmulti(2,@0/**,@1/**,@2/**))",
    "sh(wsh(multi(2,@0/**,@1/**,@2/**)))",
    "wsh(thresh(2,pk(@0/**),s:pk(@1/**),s:pk(@2/**)))",
    "wsh(and_v(v:pk(@0/**),pk(@1/**)))",
)
EXAMPLES = settings(
    max_examples=int(os.environ.get("PRIMEGAP_WALLETS", "6")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
SIGNATURES = (InputField.PARTIAL_SIG, InputField.TAP_KEY_SIG, InputField.TAP_SCRIPT_SIG)


def signer_of(seed: bytes, path: str) -> AccountSigner:
    return AccountSigner.from_private_key(private_key_at(seed, NETWORK, path), NETWORK)


def accounts_of(kind: int | str, seeds: tuple[bytes, ...], number: int) -> list[Account]:
    """The wallet as each device that has to sign sees it."""
    if isinstance(kind, int):
        path = account_path(NETWORK, number, kind)
        return [Account.from_key(key_at(seeds[0], NETWORK, path), NETWORK)]
    template = parse_template_untrusted(kind)
    path = account_path(NETWORK, number, 48)
    keys = tuple(key_at(seed, NETWORK, path) for seed in seeds)[: template.key_count]
    return [Account.from_policy(template, keys, NETWORK, own=own) for own in range(2)]


@given(
    kind=st.sampled_from([*SINGLE, *SHARED]),
    seeds=st.lists(st.binary(min_size=16, max_size=16), min_size=3, max_size=3, unique=True),
    number=st.integers(0, (1 << 31) - 1),
    coins=st.lists(st.integers(20_000, 10_000_000), min_size=1, max_size=5),
    share=st.integers(20, 90),
    fee_rate=st.integers(1, 20),
)
@EXAMPLES
def test_random_wallets_pay_what_the_engine_accepts(
    kind: int | str, seeds: list[bytes], number: int, coins: list[int], share: int, fee_rate: int
) -> None:
    accounts = accounts_of(kind, tuple(seeds), number)
    signers = [
        signer_of(seed, account.own_key.path)
        for seed, account in zip(seeds, accounts, strict=False)
    ]
    wallet = wallet_of(signers[0], accounts[0])
    for place, coin in enumerate(coins):
        wallet.fund(coin, keychain=list(bdk.KeychainKind)[place % 2])
    try:
        psbt = wallet.pay(sum(coins) * share // 100, fee_rate=fee_rate)
    except bdk.CreateTxError:
        return  # dust, or the fee is more than what is left
    signed = psbt
    coins_spent: list[tuple[int, bytes]] = []
    for account, signer in zip(accounts, signers, strict=True):
        review = review_psbt(signed, account)
        assert sum(item.amount for item in review.inputs) == review.fee + sum(
            item.amount for item in review.outputs
        )
        coins_spent = [(item.amount, item.script) for item in review.inputs]
        signed = sign_psbt(signed, review, review.digest, account, signer)
    finished = finalise(merge_signed(psbt, signed))
    assert engine_accepts(finished.raw, coins_spent)


@cache
def approved(kind: int | str) -> tuple[bytes, Account, AccountSigner]:
    account = accounts_of(kind, (bytes(16), bytes([1]) * 16, bytes([2]) * 16), 0)[0]
    signer = signer_of(bytes(16), account.own_key.path)
    wallet = wallet_of(signer, account)
    wallet.fund(50_000)
    wallet.fund(60_000)
    return wallet.pay(90_000), account, signer


@given(
    kind=st.sampled_from([*SINGLE, *SHARED]),
    at=st.floats(0, 1, exclude_max=True),
    change=st.integers(1, 255),
    cut=st.integers(0, 3),
)
@settings(EXAMPLES, max_examples=15 * EXAMPLES.max_examples)
def test_mutated_psbts_never_get_a_signature_that_nobody_approved(
    kind: int | str, at: float, change: int, cut: int
) -> None:
    psbt, account, signer = approved(kind)
    shown = review_psbt(psbt, account)
    position = int(at * len(psbt))
    mutated = psbt[:position] + bytes((psbt[position] ^ change,)) + psbt[position + 1 + cut :]
    with suppress(BitcoinError):
        result = parse_psbt_untrusted(sign_psbt(mutated, shown, shown.digest, account, signer))
        before = parse_psbt_untrusted(psbt)
        assert result.transaction == before.transaction
        honest = parse_psbt_untrusted(sign_psbt(psbt, shown, shown.digest, account, signer))
        for mine, theirs in zip(result.inputs, honest.inputs, strict=True):
            for field in SIGNATURES:
                assert mine.items(field) == theirs.items(field)
