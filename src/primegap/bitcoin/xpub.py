"""Extended public keys (BIP-32) read from their text: base58 with a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primegap.base58 import decode_base58check
from primegap.bitcoin.errors import (
    AccountFormatError,
    AccountNetworkError,
    PrivateKeyRefusedError,
)
from primegap.bitcoin.networks import Network

_XPUB_CHARACTERS: Final = 111  # every extended key of the known versions has this length
_XPUB_BYTES: Final = 78
_PRIVATE_VERSIONS: Final = frozenset((bytes.fromhex("0488ade4"), bytes.fromhex("04358394")))


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """An extended public key."""

    raw: bytes
    "The 78 bytes of BIP-32, without checksum."

    @property
    def depth(self) -> int:
        """Steps from the master key."""
        return self.raw[4]

    @property
    def child(self) -> int:
        """Last step of its path."""
        return int.from_bytes(self.raw[9:13], "big")

    @property
    def chain_code(self) -> bytes:
        """32 bytes."""
        return self.raw[13:45]

    @property
    def public_key(self) -> bytes:
        """33 bytes, compressed. Not checked to be a point on the curve."""
        return self.raw[45:]


def parse_xpub_untrusted(text: str, network: Network) -> ExtendedKey:
    """Read an extended public key of a network (`xpub…` or `tpub…`).

    Raises:
        PrivateKeyRefusedError: it is an extended private key.
        AccountNetworkError: it belongs to the other kind of network.
        AccountFormatError: it is not an extended public key.
    """
    payload = decode_base58check(text) if len(text) == _XPUB_CHARACTERS else None
    if payload is None or len(payload) != _XPUB_BYTES:
        raise AccountFormatError("not the text of an extended key")
    version = payload[:4]
    if version in _PRIVATE_VERSIONS:
        raise PrivateKeyRefusedError("an extended private key")
    if version != network.xpub_version:
        if version in {other.xpub_version for other in Network}:
            raise AccountNetworkError("an extended key of another network")
        raise AccountFormatError("an extended key of an unknown kind")
    if payload[45] not in {2, 3}:
        raise AccountFormatError("not a public key")
    return ExtendedKey(payload)
