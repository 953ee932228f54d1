"""A role that holds a secret and does nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.hostile.raw import DATA, write_report

if TYPE_CHECKING:
    from primegap.keyos.process import Process


async def main(process: Process) -> None:
    """Write the secret and stay."""
    (DATA / "canary").write_text(process.config["canary"])
    process.serve()
    write_report({})
    await asyncio.Event().wait()
