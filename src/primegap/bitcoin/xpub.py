"""Extended public keys (BIP-32) read from their text: base58 with a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primegap.bitcoin.errors import (
    AccountFormatError,
    AccountNetworkError,
    PrivateKeyRefusedError,
)
from primegap.bitcoin.networks import Network
from primegap.bitcoin.wire import sha256d

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
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
    payload = _decode_base58(text)
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


def _decode_base58(text: str) -> bytes:
    if len(text) != _XPUB_CHARACTERS:
        raise AccountFormatError("an extended key of a wrong length")
    number = 0
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise AccountFormatError("an extended key with a foreign character")
        number = number * 58 + digit
    data = number.to_bytes(_XPUB_BYTES + 4, "big")  # 111 digits never need more
    payload, checksum = data[:_XPUB_BYTES], data[_XPUB_BYTES:]
    if sha256d(payload)[:4] != checksum:
        raise AccountFormatError("an extended key with a wrong checksum")
    return payload
