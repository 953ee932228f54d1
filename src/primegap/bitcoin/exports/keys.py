"""The public keys of a seed at the paths that wallets know (airgap.md sections 7.3 and 7.4)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import bdkpython

from primegap.base58 import decode_base58check, encode_base58check
from primegap.bitcoin.accounts import AccountKey
from primegap.bitcoin.derivation import (
    address_of_script,
    bdk_network,
    bdk_network_kind,
    derive_script,
    normalise_descriptor,
)
from primegap.bitcoin.errors import AccountFormatError, LocalError
from primegap.bitcoin.psbt_fields import HARDENED
from primegap.bitcoin.xpub import parse_xpub_untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from primegap.bitcoin.networks import Network

MASTER_PATH: Final = "m"


class Slot(enum.Enum):
    """Kinds of accounts that are exported: their place in the generic JSON."""

    P2PKH = "bip44"
    P2SH_P2WPKH = "bip49"
    P2WPKH = "bip84"
    P2SH_P2WSH = "bip48_1"
    P2WSH = "bip48_2"
    P2TR = "bip86"
    P2SH = "bip45"
    "Multisig as it was before witnesses; one key for all accounts."

    def path(self, network: Network, account: int) -> str:
        """Return where the key of this kind is, from the master key."""
        coin = network.coin_type
        match self:
            case Slot.P2SH:
                return "m/45'"
            case Slot.P2SH_P2WSH:
                return f"m/48'/{coin}'/{account}'/1'"
            case Slot.P2WSH:
                return f"m/48'/{coin}'/{account}'/2'"
            case _:
                return f"m/{self.value[3:]}'/{coin}'/{account}'"

    @property
    def script_name(self) -> str:
        """Its name in files: `p2wpkh`, `p2sh-p2wsh`."""
        return self.name.lower().replace("_", "-")

    @property
    def is_multisig(self) -> bool:
        """Whether addresses of this kind need the keys of others."""
        return self in {Slot.P2SH, Slot.P2SH_P2WSH, Slot.P2WSH}


_SLIP132: Final = {
    Slot.P2SH_P2WPKH: ("049d7cb2", "044a5262"),  # ypub, upub
    Slot.P2WPKH: ("04b24746", "045f1cf6"),  # zpub, vpub
    Slot.P2SH_P2WSH: ("0295b43f", "024289ef"),  # Ypub, Upub
    Slot.P2WSH: ("02aa7ed3", "02575483"),  # Zpub, Vpub
}
_CLASSIC: Final = ("0488b21e", "043587cf")
_VERSIONS: Final = {
    bytes.fromhex(text): (slot, bool(test))
    for slot, texts in _SLIP132.items()
    for test, text in enumerate(texts)
}
_WRAPPED: Final = {
    Slot.P2PKH: "pkh({})",
    Slot.P2SH_P2WPKH: "sh(wpkh({}))",
    Slot.P2WPKH: "wpkh({})",
    Slot.P2TR: "tr({})",
}


def slip132(xpub: str, slot: Slot, network: Network) -> str:
    """Return a key with the first letters by which SLIP-132 tells kinds apart: `zpub…`, `Vpub…`.

    Kinds without letters of their own keep the classic form.
    """
    versions = _SLIP132.get(slot)
    if versions is None:
        return xpub
    raw = parse_xpub_untrusted(xpub, network).raw
    return encode_base58check(bytes.fromhex(versions[network.is_test]) + raw[4:])


def classic_xpub_untrusted(text: str) -> str:
    """Return a key of any kind of SLIP-132 in the classic form; other texts come back as they are.

    What it says about the kind of account is left behind; `parse_xpub_untrusted` judges the rest.
    """
    payload = decode_base58check(text)
    known = None if payload is None else _VERSIONS.get(payload[:4])
    if payload is None or known is None:
        return text
    return encode_base58check(bytes.fromhex(_CLASSIC[known[1]]) + payload[4:])


@dataclass(frozen=True, slots=True)
class ExportKeys:
    """What is exported of a seed: public keys of one account on one network."""

    network: Network
    account: int
    fingerprint: str
    "Of the master key, 8 lower-case hex digits."
    master_xpub: str
    "Shows every address that the seed ever had, unhardened ones aside: only where a format asks."
    xpubs: Mapping[Slot, str]
    "Classic form, all kinds."

    def __post_init__(self) -> None:
        if not 0 <= self.account < HARDENED or set(self.xpubs) != set(Slot):
            raise LocalError("not the keys of one account")
        for slot in Slot:
            key = self.key(slot)
            AccountKey.parse_untrusted(key.fingerprint, key.path, key.xpub, self.network)
        if parse_xpub_untrusted(self.master_xpub, self.network).depth:
            raise AccountFormatError("not a master key")

    @property
    def xfp(self) -> str:
        """The fingerprint as screens and JSON write it: upper case."""
        return self.fingerprint.upper()

    @property
    def xfp_number(self) -> int:
        """The fingerprint as a number, its bytes read from the little end."""
        return int.from_bytes(bytes.fromhex(self.fingerprint), "little")

    def path(self, slot: Slot) -> str:
        """Return the path of a kind of account."""
        return slot.path(self.network, self.account)

    def key(self, slot: Slot) -> AccountKey:
        """Return a key with its origin."""
        return AccountKey(self.fingerprint, self.path(slot), self.xpubs[slot])

    def slip132(self, slot: Slot) -> str:
        """Return a key in the form that tells its kind."""
        return slip132(self.xpubs[slot], slot, self.network)

    def node_fingerprint(self, slot: Slot) -> str:
        """Return the fingerprint of the account's own key, 8 upper-case hex digits."""
        public = parse_xpub_untrusted(self.xpubs[slot], self.network).public_key
        # BDK hashes the key: an output of `pkh` holds its HASH160.
        script = bdkpython.Descriptor(f"pkh({public.hex()})", bdk_network_kind(self.network))
        found = script.derive_address(0, bdk_network(self.network)).script_pubkey().to_bytes()
        return bytes(found)[3:7].hex().upper()

    def descriptor(self, slot: Slot, chain: str) -> str:
        """Return a public descriptor with checksum; `chain` is `0`, `1` or `<0;1>`."""
        wrapped = _WRAPPED[slot].format(f"{self.key(slot).expression}/{chain}/*")
        return normalise_descriptor(wrapped, self.network)

    def address(self, slot: Slot, index: int) -> str:
        """Return a receiving address of a kind that needs nobody else's keys."""
        script = derive_script(self.descriptor(slot, "0"), index, self.network)
        address = address_of_script(script, self.network)
        assert address is not None  # all four kinds have addresses
        return address
