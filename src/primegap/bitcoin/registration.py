"""Registered wallets: the accounts of several keys that a person has checked, kept with a MAC.

A multisig or miniscript wallet does not follow from the seed: whoever can change the file that
names its keys can make the device show a stranger's address as its own. So the record of a wallet
carries an HMAC-SHA-256 under a key that only this seed's device has, over

    "primegap/registered-wallet/v1" ‖ network ‖ name ‖ template ‖ number of our key ‖ keys

where every text has a length of four bytes in front, big endian, and the number is a text too. A
record that was changed, or that another seed wrote, is refused.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.accounts import Account, AccountKey
from primegap.bitcoin.errors import AccountFormatError, RegistrationError
from primegap.bitcoin.networks import Network
from primegap.bitcoin.wallet_policy import MAX_KEYS, parse_template_untrusted
from primegap.bitcoin.xpub import parse_xpub_untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RECORD_BYTES: Final = 8192  # fifteen keys of 250 characters, a template and a name
KEY_BYTES: Final = 32
_LABEL: Final = "primegap/registered-wallet/v1"


def registration_key(seed: bytes) -> bytes:
    """Return the key for records from a secret that only this seed's device has, 32 bytes."""
    return hmac.digest(seed, _LABEL.encode(), "sha256")


def write_registration(account: Account, key: bytes) -> bytes:
    """Return the record of a wallet that a person has checked.

    Args:
        account: the wallet; standard accounts need no record.
        key: of `registration_key`.
    """
    record = {
        "network": account.network.value,
        "name": account.name,
        "template": account.template.text,
        "own": account.own,
        "keys": [[k.fingerprint, k.path, k.xpub] for k in account.keys],
    }
    record["mac"] = _mac(account, key).hex()
    return json.dumps(record, sort_keys=True).encode()


def read_registration_untrusted(record: bytes, key: bytes) -> Account:
    """Return the wallet of a record, for as long as nobody changed it.

    Args:
        record: at most 8 KiB.
        key: of `registration_key`.

    Raises:
        RegistrationError: it is damaged, was changed, or is another seed's.
    """
    try:
        account = _read(record)
    except (AccountFormatError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RegistrationError("the record of a wallet is damaged") from error
    given = json.loads(record)["mac"]
    if not isinstance(given, str) or not hmac.compare_digest(
        given.encode(), _mac(account, key).hex().encode()
    ):
        raise RegistrationError("the record of a wallet was changed, or is another seed's")
    return account


def _read(record: bytes) -> Account:
    if len(record) > MAX_RECORD_BYTES:
        raise ValueError("more bytes than a wallet needs")
    fields = json.loads(record)
    if set(fields) != {"network", "name", "template", "own", "keys", "mac"}:
        raise ValueError("other fields")
    name, own = fields["name"], fields["own"]
    if not isinstance(name, str) or type(own) is not int or not isinstance(fields["keys"], list):
        raise TypeError("a field of another kind")
    network = Network(fields["network"])
    if len(fields["keys"]) > MAX_KEYS:
        raise ValueError("more keys than a wallet has")
    keys = tuple(_key(item, network) for item in fields["keys"])
    template = parse_template_untrusted(str(fields["template"]))
    return Account.from_policy(template, keys, network, name=name, own=own)


def _key(item: Sequence[object], network: Network) -> AccountKey:
    fingerprint, path, xpub = item
    if not (isinstance(fingerprint, str) and isinstance(path, str) and isinstance(xpub, str)):
        raise TypeError("a key of another kind")
    if not fingerprint:
        parse_xpub_untrusted(xpub, network)
        return AccountKey("", "m", xpub)
    return AccountKey.parse_untrusted(fingerprint, path, xpub, network)


def _mac(account: Account, key: bytes) -> bytes:
    texts = [
        _LABEL,
        account.network.value,
        account.name,
        account.template.text,
        str(account.own),
        *(k.expression for k in account.keys),
    ]
    body = b"".join(len(t.encode()).to_bytes(4, "big") + t.encode() for t in texts)
    return hmac.digest(key, body, "sha256")
