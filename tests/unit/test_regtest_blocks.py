"""Block assembly and script kinds, against published values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from primegap.regtest.blocks import (
    header_bits,
    header_time_s,
    median_time_past_s,
    merkle_branch,
    merkle_root,
    push_height,
    subsidy_sat,
    target_of_bits,
)
from primegap.regtest.errors import AddressError
from primegap.regtest.primitives import display_hash, sha256d
from primegap.regtest.scripts import (
    dust_limit_sat,
    is_push_only,
    is_standard_output,
    is_unspendable,
    script_of_address,
    witness_version,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "bitcoin-block-100000.json"
P2PKH = bytes.fromhex("76a914") + bytes(20) + bytes.fromhex("88ac")
P2SH = bytes.fromhex("a914") + bytes(20) + b"\x87"
P2WPKH = bytes.fromhex("0014") + bytes(20)
P2WSH = bytes.fromhex("0020") + bytes(32)
P2TR = bytes.fromhex("5120") + bytes(32)
P2A = bytes.fromhex("51024e73")
P2PK = b"\x21\x02" + bytes(32) + b"\xac"
BARE_MULTISIG = b"\x51\x21\x02" + bytes(32) + b"\x51\xae"


def test_a_published_block_gives_its_merkle_root_and_fields() -> None:
    case = json.loads(VECTORS.read_text())["cases"][0]
    leaves = [bytes.fromhex(txid)[::-1] for txid in case["in"]["txids"]]
    header = bytes.fromhex(case["out"]["header"])
    assert display_hash(sha256d(header)) == case["out"]["block_hash"]
    assert display_hash(merkle_root(leaves)) == case["out"]["merkle_root"]
    assert header[36:68] == merkle_root(leaves)
    assert header_time_s(header) == case["out"]["time_s"]
    assert header_bits(header) == case["out"]["bits"]
    assert target_of_bits(header_bits(header)) == int(case["out"]["target"], 16)
    for position in range(len(leaves)):
        branch, root = merkle_branch(leaves, position)
        assert (len(branch), root) == (2, header[36:68])


@pytest.mark.parametrize(
    ("height", "push"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (255, "02ff00"),
        (256, "020001"),
        (32767, "02ff7f"),
        (32768, "03008000"),
        (227836, "03fc7903"),  # the first block of the main chain under BIP-34
    ],
)
def test_a_height_is_pushed_in_its_shortest_form(height: int, push: str) -> None:
    assert push_height(height).hex() == push


def test_the_subsidy_halves_every_150_blocks() -> None:
    amounts = [subsidy_sat(height) for height in (1, 149, 150, 299, 300, 150 * 33, 150 * 64)]
    assert amounts == [
        5_000_000_000,
        5_000_000_000,
        2_500_000_000,
        2_500_000_000,
        1_250_000_000,
        0,
        0,
    ]


def test_small_exponents_shrink_the_target() -> None:
    assert target_of_bits(0x0203_1234) == 0x0312
    assert target_of_bits(0x207F_FFFF) == 0x7FFFFF << 232


def test_the_median_time_is_over_the_last_eleven() -> None:
    headers = [bytes(68) + time_s.to_bytes(4, "little") + bytes(8) for time_s in range(100, 120)]
    assert median_time_past_s(headers) == 114
    assert median_time_past_s(headers[:3]) == 101


@pytest.mark.parametrize(
    ("script", "limit_sat"),
    [(P2PKH, 546), (P2SH, 540), (P2WPKH, 294), (P2WSH, 330), (P2TR, 330), (b"\x6a\x01\x00", 0)],
)
def test_dust_limits_are_the_well_known_ones(script: bytes, limit_sat: int) -> None:
    assert dust_limit_sat(script) == limit_sat


@pytest.mark.parametrize("script", [P2PKH, P2SH, P2WPKH, P2WSH, P2TR, P2A, P2PK, b"\x6a\x02ab"])
def test_usual_outputs_are_standard(script: bytes) -> None:
    assert is_standard_output(script)


@pytest.mark.parametrize(
    "script", [b"", b"\x51", BARE_MULTISIG, b"\x00\x15" + bytes(21), b"\x6a\x05ab", P2PKH[:-1]]
)
def test_other_outputs_are_not_standard(script: bytes) -> None:
    assert not is_standard_output(script)


def test_unspendable_outputs_are_known() -> None:
    assert is_unspendable(b"\x6a")
    assert is_unspendable(bytes(10_001))
    assert not is_unspendable(P2WPKH)


def test_witness_versions_are_read() -> None:
    programs = [P2WPKH, P2TR, b"\x60\x02ab", P2PKH, b"\x52\x01a", b"\x52\x29" + bytes(41)]
    assert [witness_version(script) for script in programs] == [0, 1, 16, None, None, None]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"", True),
        (b"\x02ab", True),
        (b"\x02a", False),
        (b"\x4c\x02ab", True),
        (b"\x4c", False),
        (b"\x4d\x02\x00ab", True),
        (b"\x4e\x02\x00\x00\x00ab", True),
        (b"\x4e\x02\x00\x00", False),
        (b"\x4f\x51\x60", True),
        (b"\x61", False),
        (b"\xac", False),
    ],
)
def test_push_only_scripts_are_recognised(script: bytes, expected: bool) -> None:
    assert is_push_only(script) is expected


def test_addresses_of_this_network_become_scripts() -> None:
    # The program of BIP-173's example key under the regtest prefix.
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    assert script_of_address(address).hex() == "0014751e76e8199196d454941c45d1b3a323f1433bd6"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        "b" * 200,
        "☂",
    ],
)
def test_other_text_is_refused_as_an_address(address: str) -> None:
    with pytest.raises(AddressError):
        script_of_address(address)
