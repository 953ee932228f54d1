"""Accounts: the public side of a wallet, and the proofs that something belongs to it.

An account is described by output descriptors with the origin of their keys. Whatever claims to
belong to an account is proved by deriving the script again from these descriptors; nothing is
believed because a peer says so.

Today: single-signature accounts of native segwit (BIP-84). Other kinds are further members of
`ScriptType` with further keys; an account already holds a tuple of keys and whole descriptors.
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
from primegap.bitcoin.scripts import ScriptType
from primegap.bitcoin.xpub import parse_xpub_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from primegap.bitcoin.networks import Network

MAX_DESCRIPTOR_CHARACTERS: Final = 4096  # fifteen keys of 150 characters, and their frame
MAX_NAME_CHARACTERS: Final = 20  # air-gap section 11
MAX_SEARCH: Final = 10_000  # addresses of each keychain in one search: about three seconds
SEARCH_WINDOW: Final = 50  # air-gap section 11
DEFAULT_SEARCH: Final = 200  # air-gap section 21
PURPOSES: Final = {ScriptType.P2WPKH: 84}
"First level of the path for each kind of account supported."

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)
_PRIVATE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[a-zA-Z]prv|[59cKL][1-9A-HJ-NP-Za-km-z]{50,51}(?![0-9A-Za-z]))", re.ASCII
)
"Where a key may begin: an extended private key, or a single one in wallet import format."
_KEY: Final = re.compile(
    r"\[([0-9a-fA-F]{8})((?:/[0-9]{1,10}['hH])+)\]([0-9A-Za-z]{111})", re.ASCII
)
_SINGLE: Final = re.compile(
    rf"wpkh\(({_KEY.pattern})/([01]|<0;1>)/\*\)(?:#([0-9a-z]{{8}}))?", re.ASCII
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
    "Of the master key, 8 lower-case hex digits."
    path: str
    "From the master key, as `m/84'/0'/0'`."
    xpub: str

    @property
    def steps(self) -> tuple[int, ...]:
        """The path as numbers."""
        return parse_path_untrusted(self.path)

    @property
    def expression(self) -> str:
        """The key as descriptors write it: `[fingerprint/84'/0'/0']xpub`."""
        return f"[{self.fingerprint}{self.path[1:]}]{self.xpub}"

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
        if key.depth != len(steps) or not steps or key.child != steps[-1]:
            raise AccountFormatError("the key does not stand at the end of its path")
        return cls(fingerprint, format_path(steps), xpub)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account; made by `from_key` or `parse_untrusted`, which check everything."""

    name: str
    network: Network
    script_type: ScriptType
    keys: tuple[AccountKey, ...]
    external: str
    "Public descriptor of the receiving addresses, with origin and checksum."
    internal: str
    "Public descriptor of the change addresses."

    @classmethod
    def from_key(
        cls,
        key: AccountKey,
        network: Network,
        *,
        name: str = "",
        script_type: ScriptType = ScriptType.P2WPKH,
    ) -> Account:
        """Make the single-signature account of a key.

        Raises:
            AccountFormatError: the key, its path or the name does not fit.
        """
        check_name(name)
        key = AccountKey.parse_untrusted(key.fingerprint, key.path, key.xpub, network)
        purpose = PURPOSES.get(script_type)
        if purpose is None:
            raise AccountFormatError("this kind of account is not supported")
        steps = key.steps
        standard = (purpose | HARDENED, network.coin_type | HARDENED)
        if len(steps) != 3 or steps[:2] != standard or not steps[2] & HARDENED:
            raise AccountFormatError("not the path of such an account on this network")
        external, internal = (
            normalise_descriptor(f"wpkh({key.expression}/{keychain}/*)", network)
            for keychain in (0, 1)
        )
        return cls(
            name=name,
            network=network,
            script_type=script_type,
            keys=(key,),
            external=external,
            internal=internal,
        )

    @classmethod
    def parse_untrusted(
        cls, external: str, internal: str | None, network: Network, *, name: str = ""
    ) -> Account:
        """Read an account from the descriptors of a peer or a file.

        Args:
            external: descriptor of the receiving addresses, or one for both with `<0;1>`.
            internal: descriptor of the change addresses; None with `<0;1>`.
            network: the network it must belong to.
            name: at most 20 printable characters.

        Raises:
            PrivateKeyRefusedError: a descriptor holds a private key.
            AccountNetworkError: a key is of another kind of network.
            AccountFormatError: not two descriptors of one supported account, or a checksum is
                wrong.
        """
        if internal is None:
            key = _parse_single(external, "<0;1>", network)
        else:
            key = _parse_single(external, "0", network)
            if _parse_single(internal, "1", network) != key:
                raise AccountFormatError("the two descriptors have different keys")
        return cls.from_key(key, network, name=name)

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
            script_type=self.script_type,
            keys=self.keys,
            external=self.external,
            internal=self.internal,
        )

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
        descriptor = self.internal if keychain is Keychain.INTERNAL else self.external
        return derive_script(descriptor, index, self.network)

    def address(self, keychain: Keychain, index: int) -> str:
        """Return an address of the account."""
        address = address_of_script(self.script(keychain, index), self.network)
        assert address is not None  # every supported kind of account has addresses
        return address

    def public_key(self, key: AccountKey, match: AddressMatch) -> bytes:
        """Return the compressed public key below one of the account's keys, 33 bytes."""
        steps = (int(match.keychain), match.index)
        return derive_public_key(key.expression, steps, self.network)

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


def _parse_single(text: str, chain: str, network: Network) -> AccountKey:
    if _PRIVATE.search(text):
        raise PrivateKeyRefusedError("a descriptor with a private key")
    if len(text) > MAX_DESCRIPTOR_CHARACTERS:
        raise AccountFormatError("a descriptor is too long")
    match = _SINGLE.fullmatch(text)
    if match is None or match[5] != chain:
        raise AccountFormatError("not the descriptor of a supported account")
    key = AccountKey.parse_untrusted(match[2], f"m{match[3]}", match[4], network)
    normalise_descriptor(text, network)  # BDK judges the checksum and the point on the curve
    return key
