"""The device's journal: clean lines on standard error, JSON events on standard output."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from primegap.keyos.process import MAX_LOG_LINE


class Journal:
    """Writes lines of the processes and facts of core."""

    def __init__(self, *, started_s: float) -> None:
        self._started_s = started_s

    def line(self, role: str, text: str) -> None:
        """Write a process's line: one line, printable characters only."""
        clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        elapsed = time.monotonic() - self._started_s
        sys.stderr.write(f"{elapsed:9.3f} {role:9} {clean[:MAX_LOG_LINE]}\n")
        sys.stderr.flush()

    def event(self, name: str, **facts: Any) -> None:
        """Write one machine-readable event."""
        elapsed = round(time.monotonic() - self._started_s, 4)
        sys.stdout.write(json.dumps({"event": name, "elapsed_s": elapsed, **facts}) + "\n")
        sys.stdout.flush()
