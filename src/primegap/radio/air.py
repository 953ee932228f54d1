"""The virtual air as a process: two doors, one for the device's radio and one for companions.

    python -m primegap.radio.air --device unix:/run/d.sock --companion unix:/run/c.sock \
        --capture radio.btsnoop

Every connection to a door gets a virtual controller of its own and speaks HCI (H4) to it; bumble
reaches the doors with the transport strings `unix:PATH` and `tcp-client:HOST:PORT`. When a
connection closes, its controller leaves the air and the other side sees the link time out at once.

When both doors are open, one line of JSON on standard output tells where, for example
`{"ready": true, "device": "unix:/run/d.sock", "companion": "tcp-client:127.0.0.1:40123"}`.
The process ends when its standard input closes, if `--until-eof` is given, or when it is killed.

The capture holds every byte that passed the device's door, in both directions, in the btsnoop
format (version 1, H4): Wireshark reads it, and because a data packet is never cut, plain text would
be found in it by a search. Bytes that are no HCI packet are kept in a record of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import logging
import os
import secrets
import struct
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from bumble import hci

from primegap.radio.air_controller import Air, AirController
from primegap.radio.errors import TransportSpecError
from primegap.radio.faults import Faults
from primegap.radio.h4 import COMMAND, EVENT, HciPipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BTSNOOP_HEADER: Final = b"btsnoop\x00" + struct.pack(">II", 1, 1002)
_BTSNOOP_RECORD: Final = struct.Struct(">IIIIQ")
_UNIX_EPOCH_US: Final = 0x00DCDDB30F2F8000
"Microseconds from the year 0, where the format counts from, to 1970."


class Capture:
    """Writes what passes a door; unbuffered, so that it is whole whenever the process dies."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._file.write(_BTSNOOP_HEADER)

    def record(self, packet: bytes, *, from_controller: bool) -> None:
        """Write one HCI packet, type byte first."""
        if self._file.closed:
            return
        control = packet[:1] in {bytes([COMMAND]), bytes([EVENT])}
        flags = int(from_controller) | int(control) << 1
        stamp = time.time_ns() // 1000 + _UNIX_EPOCH_US
        size = len(packet)
        self._file.write(_BTSNOOP_RECORD.pack(size, size, flags, 0, stamp) + packet)

    def close(self) -> None:
        """Close the file; what comes later is not recorded."""
        self._file.close()


class _Side:
    """One open connection to a door: HCI pipe, controller and, at the device's door, capture."""

    def __init__(self, name: str, air: Air, capture: Capture | None) -> None:
        self._capture = capture
        random_address = hci.Address.generate_static_address()
        public = hci.Address(secrets.token_bytes(6), hci.Address.PUBLIC_DEVICE_ADDRESS)
        self.controller = AirController(
            name, air, self._to_host, public_address=public, random_address=random_address
        )
        self.pipe = HciPipe(on_closed=self._closed, on_writable=self.controller.pipe_writable)
        self.pipe.set_packet_sink(self if capture is not None else self.controller)

    def on_packet(self, packet: bytes) -> None:
        assert self._capture is not None
        self._capture.record(packet, from_controller=False)
        self.controller.on_packet(packet)

    def _closed(self) -> None:
        if self._capture is not None and self.pipe.unread:
            self._capture.record(self.pipe.unread, from_controller=False)
        self.controller.pipe_closed()

    def _to_host(self, packet: bytes) -> None:
        if self._capture is not None:
            self._capture.record(packet, from_controller=True)
        self.pipe.on_packet(packet)


async def _open_door(spec: str, make_pipe: Callable[[], HciPipe]) -> tuple[asyncio.Server, str]:
    """Listen at `unix:PATH` or `tcp:HOST:PORT` (port 0: any); return where to connect to."""
    loop = asyncio.get_running_loop()
    scheme, _, rest = spec.partition(":")
    if scheme == "unix" and rest:
        return await loop.create_unix_server(make_pipe, rest), f"unix:{rest}"
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isdecimal():
        server = await loop.create_server(make_pipe, host, int(port))
        return server, f"tcp-client:{host}:{server.sockets[0].getsockname()[1]}"
    raise TransportSpecError("a door is unix:PATH or tcp:HOST:PORT")


class AirServer:
    """The air with its two doors open."""

    def __init__(self, *, faults: Faults | None = None, capture: Path | None = None) -> None:
        """Prepare; `open` opens the doors."""
        self._air = Air(faults)
        self._capture = None if capture is None else Capture(capture)
        self._servers: list[asyncio.Server] = []
        self._count = 0

    async def open(self, device: str, companion: str) -> tuple[str, str]:
        """Open both doors; return the transport strings that lead to them."""
        places = []
        for spec, name, capture in (
            (device, "device", self._capture),
            (companion, "companion", None),
        ):
            enter = functools.partial(self._enter, name, capture)
            server, place = await _open_door(spec, enter)
            self._servers.append(server)
            places.append(place)
        return places[0], places[1]

    def close(self) -> None:
        """Close the doors; open connections end with the process."""
        for server in self._servers:
            server.close()
        if self._capture is not None:
            self._capture.close()

    def _enter(self, name: str, capture: Capture | None) -> HciPipe:
        self._count += 1
        return _Side(f"{name}-{self._count}", self._air, capture).pipe


async def run_air(
    device: str,
    companion: str,
    *,
    faults: Faults,
    capture: Path | None,
    until_eof: bool,
) -> None:
    """Open the doors, say so on standard output, and stay; see the module's text."""
    logging.getLogger("bumble").setLevel(logging.CRITICAL)  # a host must not fill the log
    server = AirServer(faults=faults, capture=capture)
    try:
        places = await server.open(device, companion)
        line = {"ready": True, "device": places[0], "companion": places[1]}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        finished = asyncio.Event()
        if until_eof:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _read_input, finished)
        await finished.wait()
    finally:
        server.close()


def _read_input(finished: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        finished.set()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the virtual air between a device's radio and companions."""
    parser = argparse.ArgumentParser(prog="primegap.radio.air", description=main.__doc__)
    parser.add_argument(
        "--device", required=True, metavar="DOOR", help="unix:PATH or tcp:HOST:PORT"
    )
    parser.add_argument(
        "--companion", required=True, metavar="DOOR", help="the same for companions"
    )
    parser.add_argument("--capture", type=Path, metavar="FILE", help="btsnoop of the device's door")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    for knob in fields(Faults):
        kind = type(knob.default)
        parser.add_argument(f"--{knob.name.replace('_', '-')}", type=kind, default=knob.default)
    options = parser.parse_args(arguments)
    faults = Faults(**{knob.name: getattr(options, knob.name) for knob in fields(Faults)})
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            run_air(
                options.device,
                options.companion,
                faults=faults,
                capture=options.capture,
                until_eof=options.until_eof,
            )
        )


if __name__ == "__main__":
    main()
