"""A whole system for tests: chain, air, device, companion, and a finger. All real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from primegap.companion.companion import Companion
from primegap.demo.steps import Demo


def nothing(_: str) -> None:
    """Say nothing."""


async def start(demo: Demo, *, until: str) -> None:
    """Run the demonstration's own steps up to one of them."""
    steps: dict[str, Callable[[], Any]] = {
        "chain": demo._chain,
        "device": demo._device,
        "set-up": demo._set_up,
        "pair": demo._pair,
        "account": demo._account,
        "receive": demo._receive,
    }
    for name, step in steps.items():
        await step()
        if name == until:
            return
    raise AssertionError(f"no step {until}")


@asynccontextmanager
async def system(folder: Path, *, until: str) -> AsyncIterator[Demo]:
    """A system that has come as far as one of the demonstration's steps."""
    async with Demo(folder, tell=nothing) as demo:
        await start(demo, until=until)
        yield demo


def other_companion(demo: Demo, name: str) -> Companion:
    """Another companion in reach of the same device and chain."""
    return Companion(
        demo.folder / name,
        network="regtest",
        electrum_url=demo.electrum_url,
        transport=demo.air.companion,
    )


def processes_of(demo: Demo, role: str) -> list[int]:
    """Return the process ids of a role, the waiting parent first, then the confined one."""
    return role_processes(demo.device.process.pid, role)


def role_processes(core: int, role: str) -> list[int]:
    """Return the process ids of a role below this core."""
    for pid, started in _device_children(core):
        if started == role:
            return [pid, *_children(pid)]
    return []


def _device_children(core: int) -> list[tuple[int, str]]:
    found = []
    for pid in _children(core):
        inner = _children(pid)
        names = {_thread_name(p) for p in (pid, *inner)}
        found += [(pid, name) for name in names]
    return found


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(part) for part in text.split()]


def _thread_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill(demo: Demo, role: str) -> None:
    """Kill a process of the device without warning."""
    pids = processes_of(demo, role)
    assert pids, f"no process {role}"
    os.kill(pids[0], signal.SIGKILL)


async def eventually(check: Callable[[], bool], timeout_s: float = 90) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout_s):
        while not check():
            await asyncio.sleep(0.05)
