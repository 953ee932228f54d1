"""How densely an animation is drawn, and how fast (airgap.md section 4.1).

The versions are the largest that give a screen of 480 pixels 9, 7, 6, 5 and 4 whole pixels for a
module, with the quiet zone of 4 modules on both sides. The fragments are what such a symbol then
holds at error correction L behind the longest type in use and counters of five and four digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

QUIET_ZONE_MODULES: Final = 4
"Light margin that a reader may rely on, on each side of a symbol."
SCREEN_WIDTH_PX: Final = 480

DEFAULT_FRAME_PERIOD_MS: Final = 250
"What the reference device uses; a scanner that looks three times a second still sees most frames."
MIN_FRAME_PERIOD_MS: Final = 100
MAX_FRAME_PERIOD_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class Density:
    """One step between easy to scan and quick to finish."""

    name: str
    "Stable name for settings."
    max_fragment_bytes: int
    "For `UrEncoder`."
    qr_version: int
    "Version that every frame fits; draw all frames at least this large, so that none shrinks."

    @property
    def module_px(self) -> int:
        """Width of a module on a screen of 480 pixels."""
        return SCREEN_WIDTH_PX // (17 + 4 * self.qr_version + 2 * QUIET_ZONE_MODULES)


DENSITIES: Final = (
    Density("coarse", 71, 7),
    Density("light", 157, 10),
    Density("medium", 269, 13),
    Density("fine", 428, 17),
    Density("dense", 753, 23),
)
"From the easiest to scan to the quickest; small signers want the first, phones read all."
DEFAULT_DENSITY: Final = DENSITIES[2]
