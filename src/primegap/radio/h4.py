"""HCI packets over a stream: H4 framing, and a connected socket as a transport for bumble.

The chip and the virtual air use it for sockets that somebody else connected. It makes no socket and
opens no file, so it works inside a sandbox that allows neither.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

COMMAND: Final = 0x01
ACL: Final = 0x02
SYNCHRONOUS: Final = 0x03
EVENT: Final = 0x04
ISO: Final = 0x05

ACL_HEADER_BYTES: Final = 5
"Type, handle with flags, length."

_LENGTH_FIELDS: Final = {
    COMMAND: (3, 1),
    ACL: (3, 2),
    SYNCHRONOUS: (3, 1),
    EVENT: (2, 1),
    ISO: (3, 2),
}
"Packet type -> (offset, size) of the length of what follows the length field."

WRITE_BUFFER_BYTES: Final = 16 << 10
"Bytes kept for a slow reader before `on_writable(False)` asks the sender to wait."


class PacketSink(Protocol):
    """Takes whole HCI packets."""

    def on_packet(self, packet: bytes) -> None:
        """Take one packet, type byte first."""


class H4Parser:
    """Cuts a byte stream into HCI packets, type byte first. Holds at most one packet (64 KiB)."""

    def __init__(self) -> None:
        self.rest = b""
        "Bytes that are no whole packet yet, or, when broken, none at all."
        self.broken = False
        "A packet started with an unknown type: the framing of the stream is lost for good."

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the packets that are now complete."""
        packets: list[bytes] = []
        if self.broken:
            return packets
        buffer = self.rest + data if self.rest else data
        start, end = 0, len(buffer)
        while start < end:
            field = _LENGTH_FIELDS.get(buffer[start])
            if field is None:
                self.broken = True
                break
            body = start + field[0] + field[1]
            if body > end:
                break
            stop = body + int.from_bytes(buffer[start + field[0] : body], "little")
            if stop > end:
                break
            packets.append(buffer[start:stop])
            start = stop
        self.rest = buffer[start:]
        return packets


class HciPipe(asyncio.Protocol):
    """A connected stream socket as source and sink of HCI packets.

    It has the shape that bumble expects of both halves of a transport.
    """

    def __init__(
        self,
        *,
        on_closed: Callable[[], None],
        on_writable: Callable[[bool], None] | None = None,
    ) -> None:
        """Report through callbacks.

        Args:
            on_closed: the other end closed the pipe or lost its framing; called once.
            on_writable: False when the other end reads too slowly, True when it caught up.
        """
        self._on_closed = on_closed
        self._on_writable = on_writable
        self._parser = H4Parser()
        self._sink: PacketSink | None = None
        self._transport: asyncio.Transport | None = None
        self.terminated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        "Resolves when the pipe is closed."

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    @override
    def data_received(self, data: bytes) -> None:
        for packet in self._parser.feed(data):
            if self._sink is not None:
                self._sink.on_packet(packet)
        if self._parser.broken:
            self.close()

    @override
    def pause_writing(self) -> None:
        if self._on_writable is not None:
            self._on_writable(False)

    @override
    def resume_writing(self) -> None:
        if self._on_writable is not None:
            self._on_writable(True)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.terminated.done():
            self.terminated.set_result(None)
            self._on_closed()

    @property
    def unread(self) -> bytes:
        """Bytes that came in and were no HCI packet."""
        return self._parser.rest

    def set_packet_sink(self, sink: PacketSink) -> None:
        """Choose who gets the packets that come in."""
        self._sink = sink

    def on_packet(self, packet: bytes) -> None:
        """Send one packet, type byte first."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

    def close(self) -> None:
        """Close the pipe; `on_closed` follows."""
        if self._transport is not None:
            self._transport.close()


async def open_hci_pipe(sock: socket.socket, **callbacks: Any) -> HciPipe:
    """Return a pipe over a connected stream socket; arguments as of HciPipe."""
    _, pipe = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: HciPipe(**callbacks), sock
    )
    return pipe


def acl_handle(packet: bytes) -> int:
    """Return the connection handle of an ACL packet."""
    return (packet[1] | packet[2] << 8) & 0x0FFF
