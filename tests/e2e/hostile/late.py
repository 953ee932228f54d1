"""A service that becomes ready only when the test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.hostile.raw import wait_for_file

if TYPE_CHECKING:
    from primegap.keyos.process import Process


async def main(process: Process) -> None:
    """Wait, then serve."""
    await wait_for_file("go-serve")
    process.serve()
    await process.wait()
