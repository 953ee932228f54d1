"""A real Bluetooth adapter as a door: the process that opens it on behalf of the chip.

    python -m primegap.radio.adapter --adapter usb:0 --door unix:/run/adapter.sock

The chip's process is confined and can open neither sockets nor devices, so this one opens the
adapter by its transport string (bumble's: `usb:0`, `serial:/dev/ttyACM0,1000000`, `hci-socket:0`,
`tcp-client:HOST:PORT`, …) and passes HCI packets on as they are, to one connection at a time. When
that connection ends the adapter is reset, so a chip that was switched off is silent on the air.
It sees what the adapter sees: encrypted chunks.

One JSON line on standard output tells that the door is open, `{"ready": true, "door": "unix:…"}`,
or why it is not, `{"error": {"code", "message", "hint"}}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from primegap.radio.central import SYSTEM_TRANSPORT
from primegap.radio.errors import AdapterMissingError, RadioError, TransportSpecError
from primegap.radio.h4 import HciPipe

if TYPE_CHECKING:
    from collections.abc import Sequence

HCI_RESET: Final = bytes.fromhex("01030c00")


class AdapterDoor:
    """Passes packets between an open transport and whoever holds the door's one connection."""

    def __init__(self, transport: Any) -> None:
        """Take over a transport of bumble."""
        self._sink = transport.sink
        self._pipe: HciPipe | None = None
        transport.source.set_packet_sink(self)

    def on_packet(self, packet: bytes) -> None:
        """Pass a packet of the adapter on; without a connection it is dropped."""
        if self._pipe is not None:
            self._pipe.on_packet(packet)

    def enter(self) -> HciPipe:
        """Return the pipe of a new connection; an older one is closed."""
        if self._pipe is not None:
            self._pipe.close()
        pipe = HciPipe(on_closed=lambda: self._left(pipe))
        pipe.set_packet_sink(self._sink)
        self._pipe = pipe
        return pipe

    def _left(self, pipe: HciPipe) -> None:
        if self._pipe is pipe:
            self._pipe = None
            self._sink.on_packet(HCI_RESET)


async def run_adapter(adapter: str, door: str, *, until_eof: bool) -> None:
    """Open the adapter and the door; return when the adapter, or standard input, is gone.

    Raises:
        AdapterMissingError: nothing answers at the transport string.
        TransportSpecError: the door is not `unix:PATH`, or the adapter the operating system's.
    """
    from bumble.transport import open_transport

    scheme, _, path = door.partition(":")
    if scheme != "unix" or not path:
        raise TransportSpecError("the door is unix:PATH")
    if adapter.partition(":")[0] == SYSTEM_TRANSPORT:
        raise TransportSpecError("the system's own Bluetooth is for companions only")
    try:
        transport = await open_transport(adapter)
    except Exception as error:
        # What bumble raises for a missing device depends on the transport's library.
        raise AdapterMissingError(f"cannot open {adapter.partition(':')[0]}") from error
    loop = asyncio.get_running_loop()
    gone = asyncio.ensure_future(transport.source.terminated)
    finished = asyncio.Event()
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), _read_input, finished)
    server = await loop.create_unix_server(AdapterDoor(transport).enter, path)
    try:
        _write_line({"ready": True, "door": door})
        waiting = asyncio.ensure_future(finished.wait())
        await asyncio.wait((gone, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.close()
        await transport.close()


def _read_input(finished: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        finished.set()


def _write_line(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Open a Bluetooth adapter for a confined chip."""
    parser = argparse.ArgumentParser(prog="primegap.radio.adapter", description=main.__doc__)
    parser.add_argument("--adapter", required=True, help="transport string, such as usb:0")
    parser.add_argument("--door", required=True, help="unix:PATH where the chip connects")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(run_adapter(options.adapter, options.door, until_eof=options.until_eof))
    except RadioError as error:
        problem = {"code": error.code, "message": str(error), "hint": error.hint}
        _write_line({"error": problem})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
