"""Account updates: what travels, and what the companion refuses."""

from __future__ import annotations

import dataclasses
import hashlib

import cbor2
import pytest

from primegap.quantumlink.api import cbor_codec
from primegap.quantumlink.api.accounts import (
    MAX_DESCRIPTOR_CHARS,
    MAX_UPDATE_BYTES,
    AccountMetadata,
    AccountNetwork,
    AddressType,
    DescriptorPair,
    RemoteUpdate,
    descriptor_hash,
    encode_remote_update,
    make_remote_update,
    parse_remote_update_untrusted,
)
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import BadValueError

# Account keys published with BIP 84 and BIP 86, and the private twin of the first.
ZPUB = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZX"
    "YVUhLv1VMrjPC7PW6V"
)
XPUB = (
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yf"
    "dDEHGCtMMj92pReUsQ"
)
XPRV = (
    "xprv9ybY78BftS5UGANki6oSifuQEjkpyAC8ZmBvBNTshQnCBcxnefjHS7buPMkkqhcRzmoGZ5bokx7GuyDAiktd5RemY"
    "xSPyqmehBpgPqJdTKX"
)


def pair(kind: AddressType = AddressType.P2WPKH, key: str = ZPUB) -> DescriptorPair:
    wrap = "wpkh({}/{}/*)" if kind is AddressType.P2WPKH else "tr({}/{}/*)"
    origin = f"[73c5da0a/84'/0'/0']{key}"
    return DescriptorPair(
        internal=wrap.format(origin, 1), external=wrap.format(origin, 0), address_type=kind
    )


def update(**changes: object) -> RemoteUpdate:
    made = make_remote_update(
        account_id="acc-1",
        network=AccountNetwork.REGTEST,
        sequence=0,
        metadata=AccountMetadata(name="Everyday", color="#ff8800"),
        descriptors=(pair(AddressType.P2TR, XPUB), pair()),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_an_update_comes_back() -> None:
    assert parse_remote_update_untrusted(encode_remote_update(update())) == update()


def test_an_update_is_a_map_with_text_keys_for_any_reader() -> None:
    decoded = cbor2.loads(encode_remote_update(update()))
    assert list(decoded) == [
        "account_id",
        "network",
        "descriptor_hash",
        "sequence",
        "metadata",
        "descriptors",
    ]
    assert decoded["metadata"] == {"name": "Everyday", "color": "#ff8800", "archived": False}
    assert decoded["network"] == "regtest"
    assert decoded["descriptors"][1]["address_type"] == "P2WPKH"


def test_the_hash_is_over_sorted_descriptors_internal_first() -> None:
    segwit, taproot = pair(), pair(AddressType.P2TR, XPUB)
    texts = (segwit.internal, segwit.external, taproot.internal, taproot.external)
    expected = hashlib.sha256("".join(texts).encode()).digest()
    assert descriptor_hash((taproot, segwit)) == descriptor_hash((segwit, taproot)) == expected


@pytest.mark.parametrize(
    "private",
    [
        f"wpkh({XPRV}/0/*)",
        f"wpkh([73c5da0a/84h/1h/0h]t{XPRV[1:]}/0/*)",
        "pkh(5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss)",
        "wpkh(L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1)",
    ],
)
def test_private_descriptors_are_refused_on_both_sides(private: str) -> None:
    descriptors = (dataclasses.replace(pair(), external=private),)
    bad = update(descriptors=descriptors, descriptor_hash=descriptor_hash(descriptors))
    with pytest.raises(BadValueError) as caught:
        parse_remote_update_untrusted(cbor_codec(RemoteUpdate).encode(bad))
    assert private[5:20] not in str(caught.value)
    with pytest.raises(LocalError):
        make_remote_update(
            account_id="a",
            network=AccountNetwork.BITCOIN,
            sequence=1,
            metadata=AccountMetadata(name="x"),
            descriptors=descriptors,
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"account_id": ""},
        {"account_id": "a" * 129},
        {"account_id": "two words"},
        {"metadata": AccountMetadata(name="")},
        {"metadata": AccountMetadata(name="n" * 65)},
        {"metadata": AccountMetadata(name="new\nline")},
        {"metadata": AccountMetadata(name="right\u202eleft")},
        {"metadata": AccountMetadata(name="x", color="c" * 33)},
        {"descriptors": (), "descriptor_hash": descriptor_hash(())},
        {"descriptors": (pair(), pair()), "descriptor_hash": descriptor_hash((pair(), pair()))},
        {"descriptor_hash": bytes(32)},
    ],
    ids="+".join,
)
def test_updates_that_do_not_hold_together_are_refused(changes: dict[str, object]) -> None:
    data = cbor_codec(RemoteUpdate).encode(update(**changes))
    with pytest.raises(BadValueError):
        parse_remote_update_untrusted(data)


def test_long_descriptors_and_updates_are_refused() -> None:
    text = "wpkh(" + "0" * MAX_DESCRIPTOR_CHARS + ")"
    descriptors = (dataclasses.replace(pair(), internal=text),)
    long = update(descriptors=descriptors, descriptor_hash=descriptor_hash(descriptors))
    with pytest.raises(BadValueError):
        parse_remote_update_untrusted(cbor_codec(RemoteUpdate).encode(long))
    with pytest.raises(BadValueError):
        parse_remote_update_untrusted(bytes(MAX_UPDATE_BYTES + 1))


def test_an_update_must_be_whole_and_alone() -> None:
    data = encode_remote_update(update())
    for bad in (b"", data[:-1], data + b"\0", b"\xf6"):
        with pytest.raises(BadValueError):
            parse_remote_update_untrusted(bad)


def test_fields_of_a_newer_device_are_skipped() -> None:
    decoded = cbor2.loads(encode_remote_update(update()))
    assert parse_remote_update_untrusted(cbor2.dumps(decoded | {"wallet_update": b"x"})) == update()
