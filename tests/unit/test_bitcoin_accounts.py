"""Accounts: made from keys and descriptors, named by hashes, searched for addresses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import bdkpython as bdk
import pytest

from primegap.bitcoin.accounts import Account, AccountKey, AddressMatch, Keychain
from primegap.bitcoin.errors import (
    AccountFormatError,
    AccountNetworkError,
    AddressFormatError,
    AddressNetworkError,
    LocalError,
    PrivateKeyRefusedError,
)
from primegap.bitcoin.keys import account_key, account_private_key, key_at
from primegap.bitcoin.networks import Network
from primegap.bitcoin.paths import format_path, parse_path_untrusted
from primegap.bitcoin.xpub import parse_xpub_untrusted

ENTROPY = bytes(16)
KEY = account_key(ENTROPY, Network.MAINNET, 0)
ACCOUNT = Account.from_key(KEY, Network.MAINNET, name="Savings")


def without_checksum(descriptor: str) -> str:
    return descriptor.partition("#")[0]


def test_descriptors_are_those_of_bdk() -> None:
    mnemonic = bdk.Mnemonic.from_entropy(ENTROPY)
    secret = bdk.DescriptorSecretKey(bdk.NetworkKind.MAIN, mnemonic, None)
    for keychain, descriptor in (
        (bdk.KeychainKind.EXTERNAL, ACCOUNT.external),
        (bdk.KeychainKind.INTERNAL, ACCOUNT.internal),
    ):
        expected = bdk.Descriptor.new_bip84(secret, keychain, bdk.NetworkKind.MAIN)
        assert descriptor == str(expected)


def test_identity_does_not_depend_on_the_name() -> None:
    renamed = ACCOUNT.renamed("Other")
    assert renamed.name == "Other"
    assert renamed.id == ACCOUNT.id
    assert renamed.descriptor_hash == ACCOUNT.descriptor_hash
    others = {
        Account.from_key(account_key(ENTROPY, network, number), network).id
        for network in Network
        for number in (0, 1)
    }
    assert len(others | {ACCOUNT.id}) == 8
    assert len(ACCOUNT.id) == 32


@pytest.mark.parametrize("name", ["x" * 21, "a\nb", "\u202e", "\x00"])
def test_names_that_cannot_be_shown(name: str) -> None:
    with pytest.raises(AccountFormatError):
        ACCOUNT.renamed(name)
    with pytest.raises(AccountFormatError):
        Account.from_key(KEY, Network.MAINNET, name=name)


# --- descriptors of peers -----------------------------------------------------------------------


def test_two_descriptors() -> None:
    read = Account.parse_untrusted(
        ACCOUNT.external, ACCOUNT.internal, Network.MAINNET, name="Savings"
    )
    assert read == ACCOUNT


def test_one_descriptor_for_both() -> None:
    both = without_checksum(ACCOUNT.external).replace("/0/*", "/<0;1>/*")
    read = Account.parse_untrusted(both, None, Network.MAINNET, name="Savings")
    assert read == ACCOUNT


def test_other_ways_to_write_the_same() -> None:
    external, internal = (
        without_checksum(text).replace("'", "h").replace("73c5da0a", "73C5DA0A")
        for text in (ACCOUNT.external, ACCOUNT.internal)
    )
    assert Account.parse_untrusted(external, internal, Network.MAINNET, name="Savings") == ACCOUNT


def bad_descriptors() -> dict[str, tuple[str, str | None, type[Exception]]]:
    external, internal = ACCOUNT.external, ACCOUNT.internal
    bare, bare_internal = without_checksum(external), without_checksum(internal)
    private = account_private_key(ENTROPY, Network.MAINNET, 0)
    test_key = account_key(ENTROPY, Network.REGTEST, 0)
    other = Account.from_key(account_key(ENTROPY, Network.MAINNET, 1), Network.MAINNET)
    wif = "KyZpNDKnfs94vbrwhJneDi77V6jF64PWPF8x5cdJb8ifgg2DUc9d"
    letter = "q" if KEY.xpub[50] != "q" else "p"
    damaged = KEY.xpub[:50] + letter + KEY.xpub[51:]
    return {
        "empty": ("", "", AccountFormatError),
        "swapped": (internal, external, AccountFormatError),
        "twice": (external, external, AccountFormatError),
        "both and more": (bare.replace("/0/*", "/<0;1>/*"), internal, AccountFormatError),
        "half": (external, None, AccountFormatError),
        "two accounts": (external, other.internal, AccountFormatError),
        "wrong checksum": (bare + "#qqqqqqqq", internal, AccountFormatError),
        "private": (bare.replace(KEY.expression, private), internal, PrivateKeyRefusedError),
        "private change": (
            external,
            bare_internal.replace(KEY.expression, private),
            PrivateKeyRefusedError,
        ),
        "wif": (f"wpkh({wif})", internal, PrivateKeyRefusedError),
        "zprv": (bare.replace(KEY.xpub, "zprv" + "1" * 107), internal, PrivateKeyRefusedError),
        "other kind": (bare.replace("wpkh", "pkh"), internal, AccountFormatError),
        "taproot": (bare.replace("wpkh", "tr"), internal, AccountFormatError),
        "no origin": (f"wpkh({KEY.xpub}/0/*)", f"wpkh({KEY.xpub}/1/*)", AccountFormatError),
        "no wildcard": (bare.replace("/*", "/5"), internal, AccountFormatError),
        "hardened": (bare.replace("/0/*", "/0/*h"), internal, AccountFormatError),
        "other path": (
            bare.replace("84'", "44'"),
            bare_internal.replace("84'", "44'"),
            AccountFormatError,
        ),
        "other coin": (
            bare.replace("84'/0'", "84'/1'"),
            bare_internal.replace("84'/0'", "84'/1'"),
            AccountFormatError,
        ),
        "other number": (bare.replace("0'/0'", "0'/7'"), internal, AccountFormatError),
        "deep": (bare.replace("84'", "84'/0'"), internal, AccountFormatError),
        "test key": (
            f"wpkh({test_key.expression}/0/*)",
            f"wpkh({test_key.expression}/1/*)",
            AccountNetworkError,
        ),
        "damaged key": (bare.replace(KEY.xpub, damaged), internal, AccountFormatError),
        "long": (external + " " * 5000, internal, AccountFormatError),
        "line break": (external + "\n", internal, AccountFormatError),
        "digits": (bare.replace("84'", "٨٤'"), internal, AccountFormatError),
    }


@pytest.mark.parametrize("name", bad_descriptors())
def test_bad_descriptors(name: str) -> None:
    external, internal, error = bad_descriptors()[name]
    with pytest.raises(error) as caught:
        Account.parse_untrusted(external, internal, Network.MAINNET)
    assert type(caught.value) is error


def encode_xpub(raw: bytes) -> str:
    """Write an extended key: base58 with a checksum."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    check = hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]
    number, text = int.from_bytes(raw + check, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = alphabet[digit] + text
    return text


RAW = parse_xpub_untrusted(KEY.xpub, Network.MAINNET).raw


@pytest.mark.parametrize(
    "raw",
    [
        RAW[:45] + b"\x02" + b"\xff" * 32,
        RAW[:45] + b"\x04" + RAW[46:],
        RAW[:45] + b"\x00" + RAW[46:],
        bytes.fromhex("04b24746") + RAW[4:],
        bytes.fromhex("0488b21f") + RAW[4:],
    ],
    ids=["not on the curve", "uncompressed", "private", "zpub", "unknown"],
)
def test_keys_that_are_none(raw: bytes) -> None:
    assert encode_xpub(RAW) == KEY.xpub
    with pytest.raises(AccountFormatError):
        Account.from_key(replace(KEY, xpub=encode_xpub(raw)), Network.MAINNET)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (replace(KEY, fingerprint="xyz"), AccountFormatError),
        (replace(KEY, path="84'/0'/0'"), AccountFormatError),
        (replace(KEY, path="m"), AccountFormatError),
        (replace(KEY, path="m/84'/0'"), AccountFormatError),
        (replace(KEY, path="m/84'/0'/1'"), AccountFormatError),
        (replace(KEY, path="m/84'/0'/0"), AccountFormatError),
        (replace(KEY, path="m/84'/0'/2147483648'"), AccountFormatError),
        (replace(KEY, path="m" + "/0" * 13), AccountFormatError),
        (replace(KEY, xpub=""), AccountFormatError),
        (replace(KEY, xpub="l" * 111), AccountFormatError),
        (replace(KEY, xpub="z" * 111), AccountFormatError),
        (replace(KEY, xpub=account_key(ENTROPY, Network.REGTEST, 0).xpub), AccountNetworkError),
        (
            replace(KEY, xpub=account_private_key(ENTROPY, Network.MAINNET, 0).partition("]")[2]),
            PrivateKeyRefusedError,
        ),
    ],
)
def test_bad_keys(key: AccountKey, error: type[Exception]) -> None:
    with pytest.raises(error):
        Account.from_key(key, Network.MAINNET)


