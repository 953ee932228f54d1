"""The Bluetooth chip as core sees it: a process, a switch, and a pipe for whoever drives it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from primegap.files import remove_file, write_file
from primegap.keyos.channel import channel_pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from primegap.keyos.core.journal import Journal

OFF_FILE: Final = "radio-off"  # a file whose presence keeps the chip off


class RadioSwitch:
    """Turns the chip on and off; off stays off, also after a restart (L-7)."""

    def __init__(
        self,
        *,
        present: bool,
        hci_unix: str | None,
        data: Path,
        journal: Journal,
        start: Callable[[dict[str, socket.socket]], None],
        retry: Callable[[], None],
    ) -> None:
        """`start` starts the chip's process with sockets, `retry` starts it again after a while."""
        self.present = present
        self._hci_unix = hci_unix
        self._off_file = data / OFF_FILE
        self._journal = journal
        self._start = start
        self._retry = retry
        self._waiters: list[asyncio.Future[socket.socket]] = []
        self._host_end: socket.socket | None = None
        self.on = present and not self._off_file.exists()

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

    def remember(self, *, on: bool) -> None:
        """Write the switch down: when off, after the chip was ended, whatever happens here."""
        self.on = on
        self._journal.event("radio", on=on)

    def write_down(self) -> None:
        """Keep the switch over a restart."""
        if self.on:
            remove_file(self._off_file)
        else:
            write_file(self._off_file, b"")

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
