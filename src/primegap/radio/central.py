"""The companion's side of the air: find a device, connect, move packets (sections 8 and 13).

    async with open_central("usb:0") as central:
        device = await central.find(name="Passport Prime (12AB)")
        port = await central.connect(device)
        await port.send(packet)

Two stacks can be below: bumble's own, on any HCI transport (`bumble_central`), and the operating
system's Bluetooth, reached by the optional library bleak (`bleak_central`).
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio.errors import LocalRadioError
from primegap.radio.messages import MAX_PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIND_TIMEOUT_S: Final = 15.0
"Scanning stops after this time (section 13.2)."
CONNECT_TIMEOUT_S: Final = 10.0
"From the wish to connect until packets can flow (section 13.2)."
OPEN_TIMEOUT_S: Final = 10.0
"An adapter answers its first commands within this time or is not there."
DISCONNECT_TIMEOUT_S: Final = 2.0
MAX_RECEIVED_PACKETS: Final = 4096
"Packets kept for a program that does not take them (1 MiB); further ones are dropped."
SYSTEM_TRANSPORT: Final = "bleak"
"Scheme of the transport strings that mean the operating system's own Bluetooth."


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that advertised itself."""

    address: str
    "Bluetooth address in upper-case hex with colons, as in the device's QR code."
    name: str
    "Complete name; empty if only the advertisement was heard."
    rssi_dbm: int
    "Signal strength of the advertisement."
    random: bool = True
    "Whether the address is a random one."


class CentralPort(ABC):
    """A connection to one device: packets of at most 244 bytes in both directions."""

    packet_size = MAX_PACKET_BYTES

    def __init__(self) -> None:
        self._received: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._closed = asyncio.Event()
        self.dropped_packets = 0
        "Packets lost because nobody took them."

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await self._closed.wait()

    async def send(self, packet: bytes) -> None:
        """Write one packet without response, when there is room for it.

        Raises:
            PortClosedError: the connection is gone.
        """
        if len(packet) > self.packet_size:
            raise LocalRadioError(f"a packet has at most {self.packet_size} bytes")
        await self._write(packet)

    @abstractmethod
    async def _write(self, packet: bytes) -> None:
        """Do what `send` promises."""

    async def receive(self) -> bytes:
        """Return the next packet of the device; packets that came before a loss still arrive.

        Raises:
            PortClosedError: the connection is gone and nothing is left.
        """
        while not self._received:
            if self.closed:
                raise PortClosedError("the Bluetooth connection is gone")
            self._arrived.clear()
            await self._arrived.wait()
        return self._received.popleft()

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""

    def notified(self, packet: bytes) -> None:
        """Take a packet of the device."""
        if len(self._received) >= MAX_RECEIVED_PACKETS:
            self.dropped_packets += 1
        else:
            self._received.append(packet)
            self._arrived.set()

    def lost(self) -> None:
        """The connection is gone: wake whoever waits."""
        self._closed.set()
        self._arrived.set()


class Central(Protocol):
    """What a program needs of a Bluetooth central, whichever stack is below."""

    async def find(
        self,
        *,
        name: str | None = None,
        address: str | None = None,
        timeout_s: float = FIND_TIMEOUT_S,
    ) -> FoundDevice:
        """Return the first device that offers our service and matches.

        Raises:
            DeviceNotFoundError: none was heard in time.
            AdapterMissingError: the adapter is gone; open another central.
        """

    async def connect(
        self, device: FoundDevice, *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> CentralPort:
        """Connect and return a port on which packets flow.

        Raises:
            ConnectFailedError: the device did not accept, or its link cannot carry our packets.
            AdapterMissingError: the adapter is gone; open another central.
        """


@contextlib.asynccontextmanager
async def open_central(transport: str) -> AsyncIterator[Central]:
    """Open a Bluetooth adapter as a central and close it in the end.

    Args:
        transport: "bleak" for the Bluetooth of the operating system, "bleak:hci1" for one adapter
            of several (Linux); or a transport string of bumble: "usb:0", "serial:/dev/ttyACM0",
            "hci-socket:0", "android-netsim", or the companion's door of a virtual air
            ("unix:PATH").

    Raises:
        AdapterMissingError: nothing answers there.
        BleakMissingError: bleak is wanted and not installed.
    """
    scheme, _, adapter = transport.partition(":")
    if scheme == SYSTEM_TRANSPORT:
        from primegap.radio.bleak_central import open_system

        async with open_system(adapter or None) as central:
            yield central
    else:
        from primegap.radio.bumble_central import open_bumble

        async with open_bumble(transport) as central:
            yield central
