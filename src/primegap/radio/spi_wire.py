"""Select, clock and interrupt line over a socket, for a chip in another process.

Datagrams from the host: `SELECT`, `DESELECT`, or `CLOCK` and the bytes of MOSI. To the host:
`CLOCK` and as many bytes of MISO, or one byte with the level of the interrupt line.
`messages_over` gives the host driver the socket it knows, of whole requests and answers:

    radio = await open_radio(messages_over(bus), settings)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

from primegap.radio.errors import UnexpectedAnswerError
from primegap.radio.messages import Plain, encode_message
from primegap.radio.spi import APPLICATION, BOOTLOADER, Select, SpiSlave, Step, exchange

if TYPE_CHECKING:
    from primegap.radio.chip import Chip

SELECT: Final = b"\x01"
CLOCK: Final = b"\x02"
DESELECT: Final = b"\x03"
MAX_DATAGRAM_BYTES: Final = 1024
"Above any request, its answer and the operation in front."
_RESET: Final = encode_message(Plain.RESET)


class SpiEndpoint:
    """The chip's end: takes the host's datagrams, gives what goes back."""

    def __init__(self, chip: Chip) -> None:
        self.slave = SpiSlave(
            chip.receive_request, lambda: BOOTLOADER if chip.in_bootloader else APPLICATION
        )

    def receive(self, datagram: bytes) -> bytes | None:
        """Carry out one operation; only clocked bytes are answered."""
        operation = datagram[:1]
        if operation == CLOCK:
            return CLOCK + self.slave.clock(datagram[1:])
        if operation == SELECT:
            self.slave.select()
        elif operation == DESELECT:
            self.slave.deselect()
        return None


def messages_over(bus: socket.socket) -> socket.socket:
    """Return a socket of whole messages to the chip behind a bus; it owns the bus from now on.

    Must be called inside a running event loop. A chip that does not keep to the rules is let go,
    which the host driver takes for a dead chip.
    """
    driver, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for one in (bus, inner):
        one.setblocking(False)
    task = asyncio.get_running_loop().create_task(_Bridge(bus, inner).run())
    _RUNNING.add(task)
    task.add_done_callback(_RUNNING.discard)
    return driver


_RUNNING: Final[set[asyncio.Task[None]]] = set()
"Keeps the bridges alive: the loop itself holds tasks weakly."


class _Bridge:
    def __init__(self, bus: socket.socket, messages: socket.socket) -> None:
        self._bus = bus
        self._messages = messages
        self._loop = asyncio.get_running_loop()
        # One answer for one question: a chip that talks unasked is let go, not remembered.
        self._clocked: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)

    async def run(self) -> None:
        listening = self._loop.create_task(self._listen())
        serving = self._loop.create_task(self._serve())
        try:
            await asyncio.wait({listening, serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, serving):
                task.cancel()
            await asyncio.gather(listening, serving, return_exceptions=True)
            self._bus.close()
            self._messages.close()

    async def _listen(self) -> None:
        """Pass the interrupt line on, and hand over what was clocked in."""
        with contextlib.suppress(OSError, asyncio.QueueFull):
            while datagram := await self._loop.sock_recv(self._bus, MAX_DATAGRAM_BYTES):
                if len(datagram) == 1:
                    await self._loop.sock_sendall(self._messages, datagram)
                else:
                    self._clocked.put_nowait(datagram[1:])

    async def _serve(self) -> None:
        with contextlib.suppress(OSError, UnexpectedAnswerError):
            while request := await self._loop.sock_recv(self._messages, MAX_DATAGRAM_BYTES):
                answer = await self._exchange(request)
                if answer is not None:
                    await self._loop.sock_sendall(self._messages, answer)

    async def _exchange(self, request: bytes) -> bytes | None:
        steps = exchange(request, has_answer=request != _RESET)
        returned: bytes | None = None
        while True:
            try:
                step = next(steps) if returned is None else steps.send(returned)
            except StopIteration as done:
                answer: bytes | None = done.value
                return answer
            returned = await self._carry_out(step)

    async def _carry_out(self, step: Step) -> bytes | None:
        if isinstance(step, bytes):
            await self._loop.sock_sendall(self._bus, CLOCK + step)
            returned = await self._clocked.get()
            if len(returned) != len(step):
                raise UnexpectedAnswerError("not as many bytes came back")
            return returned
        if isinstance(step, Select):
            operation = SELECT if step is Select.LOW else DESELECT
            await self._loop.sock_sendall(self._bus, operation)
        else:
            await asyncio.sleep(step)
        return None
