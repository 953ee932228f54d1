"""Claims of a PSBT that a key is ours, and their proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from primegap.bitcoin.accounts import AddressMatch, Keychain
from primegap.bitcoin.psbt_fields import HARDENED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.bitcoin.accounts import Account, AccountKey
    from primegap.bitcoin.psbt_fields import Derivation


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """A derivation that names the master key of one of the account's keys."""

    key: AccountKey
    public_key: bytes
    path: tuple[int, ...]
    place: AddressMatch | None
    "Where in the account it would be; None when its path leads elsewhere."

    @property
    def is_other_network(self) -> bool:
        """Whether the path is one of the same purpose for another kind of coin."""
        own = self.key.steps
        return len(self.path) > 1 and self.path[0] == own[0] and self.path[1] != own[1]


def own_claims(account: Account, derivations: Iterable[Derivation]) -> tuple[OwnClaim, ...]:
    """Return the claims that name one of the account's master keys."""
    return tuple(
        OwnClaim(key, claim.public_key, claim.path, _place(key.steps, claim.path))
        for claim in derivations
        for key in account.keys
        if claim.fingerprint == key.fingerprint
    )


def is_proved(account: Account, claim: OwnClaim, script: bytes) -> bool:
    """Derive key and script again: tell whether a claim with a place holds for this script."""
    assert claim.place is not None  # nothing outside the account can be derived here
    derived_key = account.public_key(claim.key, claim.place)
    derived_script = account.script(claim.place.keychain, claim.place.index)
    return derived_key == claim.public_key and derived_script == script


def _place(account_path: tuple[int, ...], path: tuple[int, ...]) -> AddressMatch | None:
    size = len(account_path)
    if len(path) != size + 2 or path[:size] != account_path:
        return None
    chain, index = path[size:]
    if chain not in set(Keychain) or index & HARDENED:
        return None
    return AddressMatch(Keychain(chain), index)
