"""One measured figure, and how to take one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    against: str
    "What it stands beside: a peer measured in the same run, or a limit."
    against_value: float
    ratio: float
    "Ours divided by theirs."


def figure(name: str, value: float, unit: str, against: str, against_value: float) -> Figure:
    return Figure(name, value, unit, against, against_value, value / against_value)


def median_s(function: Callable[[], object], *, rounds: int = 15, inner: int = 1) -> float:
    """Return the median time of one call in seconds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(inner):
            function()
        times.append((time.process_time() - began) / inner)
    return statistics.median(times)


def paired_s(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int = 15,
    inner: int = 1,
) -> tuple[float, float]:
    """Time two functions in turn, so that a slow moment of the machine hits both."""
    mine, peers = [], []
    for _ in range(rounds):
        mine.append(median_s(ours, rounds=1, inner=inner))
        peers.append(median_s(theirs, rounds=1, inner=inner))
    return statistics.median(mine), statistics.median(peers)
