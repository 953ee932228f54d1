"""Starts the processes of the device; every one begins in `sandbox/launch.py`.

An interpreter takes longer to start and to load what every role needs than anything that follows.
So some are started ahead: they have loaded the common library, know nothing, hold one end of a
socket pair, and wait for their order. Each is a program start of its own, with a memory layout and
a hash seed of its own: nothing is forked from a common parent, so that no process learns from
itself where another keeps its things.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

LAUNCHER: Final = Path(__file__).parents[1] / "sandbox/launch.py"


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


class Interpreter:
    """An interpreter that waits for its order, and then carries it out."""

    def __init__(self, python_path: Sequence[str]) -> None:
        """Start it. It gets nothing of core: no environment, no descriptor but its own two."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-B",
                    str(LAUNCHER),
                    str(theirs.fileno()),
                    *python_path,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
            )
        self._bridge = ours
        self.pid = self._popen.pid
        self.pidfd = os.pidfd_open(self.pid)
        assert self._popen.stderr is not None
        self.stderr = self._popen.stderr
        os.set_blocking(self.stderr.fileno(), False)

    @property
    def usable(self) -> bool:
        """Whether it still waits."""
        return self._popen.poll() is None

    def order(self, order: dict[str, Any]) -> None:
        """Tell it what to become; one that ended meanwhile is noticed as any process that ends."""
        from primegap.keyos.channel import seal_object

        names = list(order["fds"])
        order_fd = seal_object(json.dumps({**order, "fds": names}).encode())
        try:
            socket.send_fds(self._bridge, [b"order"], [order_fd, *order["fds"].values()])
        except OSError:
            self.kill()
        finally:
            os.close(order_fd)
            self._bridge.close()

    def kill(self) -> None:
        """End it, and with it everything in its process namespace."""
        self._popen.kill()

    def wait(self) -> int:
        """Return the exit status; blocks until it ended."""
        return self._popen.wait()

    def close(self) -> None:
        """Close what core holds of it."""
        self._bridge.close()
        os.close(self.pidfd)
        self.stderr.close()


class Spawner:
    """Interpreters ahead of time, and processes made of them."""

    def __init__(self, python_path: Sequence[str], *, ahead: int = 0) -> None:
        """Start `ahead` interpreters at once."""
        self._python_path = python_path
        self._ahead = [Interpreter(python_path) for _ in range(ahead)]

    def spawn(self, order: dict[str, Any]) -> Child:
        """Start a process that confines itself as ordered."""
        interpreter = self._next_waiting() or Interpreter(self._python_path)
        interpreter.order(order)
        return interpreter

    def _next_waiting(self) -> Interpreter | None:
        while self._ahead:
            waiting = self._ahead.pop(0)
            if waiting.usable:
                return waiting
            waiting.close()
        return None

    def prepare(self, ahead: int) -> None:
        """Have so many interpreters wait: one makes the next launch of an app quick."""
        while len(self._ahead) < ahead:
            self._ahead.append(Interpreter(self._python_path))

    def close(self) -> None:
        """End those that wait."""
        for waiting in self._ahead:
            waiting.kill()
            waiting.wait()
            waiting.close()
        self._ahead.clear()
