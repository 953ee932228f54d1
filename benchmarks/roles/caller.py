"""Times calls in turn, so that a slow moment of the machine hits both ways."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Final

from benchmarks.roles.messages import Pong, RoutedPing, SealedPing
from primegap.keyos.messages import Request
from primegap.keyos.process import Process

ROUNDS: Final = 15
INNER: Final = 20
BODY: Final = bytes(64)


async def main(process: Process) -> None:
    process.serve()
    began = time.perf_counter()
    await process.call(SealedPing(BODY), Pong)
    opening_s = time.perf_counter() - began
    times: dict[str, list[float]] = {"routed": [], "sealed": []}
    for _ in range(ROUNDS):
        for name, request in (("routed", RoutedPing(BODY)), ("sealed", SealedPing(BODY))):
            times[name].append(await timed(process, request))
    figures = {name: statistics.median(values) for name, values in times.items()}
    (process.data / "figures.part").write_text(json.dumps({**figures, "opening": opening_s}))
    (process.data / "figures.part").rename(process.data / "figures.json")
    await asyncio.Event().wait()


async def timed(process: Process, request: Request) -> float:
    began = time.perf_counter()
    for _ in range(INNER):
        await process.call(request, Pong)
    return (time.perf_counter() - began) / INNER
