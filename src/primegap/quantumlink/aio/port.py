"""The seam between a link and whatever carries its packets: Bluetooth, a pipe, memory."""

from __future__ import annotations

from typing import Protocol

from primegap.quantumlink.errors import QuantumLinkError


class PortClosedError(QuantumLinkError):
    """The connection below is gone; the port will never work again."""

    code = "link-port-closed"
    hint = (
        "The Bluetooth connection was lost. It is made again when the devices are near each other."
    )


class PacketPort(Protocol):
    """A lossy pipe of packets, in order at best.

    A port is one connection: when it is lost, another one takes its place. `send` is called by one
    task at a time, and so is `receive`.
    """

    packet_size: int
    "Most bytes of a packet, 244 for Bluetooth."

    async def send(self, packet: bytes) -> None:
        """Hand over one packet; returns when the layer below has taken it.

        Raises:
            PortClosedError: the connection is gone.
        """

    async def receive(self) -> bytes:
        """Return the next packet.

        Raises:
            PortClosedError: the connection is gone and nothing is left to receive.
        """

    async def close(self) -> None:
        """End the connection; harmless when repeated."""
