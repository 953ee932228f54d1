"""Payment requests (BIP-21): `bitcoin:address?amount=0.01&label=Shop`, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from primegap.bitcoin.amounts import Satoshi, format_btc, parse_amount
from primegap.bitcoin.errors import AmountFormatError, UriFormatError, UriRequirementError

if TYPE_CHECKING:
    from primegap.bitcoin.networks import Network

SCHEME: Final = "bitcoin:"
MAX_URI_CHARACTERS: Final = 2048  # a large QR symbol holds twice as much; nobody needs it
MAX_PARAMETERS: Final = 32
_KNOWN: Final = frozenset(("amount", "label", "message"))
MAX_TEXT_CHARACTERS: Final = 256  # of a label or message, to be shown on one screen
_QUERY_CHARACTERS: Final = re.compile(
    r"(?:[A-Za-z0-9\-._~!$'()*+,;:@/?]|%[0-9A-Fa-f]{2})*", re.ASCII
)
"A value of a query (RFC 3986) without the `&` and `=` that BIP-21 takes as separators."


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """Whom to pay, and perhaps how much and what for. The texts are the requester's claims."""

    address: str
    "For the network asked for; bech32 in lower case."
    script: bytes
    amount: Satoshi | None
    label: str | None
    message: str | None


def parse_payment_request(text: str, network: Network) -> PaymentRequest:
    """Read a BIP-21 request, or an address alone, from a scanned code or a pasted text.

    Raises:
        AddressNetworkError: the address belongs to another network.
        AddressFormatError: the address is not one.
        AmountFormatError: the amount is not a positive decimal amount.
        UriRequirementError: a `req-` parameter, which must not be ignored.
        UriFormatError: anything else about the request is wrong.
    """
    from primegap.bitcoin.derivation import address_of_script, script_of_address

    if len(text) > MAX_URI_CHARACTERS:
        raise UriFormatError("a payment request is too long")
    text = text.strip(" \t\r\n")
    is_uri = text[: len(SCHEME)].lower() == SCHEME
    written, mark, query = text[len(SCHEME) if is_uri else 0 :].partition("?")
    if mark and not is_uri:
        raise UriFormatError("parameters without the scheme")
    script = script_of_address(written, network)
    address = address_of_script(script, network)
    assert address is not None  # the script came from one
    parameters = _parameters(query) if mark else {}
    amount = parameters.get("amount")
    return PaymentRequest(
        address=address,
        script=script,
        amount=None if amount is None else _amount(amount),
        label=parameters.get("label"),
        message=parameters.get("message"),
    )


def format_payment_request(address: str, amount: Satoshi | None = None) -> str:
    """Return the request for a receiving address, to be shown as a QR code."""
    if amount is None:
        return SCHEME + address
    return f"{SCHEME}{address}?amount={format_btc(amount, grouped=False, unit='')}"


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    parts = query.split("&")
    if len(parts) > MAX_PARAMETERS or not query.isascii():
        raise UriFormatError("too many parameters, or characters that are not encoded")
    for part in parts:
        key, _, value = part.partition("=")
        if not key:
            raise UriFormatError("a parameter is malformed")
        if unquote_to_bytes(key).lower().startswith(b"req-"):
            raise UriRequirementError("an unknown requirement")
        if key not in _KNOWN:
            continue  # BIP-21: what is not understood and not required is ignored
        if key in found:
            raise UriFormatError("a parameter stands twice")
        found[key] = _decode(value)
    return found


def _amount(text: str) -> Satoshi:
    amount = parse_amount(text)
    if not amount:
        raise AmountFormatError("an amount of nothing is requested")
    return amount


def _decode(text: str) -> str:
    if _QUERY_CHARACTERS.fullmatch(text) is None:
        raise UriFormatError("a character that does not belong in a query")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise UriFormatError("a parameter is not UTF-8") from error
    # isprintable refuses controls, line breaks and marks that reverse the writing direction.
    if len(decoded) > MAX_TEXT_CHARACTERS or not decoded.isprintable():
        raise UriFormatError("a parameter cannot be shown")
    return decoded
