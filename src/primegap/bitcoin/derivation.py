"""Public derivations: descriptors to scripts and addresses by BDK, and keys below a key (BIP-32).

The only module that touches BDK for public things; `keys.py` is the one for secret things. BDK
takes a third of a second to import, so nothing that a process needs at its start imports this.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Any, Final

import bdkpython

from primegap.bitcoin.curve import add_to_public_key
from primegap.bitcoin.errors import (
    AccountFormatError,
    AddressFormatError,
    AddressNetworkError,
    LocalError,
)
from primegap.bitcoin.networks import Network
from primegap.bitcoin.xpub import parse_xpub_untrusted

MAX_INDEX: Final = (1 << 31) - 1  # BIP-32: above it a step is hardened
MAX_ADDRESS_CHARACTERS: Final = 90  # BIP-173; base58 addresses are shorter

_BDK_NETWORKS: Final = {
    Network.MAINNET: bdkpython.Network.BITCOIN,
    Network.TESTNET4: bdkpython.Network.TESTNET4,
    Network.SIGNET: bdkpython.Network.SIGNET,
    Network.REGTEST: bdkpython.Network.REGTEST,
}


def bdk_network(network: Network) -> Any:
    """Return BDK's name of a network."""
    return _BDK_NETWORKS[network]


def bdk_network_kind(network: Network) -> Any:
    """Return BDK's kind of a network: main or test."""
    kinds = bdkpython.NetworkKind
    return kinds.TEST if network.is_test else kinds.MAIN


def normalise_descriptor(text: str, network: Network) -> str:
    """Return a public descriptor in BDK's writing, with its checksum.

    Raises:
        AccountFormatError: it is not a descriptor for the network, or a given checksum is wrong.
    """
    try:
        descriptor = bdkpython.Descriptor(text, bdk_network_kind(network))
        descriptor.sanity_check()
    except bdkpython.DescriptorError as error:
        raise AccountFormatError("not a sane descriptor of this network") from error
    return str(descriptor)


@lru_cache(maxsize=32)
def _descriptor(text: str, network: Network) -> Any:
    return bdkpython.Descriptor(text, bdk_network_kind(network))


@lru_cache(maxsize=4096)
def derive_script(descriptor: str, index: int, network: Network) -> bytes:
    """Return the output script at an index of a descriptor that ends in `/*`."""
    address = _descriptor(descriptor, network).derive_address(index, bdk_network(network))
    script: bytes = address.script_pubkey().to_bytes()
    return script


def satisfaction_weight(descriptor: str, network: Network) -> int:
    """Return the greatest weight of what satisfies a descriptor, as BDK counts it."""
    return int(_descriptor(descriptor, network).max_weight_to_satisfy())


@lru_cache(maxsize=4096)
def derive_public_key(xpub: str, chain: int, index: int, network: Network) -> bytes:
    """Return the compressed public key two unhardened steps below an extended key, 33 bytes."""
    key, chain_code = _below(xpub, chain, network)
    return child_public_key(key, chain_code, index)[0]


@lru_cache(maxsize=64)
def _below(xpub: str, chain: int, network: Network) -> tuple[bytes, bytes]:
    extended = parse_xpub_untrusted(xpub, network)
    return child_public_key(extended.public_key, extended.chain_code, chain)


def child_public_key(public_key: bytes, chain_code: bytes, step: int) -> tuple[bytes, bytes]:
    """Return public key and chain code one unhardened step below (BIP-32).

    Raises:
        LocalError: the one case in 2**127 in which there is none; no such key is known.
    """
    mac = hmac.digest(chain_code, public_key + step.to_bytes(4, "big"), "sha512")
    child = add_to_public_key(public_key, mac[:32])
    if child is None:
        raise LocalError("this key has no child at this index")
    return child, mac[32:]


@lru_cache(maxsize=4096)
def address_of_script(script: bytes, network: Network) -> str | None:
    """Return the address of an output script, or None when it has none."""
    try:
        address = bdkpython.Address.from_script(bdkpython.Script(script), bdk_network(network))
    except bdkpython.FromScriptError:
        return None
    return str(address)


def script_of_address(text: str, network: Network) -> bytes:
    """Return the output script an address stands for.

    Raises:
        AddressNetworkError: it is an address of another network.
        AddressFormatError: it is not an address.
    """
    if not 0 < len(text) <= MAX_ADDRESS_CHARACTERS or not text.isascii():
        raise AddressFormatError("not an address")
    try:
        address = bdkpython.Address(text, bdk_network(network))
    except bdkpython.AddressParseError as error:
        if _is_address_elsewhere(text):
            raise AddressNetworkError("an address of another network") from error
        raise AddressFormatError("not an address") from error
    script: bytes = address.script_pubkey().to_bytes()
    return script


def _is_address_elsewhere(text: str) -> bool:
    for network in _BDK_NETWORKS.values():
        try:
            bdkpython.Address(text, network)
        except bdkpython.AddressParseError:
            continue
        return True
    return False
