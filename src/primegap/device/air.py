"""The virtual air of this user: one emulated Bluetooth link for device and companion.

`doors.json` in its folder tells where its two sides are, so that a companion finds it without being
told. The capture of every byte that the chip saw stands beside it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from primegap.device.errors import DeviceError

DOORS: Final = "doors.json"
CAPTURE: Final = "radio.btsnoop"
MAX_SOCKET_PATH: Final = 100  # a Unix socket address holds 107 bytes


class AirError(DeviceError):
    """The virtual air cannot be started."""

    code: ClassVar[str] = "air"
    hint: ClassVar[str] = "Check that the data directory can be written to (--data-dir)."


class NoAirError(DeviceError):
    """No virtual air runs on this data directory."""

    code: ClassVar[str] = "no-air"
    hint: ClassVar[str] = (
        "Start the device first (primegap device run), with the same --data-dir; "
        "or name a Bluetooth adapter (--bluetooth)."
    )


@dataclass(slots=True)
class StartedAir:
    """A running air; it ends with `stop`, or with the process that started it."""

    process: subprocess.Popen[bytes]
    folder: Path
    device: str
    "Transport string of the device's side."
    companion: str
    "Transport string of the companion's side."
    capture: Path
    "Every byte the chip saw (btsnoop)."

    def stop(self) -> None:
        """End the air."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(OSError):
            (self.folder / DOORS).unlink()


def short_folder(folder: Path) -> Path:
    """Make a folder and return a place for sockets: the folder, or one with a shorter name.

    Raises:
        AirError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AirError(f"cannot use {folder}: {error.strerror}") from error
    if len(str(folder.resolve())) > MAX_SOCKET_PATH - len("/companion.sock"):
        return Path(tempfile.mkdtemp(prefix="primegap-air-"))
    return folder.resolve()


def start_air(folder: Path, *, faults: tuple[str, ...] = ()) -> StartedAir:
    """Start the air's process and wait until both sides are open.

    Raises:
        AirError: it did not start.
    """
    sockets = short_folder(folder)
    doors = {side: f"unix:{sockets / side}.sock" for side in ("device", "companion")}
    for door in doors.values():
        Path(door.partition(":")[2]).unlink(missing_ok=True)
    capture = folder / CAPTURE
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
        [
            sys.executable,
            "-m",
            "primegap.radio.air",
            "--until-eof",
            "--device",
            doors["device"],
            "--companion",
            doors["companion"],
            "--capture",
            str(capture),
            *faults,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        ready = json.loads(line)
        started = StartedAir(process, folder, ready["device"], ready["companion"], capture)
    except (ValueError, KeyError, TypeError):
        process.kill()
        process.wait()
        raise AirError("the virtual air did not start") from None
    (folder / DOORS).write_text(
        json.dumps({"device": started.device, "companion": started.companion}), encoding="utf-8"
    )
    return started


def find_air(folder: Path) -> str:
    """Return the transport string of the companion's side of this user's air.

    Raises:
        NoAirError: none runs.
    """
    try:
        doors = json.loads((folder / DOORS).read_text(encoding="utf-8"))
        return str(doors["companion"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NoAirError("no virtual air runs") from None
