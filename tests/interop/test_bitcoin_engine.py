"""Bitcoin Core's engine and a stock BDK wallet as judges of what is signed."""

from __future__ import annotations

from base64 import b64decode, b64encode

import bdkpython as bdk
import pytest
from tests.bitcoin_kit import (
    OUR_ENTROPY,
    Wallet,
    engine_accepts,
    make_wallet,
    spent_coins,
    unsigned_of,
)

from primegap.bitcoin.derivation import bdk_network, bdk_network_kind
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.keys import AccountSigner, account_private_key, entropy_to_words
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.transaction import parse_transaction_untrusted


def prepared(network: Network, coins: int = 4) -> tuple[Wallet, bytes]:
    wallet = make_wallet(network=network)
    for number in range(coins):
        wallet.fund(50_000 + number)
        wallet.fund(7_000, keychain=bdk.KeychainKind.INTERNAL)
    return wallet, wallet.pay(45_000 * coins, build=lambda builder: builder.add_data(b"note"))


@pytest.mark.parametrize("network", Network)
def test_from_entropy_to_a_transaction_the_engine_accepts(network: Network) -> None:
    wallet, psbt = prepared(network)
    review = review_psbt(psbt, wallet.account)
    key = account_private_key(OUR_ENTROPY, network, 0)
    with AccountSigner.from_private_key(key, network) as signer:
        signed = sign_psbt(psbt, review, review.digest, wallet.account, signer)
    finished = finalise(merge_signed(psbt, signed))
    assert engine_accepts(finished.raw, spent_coins(psbt))
    assert unsigned_of(finished.raw) == parse_psbt_untrusted(psbt).transaction


def test_the_engine_refuses_any_change() -> None:
    wallet, psbt = prepared(Network.REGTEST, coins=2)
    review = review_psbt(psbt, wallet.account)
    raw = finalise(sign_psbt(psbt, review, review.digest, wallet.account, wallet.signer)).raw
    coins = spent_coins(psbt)
    assert engine_accepts(raw, coins)
    # Everything in front of the witnesses, but for version, marker and counts, is covered.
    covered = len(parse_transaction_untrusted(raw).serialise(with_witness=False)) - 4
    refused = 0
    for position in range(7, covered, 3):
        changed = bytearray(raw)
        changed[position] ^= 1
        try:
            parse_transaction_untrusted(bytes(changed))
        except ValueError:
            continue
        except Exception:  # noqa: BLE001
            continue
        assert not engine_accepts(bytes(changed), coins)
        refused += 1
    assert refused > 50


def test_a_stock_wallet_signs_the_same() -> None:
    wallet, psbt = prepared(Network.SIGNET)
    review = review_psbt(psbt, wallet.account)
    signed = sign_psbt(psbt, review, review.digest, wallet.account, wallet.signer)
    kind = bdk_network_kind(Network.SIGNET)
    mnemonic = bdk.Mnemonic.from_string(" ".join(entropy_to_words(OUR_ENTROPY)))
    secret = bdk.DescriptorSecretKey(kind, mnemonic, None)
    stock = bdk.Wallet(
        bdk.Descriptor.new_bip84(secret, bdk.KeychainKind.EXTERNAL, kind),
        bdk.Descriptor.new_bip84(secret, bdk.KeychainKind.INTERNAL, kind),
        bdk_network(Network.SIGNET),
        bdk.Persister.new_in_memory(),
    )
    parsed = bdk.Psbt(b64encode(psbt).decode())
    stock.sign(
        parsed,
        bdk.SignOptions(
            trust_witness_utxo=False,
            assume_height=None,
            allow_all_sighashes=False,
            try_finalize=False,
            sign_with_tap_internal_key=False,
            allow_grinding=True,
        ),
    )
    expected = parse_psbt_untrusted(b64decode(parsed.serialize()))
    for ours, theirs in zip(parse_psbt_untrusted(signed).inputs, expected.inputs, strict=True):
        assert ours.items(InputField.PARTIAL_SIG) == theirs.items(InputField.PARTIAL_SIG)
