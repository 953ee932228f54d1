"""An air with a chip on it in one process, and what a host and a phone need to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from bumble import hci
from bumble.device import Device, DeviceConfiguration, Peer
from bumble.transport import open_transport

from primegap.radio.air import AirServer
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.chip_process import make_identity, run_chip
from primegap.radio.faults import Faults
from primegap.radio.firmware import TEST_SIGNERS, bundled_image
from primegap.radio.messages import (
    AnyMessage,
    BootFirmware,
    Plain,
    Trust,
    encode_message,
    parse_message_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

IDENTITY = make_identity(b"\x12\xab\x03\x04\x05\x06\x07\x08")
ADDRESS = IDENTITY.address.hex(":").upper()


class Desk:
    """An air with a chip on it, a phone with a plain Bluetooth stack, and the host's pipe."""

    def __init__(self, host: socket.socket, phone: Any) -> None:
        self.host = host
        self.phone = phone

    async def ask(self, request: AnyMessage) -> Any:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.host, encode_message(request))
        while len(datagram := await loop.sock_recv(self.host, 512)) == 1:
            pass
        return parse_message_untrusted(datagram)

    async def start(self) -> None:
        """Start the application of the chip, which then advertises."""
        await self.ask(BootFirmware(Trust.FULL))
        await self.ask(Plain.ENABLE)

    async def connect(self) -> tuple[Any, Any]:
        """Connect the phone; return the connection and a peer with all attributes known."""
        await self.start()
        connection = await self.phone.connect(ADDRESS)
        peer = Peer(connection)
        await peer.discover_all()
        return connection, peer


@contextlib.asynccontextmanager
async def desk(
    folder: Path, *, overflow_hold_s: float = 0.2, faults: Faults | None = None
) -> AsyncIterator[Desk]:
    doors = [str(folder / "device.sock"), str(folder / "companion.sock")]
    air = AirServer(faults=faults)
    await air.open(*(f"unix:{door}" for door in doors))
    host, chip_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.setblocking(False)
    hci_pipe = socket.socket(socket.AF_UNIX)
    hci_pipe.setblocking(False)
    await asyncio.get_running_loop().sock_connect(hci_pipe, doors[0])
    memory = ChipMemory.erased()
    memory.write_image(0, bundled_image())
    running = run_chip(
        chip_end,
        hci_pipe,
        identity=IDENTITY,
        memory=memory,
        known_keys=TEST_SIGNERS,
        overflow_hold_s=overflow_hold_s,
    )
    chip = asyncio.create_task(running)
    transport: Any = await open_transport(f"unix:{doors[1]}")
    phone: Any = Device.from_config_with_hci(
        DeviceConfiguration(address=hci.Address.generate_static_address()),
        transport.source,
        transport.sink,
    )
    await phone.power_on()
    try:
        yield Desk(host, phone)
    finally:
        host.close()
        await chip
        await transport.close()
        air.close()
