"""What other wallets are told about a seed: the seed of BIP-84, whose keys others published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bdkpython
import pytest

from primegap.bitcoin.derivation import normalise_descriptor
from primegap.bitcoin.descriptor_checksum import descriptor_checksum
from primegap.bitcoin.errors import LocalError, MultisigConfigError
from primegap.bitcoin.exports.formats import DeviceIdentity, public_summary
from primegap.bitcoin.exports.keys import ExportKeys, Slot, classic_xpub_untrusted
from primegap.bitcoin.exports.wallets import BY_ID, WALLETS, export_wallet
from primegap.bitcoin.keys import export_keys
from primegap.bitcoin.multisig_config import MultisigConfig, parse_multisig_untrusted
from primegap.bitcoin.networks import Network

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "wallet-exports.json").read_text()
)
DEVICE = DeviceIdentity("1.2.3", "0011223344556677", "Desk")
KEYS = export_keys(bytes(16), Network.MAINNET, 0)
OTHERS = [export_keys(bytes([n]) * 16, Network.MAINNET, 0) for n in (1, 2)]
# BIP-84 and BIP-86 give these for the words "abandon … about".
ZPUB = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtK"
    "sAYz2oz2AGutZYs"
)
SEGWIT = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
TAPROOT = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"


def exported(wallet: str, *, multisig: bool = False, keys: ExportKeys = KEYS) -> str:
    return export_wallet(
        BY_ID[wallet], keys, DEVICE, account_name="Savings", multisig=multisig
    ).text


def test_the_generic_form_has_its_keys_in_order_and_the_published_values() -> None:
    text = exported("sparrow")
    found = json.loads(text)
    order = "chain xpub xfp account bip44 bip49 bip84 bip48_1 bip48_2 bip86"
    assert list(found) == order.split()
    assert text.startswith('{"chain": "BTC", "xpub": "xpub661MyMwAqRbcFkPHucMnrGNzDwb6teAX1RbKQ')
    assert (found["xfp"], found["account"]) == ("73C5DA0A", 0)
    assert list(found["bip84"]) == ["deriv", "xpub", "xfp", "first", "name", "_pub"]
    assert found["bip84"]["_pub"] == ZPUB
    assert found["bip84"]["first"] == SEGWIT
    assert found["bip86"]["first"] == TAPROOT
    assert found["bip86"]["_pub"] == found["bip86"]["xpub"]
    assert "_pub" not in found["bip44"]
    assert found["bip48_2"]["first"] is None
    assert found["bip48_2"]["deriv"] == "m/48'/0'/0'/2'"


def test_the_fingerprint_of_an_entry_is_that_of_its_own_key() -> None:
    found = json.loads(exported("sparrow"))
    for slot in ("bip44", "bip84", "bip48_2"):
        child = str(
            bdkpython.DescriptorPublicKey.from_string(found[slot]["xpub"]).derive(
                bdkpython.DerivationPath("m/0")
            )
        )
        assert child.startswith(f"[{found[slot]['xfp'].lower()}/0]")


def test_multisig_keys_carry_the_letters_of_their_kind() -> None:
    text = exported("nunchuk", multisig=True)
    found = json.loads(text)
    assert list(found) == [
        "p2sh_deriv",
        "p2sh",
        "p2wsh_p2sh_deriv",
        "p2wsh_p2sh",
        "p2wsh_deriv",
        "p2wsh",
        "xfp",
    ]
    assert [found[name][:4] for name in ("p2sh", "p2wsh_p2sh", "p2wsh")] == ["xpub", "Ypub", "Zpub"]
    assert classic_xpub_untrusted(found["p2wsh"]) == KEYS.xpubs[Slot.P2WSH]
    assert json.loads(exported("theya", multisig=True))["fw_version"] == "1.2.3"
    test = exported("nunchuk", multisig=True, keys=export_keys(bytes(16), Network.SIGNET, 7))
    assert json.loads(test)["p2wsh"].startswith("Vpub")
    assert json.loads(test)["p2wsh_deriv"] == "m/48'/1'/7'/2'"


def test_electrum_forms() -> None:
    keystore = json.loads(exported("bluewallet"))["keystore"]
    assert keystore["ckcc_xfp"] == int.from_bytes(bytes.fromhex("73c5da0a"), "little")
    assert (keystore["xpub"], keystore["hw_type"]) == (ZPUB, "passport")
    assert keystore["label"] == "Passport (73C5DA0A)"
    export = export_wallet(BY_ID["electrum"], KEYS, DEVICE, account_name="", slot=Slot.P2SH_P2WPKH)
    watching = json.loads(export.text)["keystore"]
    assert watching["xpub"].startswith("ypub")
    assert watching["xprv"] is None
    with pytest.raises(LocalError):
        export_wallet(BY_ID["electrum"], KEYS, DEVICE, account_name="", slot=Slot.P2TR)


def test_bitcoin_core_takes_the_descriptors_in_its_own_writing() -> None:
    text = exported("bitcoin-core")
    for command in ("importdescriptors", "importmulti"):
        line = next(line for line in text.splitlines() if line.startswith(command))
        payload = json.loads(line.removeprefix(f"{command} '").removesuffix("'"))
        assert [item["internal"] for item in payload] == [False, True]
        for item in payload:
            assert (item["timestamp"], item["range"]) == ("now", [0, 1000])
            normalise_descriptor(item["desc"], Network.MAINNET)  # BDK judges the checksum
            assert "'" not in item["desc"]
    assert SEGWIT in text


def test_a_checksum_is_that_of_the_paper() -> None:
    assert descriptor_checksum("raw(deadbeef)") == "89f8spxm"  # BIP-380
    with pytest.raises(LocalError):
        descriptor_checksum("ü")


def test_other_forms_say_where_the_key_stands() -> None:
    envoy = json.loads(exported("envoy"))
    assert (envoy["fw_version"], envoy["acct_name"]) == ("v1.2.3", "Savings")
    assert envoy["bip86"]["derivation"] == "m/86'/0'/0'"
    vault = json.loads(exported("btcpay"))
    assert list(vault) == [
        "ExtPubKey",
        "MasterFingerprint",
        "AccountKeyPath",
        "FirmwareVersion",
        "Source",
    ]
    assert vault["AccountKeyPath"] == "84'/0'/0'"
    summary = public_summary(KEYS)
    assert exported("casa", multisig=True) == summary
    assert (ZPUB in summary, SEGWIT in summary, TAPROOT in summary) == (True, True, True)
    for line in exported("descriptors").splitlines():
        assert normalise_descriptor(line, Network.MAINNET) == line


def test_every_wallet_gets_the_same_bytes_for_ever() -> None:
    found = {}
    for wallet in WALLETS:
        for multisig in (False, True):
            if (wallet.multisig if multisig else wallet.single) is not None:
                export = export_wallet(
                    wallet, KEYS, DEVICE, account_name="Savings", multisig=multisig
                )
                found[export.file_name] = export.text
    assert found == VECTORS["files"]


# -- multisig files -------------------------------------------------------------------------------


def config(slot: Slot = Slot.P2WSH) -> MultisigConfig:
    keys = tuple(keys.key(slot) for keys in (KEYS, *OTHERS))
    return MultisigConfig("Family", 2, slot, keys, Network.MAINNET)


@pytest.mark.parametrize("slot", [Slot.P2WSH, Slot.P2SH_P2WSH, Slot.P2SH])
def test_a_configuration_is_read_as_it_was_written(slot: Slot) -> None:
    made = config(slot)
    assert parse_multisig_untrusted(made.text(), Network.MAINNET) == made
    for chain in ("0", "<0;1>"):
        read = parse_multisig_untrusted(made.descriptor(chain), Network.MAINNET)
        assert (read.keys, read.slot, read.name) == (made.keys, slot, "2-of-3")
        assert read.is_same_wallet(made)
    assert made.own_key("73c5da0a").path == slot.path(Network.MAINNET, 0)


def test_files_of_other_coordinators_are_read() -> None:
    text = (
        "# Coldcard Multisig setup file (exported from unchained-wallets)\n"
        "# https://example.com/Policy: 9 of 9\n"
        "name: Vault\npolicy: 2/3\nformat: p2wsh-p2sh\n\n"
        + "".join(
            f"# derivation: {keys.path(Slot.P2SH_P2WSH)}\n"
            f"{keys.fingerprint}: {keys.slip132(Slot.P2SH_P2WSH)}\n"
            for keys in (KEYS, *OTHERS)
        )
    )
    read = parse_multisig_untrusted(text, Network.MAINNET)
    assert (read.name, read.threshold, read.slot) == ("Vault", 2, Slot.P2SH_P2WSH)
    assert read.keys == config(Slot.P2SH_P2WSH).keys
    bare = "Policy: 1 of 2\n" + "".join(f"{keys.xpubs[Slot.P2SH]}\n" for keys in OTHERS)
    assert [key.path for key in parse_multisig_untrusted(bare, Network.MAINNET).keys] == [
        "m/45'"
    ] * 2


def broken(old: str, new: str) -> str:
    text = config().text()
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    "text",
    [
        broken("2 of 3", "3 of 2"),
        broken("2 of 3", "0 of 3"),
        broken("2 of 3", "2 of 4"),
        broken("2 of 3", "all"),
        broken("Family", "x" * 21),
        broken("Family", "Fämily"),
        broken("P2WSH", "P2TR"),
        broken("0'/2'", "0'/3'"),
        broken("Derivation", "Deviation"),
        broken("Derivation", "# Derivation: m/1\n#"),
        broken("73C5DA0A", OTHERS[0].fingerprint),
        broken("xpub6Dk", "xpub6Dx"),
        f"Policy: 1 of 1\n{KEYS.xpubs[Slot.P2SH]}",
        config().descriptor("0").replace("sortedmulti", "multi"),
        config().descriptor("0")[:-1] + "q",
        "",
        "x" * 9000,
    ],
)
def test_what_does_not_hold_is_refused(text: str) -> None:
    with pytest.raises(MultisigConfigError):
        parse_multisig_untrusted(text, Network.MAINNET)


def test_a_wallet_of_another_network_is_refused() -> None:
    with pytest.raises(MultisigConfigError):
        parse_multisig_untrusted(config().text(), Network.SIGNET)
    with pytest.raises(MultisigConfigError):
        config().own_key("00000000")
