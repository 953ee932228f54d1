"""A well-behaved app next to a hostile one: it measures how fast its calls are answered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.e2e.hostile.raw import DATA, write_report
from tests.e2e.hostile.vault_api import Big, Log, Misbehave, Ping, Release

from primegap.keyos.api.core import GetSystemInfo
from primegap.keyos.errors import KeyosError

if TYPE_CHECKING:
    from primegap.keyos.process import Process


async def main(process: Process) -> None:
    """Carry out orders of the test: files named `ask-…` in this folder."""
    process.serve()
    done: set[str] = set()
    while True:
        for path in sorted(DATA.glob("ask-*")):
            if path.name not in done:
                done.add(path.name)
                _, kind, name = path.name.split("-", 2)
                asyncio.create_task(answer(process, kind, name))  # noqa: RUF006 - it reports itself
        await asyncio.sleep(0.01)


async def answer(process: Process, kind: str, name: str) -> None:
    match kind:
        case "measure":
            write_report(await measure(process, name), f"measure-{name}")
        case "log":
            write_report({"log": (await process.call(Log())).value}, f"log-{name}")
        case "misbehave":
            how = name.replace("-", " ")
            write_report({"outcome": await outcome(process, Misbehave(how))}, f"misbehave-{name}")
        case "hold":
            from tests.e2e.hostile.vault_api import Hold

            write_report({"outcome": await outcome(process, Hold())}, f"hold-{name}")
        case "release":
            write_report({"outcome": await outcome(process, Release())}, f"release-{name}")
        case "big":
            write_report({"outcome": await outcome(process, Big(1_000_000))}, f"big-{name}")
        case "core":
            write_report({"outcome": await outcome(process, GetSystemInfo())}, f"core-{name}")
        case "late":
            try:
                await process.connect("os/late")
                result = "connected"
            except KeyosError as error:
                result = str(error)
            write_report({"outcome": result}, f"late-{name}")


async def outcome(
    process: Process, request: Ping | Misbehave | Release | Big | object
) -> dict[str, object]:
    started_s = time.monotonic()
    try:
        reply = await process.call(request)  # type: ignore[arg-type, var-annotated]
        result = type(reply).__name__
    except KeyosError as error:
        result = f"{error.code}: {error}"
    return {"result": result, "elapsed_s": time.monotonic() - started_s}


async def measure(process: Process, name: str) -> dict[str, object]:
    """Call every 5 ms until the test says stop; report the slowest call and every error."""
    slowest_s = 0.0
    calls = 0
    errors: list[str] = []
    while not (DATA / f"stop-{name}").exists():
        started_s = time.monotonic()
        try:
            await process.call(Ping())
            calls += 1
        except KeyosError as error:
            errors.append(str(error))
        slowest_s = max(slowest_s, time.monotonic() - started_s)
        await asyncio.sleep(0.005)
    return {"slowest_s": slowest_s, "calls": calls, "errors": errors[:10]}
