"""Typed values of the UR types against the papers' and another library's vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primegap.airgap import PrivateKeyInUrError, RemoteAirgapError, Ur, UrDecoder
from primegap.airgap.ur.registry import (
    Generation,
    account_from_ur,
    account_to_ur,
    address_from_ur,
    descriptor_from_text,
    descriptor_from_ur,
    descriptor_to_ur,
    eckey_from_ur,
    hdkey_from_ur,
    hdkey_to_ur,
    seed_from_ur,
    seed_to_ur,
    sskr_from_ur,
    sskr_to_ur,
    words_from_ur,
)
from primegap.airgap.ur.value import encode_value, parse_value_untrusted

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "ur-vectors.json").read_text()
)
ROWS = VECTORS["registry"]
DESCRIPTORS = VECTORS["output_descriptor_v3"]["rows"]
PLAIN = {"envelope", "xid", "psbt", "crypto-psbt"}


def rows(*types: str) -> list[Any]:
    found = [row for row in ROWS if row["type"] in types]
    assert found
    return [pytest.param(row, id=f"{row['type']}-{row['cbor_hex'][:14]}") for row in found]


def ur_of(row: dict[str, Any]) -> Ur:
    decoder = UrDecoder()
    decoder.receive(row["ur"])
    assert decoder.result is not None
    assert decoder.result.cbor.hex() == row["cbor_hex"]
    return decoder.result


@pytest.mark.parametrize("row", rows(*{row["type"] for row in ROWS}))
def test_every_value_encodes_to_itself(row: dict[str, Any]) -> None:
    if row["type"] == "envelope" and row["cbor_hex"] != "00":
        return  # holds maps and tags of its own world
    cbor = bytes.fromhex(row["cbor_hex"])
    assert encode_value(parse_value_untrusted(cbor)) == cbor


def is_private(row: dict[str, Any]) -> bool:
    return row["cbor_hex"][:6] in {"a301f5", "a202f5"}


@pytest.mark.parametrize("row", rows("hdkey", "crypto-hdkey"))
def test_keys(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    if is_private(row):
        with pytest.raises(PrivateKeyInUrError):
            hdkey_from_ur(ur)
        return
    key = hdkey_from_ur(ur)
    assert hdkey_to_ur(key, Generation.of(row["type"])) == ur
    assert key.xpub().startswith(("xpub", "tpub"))


def test_a_key_of_the_paper_as_text() -> None:
    """The second vector of BCR-2020-007: a testnet key at 44'/1'/1'/0/1."""
    row = next(r for r in ROWS if r["type"] == "hdkey" and r["cbor_hex"].startswith("a50358"))
    key = hdkey_from_ur(ur_of(row))
    assert str(key.origin) == "/44'/1'/1'/0/1"
    assert key.parent_fingerprint == 0xE9181CF3
    assert key.xpub() == (
        "tpubDHW3GtnVrTatx38EcygoSf9UhUd9Dx1rht7FAL8unrMo8r2NWhJuYNqDFS7cZFVbDaxJkV94MLZAr86XFPsAPYcoHWJ7sWYsrmHDw5sKQ2K"
    )


