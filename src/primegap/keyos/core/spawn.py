"""Starts the processes of the device; every one begins in `sandbox/launch.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import IO, Any, Protocol

from primegap.keyos.channel import seal_object
from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.sandbox.namespaces import SCRATCH

_LAUNCHER = "keyos/sandbox/launch.py"


class Child(Protocol):
    """A started process: the one that waits for the confined one, and ends as it ends."""

    pid: int
    pidfd: int
    "Can be read once the process ended."
    stderr: IO[bytes]
    "Its standard error, never waited for."

    def kill(self) -> None:
        """End it, and with it everything in its process namespace."""

    def wait(self) -> int:
        """Return the exit status; blocks until it ended."""
        ...

    def close(self) -> None:
        """Close what core holds of it."""


class _Fresh:
    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid
        self.pidfd = os.pidfd_open(popen.pid)
        assert popen.stderr is not None
        self.stderr = popen.stderr
        os.set_blocking(self.stderr.fileno(), False)

    def kill(self) -> None:
        self._popen.kill()

    def wait(self) -> int:
        return self._popen.wait()

    def close(self) -> None:
        os.close(self.pidfd)
        self.stderr.close()


def spawn(order: dict[str, Any]) -> Child:
    """Start an interpreter of its own, which confines itself as ordered.

    It gets nothing of core: no environment, no descriptor but those listed.
    """
    order_fd = seal_object(json.dumps(order).encode())
    try:
        popen = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", "-S", "-B", str(PACKAGE / _LAUNCHER), str(order_fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[order_fd, *order["fds"].values()],
            start_new_session=True,
            env={"LC_ALL": "C.UTF-8", "TMPDIR": SCRATCH},
            cwd="/",
        )
    finally:
        os.close(order_fd)
    return _Fresh(popen)
