"""Runs the device's own processes, some of them with other code: `run_taken_over.py ORDER.json`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from primegap.keyos.core.builtin import PACKAGE, builtin_manifests
from primegap.keyos.core.journal import Journal
from primegap.keyos.core.order import find_runtime
from primegap.keyos.core.supervisor import Supervisor, Supply
from primegap.keyos.manifest import PermissionTable
from primegap.keyos.sandbox import libc


async def run(order: dict[str, Any]) -> int:
    """Run the device until it stops."""
    runtime = find_runtime(PACKAGE.parent)
    code = order["code"]
    runtime = dataclasses.replace(
        runtime,
        python_path=(*runtime.python_path, code),
        read_only=(*runtime.read_only, code),
    )
    taken: dict[str, str] = order["taken"]
    manifests = [
        dataclasses.replace(manifest, entry=taken.get(manifest.role, manifest.entry))
        for manifest in builtin_manifests()
    ]
    listening = socket.create_server(("127.0.0.1", 0))
    config = {"network": "regtest"}
    journal = Journal(started_s=time.monotonic())
    supervisor = Supervisor(
        PermissionTable(manifests),
        runtime,
        data=Path(order["data"]),
        development=True,
        journal=journal,
        supplies={
            "panel": Supply(config={"token": order["token"]}, sockets={"page": listening}),
            "ui": Supply(config=config),
            "bitcoin": Supply(config=config),
            "link": Supply(config={"version": "1"}),
        },
    )
    journal.event("core-ready", pid=os.getpid(), port=listening.getsockname()[1])
    supervisor.start_first()
    reason = await supervisor.finished
    journal.event("stopped", reason=reason)
    return 1 if reason else 0


if __name__ == "__main__":
    # No device outlives its test.
    libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the device to the test")
    raise SystemExit(asyncio.run(run(json.loads(Path(sys.argv[1]).read_text()))))
