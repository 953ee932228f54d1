"""Calls between real, isolated processes: through core, and sealed from app to app.

A small device runs under the real supervisor: a service, an app that measures its own calls to it,
and an app that does nothing. It runs once for all figures of one run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from benchmarks.figure import Figure, figure, median_s, paired_s
from benchmarks.roles.messages import BODY, OBJECT_BYTES
from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.core.journal import Journal
from primegap.keyos.core.order import Runtime, find_runtime
from primegap.keyos.core.supervisor import Supervisor
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted
from primegap.keyos.sandbox.cgroups import find_control_groups

ROLES = Path(__file__).parent / "roles"
LIMIT_S = 120.0
MANIFESTS = (
    """
appId = "0x00000000000000000000000000000001"
role = "echo"
name = "Echo"
entry = "benchmarks.roles.echo:main"
profile = "app"
first = true
[servers."os/echo"]
RoutedPing = 1
Take = 3
[servers."app/echo"]
SealedPing = 2
[permissions]
"os/security" = ["CertifyChannelKey"]
""",
    """
appId = "0x00000000000000000000000000000002"
role = "caller"
name = "Caller"
entry = "benchmarks.roles.caller:main"
profile = "app"
storage = true
first = true
[permissions]
"os/echo" = ["RoutedPing", "Take"]
"app/echo" = ["SealedPing"]
"os/security" = ["CertifyChannelKey"]
""",
    """
appId = "0x00000000000000000000000000000003"
role = "idle"
name = "Idle"
entry = "benchmarks.roles.idle:main"
profile = "app"
first = true
""",
)


def routed_calls() -> list[Figure]:
    """A call through core against a bare ping-pong, and what else passes that way."""
    found = _found()
    copy_s, _ = paired_s(lambda: bytes(bytearray(OBJECT_BYTES)), lambda: None)
    return [
        figure(
            "routed-call-vs-socketpair",
            found["routed"] * 1e6,
            "µs",
            "ping-pong of two processes over a socket pair",
            _ping_pong_s() * 1e6,
        ),
        figure(
            "routed-calls-a-second",
            found["rate"],
            "1/s",
            "one after the other",
            1 / found["routed"],
        ),
        figure(
            "routed-1mib-object",
            found["large"] * 1e3,
            "ms",
            "two copies of as many bytes in memory",
            2 * copy_s * 1e3,
        ),
        figure(
            "memory-per-app",
            found["memory"],
            "MiB",
            "an interpreter with the event loop",
            _interpreter_mib(),
        ),
    ]


def sealed_call() -> list[Figure]:
    """A call from app to app, signed and sealed, beside two plain processes and a routed one."""
    found = _found()
    sealed_s, bare_s = found["sealed"], _ping_pong_s()
    return [
        figure("sealed-call", sealed_s * 1e6, "µs", "a bare socketpair", bare_s * 1e6),
        figure("sealed-call-routed", sealed_s * 1e6, "µs", "a routed call", found["routed"] * 1e6),
        figure("channel-opening", found["opening"] * 1e3, "ms", "a sealed call", sealed_s * 1e3),
    ]


@functools.cache
def _found() -> dict[str, float]:
    """Run the device; return what the caller found, and the memory of the idle app."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir(mode=0o700)
        return asyncio.run(_measured(data, _runtime(folder)))


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


async def _measured(data: Path, runtime: Runtime) -> dict[str, float]:
    system = [PACKAGE / f"keyos/{role}/manifest.toml" for role in ("core", "security")]
    texts = [*(path.read_bytes() for path in system), *(text.encode() for text in MANIFESTS)]
    supervisor = Supervisor(
        PermissionTable([parse_manifest_untrusted(text) for text in texts]),
        runtime,
        data=data,
        development=True,
        journal=Quiet(started_s=time.monotonic()),
        supplies={},
        groups=find_control_groups(),
    )
    supervisor.start_first()
    path = data / "caller" / "figures.json"
    try:
        async with asyncio.timeout(LIMIT_S):
            while not path.exists():
                if supervisor.finished.done():
                    raise RuntimeError(f"the device stopped: {supervisor.finished.result()}")
                await asyncio.sleep(0.02)
        figures: dict[str, float] = json.loads(path.read_text())
        return {**figures, "memory": _confined_mib(supervisor.running["idle"].child.pid)}
    finally:
        supervisor.stop()


class Quiet(Journal):
    @override
    def line(self, role: str, text: str) -> None:
        """Say nothing."""

    @override
    def event(self, name: str, **facts: Any) -> None:
        """Say nothing."""


def _confined_mib(outer: int) -> float:
    """Return the memory of a confined process and of the one that waits for it."""
    (inner,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    return _own_mib(outer) + _own_mib(int(inner))


def _own_mib(pid: int) -> float:
    """Return the memory of a process's own, with its share of what a fork left it in common.

    Needs root for a confined process. Pages of files, which everybody shares, do not count.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return float("nan")
    fields = dict(line.split(":", 1) for line in lines[1:])
    return int(fields["Pss_Anon"].split()[0]) / 1024


def _interpreter_mib() -> float:
    code = "import asyncio, sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        found = _own_mib(process.pid)
        process.communicate()
    return found


def _ping_pong_s() -> float:
    """Return the time of one round trip over a bare pair of sockets; it waits, so by the clock."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        while data := theirs.recv(256):
            theirs.send(data)
        os._exit(0)
    theirs.close()

    def ping() -> None:
        ours.send(BODY)
        ours.recv(256)

    try:
        return median_s(ping, rounds=15, inner=200)
    finally:
        ours.close()
        os.waitpid(child, 0)