@pytest.mark.parametrize("row", rows("eckey", "crypto-eckey"))
def test_bare_keys(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    if is_private(row):
        with pytest.raises(PrivateKeyInUrError):
            eckey_from_ur(ur)
    else:
        assert encode_value(eckey_from_ur(ur).to_value()) == ur.cbor


@pytest.mark.parametrize("row", rows("address", "crypto-address"))
def test_addresses(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    assert address_from_ur(ur).to_ur(Generation.of(row["type"])) == ur


@pytest.mark.parametrize("row", rows("seed", "crypto-seed"))
def test_seeds(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    if row["cbor_hex"].startswith("a10158329d"):
        assert len(seed_from_ur(ur).entropy) == 50
    seed = seed_from_ur(ur)
    back = seed_to_ur(seed, row["type"])
    assert seed_from_ur(back) == seed
    if "d8641947da" in row["cbor_hex"]:  # 12 May 2020, in days
        assert seed.created_s == 18394 * 86_400
    else:
        assert back == ur
    assert seed.entropy.hex() not in repr(seed)


@pytest.mark.parametrize("row", rows("sskr", "crypto-sskr"))
def test_shares(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    share = sskr_from_ur(ur)
    assert share.identifier == 0x4BBF
    assert (share.group_threshold, share.group_count) == (2, 2)
    assert share.member_threshold == (2 if share.group_index == 0 else 3)
    assert sskr_to_ur(share, row["type"]) == ur


@pytest.mark.parametrize("row", rows("crypto-bip39"))
def test_words(row: dict[str, Any]) -> None:
    assert words_from_ur(ur_of(row)) == (
        "shield", "group", "erode", "awake", "lock", "sausage",
        "cash", "glare", "wave", "crew", "flame", "glove",
    )  # fmt: skip


@pytest.mark.parametrize("row", rows("crypto-output"))
def test_descriptors_of_the_first_generation(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    descriptor = descriptor_from_ur(ur)
    assert descriptor_to_ur(descriptor) == ur
    text = str(descriptor)
    assert str(descriptor_from_text(text)) == text


def test_texts_of_the_papers_descriptors() -> None:
    texts = [str(descriptor_from_ur(ur_of(r))) for r in ROWS if r["type"] == "crypto-output"]
    assert texts[0] == "pkh(02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5)"
    assert (
        texts[1] == "sh(wpkh(03fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556))"
    )
    assert texts[2] == (
        "sh(multi(2,022f01e5e15cca351daff3843fb70f3c2f0a1bdd05e5af888a67784ef3e10a2a01,"
        "03acd484e2f0c7f65309ad178a9f559abde09796974c57e714c35f110dfc27ccbe))"
    )
    assert texts[3].startswith("pkh([d34db33f/44'/0'/0']xpub6ERApfZ")
    assert texts[3].endswith("/1/*)")
    assert texts[4].startswith(
        "wsh(multi(1,xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB/1/0/*,"
    )


def test_another_library_reads_the_texts() -> None:
    import bdkpython

    for row in ROWS:
        if row["type"] == "crypto-output":
            text = str(descriptor_from_ur(ur_of(row)))
            assert str(bdkpython.Descriptor(text, bdkpython.NetworkKind.MAIN)).startswith(text)


@pytest.mark.parametrize("row", DESCRIPTORS, ids=lambda row: row["text_descriptor"][:12])
def test_descriptors_of_the_second_generation(row: dict[str, Any]) -> None:
    decoder = UrDecoder()
    decoder.receive(row["ur"])
    ur = decoder.result
    assert ur is not None
    if row["text_descriptor"].startswith("pkh(K"):
        with pytest.raises(PrivateKeyInUrError):
            descriptor_from_ur(ur)
        return
    if row["text_descriptor"].startswith("addr("):
        with pytest.raises(RemoteAirgapError):
            descriptor_from_ur(ur)
        return
    descriptor = descriptor_from_ur(ur)
    assert str(descriptor) == row["text_descriptor"]
    assert descriptor_to_ur(descriptor, Generation.V2) == ur
    assert descriptor_from_text(row["text_descriptor"]).source == descriptor.source


@pytest.mark.parametrize("row", rows("crypto-account", "account-descriptor"))
def test_accounts(row: dict[str, Any]) -> None:
    ur = ur_of(row)
    account = account_from_ur(ur)
    assert account.fingerprint == 0x37B5EED4
    texts = [str(descriptor) for descriptor in account.descriptors]
    assert texts[0].startswith(
        "pkh([37b5eed4/44'/0'/0']xpub6CnQkivUEH9bSbWVWfDLCtigKKgnSWGaVSRyCbN2QNBJzuvHT1vUQpgSpY1NiVvoeNEuVwk748Cn9G3NtbQB1aGGsEL7aYEnjVWgjj9tefu"
    )
    assert len(texts) == len(account.descriptors) >= 6
    assert account_to_ur(account, Generation.of(row["type"])) == ur
