"""The bitcoin networks the program knows, and what differs between them."""

from __future__ import annotations

import enum
from typing import Final


class Network(enum.StrEnum):
    """A bitcoin network; the value is its stable name in files, messages and settings."""

    MAINNET = "mainnet"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"

    @property
    def is_test(self) -> bool:
        """Whether its coins are without value."""
        return self is not Network.MAINNET

    @property
    def coin_type(self) -> int:
        """Second level of derivation paths (BIP-44): 0, or 1 on every test network."""
        return int(self.is_test)

    @property
    def bech32_prefix(self) -> str:
        """Human-readable part of segwit addresses (BIP-173): `bc`, `tb` or `bcrt`."""
        return _BECH32_PREFIXES[self]

    @property
    def xpub_version(self) -> bytes:
        """First four bytes of an extended public key (BIP-32)."""
        return _TEST_XPUB if self.is_test else _MAIN_XPUB

    @property
    def currency(self) -> str:
        """Unit shown beside amounts: `BTC`, or `tBTC` for coins without value."""
        return "tBTC" if self.is_test else "BTC"


_MAIN_XPUB: Final = bytes.fromhex("0488b21e")
_TEST_XPUB: Final = bytes.fromhex("043587cf")
_BECH32_PREFIXES: Final = {
    Network.MAINNET: "bc",
    Network.TESTNET4: "tb",
    Network.SIGNET: "tb",
    Network.REGTEST: "bcrt",
}
