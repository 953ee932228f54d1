"""Bitcoin: networks, amounts, accounts, review of transactions and signing.

This package itself imports only what is light. What computes with keys and scripts imports BDK,
which takes a third of a second, and is imported by module where it is needed:

* `accounts`: `Account`, `AccountKey`, `Keychain`, `AddressMatch`;
* `review` (`review_psbt`) and its values in `review_values`;
* `keys` (secret: `account_key`, `AccountSigner`, seed words) and `sign` (`sign_psbt`);
* `finish` (`merge_signed`, `finalise`) for whoever prepared the transaction;
* `address_uri` (`parse_payment_request`), which imports BDK on use.
"""

from __future__ import annotations

from primegap.bitcoin.amounts import (
    MAX_MONEY,
    SATOSHI_PER_BTC,
    Satoshi,
    format_btc,
    format_fee_rate,
    format_sats,
    parse_amount,
)
from primegap.bitcoin.errors import BitcoinError, LocalError, PsbtRefusedError, RemoteError
from primegap.bitcoin.networks import Network

__all__ = [
    "MAX_MONEY",
    "SATOSHI_PER_BTC",
    "BitcoinError",
    "LocalError",
    "Network",
    "PsbtRefusedError",
    "RemoteError",
    "Satoshi",
    "format_btc",
    "format_fee_rate",
    "format_sats",
    "parse_amount",
]
