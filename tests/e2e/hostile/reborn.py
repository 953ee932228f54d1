"""An app that leaves a waiting request behind, and looks for its answer in its next life."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.e2e.hostile.raw import DATA, wait_for_file, write_report
from tests.e2e.hostile.vault_api import MESSAGES, SERVER
from tests.e2e.hostile.wire import Control

if TYPE_CHECKING:
    from primegap.keyos.process import Process


async def main(process: Process) -> None:
    """Ask in the first life, listen in the second."""
    process.serve()
    control = Control(process)
    wire = control.must_connect(SERVER)
    if not (DATA / "first.json").exists():
        wire.request(MESSAGES["Hold"], 1)
        instance = wire.call(MESSAGES["Ping"], 2)
        write_report({"payload": instance.payload.hex() if instance else ""}, "first")
        await wait_for_file("go-die")
        os._exit(1)
    instance = wire.call(MESSAGES["Ping"], 2)
    write_report({"payload": instance.payload.hex() if instance else ""}, "second")
    await wait_for_file("go-listen")
    write_report({"heard": wire.outcome(0.3), "control": control.outcome(0.1)}, "heard")
    await wait_for_file("go-on-for-ever")
