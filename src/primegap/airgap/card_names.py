"""How files on a microSD card are called, and how a PSBT in one is written (airgap.md 5.2, 6).

Pure. A name is never used twice: each file gets the next free number, `-001` first.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.airgap.dialect import psbt_from_text
from primegap.airgap.errors import CardNamesUsedUpError, NotAPsbtError
from primegap.airgap.ur.payload import PSBT_MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterable

TRANSACTIONS: Final = "transactions"
WALLET_CONFIGS: Final = "wallet_configs"
MULTISIG_CONFIGS: Final = "multisig_configs"
BACKUPS: Final = "backups"
HEALTH_CHECKS: Final = "health_checks"
KEY_MANAGER: Final = "key_manager"
SIGNED_MESSAGES: Final = "signed_messages"

PSBT_SUFFIX: Final = ".psbt"
BACKUP_SUFFIX: Final = ".7z"
FIRMWARE_SUFFIX: Final = "-passport.bin"
MAX_NUMBER: Final = 999
MAX_BASE_CHARACTERS: Final = 64
"Of what others called a file; the rest is left out of the names made from it."

_NUMBER: Final = re.compile(r"-[0-9]{3}$", re.ASCII)
_KEPT: Final = re.compile(r"[^0-9A-Za-z._+-]")


def numbered_name(name: str, taken: Iterable[str]) -> str:
    """Return a name with the next free number before its suffix: `a b.json` is `a_b-001.json`.

    Args:
        name: with its suffix; spaces become `_`.
        taken: names in the folder; upper and lower case are the same to a card.

    Raises:
        CardNamesUsedUpError: all 999 are there.
    """
    base, dot, suffix = name.replace(" ", "_").rpartition(".")
    if not dot:
        base, suffix = suffix, ""
    used = {other.casefold() for other in taken}
    for number in range(1, MAX_NUMBER + 1):
        candidate = f"{base}-{number:03}{dot}{suffix}"
        if candidate.casefold() not in used:
            return candidate
    raise CardNamesUsedUpError("every number is taken")


def base_of_untrusted(name: str, *endings: str) -> str:
    """Return what others called a file, fit to be part of a name: no suffix, no number, no ending.

    Characters that are not plain become `_`, so that what is written again can be read everywhere.

    Args:
        name: as it stands on the card.
        endings: such as `-part`, which are not doubled.
    """
    base = name.rpartition(".")[0] or name
    base = _NUMBER.sub("", _KEPT.sub("_", base))
    for ending in endings:
        base = base.removesuffix(ending)
    return base[:MAX_BASE_CHARACTERS].strip(".") or "file"


@dataclass(frozen=True, slots=True)
class PsbtFile:
    """A PSBT as it stood in a file."""

    psbt: bytes = field(repr=False)
    "Binary."
    encoding: str
    "`binary`, `hex` or `base64`: the answer is written in the same way."

    @classmethod
    def parse_untrusted(cls, content: bytes) -> PsbtFile:
        """Tell by the first bytes how a PSBT is written; only these are looked at.

        Raises:
            NotAPsbtError: it is none, or the encoding is broken.
        """
        if content.startswith(PSBT_MAGIC):
            return cls(content, "binary")
        found = psbt_from_text(content.decode("latin-1")) if content[:1] in b"7c" else None
        if found is None or found[0] not in {"hex", "base64"}:
            raise NotAPsbtError("no PSBT in the file")
        return cls(found[1], found[0])

    def written(self, psbt: bytes) -> bytes:
        """Return the content of the file that answers this one."""
        match self.encoding:
            case "hex":
                return binascii.hexlify(psbt) + b"\r\n"
            case "base64":
                return base64.b64encode(psbt)
            case _:
                return psbt
