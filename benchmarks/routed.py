"""Calls between real, isolated processes: time of a round trip, objects, launch and memory.

A small device of three roles runs under the real supervisor: a service, and an app that measures
its own calls to it. The peer of each figure is measured by the same app in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.figure import Figure, figure, paired_s
from primegap.keyos.messages import Message, Request

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process

ROUNDS = 9
CALLS = 200
OBJECT_BYTES = (1 << 20) - 64
PING_BYTES = 64 + 32
MANIFESTS = """
appId = "0x{number:032x}"
role = "{role}"
name = "{role}"
entry = "benchmarks.routed:{role}"
profile = "app"
first = true
storage = {storage}
{more}
"""


@dataclass(frozen=True, slots=True)
class Blob(Message):
    value: bytes


@dataclass(frozen=True, slots=True)
class Echo(Request):
    server: ClassVar[str] = "os/echo"
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = Blob

    value: bytes


@dataclass(frozen=True, slots=True)
class Taken(Message):
    size: int


@dataclass(frozen=True, slots=True)
class Take(Request):
    server: ClassVar[str] = "os/echo"
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = Taken

    value: bytes


async def echo(process: Process) -> None:
    """Run the service."""

    async def answer(caller: Caller, request: Echo) -> Message:
        return Blob(request.value)

    async def take(caller: Caller, request: Take) -> Message:
        return Taken(len(request.value))

    process.handle(Echo, answer)
    process.handle(Take, take)
    process.serve()
    await process.wait()


async def idle(process: Process) -> None:
    """Do nothing: what an app costs before it does something."""
    process.serve()
    await asyncio.Event().wait()


async def caller(process: Process) -> None:
    """Measure, and write what was found."""
    process.serve()
    await process.call(Echo(b""), Blob)
    single = await _median_s(process, Echo(b"x"), CALLS)
    large = await _median_s(process, Take(bytes(OBJECT_BYTES)), 8)
    began = time.perf_counter()
    await asyncio.gather(
        *(_several(process, CALLS) for _ in range(16))  # waiting requests overlap
    )
    rate = 16 * CALLS / (time.perf_counter() - began)
    (process.data / "found.json.new").write_text(
        json.dumps({"single_s": single, "large_s": large, "rate": rate})
    )
    (process.data / "found.json.new").rename(process.data / "found.json")
    await process.wait()
    await asyncio.Event().wait()


async def _several(process: Process, count: int) -> None:
    for _ in range(count):
        await process.call(Echo(b"x"), Blob)


async def _median_s(process: Process, request: Request, count: int) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            await process.call(request, Message)
        times.append((time.perf_counter() - began) / count)
    return statistics.median(times)


def routed_calls() -> list[Figure]:
    """A call through core against a bare ping-pong, and what else passes that way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        found, memory_mib = _measure(folder)
    bare_s = _ping_pong_s()
    copy_s, _ = paired_s(lambda: bytes(bytearray(OBJECT_BYTES)), lambda: None)
    return [
        figure(
            "routed-call-vs-socketpair",
            found["single_s"] * 1e6,
            "µs",
            "ping-pong of two processes over a socket pair",
            bare_s * 1e6,
        ),
        figure(
            "routed-calls-a-second",
            found["rate"],
            "1/s",
            "one after the other",
            1 / found["single_s"],
        ),
        figure(
            "routed-1mib-object",
            found["large_s"] * 1e3,
            "ms",
            "two copies of as many bytes in memory",
            2 * copy_s * 1e3,
        ),
        figure(
            "memory-per-app",
            memory_mib,
            "MiB",
            "an interpreter with the event loop",
            _interpreter_mib(),
        ),
    ]


def _measure(folder: Path) -> tuple[dict[str, Any], float]:
    """Run the three roles; return what the caller found and the memory of the idle one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.routed", str(folder)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        pids: dict[str, int] = {}
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "process-started":
                pids[event["role"]] = event["pid"]
            if len(pids) == 3:
                break
        result = folder / "data/caller/found.json"
        end = time.monotonic() + 120
        while not result.exists():
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError("the measurement did not end")
            time.sleep(0.05)
        found: dict[str, Any] = json.loads(result.read_text())
        outer = pids["idle"]
        (inner,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        memory = sum(_own_mib(int(pid)) for pid in (outer, inner))
    finally:
        process.terminate()
        process.communicate()
    return found, memory


def _own_mib(pid: int) -> float:
    """Return the memory that a process shares with no other; needs root for a confined one."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return float("nan")
    fields = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(fields[f"Private_{kind}"].split()[0]) for kind in ("Clean", "Dirty")) / 1024


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
    """Return the time of a round trip of as many bytes between two processes, without anything."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        while data := theirs.recv(4096):
            theirs.send(data)
        os._exit(0)
    theirs.close()

    def round_trip() -> None:
        ours.send(bytes(PING_BYTES))
        ours.recv(4096)

    seconds, _ = paired_s(round_trip, lambda: None, rounds=ROUNDS, inner=CALLS)
    ours.close()
    os.waitpid(pid, 0)
    return seconds


async def _run(folder: Path) -> None:
    import dataclasses

    from primegap.keyos.core.builtin import PACKAGE
    from primegap.keyos.core.journal import Journal
    from primegap.keyos.core.order import find_runtime
    from primegap.keyos.core.supervisor import Supervisor
    from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted
    from primegap.keyos.sandbox.cgroups import find_control_groups

    offers = '[servers."os/echo"]\nEcho = 1\nTake = 2\n'
    asks = '[permissions]\n"os/echo" = ["Echo", "Take"]\n'
    texts = [
        MANIFESTS.format(number=number, role=role, more=more, storage=storage)
        for number, (role, more, storage) in enumerate(
            [("echo", offers, "false"), ("caller", asks, "true"), ("idle", "", "false")], 1
        )
    ]
    core = (PACKAGE / "keyos/core/manifest.toml").read_text()
    # A folder of its own: a process cannot list the one that the program was started in.
    code = str(folder / "code")
    shutil.copytree(Path(__file__).parent, folder / "code/benchmarks")
    runtime = find_runtime(PACKAGE.parent)
    runtime = dataclasses.replace(
        runtime,
        python_path=(*runtime.python_path, code),
        read_only=(*runtime.read_only, code),
    )
    data = folder / "data"
    data.mkdir(mode=0o700)
    supervisor = Supervisor(
        PermissionTable([parse_manifest_untrusted(text.encode()) for text in [core, *texts]]),
        runtime,
        data=data,
        development=True,
        journal=Journal(started_s=time.monotonic()),
        supplies={},
        groups=find_control_groups(),
    )
    import signal

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
    supervisor.start_first()
    await supervisor.finished


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
