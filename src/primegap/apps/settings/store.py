"""What the settings app keeps: the time zone, and how far the clock was set from the system's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.client import UnreadableError

if TYPE_CHECKING:
    from primegap.keyos.client import SealedFile

FORMAT: Final = 1
MAX_CORRECTION_S: Final = 400 * 86400  # a clock that is off by more is not a clock
_PARTS_OF_HOURS: Final = (-570, -210, -150, 210, 270, 330, 345, 390, 525, 570, 630, 765)
OFFSETS_MINUTES: Final = tuple(sorted({*range(-12 * 60, 15 * 60, 60), *_PARTS_OF_HOURS}))
"Every offset from UTC that is in use somewhere."


@dataclass(slots=True)
class Clock:
    """The person's clock, over the system's."""

    file: SealedFile
    offset_minutes: int = 0
    "Time zone: local time is this much ahead of UTC."
    correction_s: int = 0
    "Added to the system's clock."

    @classmethod
    def load(cls, file: SealedFile) -> Clock:
        """Read the file, or begin anew when there is none.

        Raises:
            UnreadableError: it makes no sense.
            StorageError: it cannot be read.
        """
        data = file.read()
        if data is None:
            return cls(file)
        try:
            stored = json.loads(data)
            clock = cls(file, int(stored["offset_minutes"]), int(stored["correction_s"]))
            known = stored["format"] == FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableError("the settings are damaged") from error
        if (
            not known
            or clock.offset_minutes not in OFFSETS_MINUTES
            or abs(clock.correction_s) > MAX_CORRECTION_S
        ):
            raise UnreadableError("the settings make no sense")
        return clock

    def save(self) -> None:
        """Write the file in one step."""
        content = {
            "format": FORMAT,
            "offset_minutes": self.offset_minutes,
            "correction_s": self.correction_s,
        }
        self.file.write(json.dumps(content).encode())

    def shift(self, seconds: int) -> None:
        """Set the clock forward or back, within the limit."""
        moved = self.correction_s + seconds
        self.correction_s = max(-MAX_CORRECTION_S, min(MAX_CORRECTION_S, moved))

    def now_ms(self, system_s: float) -> int:
        """Return the time in milliseconds since 1970, from the system's in seconds."""
        return round((system_s + self.correction_s) * 1000)
