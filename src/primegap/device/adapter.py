"""Starts the process that opens a real Bluetooth adapter for the device's chip."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from primegap.device.air import short_folder
from primegap.device.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence


class AdapterError(DeviceError):
    """The Bluetooth adapter cannot be opened."""

    code: ClassVar[str] = "adapter"
    hint: ClassVar[str] = (
        "Check the transport string (--bluetooth), that the adapter is plugged in, and that no "
        "other program uses it. `--bluetooth none` runs the device without Bluetooth."
    )


@dataclass(slots=True)
class StartedAdapter:
    """A running adapter process."""

    process: subprocess.Popen[bytes]
    device: str
    "Where the device's chip connects (`unix:PATH`)."

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def start_adapter(transport: str, folder: Path) -> StartedAdapter:
    """Open an adapter by its transport string and wait until the chip can connect.

    Raises:
        AdapterError: it cannot be opened.
    """
    door = f"unix:{short_folder(folder) / 'adapter.sock'}"
    Path(door.partition(":")[2]).unlink(missing_ok=True)
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
        _command(transport, door),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    started = StartedAdapter(process, door)
    try:
        answer = json.loads(process.stdout.readline())
    except ValueError:
        answer = {}
    if answer.get("ready") is True:
        return started
    started.stop()
    problem = answer.get("error", {})
    raise AdapterError(f"{transport}: {problem.get('message', 'cannot be opened')}")


def _command(transport: str, door: str) -> Sequence[str]:
    module = "primegap.radio.adapter"
    return [sys.executable, "-m", module, "--until-eof", "--adapter", transport, "--door", door]
