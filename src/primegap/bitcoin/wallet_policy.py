"""Wallet policies (BIP-388): a template of a descriptor, with places for keys.

`wsh(sortedmulti(2,@0/**,@1/**))` and two keys are a wallet. `@0` is the first key; `/**` stands for
`/<0;1>/*`: its receiving and its change addresses. The meaning of a template is judged by BDK
(rust-miniscript) when the descriptors are made; here only its places are read and filled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from primegap.bitcoin.errors import AccountFormatError

MAX_TEMPLATE_CHARACTERS: Final = 1024
MAX_KEYS: Final = 15  # air-gap section 8.1, rule R13
SINGLE_TEMPLATES: Final = {
    44: "pkh(@0/**)",
    49: "sh(wpkh(@0/**))",
    84: "wpkh(@0/**)",
    86: "tr(@0/**)",
}
"Templates of accounts with one key, by the first level of their path."

_PLACE: Final = re.compile(r"@([0-9]{1,2})(/\*\*|/<([0-9]{1,9});([0-9]{1,9})>/\*)", re.ASCII)
_CHARACTERS: Final = re.compile(r"[0-9a-z_@/*<>;(){},:]+", re.ASCII)
_SORTED: Final = re.compile(
    r"(sh\()?wsh\((sorted)?multi\(([1-9][0-9]?),((?:@[0-9]+/\*\*,?)+)\)\)\)?", re.ASCII
)
_RAW_KEY: Final = re.compile(r"[0-9a-f]{64,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One place of a template: which key, and below which numbers."""

    key: int
    chains: tuple[int, int]
    "Last step but one of receiving and of change addresses."


@dataclass(frozen=True, slots=True)
class Multisig:
    """A template of the common kind: so many of these keys."""

    threshold: int
    is_sorted: bool
    is_nested: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A template whose places hold; made by `parse_template_untrusted`."""

    text: str
    uses: tuple[KeyUse, ...]
    key_count: int

    @property
    def multisig(self) -> Multisig | None:
        """The template as m-of-n, if it is nothing else."""
        match = _SORTED.fullmatch(self.text)
        if match is None or len(self.uses) != self.key_count:
            return None
        return Multisig(int(match[3]), match[2] is not None, match[1] is not None)

    @property
    def purpose(self) -> int | None:
        """First level of the path of a standard account with one key, else None."""
        return next((p for p, text in SINGLE_TEMPLATES.items() if text == self.text), None)

    def fill(self, keys: tuple[str, ...], chain: int) -> str:
        """Return the descriptor of one keychain.

        Args:
            keys: expressions such as `[fingerprint/path]xpub`, in order.
            chain: 0 for receiving, 1 for change addresses.
        """
        uses = iter(self.uses)

        def place(match: re.Match[str]) -> str:
            use = next(uses)
            return f"{keys[use.key]}/{use.chains[chain]}/*"

        return _PLACE.sub(place, self.text)


def parse_template_untrusted(text: str) -> Template:
    """Read a template.

    Raises:
        AccountFormatError: it is too long, has characters or keys that do not belong there, its
            keys do not appear in order, or one place of a key is used twice.
    """
    if len(text) > MAX_TEMPLATE_CHARACTERS or _CHARACTERS.fullmatch(text) is None:
        raise AccountFormatError("not the template of a wallet")
    places = list(_PLACE.finditer(text))
    uses = tuple(
        KeyUse(int(m[1]), (0, 1) if m[3] is None else (int(m[3]), int(m[4]))) for m in places
    )
    if text.count("@") != len(uses) or not uses:
        raise AccountFormatError("a template has keys in another form")
    for match, use in zip(places, uses, strict=True):
        chains = "**" if use.chains == (0, 1) else f"<{use.chains[0]};{use.chains[1]}>/*"
        if match[0] != f"@{use.key}/{chains}":
            raise AccountFormatError("a place of a template is written in another way")
    rest = _PLACE.sub("", text)
    if set("/*<>;") & set(rest) or _RAW_KEY.search(_without_hashes(rest)):
        raise AccountFormatError("a template holds a key of its own")
    count = max(use.key for use in uses) + 1
    first = list(dict.fromkeys(use.key for use in uses))
    if first != list(range(count)) or count > MAX_KEYS:
        raise AccountFormatError("the keys of a template are not in order, or too many")
    for key in range(count):
        below = [chain for use in uses if use.key == key for chain in use.chains]
        if len(set(below)) != len(below):
            raise AccountFormatError("a template uses one key twice in the same place")
    return Template(text, uses, count)


def _without_hashes(text: str) -> str:
    """Leave out what may be long hexadecimal in a template: the images of hash locks."""
    return re.sub(r"(?:sha256|hash256|hash160|ripemd160)\([0-9a-f]+\)", "", text)
