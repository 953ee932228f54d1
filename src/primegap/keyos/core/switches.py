"""The switches of the device: Bluetooth, NFC, USB, camera, and one for the air gap (L-7).

Each process that stands for a piece of hardware names its switch in its manifest; while the switch
is off, the process does not run. The air gap is above the first three: while it is closed off, no
process that could carry data by radio or wire runs, whatever their own switches say. What the
switches said holds over a restart, and a file that cannot be read means that everything is off.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError, read_file, write_file
from primegap.keyos.manifest.schema import SWITCHES

if TYPE_CHECKING:
    from pathlib import Path

CARRIERS: Final = frozenset({"bluetooth", "nfc", "usb"})
"What the air gap turns off. The camera stays: reading codes is how a device behind a gap works."
FILE: Final = "switches"
_AIR_GAP: Final = "air-gap"


class Switches:
    """What the person chose."""

    def __init__(self, data: Path) -> None:
        """Read the file: all on and no air gap at the first start, all off when it is damaged."""
        self._file = data / FILE
        self.air_gap = False
        self._on = dict.fromkeys(SWITCHES, True)
        try:
            stored = read_file(self._file)
            if stored is not None:
                found = json.loads(stored)
                self._on = {name: found[name] is True for name in SWITCHES}
                self.air_gap = found[_AIR_GAP] is not False
        except (StorageError, ValueError, KeyError, TypeError, RecursionError):
            self._on = dict.fromkeys(SWITCHES, False)
            self.air_gap = True

    def chosen(self, name: str) -> bool:
        """Whether the person wants it on; the air gap may keep it off all the same."""
        return self._on[name]

    def allows(self, name: str | None) -> bool:
        """Whether a process with this switch may run."""
        if name is None:
            return True
        return self._on[name] and not (self.air_gap and name in CARRIERS)

    def choose(self, name: str, *, on: bool) -> None:
        """Turn one of SWITCHES; in memory, until `write_down`."""
        self._on[name] = on

    def write_down(self) -> None:
        """Keep the choice over a restart.

        Raises:
            StorageError: after a restart it would be the earlier one.
        """
        write_file(self._file, json.dumps({**self._on, _AIR_GAP: self.air_gap}).encode())
