"""The Bluetooth chip as core sees it: a process, and a pipe for whoever drives it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from primegap.keyos.channel import channel_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.core.journal import Journal


class RadioPipe:
    """Starts the chip and hands out the other end of its pipe."""

    def __init__(
        self,
        *,
        present: bool,
        hci_unix: str | None,
        journal: Journal,
        start: Callable[[dict[str, socket.socket]], None],
        retry: Callable[[], None],
    ) -> None:
        """`start` starts the chip's process with sockets, `retry` starts it again after a while."""
        self.present = present
        self._hci_unix = hci_unix
        self._journal = journal
        self._start = start
        self._retry = retry
        self._waiters: list[asyncio.Future[socket.socket]] = []
        self._host_end: socket.socket | None = None

    def start(self) -> None:
        """Start the chip with a new pipe, and give the other end to whoever waits for it."""
        host_end, chip_end = channel_pair()
        extra = {"host": chip_end}
        if self._hci_unix is not None:
            hci = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                hci.connect(self._hci_unix)
            except OSError as error:
                hci.close()
                host_end.close()
                chip_end.close()
                reason = f"no controller at {self._hci_unix}: {error.strerror}"
                self._journal.line("radio", reason)
                self._retry()
                return
            extra["hci"] = hci
        self._start(extra)
        self.drop_pipe()
        self._host_end = host_end
        self._give()

    def drop_pipe(self) -> None:
        """Close the end that nobody took."""
        if self._host_end is not None:
            self._host_end.close()
            self._host_end = None

    def _give(self) -> None:
        while self._waiters and self._host_end is not None:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(self._host_end)
                self._host_end = None

    async def next_pipe(self) -> socket.socket:
        """Wait for the host end of the chip's next pipe."""
        waiter: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._give()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.done() and not waiter.cancelled():
                self._host_end = waiter.result()
            raise
