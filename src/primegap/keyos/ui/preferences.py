"""What the person chose about the screen itself; readable before the device is unlocked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError, read_file, write_file

if TYPE_CHECKING:
    from pathlib import Path

AUTO_LOCK_CHOICES_S: Final = (60, 120, 300, 600, 1800)
DEFAULT_AUTO_LOCK_S: Final = 300
SUPPLY_CHAIN_STATES: Final = ("", "passed", "failed", "skipped")
_FILE: Final = "preferences"


@dataclass(frozen=True, slots=True)
class Preferences:
    """No secret and nothing that a guarantee rests on."""

    auto_lock_s: int = DEFAULT_AUTO_LOCK_S
    "Seconds without a touch until the device locks itself."
    supply_chain: str = ""
    "What came of the check of the supply chain: one of SUPPLY_CHAIN_STATES."


def load_preferences(folder: Path) -> Preferences:
    """Read the file; whatever is wrong with it, the defaults hold."""
    try:
        data = read_file(folder / _FILE)
        found = {} if data is None else json.loads(data)
        auto_lock_s, supply_chain = found.get("auto_lock_s"), found.get("supply_chain")
    except (StorageError, ValueError, AttributeError):
        return Preferences()
    return Preferences(
        auto_lock_s if auto_lock_s in AUTO_LOCK_CHOICES_S else DEFAULT_AUTO_LOCK_S,
        supply_chain if supply_chain in SUPPLY_CHAIN_STATES else "",
    )


def save_preferences(folder: Path, preferences: Preferences) -> None:
    """Write the file in one step.

    Raises:
        StorageError: it was not written.
    """
    write_file(folder / _FILE, json.dumps(asdict(preferences)).encode())
