"""A call from app to app, signed and sealed, against bare processes that answer each other."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from benchmarks.figure import Figure, figure, median_s
from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.core.journal import Journal
from primegap.keyos.core.order import Runtime, find_runtime
from primegap.keyos.core.supervisor import Supervisor
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted

ROLES = Path(__file__).parent / "roles"
LIMIT_S = 60.0
ECHO = """
appId = "0x00000000000000000000000000000001"
role = "echo"
name = "Echo"
entry = "benchmarks.roles.echo:main"
profile = "app"
first = true
[servers."os/echo"]
RoutedPing = 1
[servers."app/echo"]
SealedPing = 2
[permissions]
"os/security" = ["CertifyChannelKey"]
"""
CALLER = """
appId = "0x00000000000000000000000000000002"
role = "caller"
name = "Caller"
entry = "benchmarks.roles.caller:main"
profile = "app"
storage = true
first = true
[permissions]
"os/echo" = ["RoutedPing"]
"app/echo" = ["SealedPing"]
"os/security" = ["CertifyChannelKey"]
"""


def sealed_call() -> list[Figure]:
    """Round trips of 64 bytes between two sandboxes, beside two plain processes and a pair."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measured(Path(folder), _runtime(Path(folder))))
    bare_s = _ping_pong_s()
    sealed_s = found["sealed"]
    return [
        figure("sealed-call", sealed_s * 1e6, "µs", "a bare socketpair", bare_s * 1e6),
        figure("sealed-call-routed", sealed_s * 1e6, "µs", "a routed call", found["routed"] * 1e6),
        figure("channel-opening", found["opening"] * 1e3, "ms", "a sealed call", sealed_s * 1e3),
    ]


def _runtime(folder: Path) -> Runtime:
    """Return this interpreter's runtime with the code of the measured processes."""
    code = folder / "code"
    shutil.copytree(ROLES, code / "benchmarks" / "roles")
    (code / "benchmarks" / "__init__.py").touch()
    folder.chmod(0o755)  # processes have users of their own
    runtime = find_runtime(PACKAGE.parent)
    return dataclasses.replace(
        runtime,
        python_path=(*runtime.python_path, str(code)),
        read_only=(*runtime.read_only, str(code)),
    )


async def _measured(folder: Path, runtime: Runtime) -> dict[str, float]:
    texts = [
        (PACKAGE / "keyos/core/manifest.toml").read_bytes(),
        (PACKAGE / "keyos/security/manifest.toml").read_bytes(),
        ECHO.encode(),
        CALLER.encode(),
    ]
    supervisor = Supervisor(
        PermissionTable([parse_manifest_untrusted(text) for text in texts]),
        runtime,
        data=folder,
        development=True,
        journal=Quiet(started_s=time.monotonic()),
        supplies={},
    )
    supervisor.start_first()
    path = folder / "caller" / "figures.json"
    try:
        async with asyncio.timeout(LIMIT_S):
            while not path.exists() and not supervisor.finished.done():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.02)
        figures: dict[str, float] = json.loads(path.read_text())
        return figures
    finally:
        supervisor.stop()


class Quiet(Journal):
    @override
    def line(self, role: str, text: str) -> None:
        """Say nothing."""

    @override
    def event(self, name: str, **facts: Any) -> None:
        """Say nothing."""


def _ping_pong_s() -> float:
    """Return the time of one round trip over a bare pair of sockets."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        while data := theirs.recv(256):
            theirs.send(data)
        os._exit(0)
    theirs.close()

    def ping() -> None:
        ours.send(bytes(64))
        ours.recv(256)

    try:
        return median_s(ping, rounds=15, inner=200)
    finally:
        ours.close()
        os.waitpid(child, 0)
