"""Does nothing: what an app costs before it does something."""

from __future__ import annotations

import asyncio

from primegap.keyos.process import Process


async def main(process: Process) -> None:
    process.serve()
    await asyncio.Event().wait()
