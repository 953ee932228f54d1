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
    is_own: bool
    "The key is this device's, not a co-signer's."
    public_key: bytes
    "33 or 65 bytes, or 32 for a taproot key."
    path: tuple[int, ...]
    place: AddressMatch | None
    "Where in the account it would be; None when its path leads elsewhere."

    @property
    def is_other_network(self) -> bool:
        """Whether the path is one of the same purpose for another kind of coin."""
        own = self.key.steps
        both = len(self.path) > 1 and len(own) > 1
        return both and self.path[0] == own[0] and self.path[1] != own[1]


def own_claims(account: Account, derivations: Iterable[Derivation]) -> tuple[OwnClaim, ...]:
    """Return the claims that name one of the account's keys.

    Of this device's master key all count, wherever they lead; of a co-signer's those that lead into
    this account: what else they own is not ours to judge.
    """
    found: list[OwnClaim] = []
    for claim in derivations:
        for number, key in enumerate(account.keys):
            if claim.fingerprint != key.fingerprint:
                continue
            is_own = number == account.own
            place = _place(account, number, claim.path)
            if place is not None or is_own:
                found.append(OwnClaim(key, is_own, claim.public_key, claim.path, place))
    return tuple(found)


def is_proved(account: Account, claim: OwnClaim, script: bytes) -> bool:
    """Derive key and script again: tell whether a claim with a place holds for this script."""
    place = claim.place
    assert place is not None  # nothing outside the account can be derived here
    if account.script(place.keychain, place.index) != script:
        return False
    chain = claim.path[-2]
    for use, key in zip(
        account.template.uses, account.public_keys(place.keychain, place.index), strict=True
    ):
        if account.keys[use.key] is claim.key and use.chains[place.keychain] == chain:
            return claim.public_key in {key, key[1:]}
    return False


def _place(account: Account, number: int, path: tuple[int, ...]) -> AddressMatch | None:
    steps = account.keys[number].steps
    size = len(steps)
    if len(path) != size + 2 or path[:size] != steps:
        return None
    chain, index = path[size:]
    if index & HARDENED:
        return None
    for use in account.template.uses:
        if use.key == number and chain in use.chains:
            return AddressMatch(Keychain(use.chains.index(chain)), index)
    return None
