"""The device's start and the demonstration's steps."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, figure, median_s
from primegap.device.launcher import DeviceSettings, start_device

STARTS = 5
DEMO_LIMIT_S = 60.0
LAUNCHED = "camera"
PLAIN_PROCESS = """
from primegap.keyos.ui import screens
from primegap.keyos.ui.render import render
from primegap.keyos.ui.view import StatusBar, ViewState
render(screens.welcome(), ViewState(), StatusBar())
"""


def device_start() -> list[Figure]:
    """First screen of isolated processes against one plain process that draws the same one."""
    ours, plain = [], []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(_first_screen_s(Path(folder) / "device"))
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", PLAIN_PROCESS], check=True)
        plain.append(time.monotonic() - began)
    return [
        figure(
            "device-cold-start",
            statistics.median(ours),
            "s",
            "the same screen drawn by one plain process",
            statistics.median(plain),
        )
    ]


def app_launch() -> list[Figure]:
    """From the order to the moment when an app serves, against one bare interpreter."""
    launches = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            launches.append(_launch_s(Path(folder) / "device"))
    interpreter = [sys.executable, "-I", "-S", "-c", "import asyncio"]
    bare_s = median_s(lambda: subprocess.run(interpreter, check=True), rounds=STARTS)
    return [
        figure(
            "app-launch",
            statistics.median(launches),
            "s",
            "start of an interpreter with the event loop, not isolated",
            bare_s,
        )
    ]


def _launch_s(data: Path) -> float:
    """Kill the camera, which loads nothing of its own, and see how long its next life takes."""
    began: float | None = None
    pid = 0
    starts = 0
    measured = False
    with _events(data) as events:
        for event in events:
            measured |= event["event"] == "support"
            if event.get("role") != LAUNCHED:
                continue
            if event["event"] == "process-started":
                starts += 1
                began = float(event["elapsed_s"])
                pid = event["pid"]
            elif event["event"] == "process-ready" and began is not None:
                if measured and starts > 1:
                    return float(event["elapsed_s"]) - began
                os.kill(pid, 9)
    raise RuntimeError("the device did not start")


def _first_screen_s(data: Path) -> float:
    with _events(data) as events:
        for event in events:
            if event["event"] == "first-screen":
                return float(event["elapsed_s"])
    raise RuntimeError("the device did not start")


@contextlib.contextmanager
def _events(data: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Run a device while the block runs, and give what its journal says happens."""
    device = start_device(
        DeviceSettings(data=data, network="regtest", development=True),
        journal=subprocess.DEVNULL,
    )
    try:
        yield map(json.loads, device.events)
    finally:
        device.process.terminate()
        device.process.communicate()


def demo_steps() -> list[Figure]:
    """Each step against the whole, and the whole against its limit."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "primegap.cli",
                "--data-dir",
                folder,
                "demo",
                "--exit",
                "--json",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    seconds = json.loads(run.stdout)["seconds"]
    total = seconds.pop("total")
    steps = [
        figure(f"demo-{name}", s, "s", "the whole demonstration", total)
        for name, s in seconds.items()
    ]
    return [*steps, figure("demo-total", total, "s", "its limit", DEMO_LIMIT_S)]
