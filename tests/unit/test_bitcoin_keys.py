"""Seeds, dice and the capability to sign: right when used rightly, silent about secrets."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import bdkpython as bdk
import pytest

from primegap.bitcoin.accounts import Account
from primegap.bitcoin.errors import (
    LocalError,
    MnemonicChecksumError,
    MnemonicLengthError,
    MnemonicWordError,
)
from primegap.bitcoin.keys import (
    AccountSigner,
    account_key,
    account_private_key,
    entropy_to_words,
    key_at,
    master_fingerprint,
    mix_entropy,
    words_to_entropy,
)
from primegap.bitcoin.networks import Network

ENTROPY = bytes(range(32))


# --- words --------------------------------------------------------------------------------------


def test_words_may_be_typed_in_upper_case() -> None:
    words = [word.upper() for word in entropy_to_words(ENTROPY)]
    assert words_to_entropy(words) == ENTROPY


@pytest.mark.parametrize("count", [0, 11, 13, 15, 21, 23, 25, 48])
def test_other_numbers_of_words(count: int) -> None:
    with pytest.raises(MnemonicLengthError):
        words_to_entropy(["abandon"] * count)


@pytest.mark.parametrize("position", range(1, 13))
@pytest.mark.parametrize("word", ["", "abandonn", "aband", "abandon ", "zoology" * 1000, "café"])
def test_the_wrong_word_is_named_by_its_position(position: int, word: str) -> None:
    words = list(entropy_to_words(bytes(16)))
    words[position - 1] = word
    with pytest.raises(MnemonicWordError) as caught:
        words_to_entropy(words)
    assert caught.value.position == position
    assert word == "" or word not in str(caught.value)


def test_words_that_do_not_belong_together() -> None:
    with pytest.raises(MnemonicChecksumError):
        words_to_entropy(["abandon"] * 12)
    swapped = list(entropy_to_words(ENTROPY))
    swapped[0], swapped[1] = swapped[1], swapped[0]
    with pytest.raises(MnemonicChecksumError):
        words_to_entropy(swapped)


@pytest.mark.parametrize("entropy", [b"", bytes(15), bytes(20), bytes(33)])
def test_other_sizes_of_entropy(entropy: bytes) -> None:
    for call in (entropy_to_words, master_fingerprint, lambda e: mix_entropy(e, "")):
        with pytest.raises(LocalError):
            call(entropy)


# --- dice ---------------------------------------------------------------------------------------


def test_mixing_is_the_documented_hash() -> None:
    # printf 'primegap/mix-entropy/v1\x10' … | sha256sum
    mixed = mix_entropy(bytes(16), "123456")
    assert mixed.hex() == "8188f92f93d9afe0ddc203127bcbcf4e"
    assert (
        mix_entropy(bytes(32), "").hex()
        == "95ab11a4ae91e2f68c4e4be7bf419a7e3e9d356b4defbcfa367762406d9fb4fc"
    )


def test_every_part_counts() -> None:
    results = {
        mix_entropy(kernel, rolls)
        for kernel in (bytes(16), bytes(15) + b"\x01", bytes(32))
        for rolls in ("", "1", "11", "2")
    }
    assert len(results) == 12


@pytest.mark.parametrize("rolls", ["0", "7", "1 2", "١", "x", "1" * 1025])
def test_what_dice_do_not_show(rolls: str) -> None:
    with pytest.raises(LocalError):
        mix_entropy(bytes(16), rolls)


# --- keys ---------------------------------------------------------------------------------------


def test_the_fingerprint_of_the_bip84_seed() -> None:
    assert master_fingerprint(bytes(16)) == "73c5da0a"


@pytest.mark.parametrize("network", Network)
def test_account_keys_of_every_network(network: Network) -> None:
    key = account_key(ENTROPY, network, 3)
    assert key.path == f"m/84'/{int(network is not Network.MAINNET)}'/3'"
    assert key.fingerprint == master_fingerprint(ENTROPY)
    assert key.xpub.startswith("xpub" if network is Network.MAINNET else "tpub")
    assert Account.from_key(key, network).keys == (key,)


@pytest.mark.parametrize("number", [-1, 1 << 31])
def test_account_numbers_out_of_range(number: int) -> None:
    with pytest.raises(LocalError):
        account_key(ENTROPY, Network.MAINNET, number)


def test_kinds_that_are_not_supported_yet() -> None:
    with pytest.raises(LocalError):
        account_key(ENTROPY, Network.MAINNET, 0, purpose=45)
    with pytest.raises(LocalError):
        key_at(ENTROPY, Network.MAINNET, "m")
    with pytest.raises(LocalError):
        key_at(ENTROPY, Network.MAINNET, "m/83696968'/39'/0'")
    with pytest.raises(LocalError):
        key_at(ENTROPY, Network.MAINNET, "m/84'/0'/0")


def test_the_private_key_is_bdks() -> None:
    mnemonic = bdk.Mnemonic.from_string(" ".join(entropy_to_words(ENTROPY)))
    master = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, mnemonic, None)
    expected = str(master.derive(bdk.DerivationPath("m/84h/1h/0h")))
    assert account_private_key(ENTROPY, Network.SIGNET, 0) == expected


def test_a_signer_knows_its_key() -> None:
    key = account_private_key(ENTROPY, Network.REGTEST, 1)
    signer = AccountSigner.from_private_key(key, Network.REGTEST)
    assert signer.key == account_key(ENTROPY, Network.REGTEST, 1)
    assert signer.key == AccountSigner.from_entropy(ENTROPY, Network.REGTEST, 1).key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "nonsense",
        account_private_key(ENTROPY, Network.MAINNET, 0),
        account_key(ENTROPY, Network.REGTEST, 0).expression,
        account_private_key(ENTROPY, Network.REGTEST, 0).replace("84'", "45'"),
        account_private_key(ENTROPY, Network.REGTEST, 0).partition("]")[2],
    ],
    ids=["empty", "nonsense", "network", "public", "purpose", "origin"],
)
def test_keys_that_are_not_an_accounts(key: str) -> None:
    with pytest.raises(LocalError) as caught:
        AccountSigner.from_private_key(key, Network.REGTEST)
    assert "prv" not in f"{caught.value!r}"
    assert caught.value.__suppress_context__


@pytest.mark.guarantee("H-1", tried="pickle and copy of a signer")
@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_signer_is_neither_copied_nor_stored(act: Callable[[object], object]) -> None:
    signer = AccountSigner.from_entropy(ENTROPY, Network.REGTEST, 0)
    with pytest.raises(TypeError):
        act(signer)


@pytest.mark.guarantee("H-1", tried="repr and str of a signer")
def test_a_signer_shows_nothing() -> None:
    signer = AccountSigner.from_entropy(ENTROPY, Network.REGTEST, 0)
    assert repr(signer) == str(signer) == f"{signer}" == "<AccountSigner>"
    assert not hasattr(signer, "__dict__")


def test_a_closed_signer_does_not_sign() -> None:
    with AccountSigner.from_entropy(ENTROPY, Network.REGTEST, 0) as signer:
        pass
    with pytest.raises(LocalError):
        signer.sign_ecdsa(0, 0, bytes(32))
    with pytest.raises(LocalError):
        signer.sign_schnorr(0, 0, bytes(32))
