"""The process of the untrusted Bluetooth chip: host pipe, application and radio stack together.

What replaces the wires of section 4: one SOCK_SEQPACKET socket to the host. A datagram from the
host is one request; a datagram to the host is one answer, or one byte that tells the level of the
interrupt line (`chip.LINE_LOW`, `chip.LINE_HIGH`). Datagrams keep message borders and both ends
notice at once when the other one is gone, so there is no first-byte tell-tale, no length and no
repetition. With `spi` the same socket carries the transactions themselves, see `spi_wire`. A host
that reads no answers gets no further requests taken.

The process opens nothing while it runs: host socket and HCI pipe are inherited; its memory (and the
HCI transport, if it is to be an adapter) is opened once at the start. It imports nothing of the
secure link or of the host, and its only secret is the one that it answers challenges with. When the
host, or the controller, is gone or the host asks for a reset, the process ends; whoever started it
starts a new one.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import mmap
import os
import socket
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from primegap.radio.chip import LINE_HIGH, LINE_LOW, Chip, ChipAction, ChipIdentity
from primegap.radio.chip_memory import MEMORY_BYTES, ChipMemory
from primegap.radio.errors import AdapterMissingError
from primegap.radio.firmware import TEST_SIGNERS
from primegap.radio.messages import MAX_MESSAGE_BYTES
from primegap.radio.spi_wire import MAX_DATAGRAM_BYTES, SpiEndpoint
from primegap.radio.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from primegap.radio.h4 import PacketSink

OVERFLOW_HOLD_S: Final = 1.0
"""How long a packet of the phone waits for room while the host takes none.

On the real chip the radio's pace protects the queue of 16; here a burst arrives as fast as the
processor allows, and a host process may be off the processor for a while.
"""
MEMORY_FILE: Final = "flash"
REQUEST_BURST: Final = 16
"Requests answered in one turn of the loop, so that the radio stack gets its turn."


class HostPipe:
    """The chip's end of the host link."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        answer: Callable[[bytes], bytes | None],
        on_closed: Callable[[], None],
        max_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        """Start to take requests on the running loop; `on_closed` is called once."""
        self._sock = sock
        self._max_bytes = max_bytes
        self._answer = answer
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[bytes] = deque()
        "Not sent yet because the host does not read; at most a few, as requests stop meanwhile."
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._readable)

    def send(self, datagram: bytes) -> None:
        """Send a datagram, in order, without waiting."""
        if self._closed:
            return
        if not self._outbox and self._try_send(datagram):
            return
        if not self._outbox and not self._closed:
            self._loop.remove_reader(self._sock)
            self._loop.add_writer(self._sock, self._writable)
        self._outbox.append(datagram)

    def close(self) -> None:
        """Close the pipe."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._on_closed()

    def _readable(self) -> None:
        for _ in range(REQUEST_BURST):
            if self._closed or self._outbox:
                return
            try:
                # Bytes beyond the buffer are cut off, as the chip's request buffer does.
                request = self._sock.recv(self._max_bytes)
            except BlockingIOError:
                return
            except OSError:
                request = b""
            if not request:
                self.close()
                return
            answer = self._answer(request)
            if answer is not None:
                self.send(answer)

    def _writable(self) -> None:
        while self._outbox and not self._closed:
            if not self._try_send(self._outbox[0]):
                return
            self._outbox.popleft()
        if not self._closed:
            self._loop.remove_writer(self._sock)
            self._loop.add_reader(self._sock, self._readable)

    def _try_send(self, datagram: bytes) -> bool:
        try:
            self._sock.send(datagram)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        return True


class _RunningChip:
    """Chip, host pipe and radio stack of one running process."""

    def __init__(
        self,
        host: socket.socket,
        identity: ChipIdentity,
        memory: ChipMemory,
        known_keys: Collection[bytes],
        overflow_hold_s: float,
        *,
        spi: bool,
    ) -> None:
        from primegap.radio.gatt import GattServer

        self.finished = asyncio.Event()
        self._chip = Chip(identity, memory, known_keys=known_keys)
        self._application = self._chip.application
        self._receive = SpiEndpoint(self._chip).receive if spi else self._chip.receive_request
        self._line_low = False
        self._gatt = GattServer(
            self._application,
            identity,
            settle=self._settle,
            on_failed=self.finished.set,
            overflow_hold_s=overflow_hold_s,
        )
        self._pipe = HostPipe(
            host,
            answer=self._answer,
            on_closed=self.finished.set,
            max_bytes=MAX_DATAGRAM_BYTES if spi else MAX_MESSAGE_BYTES,
        )

    async def start(self, source: Any, sink: PacketSink) -> None:
        await self._gatt.start(source, sink)
        self._settle()

    async def close(self) -> None:
        self._pipe.close()
        await self._gatt.close()

    def _answer(self, request: bytes) -> bytes | None:
        answer = self._receive(request)
        self._settle()
        return answer

    def _settle(self) -> None:
        """After every event: carry out actions, let waiting packets in, show the line."""
        self._gatt.settle()
        for action in self._application.take_actions():
            if action is ChipAction.RESET:
                self.finished.set()
            else:
                self._gatt.perform(action)
        if self._application.line_low is not self._line_low:
            self._line_low = self._application.line_low
            self._pipe.send(LINE_LOW if self._line_low else LINE_HIGH)


async def run_chip(
    host: socket.socket,
    hci: socket.socket | str,
    *,
    identity: ChipIdentity,
    memory: ChipMemory | None = None,
    known_keys: Collection[bytes],
    overflow_hold_s: float = OVERFLOW_HOLD_S,
    on_ready: Callable[[], None] | None = None,
    spi: bool = False,
) -> None:
    """Run the chip until its host or its controller is gone, or the host resets it.

    Args:
        host: connected SOCK_SEQPACKET socket to the host.
        hci: connected stream socket that carries HCI packets (H4), or a transport string of bumble
            ("usb:0", "serial:/dev/ttyACM0,1000000", "hci-socket:0", "vhci").
        identity: factory data of this chip.
        memory: what it keeps over resets; by default that of a fresh chip, lost at the end.
        known_keys: compressed public keys of those who may sign firmware.
        overflow_hold_s: see OVERFLOW_HOLD_S; 0 drops at once.
        on_ready: called when the controller is powered on and the host's wishes are carried out.
        spi: whether the host clocks transactions over its socket (`spi_wire`) instead of messages.

    Raises:
        AdapterMissingError: nothing answers at the transport.
    """
    if memory is None:
        memory = ChipMemory.erased()
    chip = _RunningChip(host, identity, memory, known_keys, overflow_hold_s, spi=spi)
    transport: Any = None
    try:
        if isinstance(hci, str):
            transport = await _open_transport(hci)
            source, sink = transport.source, transport.sink
            source.terminated.add_done_callback(lambda _: chip.finished.set())
        else:
            from primegap.radio.h4 import open_hci_pipe

            transport = source = sink = await open_hci_pipe(hci, on_closed=chip.finished.set)
        starting = asyncio.create_task(chip.start(source, sink))
        ending = asyncio.create_task(chip.finished.wait())
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            await end_tasks(starting)
            return
        await starting
        if on_ready is not None:
            on_ready()
        await ending
    finally:
        await chip.close()
        if transport is not None:
            closing = transport.close()
            if closing is not None:
                await closing


async def _open_transport(spec: str) -> Any:
    from bumble.transport import open_transport

    try:
        return await open_transport(spec)
    except Exception as error:
        raise AdapterMissingError(f"cannot open {spec.partition(':')[0]} transport") from error


def make_identity(device_id: bytes, address: bytes | None = None) -> ChipIdentity:
    """Return a chip's factory data.

    Args:
        device_id: 8 bytes.
        address: static random address, 6 bytes, most significant first; by default worked out from
            the device id, so that it stays the same for life.
    """
    if len(device_id) != 8:
        raise ValueError("a device id has 8 bytes")
    if address is None:
        digest = hashlib.sha256(b"radio address" + device_id).digest()
        address = bytes([digest[0] | 0xC0]) + digest[1:6]
    return ChipIdentity(device_id, address)


def open_memory(path: Path) -> ChipMemory:
    """Return a chip's memory that lies in a file; made, erased, if there is none.

    The file is mapped, so every bit is kept from the moment it changes, whenever the chip dies.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size < MEMORY_BYTES:
            os.pwrite(fd, b"\xff" * MEMORY_BYTES, 0)
        return ChipMemory(memoryview(mmap.mmap(fd, MEMORY_BYTES)))
    finally:
        os.close(fd)


