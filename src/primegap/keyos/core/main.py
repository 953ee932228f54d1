"""Entry of the core process: `python -I -S -B main.py FD`, with the device's settings behind FD.

Core is started by the launcher of the device with a clean interpreter: no site packages that it
does not need, no environment. It opens no file but its data directory and listens on nothing.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from primegap.keyos.core.spawn import Spawner

FIRST_PROCESSES: Final = 3  # security, panel, ui


def main() -> None:
    """Read the settings, run the supervisor until the device stops, and exit with its status."""
    fd = int(sys.argv[1])
    settings: dict[str, Any] = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    os.close(fd)
    sys.path += settings["runtime"]["python_path"]
    from primegap.keyos.core.spawn import Spawner

    # They load while core itself loads.
    spawner = Spawner(settings["runtime"]["python_path"], ahead=FIRST_PROCESSES)
    import asyncio

    sys.exit(asyncio.run(_run(settings, spawner)))


async def _run(settings: dict[str, Any], spawner: Spawner) -> int:
    import asyncio
    import resource
    import signal
    import socket
    from pathlib import Path

    from primegap.keyos.core.builtin import builtin_table
    from primegap.keyos.core.journal import Journal
    from primegap.keyos.core.order import Runtime
    from primegap.keyos.core.supervisor import Supervisor, Supply
    from primegap.keyos.sandbox.cgroups import find_control_groups

    # Worked out by the launcher: this interpreter runs without site packages and cannot tell.
    found = settings["runtime"]
    runtime = Runtime(
        tuple(found["python_path"]),
        tuple(found["read_only"]),
        tuple((path, target) for path, target in found["links"]),
    )
    # Core holds channel ends of every process: apps must not bring it to the usual limit of 1024.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    journal = Journal(started_s=settings["started_s"])
    supplies = {
        role: Supply(
            config=supply["config"],
            sockets={name: socket.socket(fileno=fd) for name, fd in supply["fds"].items()},
            devices=supply["devices"],
        )
        for role, supply in settings["supplies"].items()
    }
    groups = find_control_groups()
    groups.clear_stale()
    supervisor = Supervisor(
        builtin_table(settings["model"]),
        runtime,
        data=Path(settings["data"]),
        development=settings["development"],
        simulator=settings["simulator"],
        journal=journal,
        supplies=supplies,
        groups=groups,
        spawner=spawner,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    journal.event("core-ready", pid=os.getpid())
    supervisor.start_first()
    reason = await supervisor.finished
    journal.event("stopped", reason=reason)
    if reason:
        sys.stderr.write(f"The device stopped: {reason}\n")
    return 1 if reason else 0


if __name__ == "__main__":
    main()
