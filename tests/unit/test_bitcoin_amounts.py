"""Amounts and payment requests: whole satoshis in every form."""

from __future__ import annotations

import pytest

from primegap.bitcoin.address_uri import format_payment_request, parse_payment_request
from primegap.bitcoin.amounts import (
    MAX_MONEY,
    Satoshi,
    format_btc,
    format_fee_rate,
    format_sats,
    parse_amount,
)
from primegap.bitcoin.errors import (
    AddressFormatError,
    AddressNetworkError,
    AmountFormatError,
    LocalError,
    UriFormatError,
    UriRequirementError,
)
from primegap.bitcoin.networks import Network

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
SCRIPT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")


@pytest.mark.parametrize(
    ("amount", "grouped", "plain"),
    [
        (0, "0.00 000 000 BTC", "0.00000000 BTC"),
        (1, "0.00 000 001 BTC", "0.00000001 BTC"),
        (123_456, "0.00 123 456 BTC", "0.00123456 BTC"),
        (-123_456, "-0.00 123 456 BTC", "-0.00123456 BTC"),
        (100_000_000, "1.00 000 000 BTC", "1.00000000 BTC"),
        (2_100_000_000_000_000, "21 000 000.00 000 000 BTC", "21000000.00000000 BTC"),
    ],
)
def test_amounts_are_written_exactly(amount: int, grouped: str, plain: str) -> None:
    assert format_btc(Satoshi(amount)) == grouped
    assert format_btc(Satoshi(amount), grouped=False) == plain


def test_units() -> None:
    assert format_btc(Satoshi(5), grouped=False, unit="") == "0.00000005"
    assert format_btc(Satoshi(5), unit="tBTC") == "0.00 000 005 tBTC"
    assert format_sats(Satoshi(1_234_567)) == "1 234 567 sats"
    assert format_sats(Satoshi(1_234_567), grouped=False) == "1234567 sats"
    assert format_sats(Satoshi(1)) == "1 sat"


def test_coins_without_value_are_called_so() -> None:
    assert Network.MAINNET.currency == "BTC"
    assert {n.currency for n in Network if n.is_test} == {"tBTC"}


def test_fee_rates_are_rounded_up() -> None:
    assert format_fee_rate(3000) == "3.00 sat/vB"
    assert format_fee_rate(3001) == "3.01 sat/vB"
    assert format_fee_rate(0) == "0.00 sat/vB"
    with pytest.raises(LocalError):
        format_fee_rate(-1)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1", 100_000_000),
        ("1.", 100_000_000),
        (".1", 10_000_000),
        ("0.00000001", 1),
        ("20.3", 2_030_000_000),
        ("21000000", MAX_MONEY),
        ("00.5", 50_000_000),
    ],
)
def test_amounts_are_read(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", ".", "-1", "+1", "1e3", "1,5", "1 000", "0.000000001", "21000000.00000001", " 1", "1\n",
     "0x1", "NaN", "١", "1_000", "999999999"],
)  # fmt: skip
def test_what_is_not_an_amount(text: str) -> None:
    with pytest.raises(AmountFormatError):
        parse_amount(text)


# --- payment requests ---------------------------------------------------------------------------


def test_an_address_alone() -> None:
    request = parse_payment_request(f" {ADDRESS}\n", Network.MAINNET)
    assert (request.address, request.script) == (ADDRESS, SCRIPT)
    assert (request.amount, request.label, request.message) == (None, None, None)


def test_a_full_request() -> None:
    request = parse_payment_request(
        f"bitcoin:{ADDRESS}?amount=20.3&label=Luke-Jr&message=For%20caf%C3%A9%20%26%20cake",
        Network.MAINNET,
    )
    assert request.amount == 2_030_000_000
    assert request.label == "Luke-Jr"
    assert request.message == "For café & cake"


def test_upper_case_as_in_small_qr_codes() -> None:
    request = parse_payment_request(f"BITCOIN:{ADDRESS.upper()}?amount=1", Network.MAINNET)
    assert (request.address, request.amount) == (ADDRESS, 100_000_000)


def test_what_is_not_understood_and_not_required_is_ignored() -> None:
    text = (
        f"bitcoin:{ADDRESS}?somethingyoudontunderstand=50&lightning={'x' * 900}&pj=https://a/?b=c"
    )
    assert parse_payment_request(text, Network.MAINNET).amount is None


def test_written_requests_are_read_back() -> None:
    text = format_payment_request(ADDRESS, Satoshi(123_456))
    assert text == f"bitcoin:{ADDRESS}?amount=0.00123456"
    assert parse_payment_request(text, Network.MAINNET).amount == 123_456
    assert format_payment_request(ADDRESS) == f"bitcoin:{ADDRESS}"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("req-somethingyoudontunderstand=50", UriRequirementError),
        ("REQ-x", UriRequirementError),
        ("%72eq-x=1", UriRequirementError),
        ("amount=0", AmountFormatError),
        ("amount=50,000.00", AmountFormatError),
        ("amount=1e8", AmountFormatError),
        ("amount=-1", AmountFormatError),
        ("amount=1&amount=2", UriFormatError),
        ("label=%ff", UriFormatError),
        ("label=a%0Ab", UriFormatError),
        ("label=%E2%80%AEevil", UriFormatError),
        ("label=a%2", UriFormatError),
        ("label=a=b", UriFormatError),
        ("label=é", UriFormatError),
        ("label=\ud800", UriFormatError),
        ("=1", UriFormatError),
        ("label=" + "x" * 257, UriFormatError),
        ("&".join("abcdefghijklmnopqrstuvwxyz1234567"), UriFormatError),
        ("message=" + "x" * 3000, UriFormatError),
    ],
)
def test_bad_requests(query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_payment_request(f"bitcoin:{ADDRESS}?{query}", Network.MAINNET)


@pytest.mark.parametrize(
    "text", ["", "bitcoin:", "bitcoin:?amount=1", "lightning:abc", "é", "\ud800"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(AddressFormatError):
        parse_payment_request(text, Network.MAINNET)


def test_parameters_need_the_scheme() -> None:
    with pytest.raises(UriFormatError):
        parse_payment_request(f"{ADDRESS}?amount=1", Network.MAINNET)


@pytest.mark.parametrize("network", [Network.TESTNET4, Network.SIGNET, Network.REGTEST])
def test_addresses_of_another_network(network: Network) -> None:
    with pytest.raises(AddressNetworkError):
        parse_payment_request(ADDRESS, network)