class ConfinedProcess(Protocol):
    """What the entry needs of the process that the device's launcher made."""

    config: dict[str, Any]
    data: Path

    def take_socket(self, name: str) -> socket.socket:
        """Return an inherited socket by its name."""

    def serve(self) -> None:
        """Report that the process is ready."""


async def main(process: ConfinedProcess) -> None:
    """Entry inside the device's sandbox (see manifest.toml).

    Settings: `device_id`, `signers` (keys of those who may sign firmware, a list) and, if wanted,
    `address`, all in hex; `hci_transport` for an adapter that the
    process opens itself. Sockets: `host`, and `hci` unless `hci_transport` is set. The chip's
    memory is the one file in the process's folder.
    """
    config = process.config
    device_id = bytes.fromhex(config["device_id"]) if "device_id" in config else os.urandom(8)
    address = bytes.fromhex(config["address"]) if "address" in config else None
    host = process.take_socket("host")
    hci = config.get("hci_transport") or process.take_socket("hci")
    await run_chip(
        host,
        hci,
        identity=make_identity(device_id, address),
        memory=open_memory(process.data / MEMORY_FILE),
        known_keys=[bytes.fromhex(key) for key in config["signers"]],
        on_ready=process.serve,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a chip outside a sandbox: for tests, and for a chip on a desk."""
    parser = argparse.ArgumentParser(prog="primegap.radio.chip_process", description=run.__doc__)
    parser.add_argument("--host-fd", type=int, required=True, help="inherited socket to the host")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--hci-fd", type=int, help="inherited stream socket with HCI packets")
    where.add_argument("--hci", help="transport string of bumble, such as usb:0")
    parser.add_argument("--device-id", type=bytes.fromhex, default=None, help="8 bytes in hex")
    parser.add_argument("--memory", type=Path, default=None, help="file that outlives the chip")
    parser.add_argument("--spi", action="store_true", help="the host clocks SPI transactions")
    parser.add_argument(
        "--signer",
        type=bytes.fromhex,
        action="append",
        help="public key of who may sign firmware, in hex; without any, the test keys",
    )
    parser.add_argument("--overflow-hold", type=float, default=OVERFLOW_HOLD_S, help="seconds")
    options = parser.parse_args(arguments)
    identity = make_identity(options.device_id or os.urandom(8))
    asyncio.run(
        run_chip(
            socket.socket(fileno=options.host_fd),
            options.hci or socket.socket(fileno=options.hci_fd),
            identity=identity,
            memory=None if options.memory is None else open_memory(options.memory),
            known_keys=options.signer or TEST_SIGNERS,
            spi=options.spi,
            overflow_hold_s=options.overflow_hold,
        )
    )


if __name__ == "__main__":
    run()
