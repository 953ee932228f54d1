"""Accounts: the public side of a wallet, and the proofs that something belongs to it.

An account is described by output descriptors with the origin of their keys. Whatever claims to
belong to an account is proved by deriving the script again from these descriptors; nothing is
believed because a peer says so.

Every account is a wallet policy (BIP-388): a template and its keys. The standard accounts with one
key (BIP-44, 49, 84, 86) are made from their key; all others, multisig (BIP-48) and miniscript, are
registered by a person who checked each key (`registration.py`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.derivation import (
    MAX_INDEX,
    address_of_script,
    derive_public_key,
    derive_script,
    normalise_descriptor,
    satisfaction_weight,
    script_of_address,
)
from primegap.bitcoin.errors import (
    AccountFormatError,
    AddressFormatError,
    LocalError,
    PrivateKeyRefusedError,
)
from primegap.bitcoin.paths import format_path, parse_path_untrusted
from primegap.bitcoin.psbt_fields import HARDENED
from primegap.bitcoin.script_forms import (
    multisig_script,
    nested_script,
    p2pkh_script,
    p2tr_script,
    p2wpkh_script,
    p2wsh_script,
)
from primegap.bitcoin.scripts import ScriptType
from primegap.bitcoin.wallet_policy import (
    SINGLE_TEMPLATES,
    KeyUse,
    Template,
    parse_template_untrusted,
)
from primegap.bitcoin.xpub import parse_xpub_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from primegap.bitcoin.networks import Network

MAX_DESCRIPTOR_CHARACTERS: Final = 4096  # fifteen keys of 150 characters, and their frame
MAX_NAME_CHARACTERS: Final = 20  # air-gap section 11
MAX_SEARCH: Final = 10_000  # addresses of each keychain in one search: about three seconds
SEARCH_WINDOW: Final = 50  # air-gap section 11
DEFAULT_SEARCH: Final = 200  # air-gap section 21

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)
_PRIVATE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[a-zA-Z]prv|[59cKL][1-9A-HJ-NP-Za-km-z]{50,51}(?![0-9A-Za-z]))", re.ASCII
)
"Where a key may begin: an extended private key, or a single one in wallet import format."
_KEY: Final = re.compile(
    r"(?:\[([0-9a-fA-F]{8})((?:/[0-9]{1,10}['hH]?)*)\])?([0-9A-Za-z]{111})"
    r"/([0-9]{1,9}|<([0-9]{1,9});([0-9]{1,9})>)/\*",
    re.ASCII,
)
_CHECKSUM: Final = re.compile(r"#[0-9a-z]{8}", re.ASCII)
_REGISTERED: Final = ("wsh(", "sh(wsh(", "tr(")
_KINDS: Final = (
    ("pkh(", ScriptType.P2PKH),
    ("wpkh(", ScriptType.P2WPKH),
    ("sh(", ScriptType.P2SH),
    ("wsh(", ScriptType.P2WSH),
    ("tr(", ScriptType.P2TR),
)


class Keychain(IntEnum):
    """Which of the two chains of an account: fourth level of the path."""

    EXTERNAL = 0
    "Addresses to receive on."
    INTERNAL = 1
    "Change."


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """Where in an account an address or a script is."""

    keychain: Keychain
    index: int


@dataclass(frozen=True, slots=True)
class AccountKey:
    """An extended public key with its origin."""

    fingerprint: str
    "Of the master key, 8 lower-case hex digits; empty when nobody says where the key comes from."
    path: str
    "From the master key, as `m/84'/0'/0'`; `m` when the key comes from nowhere."
    xpub: str

    @property
    def steps(self) -> tuple[int, ...]:
        """The path as numbers."""
        return parse_path_untrusted(self.path)

    @property
    def expression(self) -> str:
        """The key as descriptors write it: `[fingerprint/84'/0'/0']xpub`."""
        origin = f"[{self.fingerprint}{self.path[1:]}]" if self.fingerprint else ""
        return f"{origin}{self.xpub}"

    @classmethod
    def parse_untrusted(
        cls, fingerprint: str, path: str, xpub: str, network: Network
    ) -> AccountKey:
        """Check the three texts against each other and against a network.

        Raises:
            PrivateKeyRefusedError: the key is a private one.
            AccountNetworkError: the key is of another kind of network.
            AccountFormatError: anything else does not hold.
        """
        fingerprint = fingerprint.lower()
        if _FINGERPRINT.fullmatch(fingerprint) is None:
            raise AccountFormatError("not a fingerprint")
        steps = parse_path_untrusted(path)
        key = parse_xpub_untrusted(xpub, network)
        if key.depth != len(steps) or key.child != (steps[-1] if steps else 0):
            raise AccountFormatError("the key does not stand at the end of its path")
        return cls(fingerprint, format_path(steps), xpub)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account; made by `from_key` or `parse_untrusted`, which check everything."""

    name: str
    network: Network
    template: Template
    keys: tuple[AccountKey, ...]
    own: int
    "Which of the keys is this device's."
    external: str
    "Public descriptor of the receiving addresses, with origin and checksum."
    internal: str
    "Public descriptor of the change addresses."

    @classmethod
    def from_key(cls, key: AccountKey, network: Network, *, name: str = "") -> Account:
        """Make the standard account of a key; its path says which (BIP-44, 49, 84 or 86).

        Raises:
            AccountFormatError: the key, its path or the name does not fit.
        """
        key = AccountKey.parse_untrusted(key.fingerprint, key.path, key.xpub, network)
        steps = key.steps
        template = SINGLE_TEMPLATES.get(steps[0] & ~HARDENED) if steps else None
        hardened = all(step & HARDENED for step in steps)
        if template is None or len(steps) != 3 or not hardened:
            raise AccountFormatError("not the path of a standard account")
        if steps[1] != network.coin_type | HARDENED:
            raise AccountFormatError("not the path of an account on this network")
        return cls.from_policy(parse_template_untrusted(template), (key,), network, name=name)

    @classmethod
    def from_policy(
        cls,
        template: Template,
        keys: tuple[AccountKey, ...],
        network: Network,
        *,
        name: str = "",
        own: int = 0,
    ) -> Account:
        """Make the account of a wallet policy.

        Args:
            template: with places for the keys.
            keys: in order, checked; each but once.
            network: of the keys.
            name: at most 20 printable characters.
            own: which key is this device's.

        Raises:
            AccountFormatError: the policy is not sane: BDK (rust-miniscript) says that somebody
                could spend without a signature, or that it is malleable, mixes kinds of locks,
                repeats a key or cannot be satisfied.
        """
        check_name(name)
        if template.purpose is None and not template.text.startswith(_REGISTERED):
            raise AccountFormatError("a kind of account that is not supported")
        if template.text.startswith("tr(") and "pkh(" in template.text:
            # rust-miniscript 12.3 aborts the process when it completes such a leaf.
            raise AccountFormatError("a tapscript with the hash of a key is not supported")
        if len(keys) != template.key_count or not 0 <= own < len(keys):
            raise AccountFormatError("not as many keys as the template has")
        points = {parse_xpub_untrusted(key.xpub, network).public_key[1:] for key in keys}
        if len(points) != len(keys):
            raise AccountFormatError("two keys are the same")
        expressions = tuple(key.expression for key in keys)
        external, internal = (
            normalise_descriptor(template.fill(expressions, chain), network) for chain in Keychain
        )
        account = cls(
            name=name,
            network=network,
            template=template,
            keys=keys,
            own=own,
            external=external,
            internal=internal,
        )
        first = derive_script(external, 0, network)
        if account.script(Keychain.EXTERNAL, 0) != first:  # our forms of scripts are BDK's
            raise AccountFormatError("a kind of account that is not supported")
        return account

    @classmethod
    def parse_untrusted(
        cls,
        external: str,
        internal: str | None,
        network: Network,
        *,
        name: str = "",
        own: str | None = None,
    ) -> Account:
        """Read an account from the descriptors of a peer or a file.

        Args:
            external: descriptor of the receiving addresses, or one for both with `<0;1>`.
            internal: descriptor of the change addresses; None with `<0;1>`.
            network: the network it must belong to.
            name: at most 20 printable characters.
            own: fingerprint of this device's master key; with None the first key is ours.

        Raises:
            PrivateKeyRefusedError: a descriptor holds a private key.
            AccountNetworkError: a key is of another kind of network.
            AccountFormatError: not two descriptors of one supported account, a checksum is wrong,
                or this device has not exactly one key in it.
        """
        template, keys = _parse_descriptors(external, internal, network)
        if template.purpose is not None:
            account = cls.from_key(keys[0], network, name=name)
            if account.template != template:
                raise AccountFormatError("not the path of such an account")
            return account
        if template.text.startswith("tr(") and "," not in template.text:
            raise AccountFormatError("not the descriptor of a supported account")
        return cls.from_policy(template, keys, network, name=name, own=own_key(keys, own))

    # --- identity -------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Stable name of the account, 32 hex digits: a hash of network and descriptors."""
        text = "\n".join(("primegap/account/v1", self.network, self.external, self.internal))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def descriptor_hash(self) -> bytes:
        """SHA-256 over the stored descriptors, internal before external (companion section 8)."""
        return hashlib.sha256((self.internal + self.external).encode()).digest()

    def renamed(self, name: str) -> Account:
        """Return the account under another name; its identity stays."""
        check_name(name)
        return Account(
            name=name,
            network=self.network,
            template=self.template,
            keys=self.keys,
            own=self.own,
            external=self.external,
            internal=self.internal,
        )

    @property
    def own_key(self) -> AccountKey:
        """This device's key."""
        return self.keys[self.own]

    @property
    def is_standard(self) -> bool:
        """Whether it follows from its one key; all others have to be registered."""
        return self.template.purpose is not None

    @property
    def script_type(self) -> ScriptType:
        """Kind of its output scripts."""
        return next(kind for start, kind in _KINDS if self.template.text.startswith(start))

    @property
    def spending_weight(self) -> int:
        """Greatest weight of what an input holds once it is signed, its outpoint left out."""
        return satisfaction_weight(self.external, self.network)

    # --- addresses ------------------------------------------------------------------------------

    def script(self, keychain: Keychain, index: int) -> bytes:
        """Return an output script of the account.

        Args:
            keychain: receiving or change.
            index: 0 to 2**31 - 1.

        Raises:
            LocalError: the index is out of range.
        """
        if not 0 <= index <= MAX_INDEX:
            raise LocalError("an address index is out of range")
        match self.script_type:
            case ScriptType.P2PKH:
                return p2pkh_script(self.public_keys(keychain, index)[0])
            case ScriptType.P2WPKH:
                return p2wpkh_script(self.public_keys(keychain, index)[0])
            case ScriptType.P2TR if self.is_standard:
                return p2tr_script(self.public_keys(keychain, index)[0])
            case ScriptType.P2SH if self.is_standard:
                return nested_script(p2wpkh_script(self.public_keys(keychain, index)[0]))
        multisig = self.template.multisig
        if multisig is None:  # miniscript: BDK compiles it
            descriptor = self.internal if keychain is Keychain.INTERNAL else self.external
            return derive_script(descriptor, index, self.network)
        keys = self.public_keys(keychain, index)
        script = multisig_script(multisig.threshold, sorted(keys) if multisig.is_sorted else keys)
        return nested_script(p2wsh_script(script)) if multisig.is_nested else p2wsh_script(script)

    def public_keys(self, keychain: Keychain, index: int) -> tuple[bytes, ...]:
        """Return the compressed public keys at the places of the template, 33 bytes each."""
        return tuple(
            derive_public_key(self.keys[use.key].xpub, use.chains[keychain], index, self.network)
            for use in self.template.uses
        )

    def own_uses(self) -> tuple[KeyUse, ...]:
        """Return the places of the template that hold this device's key."""
        return tuple(use for use in self.template.uses if use.key == self.own)

    def address(self, keychain: Keychain, index: int) -> str:
        """Return an address of the account."""
        address = address_of_script(self.script(keychain, index), self.network)
        assert address is not None  # every supported kind of account has addresses
        return address

    def scripts(self, count: int) -> frozenset[bytes]:
        """Return the output scripts of the first `count` addresses of each keychain."""
        _check_count(count)
        return frozenset(self.script(chain, index) for chain in Keychain for index in range(count))

    def find_address(
        self,
        text: str,
        *,
        count: int = DEFAULT_SEARCH,
        around: Mapping[Keychain, int] | None = None,
    ) -> AddressMatch | None:
        """Tell whether an address belongs to the account (air-gap section 11).

        The text may be a scanned payment request: `bitcoin:` in front and everything from `?` on
        are left out. The search tries the first receiving address, then windows of 50 addresses
        that grow around the indices given, of both keychains in turn.

        Args:
            text: an address, or a BIP-21 request for one.
            count: how many addresses of each keychain to try; more to "continue searching".
            around: index last found in each keychain, where the search begins.

        Returns:
            Where the address is, or None when it was not found among those tried.

        Raises:
            AddressFormatError: it is not an address of this network.
            LocalError: `count` or `around` is out of range.
        """
        script = script_of_address(_bare_address(text), self.network)
        for match in self._search(around or {}, count):
            if self.script(match.keychain, match.index) == script:
                return match
        return None

    def _search(self, around: Mapping[Keychain, int], count: int) -> Iterator[AddressMatch]:
        _check_count(count)
        if not all(0 <= index <= MAX_INDEX for index in around.values()):
            raise LocalError("an address index is out of range")
        yield AddressMatch(Keychain.EXTERNAL, 0)
        windows = [(keychain, _windows(around.get(keychain, 0), count)) for keychain in Keychain]
        for _ in range(0, count, SEARCH_WINDOW):
            for keychain, growing in windows:
                for index in next(growing):
                    yield AddressMatch(keychain, index)