def test_kinds_that_are_not_supported_yet() -> None:
    with pytest.raises(AccountFormatError):
        Account.from_key(key_at(ENTROPY, Network.MAINNET, "m/48'/0'/0'/2'"), Network.MAINNET)


def test_paths_as_text_and_numbers() -> None:
    steps = (84 | 1 << 31, 0, (1 << 31) - 1)
    assert format_path(steps) == "m/84'/0/2147483647"
    assert parse_path_untrusted("m/84h/0/2147483647") == steps
    assert parse_path_untrusted("m") == ()
    assert format_path(()) == "m"


# --- addresses ----------------------------------------------------------------------------------


def test_searching_an_address() -> None:
    for keychain in Keychain:
        for index in (0, 1, 24, 25, 49, 50, 199):
            address = ACCOUNT.address(keychain, index)
            assert ACCOUNT.find_address(address) == AddressMatch(keychain, index)
    assert ACCOUNT.find_address(ACCOUNT.address(Keychain.EXTERNAL, 200)) is None


def test_scanned_requests_are_searched_too() -> None:
    address = ACCOUNT.address(Keychain.EXTERNAL, 3)
    expected = AddressMatch(Keychain.EXTERNAL, 3)
    assert ACCOUNT.find_address(f"bitcoin:{address}?amount=1&label=x") == expected
    assert ACCOUNT.find_address(f"BITCOIN:{address.upper()}") == expected


