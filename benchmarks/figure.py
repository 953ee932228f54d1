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


def median_s(
    function: Callable[[], object],
    *,
    rounds: int = 15,
    inner: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median time of one call in seconds."""
    times = []
    for _ in range(rounds):
        began = clock()
        for _ in range(inner):
            function()
        times.append((clock() - began) / inner)
    return statistics.median(times)


def paired_s(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int = 15,
    inner: int = 1,
) -> tuple[float, float]:
    """Time two functions in turn, so that a slow moment of the machine hits both.

    They wait for nobody: what counts is the time of the processor.
    """
    mine: list[float] = []
    peers: list[float] = []
    for _ in range(rounds):
        for function, times in ((ours, mine), (theirs, peers)):
            times.append(median_s(function, rounds=1, inner=inner, clock=time.process_time))
    return statistics.median(mine), statistics.median(peers)