def check_name(name: str) -> None:
    """Raise AccountFormatError unless a name has at most 20 printable characters."""
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise AccountFormatError("an account name is too long or cannot be shown")


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_SEARCH:
        raise LocalError("a search of that many addresses is not supported")


def _windows(centre: int, count: int) -> Iterator[tuple[int, ...]]:
    """Yield windows of 50 indices: half below and half above, all above when 0 is reached."""
    low = high = centre
    for start in range(0, count, SEARCH_WINDOW):
        size = min(SEARCH_WINDOW, count - start)
        below = min(low, size // 2)
        above = min(size - below, MAX_INDEX + 1 - high)
        yield (*range(low - below, low), *range(high, high + above))
        low, high = low - below, high + above


def _bare_address(text: str) -> str:
    if len(text) > MAX_DESCRIPTOR_CHARACTERS:
        raise AddressFormatError("not an address")
    if text[:8].lower() == "bitcoin:":
        text = text[8:]
    return text.partition("?")[0]


def own_key(keys: tuple[AccountKey, ...], fingerprint: str | None) -> int:
    """Return which of the keys is of the device with a fingerprint.

    Raises:
        AccountFormatError: none is, or more than one.
    """
    if fingerprint is None:
        return 0
    found = [number for number, key in enumerate(keys) if key.fingerprint == fingerprint]
    if len(found) != 1:
        raise AccountFormatError("this device has not exactly one key in the wallet")
    return found[0]


def _parse_descriptors(
    external: str, internal: str | None, network: Network
) -> tuple[Template, tuple[AccountKey, ...]]:
    """Return what two descriptors, or one for both, have in common: a template and its keys."""
    places = _places(external, network)
    others = places if internal is None else _places(internal, network)
    keys: dict[AccountKey, int] = {}
    chains: list[str] = []
    if len(places) != len(others) or _frame(external) != _frame(internal or external):
        raise AccountFormatError("the two descriptors differ")
    for (key, first), (other, second) in zip(places, others, strict=True):
        if key != other or ("<" in first) != (internal is None):
            raise AccountFormatError("the two descriptors have different keys")
        number = keys.setdefault(key, len(keys))
        chain = first if internal is None else f"<{first};{second}>"
        chains.append(f"@{number}/**" if chain == "<0;1>" else f"@{number}/{chain}/*")
    rest = iter(chains)
    template = parse_template_untrusted(_KEY.sub(lambda _: next(rest), _frame(external, keys=True)))
    return template, tuple(keys)


def _frame(text: str, *, keys: bool = False) -> str:
    body = _CHECKSUM.sub("", text)
    return body if keys else _KEY.sub("@", body)


def _places(text: str, network: Network) -> list[tuple[AccountKey, str]]:
    if _PRIVATE.search(text):
        raise PrivateKeyRefusedError("a descriptor with a private key")
    if len(text) > MAX_DESCRIPTOR_CHARACTERS:
        raise AccountFormatError("a descriptor is too long")
    places = [(_key(match, network), match[4]) for match in _KEY.finditer(text)]
    normalise_descriptor(text, network)  # BDK judges the checksum and the points on the curve
    return places


def _key(match: re.Match[str], network: Network) -> AccountKey:
    fingerprint, path, xpub = match[1], match[2], match[3]
    if fingerprint is None:
        parse_xpub_untrusted(xpub, network)
        return AccountKey("", "m", xpub)
    return AccountKey.parse_untrusted(fingerprint, f"m{path}", xpub, network)