def test_the_search_grows_around_the_last_index_found() -> None:
    around = {Keychain.EXTERNAL: 1000}
    for index in (975, 1000, 1024):
        address = ACCOUNT.address(Keychain.EXTERNAL, index)
        assert ACCOUNT.find_address(address, count=50, around=around) == AddressMatch(
            Keychain.EXTERNAL, index
        )
    beyond = ACCOUNT.address(Keychain.EXTERNAL, 1025)
    assert ACCOUNT.find_address(beyond, count=50, around=around) is None
    assert ACCOUNT.find_address(beyond, count=51, around=around) is not None


def test_the_search_ends_at_the_last_index() -> None:
    last = (1 << 31) - 1
    address = ACCOUNT.address(Keychain.EXTERNAL, last)
    found = ACCOUNT.find_address(address, count=50, around={Keychain.EXTERNAL: last})
    assert found == AddressMatch(Keychain.EXTERNAL, last)


def test_a_strangers_address_is_not_found() -> None:
    assert ACCOUNT.find_address("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", count=50) is None


def test_searching_what_is_not_an_address() -> None:
    with pytest.raises(AddressFormatError):
        ACCOUNT.find_address("nothing")
    with pytest.raises(AddressFormatError):
        ACCOUNT.find_address("x" * 100_000)
    with pytest.raises(AddressNetworkError):
        ACCOUNT.find_address("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")


def test_bounds_of_a_search() -> None:
    address = ACCOUNT.address(Keychain.EXTERNAL, 0)
    for count in (0, -1, 10_001):
        with pytest.raises(LocalError):
            ACCOUNT.find_address(address, count=count)
    with pytest.raises(LocalError):
        ACCOUNT.find_address(address, around={Keychain.EXTERNAL: 1 << 31})
    for index in (-1, 1 << 31):
        with pytest.raises(LocalError):
            ACCOUNT.script(Keychain.EXTERNAL, index)


# --- start-up -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [
        "primegap.bitcoin",
        "primegap.bitcoin.psbt",
        "primegap.bitcoin.review_values",
        "primegap.bitcoin.address_uri",
    ],
)
def test_light_modules_do_not_import_bdk(module: str) -> None:
    code = f"import sys, {module}; sys.exit('bdkpython' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
