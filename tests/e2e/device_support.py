"""The launcher's device for tests: started, operated by its page, killed, and looked at."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.sandbox_support import children
from tests.stored_seed import PIN

from primegap.device.client import AutomationClient, AutomationClientError
from primegap.device.launcher import (
    DeviceSettings,
    StartedDevice,
    prepare_data_directory,
    start_device,
)

T = TypeVar("T")


def eventually(check: Callable[[], T | None], timeout_s: float = 20) -> T:
    """Return what is found, as soon as it is something."""
    end = time.monotonic() + timeout_s
    while True:
        found: T | None = None
        with contextlib.suppress(AutomationClientError, OSError, ValueError):
            found = check()
        if found:
            return found
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


class Running:
    """A device, its page's client, and what it says."""

    def __init__(self, started: StartedDevice, folder: Path) -> None:
        self.started = started
        self.process = started.process
        self.folder = folder
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, args=(started.events,), daemon=True)
        self._reader.start()
        self.client = AutomationClient(started.url, started.token)

    def _read(self, events: Any) -> None:
        for line in events:
            self.events.append(json.loads(line))

    def event(self, name: str, role: str | None = None) -> dict[str, Any]:
        return eventually(
            lambda: next(
                (e for e in self.events if e["event"] == name and role in {None, e.get("role")}),
                None,
            )
        )

    def kill(self, role: str) -> None:
        """Kill the confined process of a role."""
        os.kill(self.pids(role)[-1], signal.SIGKILL)

    def pids(self, role: str) -> list[int]:
        """Return the processes of a role: the one that waits, and the confined one."""
        if role == "core":
            return [self.process.pid]
        started = [e for e in self.events if e["event"] == "process-started" and e["role"] == role]
        return [started[-1]["pid"], *children(started[-1]["pid"])] if started else []

    def screen(self) -> str:
        return str(self.client.screen()["screen"]["id"])

    def stopped(self) -> str:
        """Wait until the device stops; return its reason."""
        self.process.wait(15)
        self._reader.join(5)
        return str(next(e["reason"] for e in self.events if e["event"] == "stopped"))

    @property
    def journal(self) -> str:
        return (self.folder / "journal").read_text(errors="replace")

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        self.process.wait(15)
        assert self.process.stdout is not None
        self._reader.join(5)
        self.process.stdout.close()


def make_data_directory(data: Path) -> None:
    """Make the data directory of a development device that was never started."""
    os.close(prepare_data_directory(data, development=True))


@contextlib.contextmanager
def device(
    data: Path, *, bluetooth: str | None = None, simulator: bool = False
) -> Iterator[Running]:
    settings = DeviceSettings(
        data=data,
        network="regtest",
        development=True,
        bluetooth=bluetooth,
        simulator=simulator,
    )
    with (data.parent / "journal").open("wb") as journal:
        started = start_device(settings, journal=journal)
    running = Running(started, data.parent)
    try:
        eventually(lambda: running.screen() in ("unlock", "welcome"))
        yield running
    finally:
        running.end()


@contextlib.contextmanager
def device_by_command(data: Path) -> Iterator[dict[str, Any]]:
    """Run a device as a person does; give what `primegap device run --json` prints about it."""
    command = [sys.executable, "-m", "primegap.cli", "--data-dir", str(data)]
    command += ["device", "run", "--json", "--development", "--port", "0", "--bluetooth", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def unlock(device: Running, pin: str = PIN) -> None:
    eventually(lambda: device.screen() == "unlock")
    device.client.type(pin)
    device.client.press("done")
    device.client.wait("home")
