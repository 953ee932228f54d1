"""Published vectors: seed words, derivation, addresses, PSBT, signature digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from primegap.bitcoin.accounts import Account, AddressMatch, Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.derivation import address_of_script, script_of_address
from primegap.bitcoin.errors import (
    AddressFormatError,
    DerivationFieldError,
    KeyFieldError,
    MapCountError,
    PsbtDuplicateKeyError,
    PsbtFormatError,
    PsbtMagicError,
    PsbtRefusedError,
    UnsignedTransactionError,
)
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.keys import account_key
from primegap.bitcoin.mnemonic import entropy_to_words, seed_words, words_to_entropy
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sighash import SegwitHasher, is_signature_of, p2wpkh_script_code
from primegap.bitcoin.transaction import parse_transaction_untrusted

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"bitcoin-{name}.json").read_text(encoding="utf-8"))


BIP39 = load("bip39")
BIP84 = load("bip84")
BIP143 = load("bip143")
BIP174 = load("bip174")
BIP350 = load("bip350-addresses")
BIP371 = load("bip371")

REASONS: dict[str, type[PsbtRefusedError]] = {
    "network-transaction-not-psbt-format": PsbtMagicError,
    "psbt-missing-outputs": MapCountError,
    "psbt-where-inputs-and-outputs-are-provided-but-without-an-unsigned-tx": (
        UnsignedTransactionError
    ),
    "psbt-where-one-input-has-a-filled-scriptsig-in-the-unsigned-tx": UnsignedTransactionError,
    "psbt-with-duplicate-keys-in-an-input": PsbtDuplicateKeyError,
    "psbt-with-invalid-bip32-typed-key": KeyFieldError,
    "psbt-with-invalid-pubkey-in-output-bip-32-derivation-paths-typed-key": KeyFieldError,
    "psbt-with-invalid-pubkey-length-for-input-partial-signature-typed-key": KeyFieldError,
    "psbt-with-invalid-global-transaction-typed-key": UnsignedTransactionError,
}


def ids(cases: list[dict[str, Any]]) -> list[str]:
    return [case["id"] for case in cases]


# --- BIP-39, BIP-84 -----------------------------------------------------------------------------


def test_the_word_list_is_the_published_one() -> None:
    text = "".join(f"{word}\n" for word in seed_words())
    assert hashlib.sha256(text.encode()).hexdigest() == BIP39["setup"]["wordlist_sha256"]


@pytest.mark.parametrize("case", BIP39["cases"], ids=lambda case: case["entropy"][:8])
def test_words_of_bip39(case: dict[str, str]) -> None:
    entropy, words = bytes.fromhex(case["entropy"]), tuple(case["words"].split())
    assert entropy_to_words(entropy) == words
    assert words_to_entropy(words) == entropy


@pytest.mark.parametrize("case", BIP84["cases"], ids=lambda case: case["address"])
def test_addresses_of_bip84(case: dict[str, Any]) -> None:
    entropy = words_to_entropy(BIP84["setup"]["words"].split())
    key = account_key(entropy, Network.MAINNET, 0)
    account = Account.from_key(key, Network.MAINNET)
    place = AddressMatch(Keychain(case["keychain"]), case["index"])
    assert key.path == BIP84["setup"]["account"]
    assert account.address(place.keychain, place.index) == case["address"]
    assert account.public_keys(place.keychain, place.index)[0].hex() == case["public_key"]
    assert account.find_address(case["address"]) == place


# --- BIP-173, BIP-350 ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", BIP350["valid"], ids=lambda case: case["address"])
def test_valid_addresses_of_bip350(case: dict[str, str]) -> None:
    network = Network(BIP350["setup"][case["address"][:2].lower()])
    script = script_of_address(case["address"], network)
    assert script.hex() == case["script"]
    assert address_of_script(script, network) == case["address"].lower()


@pytest.mark.parametrize("network", Network)
@pytest.mark.parametrize("case", BIP350["invalid"], ids=lambda case: case["reason"])
def test_invalid_addresses_of_bip350(case: dict[str, str], network: Network) -> None:
    with pytest.raises(AddressFormatError):
        script_of_address(case["address"], network)


# --- BIP-174, BIP-371 ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", BIP174["invalid"], ids=ids(BIP174["invalid"]))
def test_invalid_psbts_of_bip174(case: dict[str, Any]) -> None:
    with pytest.raises(REASONS.get(case["id"], PsbtFormatError)):
        parse_psbt_untrusted(bytes.fromhex(case["in"]["psbt"]))


@pytest.mark.parametrize("case", BIP371["invalid"], ids=ids(BIP371["invalid"]))
def test_invalid_psbts_of_bip371(case: dict[str, Any]) -> None:
    with pytest.raises((PsbtFormatError, DerivationFieldError)):
        parse_psbt_untrusted(bytes.fromhex(case["in"]["psbt"]))


VALID = [*BIP174["valid"], *BIP174["refused_by_signers"], *BIP371["valid"]]


@pytest.mark.parametrize("case", VALID, ids=ids(VALID))
def test_valid_psbts_come_back_byte_for_byte(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["in"]["psbt"])
    assert parse_psbt_untrusted(data).serialise() == data


@pytest.mark.parametrize("case", VALID, ids=ids(VALID))
def test_no_foreign_psbt_passes_the_review(case: dict[str, Any]) -> None:
    key = account_key(bytes(16), Network.MAINNET, 0)
    with pytest.raises(PsbtRefusedError):
        review_psbt(bytes.fromhex(case["in"]["psbt"]), Account.from_key(key, Network.MAINNET))


def test_combining_as_in_bip174() -> None:
    first, second = (bytes.fromhex(text) for text in BIP174["combine"]["in"])
    expected = parse_psbt_untrusted(bytes.fromhex(BIP174["combine"]["out"]))
    for draft, other in ((first, second), (second, first)):
        merged = parse_psbt_untrusted(merge_signed(draft, other))
        assert merged.globals == expected.globals
        assert [set(part.entries) for part in merged.inputs] == [
            set(part.entries) for part in expected.inputs
        ]


def test_finishing_as_in_bip174() -> None:
    network_transaction = bytes.fromhex(BIP174["extract"]["out"])
    signed = bytes.fromhex(BIP174["combine"]["out"])
    finished = bytes.fromhex(BIP174["extract"]["in"])
    assert finalise(signed).raw == network_transaction
    assert finalise(finished).raw == network_transaction


# --- BIP-143 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BIP143["cases"], ids=ids(BIP143["cases"]))
def test_digests_and_signatures_of_bip143(case: dict[str, Any]) -> None:
    given, expected = case["in"], case["out"]
    transaction = parse_transaction_untrusted(bytes.fromhex(given["unsigned"]))
    code = p2wpkh_script_code(bytes.fromhex(given["witness_program"]))
    amount = Satoshi(given["amount_sat"])
    digest = SegwitHasher(transaction).digest(given["index"], code, amount)
    signature, key = bytes.fromhex(expected["signature"]), bytes.fromhex(given["public_key"])
    assert digest.hex() == expected["sighash"]
    assert is_signature_of(signature, key, digest)
    other_amount = SegwitHasher(transaction).digest(given["index"], code, Satoshi(amount + 1))
    assert not is_signature_of(signature, key, other_amount)
    assert not is_signature_of(signature[:-1] + b"\x03", key, digest)
