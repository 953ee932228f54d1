"""Public derivations: descriptors to scripts, addresses and keys, all computed by BDK.

The only module that touches BDK for public things; `keys.py` is the one for secret things. BDK
takes a third of a second to import, so nothing that a process needs at its start imports this.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import bdkpython

from primegap.bitcoin.errors import (
    AccountFormatError,
    AddressFormatError,
    AddressNetworkError,
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
    except bdkpython.DescriptorError as error:
        raise AccountFormatError("not a descriptor of this network") from error
    return str(descriptor)


@lru_cache(maxsize=32)
def _descriptor(text: str, network: Network) -> Any:
    return bdkpython.Descriptor(text, bdk_network_kind(network))


@lru_cache(maxsize=32)
def _public_key(expression: str) -> Any:
    return bdkpython.DescriptorPublicKey.from_string(expression)


@lru_cache(maxsize=4096)
def derive_script(descriptor: str, index: int, network: Network) -> bytes:
    """Return the output script at an index of a descriptor that ends in `/*`."""
    address = _descriptor(descriptor, network).derive_address(index, bdk_network(network))
    script: bytes = address.script_pubkey().to_bytes()
    return script


@lru_cache(maxsize=4096)
def derive_public_key(key_expression: str, steps: tuple[int, int], network: Network) -> bytes:
    """Return the compressed public key two unhardened steps below `[origin]xpub`, 33 bytes."""
    path = bdkpython.DerivationPath(f"m/{steps[0]}/{steps[1]}")
    derived = str(_public_key(key_expression).derive(path))
    xpub = derived.rpartition("]")[2]
    return parse_xpub_untrusted(xpub, network).public_key


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
