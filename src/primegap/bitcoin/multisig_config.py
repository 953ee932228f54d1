"""Files by which signers of a multisig wallet learn of each other (airgap.md section 8.1).

Pure text in, one checked value out. The text form is the one that every coordinator writes; a
descriptor (`sortedmulti` only) says the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.accounts import AccountKey
from primegap.bitcoin.derivation import normalise_descriptor
from primegap.bitcoin.errors import AccountFormatError, MultisigConfigError
from primegap.bitcoin.exports.keys import Slot, classic_xpub_untrusted
from primegap.bitcoin.paths import format_path, parse_path_untrusted
from primegap.bitcoin.xpub import parse_xpub_untrusted

if TYPE_CHECKING:
    from primegap.bitcoin.networks import Network

MAX_CONFIG_CHARACTERS: Final = 8192
"Fifteen keys, a path before each, and comments."
MAX_NAME_CHARACTERS: Final = 20
MAX_KEYS: Final = 15

_POLICY: Final = re.compile(r"[^0-9]*([0-9]{1,2})[^0-9]+([0-9]{1,2})[^0-9]*", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{8}", re.ASCII)
_BARE_KEY: Final = re.compile(r"[0-9A-Za-z]{111}", re.ASCII)
_FORMATS: Final = {
    "P2SH": Slot.P2SH,
    "P2WSH": Slot.P2WSH,
    "P2SH-P2WSH": Slot.P2SH_P2WSH,
    "P2WSH-P2SH": Slot.P2SH_P2WSH,
}
_SPOKEN_COMMENTS: Final = ("derivation",)
"Labels that are read even behind `#`: some coordinators write them so. No other comment is read."
_WRAPPED: Final = {
    Slot.P2SH: "sh({})",
    Slot.P2WSH: "wsh({})",
    Slot.P2SH_P2WSH: "sh(wsh({}))",
}
_KEY: Final = r"\[([0-9a-fA-F]{8})((?:/[0-9]{1,10}['hH]?)*)\]([0-9A-Za-z]{111})/(?:[01]|<0;1>)/\*"
_DESCRIPTOR: Final = re.compile(
    rf"(sh\(wsh\(|wsh\(|sh\()sortedmulti\(([0-9]{{1,2}}),({_KEY}(?:,{_KEY})*)\)(\){{1,2}})"
    r"(?:#[0-9a-z]{8})?",
    re.ASCII,
)
_SLOT_OF: Final = {"sh(": Slot.P2SH, "wsh(": Slot.P2WSH, "sh(wsh(": Slot.P2SH_P2WSH}


@dataclass(frozen=True, slots=True)
class MultisigConfig:
    """A wallet of several signers. Made by the parsers here, which check everything."""

    name: str
    "At most 20 printable ASCII characters."
    threshold: int
    slot: Slot
    keys: tuple[AccountKey, ...]
    "In the order of the file; addresses do not depend on it."
    network: Network

    def own_key(self, fingerprint: str) -> AccountKey:
        """Return the key that claims to be of a master key; derive it again and compare.

        Raises:
            MultisigConfigError: there is none.
        """
        for key in self.keys:
            if key.fingerprint == fingerprint:
                return key
        raise MultisigConfigError("no key of this device")

    def descriptor(self, chain: str) -> str:
        """Return the descriptor with checksum; `chain` is `0`, `1` or `<0;1>`."""
        keys = ",".join(f"{key.expression}/{chain}/*" for key in self.keys)
        inner = f"sortedmulti({self.threshold},{keys})"
        return normalise_descriptor(_WRAPPED[self.slot].format(inner), self.network)

    def is_same_wallet(self, other: MultisigConfig) -> bool:
        """Whether both have the same addresses, whatever they are called."""
        return (
            self.threshold == other.threshold
            and self.slot is other.slot
            and self.network is other.network
            and {key.xpub for key in self.keys} == {key.xpub for key in other.keys}
        )

    def text(self) -> str:
        """Return the file that other signers and coordinators read."""
        lines = [
            "# Multisig wallet",
            f"Name: {self.name}",
            f"Policy: {self.threshold} of {len(self.keys)}",
            f"Format: {self.slot.script_name.upper()}",
        ]
        path = ""
        for key in self.keys:
            if key.path != path:
                path = key.path
                lines += ["", f"Derivation: {path}"]
            lines.append(f"{key.fingerprint.upper()}: {key.xpub}")
        return "\n".join([*lines, ""])

    @property
    def file_name(self) -> str:
        """Name of the file on a card, before its number."""
        return f"{self.name}-multisig.txt"


def parse_multisig_untrusted(text: str, network: Network) -> MultisigConfig:
    """Read a configuration, as text or as a descriptor.

    Raises:
        MultisigConfigError: it is neither, or not a wallet that can be signed for.
    """
    if len(text) > MAX_CONFIG_CHARACTERS:
        raise MultisigConfigError("too long")
    try:
        if text.lstrip().startswith(("sh(", "wsh(")):
            return _parse_descriptor(text.strip(), network)
        return _parse_lines(text, network)
    except AccountFormatError as error:
        if isinstance(error, MultisigConfigError):
            raise
        raise MultisigConfigError("a key or a path does not hold") from error


def _parse_descriptor(text: str, network: Network) -> MultisigConfig:
    match = _DESCRIPTOR.fullmatch(text)
    if match is None or len(match[1].split("(")) - 1 != len(match.groups()[-1]):
        raise MultisigConfigError("not a descriptor of sorted keys")
    normalise_descriptor(text, network)  # BDK judges the checksum and the keys
    keys = tuple(
        AccountKey.parse_untrusted(found[1], f"m{found[2]}", found[3], network)
        for found in re.finditer(_KEY, match[3])
    )
    return _checked("", int(match[2]), len(keys), _SLOT_OF[match[1]], keys, network)


def _parse_lines(text: str, network: Network) -> MultisigConfig:
    name, policy, slot, path = "", None, Slot.P2SH, ""
    keys: list[AccountKey] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("#"):
            line = line.lstrip("# ")
            if line.partition(":")[0].strip().lower() not in _SPOKEN_COMMENTS:
                continue
        if not line:
            continue
        label, colon, value = (part.strip() for part in line.partition(":"))
        match label.lower():
            case "name" if colon:
                name = value
            case "policy" if colon:
                policy = _POLICY.fullmatch(value)
                if policy is None:
                    raise MultisigConfigError("a policy that cannot be read")
            case "derivation" if colon:
                path = format_path(parse_path_untrusted(value))
            case "format" if colon:
                try:
                    slot = _FORMATS[value.upper()]
                except KeyError:
                    raise MultisigConfigError("an unknown format") from None
            case _ if colon and _FINGERPRINT.fullmatch(label):
                keys.append(_key(label, path, value, network))
            case _ if not colon and _BARE_KEY.fullmatch(label):
                keys.append(_bare_key(label, network))
            case _:
                raise MultisigConfigError("a line that means nothing")
        if len(keys) > MAX_KEYS:
            raise MultisigConfigError("too many keys")
    if policy is None:
        return _checked(name, len(keys), len(keys), slot, tuple(keys), network)
    return _checked(name, int(policy[1]), int(policy[2]), slot, tuple(keys), network)


def _key(fingerprint: str, path: str, text: str, network: Network) -> AccountKey:
    xpub = classic_xpub_untrusted(text)
    if not path:
        raise MultisigConfigError("a key without the path that leads to it")
    return AccountKey.parse_untrusted(fingerprint, path, xpub, network)


def _bare_key(text: str, network: Network) -> AccountKey:
    """Return a key one step below its master key, which names that one itself."""
    xpub = classic_xpub_untrusted(text)
    key = parse_xpub_untrusted(xpub, network)
    if key.depth != 1:
        raise MultisigConfigError("a key without its fingerprint")
    return AccountKey.parse_untrusted(key.raw[5:9].hex(), format_path((key.child,)), xpub, network)


def _checked(
    name: str,
    threshold: int,
    count: int,
    slot: Slot,
    keys: tuple[AccountKey, ...],
    network: Network,
) -> MultisigConfig:
    if count != len(keys) or not 1 <= threshold <= count or not 2 <= count <= MAX_KEYS:
        raise MultisigConfigError("not that many of that many keys")
    if len({key.fingerprint for key in keys}) != count or len({key.xpub for key in keys}) != count:
        raise MultisigConfigError("a signer stands there twice")
    name = name or f"{threshold}-of-{count}"
    if len(name) > MAX_NAME_CHARACTERS or not (name.isascii() and name.isprintable()):
        raise MultisigConfigError("a name that is too long or cannot be shown")
    return MultisigConfig(name, threshold, slot, keys, network)
