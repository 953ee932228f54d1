"""Times calls in turn, so that a slow moment of the machine hits both ways."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Final

from benchmarks.roles.messages import BODY, OBJECT_BYTES, Pong, RoutedPing, SealedPing, Take
from primegap.keyos.messages import Message, Request
from primegap.keyos.process import Process

ROUNDS: Final = 15
INNER: Final = 20
LARGE_INNER: Final = 8
TOGETHER: Final = 16
TOGETHER_CALLS: Final = 200


async def main(process: Process) -> None:
    process.serve()
    began = time.perf_counter()
    await process.call(SealedPing(BODY), Pong)
    opening_s = time.perf_counter() - began
    times: dict[str, list[float]] = {"routed": [], "sealed": []}
    for _ in range(ROUNDS):
        for name, request in (("routed", RoutedPing(BODY)), ("sealed", SealedPing(BODY))):
            times[name].append(await timed(process, request, INNER))
    large = Take(bytes(OBJECT_BYTES))
    times["large"] = [await timed(process, large, LARGE_INNER) for _ in range(ROUNDS)]
    figures = {name: statistics.median(values) for name, values in times.items()}
    began = time.perf_counter()
    await asyncio.gather(  # waiting requests overlap
        *(timed(process, RoutedPing(BODY), TOGETHER_CALLS) for _ in range(TOGETHER))
    )
    rate = TOGETHER * TOGETHER_CALLS / (time.perf_counter() - began)
    figures |= {"opening": opening_s, "rate": rate}
    (process.data / "figures.part").write_text(json.dumps(figures))
    (process.data / "figures.part").rename(process.data / "figures.json")
    await asyncio.Event().wait()


async def timed(process: Process, request: Request, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        await process.call(request, Message)
    return (time.perf_counter() - began) / count
