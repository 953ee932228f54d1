"""Carrying records over one port: chunking, the sending task and the receiving task."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from primegap.btp import PACKET_BYTES, Chunker, Dechunker, RemoteBtpError
from primegap.quantumlink.aio.port import PacketPort, PortClosedError
from primegap.quantumlink.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.quantumlink.session import OutgoingRecord

_LOG: Final = logging.getLogger(__name__)


class PumpOwner(Protocol):
    """What a pump asks of the driver it works for."""

    def next_record(self) -> OutgoingRecord | None:
        """Return the next record to be sent, or None."""

    def record_sent(self, outgoing: OutgoingRecord, *, ok: bool) -> None:
        """Take the fate of a record: whether the port took all its packets."""

    def record_received(self, record: bytes) -> None:
        """Take a record of the peer."""

    def packet_refused(self, error: RemoteBtpError) -> None:
        """Take note of a packet that was dropped."""

    def pump_ended(self, pump: PortPump) -> None:
        """The port is gone."""


class PortPump:
    """Moves records between a driver and one port, until the port is gone or `stop` is called.

    Args:
        port: whose packets have at least the size of BTP's.
        owner: the driver.
        chunker: with the record counter, which goes on over all ports of a driver.
        clock: monotonic time, in seconds.

    Raises:
        LocalError: the packets are too small.
    """

    def __init__(
        self, port: PacketPort, owner: PumpOwner, chunker: Chunker, clock: Callable[[], float]
    ) -> None:
        if port.packet_size < PACKET_BYTES:
            raise LocalError(f"packets of a port must have {PACKET_BYTES} bytes")
        self._port = port
        self._owner = owner
        self._chunker = chunker
        self._clock = clock
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start both tasks."""
        loop = asyncio.get_running_loop()
        for running in (self._send_all(), self._receive_all()):
            task = loop.create_task(running)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    def wake(self) -> None:
        """Look for records to send."""
        self._idle.clear()
        self._work.set()

    async def wait_idle(self) -> None:
        """Wait until the port has taken everything there is to send."""
        await self._idle.wait()

    async def stop(self) -> None:
        """End both tasks and close the port."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._idle.set()
        await self._port.close()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, PortClosedError):
            _LOG.error("a port failed: %s", type(error).__name__)
        self._owner.pump_ended(self)

    async def _send_all(self) -> None:
        while True:
            outgoing = self._owner.next_record()
            if outgoing is None:
                self._work.clear()
                self._idle.set()
                await self._work.wait()
                continue
            ok = False
            try:
                for packet in self._chunker.chunk(outgoing.record):
                    await self._port.send(packet)
                ok = True
            finally:
                self._owner.record_sent(outgoing, ok=ok)

    async def _receive_all(self) -> None:
        dechunker = Dechunker()
        while True:
            packet = await self._port.receive()
            try:
                record = dechunker.receive(packet, now_s=self._clock())
            except RemoteBtpError as error:
                self._owner.packet_refused(error)
                continue
            if record is not None:
                self._owner.record_received(record)
                await asyncio.sleep(0)  # a port that always has packets must not starve the rest
