"""The device's journal: clean lines on standard error, JSON events on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from primegap.keyos.frame import MAX_LOG_LINE

LINES_AT_ONCE: Final = 200  # of one role: a start with every trace it may have
LINES_PER_S: Final = 20.0  # so that a talkative process fills neither the disk nor core's time


@dataclass(slots=True)
class _Allowance:
    lines: float = LINES_AT_ONCE
    counted_s: float = 0.0
    dropped: int = 0


class Journal:
    """Writes lines of the processes and facts of core."""

    def __init__(self, *, started_s: float) -> None:
        self._started_s = started_s
        self._allowances: defaultdict[str, _Allowance] = defaultdict(_Allowance)

    def line(self, role: str, text: str) -> None:
        """Write a process's line: one line, printable characters only; too many are dropped."""
        allowance = self._allowances[role]
        now_s = time.monotonic()
        earned = (now_s - allowance.counted_s) * LINES_PER_S
        allowance.lines = min(allowance.lines + earned, LINES_AT_ONCE)
        allowance.counted_s = now_s
        if allowance.lines < 1:
            allowance.dropped += 1
            return
        allowance.lines -= 1
        if allowance.dropped:
            text = f"({allowance.dropped} lines dropped) {text}"
            allowance.dropped = 0
        clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        elapsed = time.monotonic() - self._started_s
        sys.stderr.write(f"{elapsed:9.3f} {role:9} {clean[:MAX_LOG_LINE]}\n")
        sys.stderr.flush()

    def event(self, name: str, **facts: Any) -> None:
        """Write one machine-readable event."""
        elapsed = round(time.monotonic() - self._started_s, 4)
        sys.stdout.write(json.dumps({"event": name, "elapsed_s": elapsed, **facts}) + "\n")
        sys.stdout.flush()
