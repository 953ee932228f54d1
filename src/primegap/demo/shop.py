"""Somebody to pay: a wallet of its own with a random seed that is thrown away."""

from __future__ import annotations

import os


def new_address() -> str:
    """Return a fresh regtest address whose keys nobody keeps."""
    from primegap.bitcoin.accounts import Account, Keychain
    from primegap.bitcoin.keys import account_key
    from primegap.bitcoin.networks import Network

    key = account_key(os.urandom(16), Network.REGTEST, 0)
    return Account.from_key(key, Network.REGTEST).address(Keychain.EXTERNAL, 0)
