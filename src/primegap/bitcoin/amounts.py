"""Amounts of bitcoin: whole satoshis, never floating point."""

from __future__ import annotations

import re
from typing import Final, NewType

from primegap.bitcoin.errors import AmountFormatError, LocalError

Satoshi = NewType("Satoshi", int)
"An amount in satoshis: one hundred-millionth of a bitcoin."

SATOSHI_PER_BTC: Final = 100_000_000
MAX_MONEY: Final = Satoshi(21_000_000 * SATOSHI_PER_BTC)  # consensus: no sum can be above it
_AMOUNT: Final = re.compile(r"([0-9]{0,8})(?:\.([0-9]{0,8}))?", re.ASCII)


def format_btc(amount: Satoshi, *, grouped: bool = True, unit: str = "BTC") -> str:
    """Return an amount in bitcoin, exactly, always with eight decimals.

    Grouped, the decimals are set apart so that the last groups read as satoshis:
    `1 234.00 123 456 BTC`. Plain, the text is `1234.00123456 BTC`.

    Args:
        amount: in satoshis; a negative one gets a minus sign.
        grouped: separate the digits with spaces.
        unit: text behind the number; empty for the number alone.
    """
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), SATOSHI_PER_BTC)
    decimals = f"{rest:08d}"
    if grouped:
        number = f"{whole:,}".replace(",", " ")
        text = f"{sign}{number}.{decimals[:2]} {decimals[2:5]} {decimals[5:]}"
    else:
        text = f"{sign}{whole}.{decimals}"
    return f"{text} {unit}" if unit else text


def format_sats(amount: Satoshi, *, grouped: bool = True) -> str:
    """Return an amount in satoshis: `123 456 sats`, or `123456 sats` plain."""
    number = f"{amount:,}".replace(",", " ") if grouped else str(amount)
    return f"{number} sat" if abs(amount) == 1 else f"{number} sats"


def format_fee_rate(rate_sat_per_kvb: int) -> str:
    """Return a fee rate as `3.01 sat/vB`: two decimals, rounded up, from satoshis per 1000 vB."""
    if rate_sat_per_kvb < 0:
        raise LocalError("a fee rate is not negative")
    hundredths = -(-rate_sat_per_kvb // 10)
    return f"{hundredths // 100}.{hundredths % 100:02d} sat/vB"


def parse_amount(text: str) -> Satoshi:
    """Read a decimal amount of bitcoin (BIP-21: digits, one point, no sign, no exponent).

    Raises:
        AmountFormatError: not such a text, more than eight decimals, or above 21 million.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise AmountFormatError("not a decimal amount")
    amount = int(match[1] or "0") * SATOSHI_PER_BTC + int((match[2] or "").ljust(8, "0"))
    if amount > MAX_MONEY:
        raise AmountFormatError("more than all the bitcoin there is")
    return Satoshi(amount)
