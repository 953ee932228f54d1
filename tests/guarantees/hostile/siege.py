"""Apps that take, flood and forge for as long as they live, each in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import mmap
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import cbor2
from tests.e2e.hostile.raw import DATA, SCRATCH, number, syscall
from tests.e2e.hostile.wire import Control, Wire, header

from primegap.keyos.channel import seal_object
from primegap.keyos.frame import HEADER, Frame, Kind, encode_frame

if TYPE_CHECKING:
    from primegap.keyos.process import Process

MIB: Final = 1 << 20
COUNTED: Final = "attempts"


class Siege:
    """What every attacker has, and a count of what it tried."""

    def __init__(self, process: Process) -> None:
        self.control = Control(process)
        self.servers: list[str] = process.config["servers"]
        self.tried = 0
        self._told_s = 0.0
        self.count(0)

    def count(self, tries: int = 1) -> None:
        """Count attempts; the test reads them from outside."""
        self.tried += tries
        now_s = time.monotonic()
        if now_s > self._told_s + 0.5:
            self._told_s = now_s
            with contextlib.suppress(OSError):
                (DATA / "counting").write_text(str(self.tried))
                (DATA / "counting").rename(DATA / COUNTED)

    def wires(self, limit: int) -> list[Wire]:
        """Open connections until core refuses."""
        opened: list[Wire] = []
        for server in itertools.cycle(self.servers):
            wire = self.control.connect(server)
            self.count()
            if not isinstance(wire, Wire) or len(opened) >= limit:
                return opened
            wire.sock.setblocking(False)
            opened.append(wire)
        return opened


async def main(process: Process) -> None:
    """Attack for ever."""
    process.serve()
    process._loop.remove_reader(process._fds["control"])
    siege = Siege(process)
    attack = ATTACKS[process.config["attack"]]
    await asyncio.to_thread(for_ever, attack, siege)


def for_ever(attack: Callable[[Siege], None], siege: Siege) -> None:
    while True:
        with contextlib.suppress(OSError, MemoryError, RuntimeError, TimeoutError):
            attack(siege)
        siege.count()
        time.sleep(0.001)


def flood(siege: Siege) -> None:
    """Every id, allowed or not, on every connection there may be, without reading an answer."""
    wires = siege.wires(32)
    end = time.monotonic() + 2
    message_id = 0
    while time.monotonic() < end:
        for wire in wires:
            message_id += 1
            with contextlib.suppress(OSError):
                wire.send(header(message_id=message_id % 64, correlation=message_id))
                siege.count()
    for wire in wires:
        wire.close()


def forge(siege: Siege) -> None:
    """Broken frames, kinds that only core may send, foreign descriptors, on every channel."""
    wires: list[Wire] = [siege.control, *siege.wires(8)]
    siege.control.sock.setblocking(False)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        noise = os.urandom(96)
        frames = [
            noise,
            header(version=noise[0]),
            header(kind=noise[1]),
            header(length=int.from_bytes(noise[2:6], "big")),
            header(flags=1),
            encode_frame(Frame(kind=Kind.REPLY, correlation=noise[7])),
            HEADER.pack(1, Kind.CONNECT, 0, 0, 1, 0, 0, 0, 0, 11, 0, bytes(11)) + b"os/security",
        ]
        for wire in wires:
            for frame in frames:
                with contextlib.suppress(OSError):
                    wire.send(frame)
                    siege.count()
            with contextlib.suppress(OSError):
                wire.request(noise[8] % 16, noise[9], b"", [0])
            with contextlib.suppress(OSError):
                while wire.sock.recv(8192):
                    pass
    for wire in wires[1:]:
        wire.close()
    siege.control.sock.settimeout(5)


def objects(siege: Siege) -> None:
    """The largest memory objects, full of nesting, to every message of the screen and the rest."""
    bomb = seal_object(b"\x81" * (2 * MIB))
    wires = siege.wires(8)
    end = time.monotonic() + 2
    correlation = 0
    while time.monotonic() < end:
        for wire in wires:
            correlation += 1
            with contextlib.suppress(OSError):
                wire.request(1 + correlation % 10, correlation, b"", [bomb])
                siege.count()
            with contextlib.suppress(OSError):
                while wire.sock.recv(8192):
                    pass
    os.close(bomb)
    for wire in wires:
        wire.close()


def screens(siege: Siege) -> None:
    """Screens, notices and questions that are none, or that only the system may show."""
    wires = siege.wires(4)
    plain: dict[str, object] = {
        "id": "x",
        "title": "x",
        "items": [],
        "buttons": [],
        "app": "System",
        "banner": None,
    }
    payloads = [
        cbor2.dumps([cbor2.dumps(plain, canonical=True)]),
        cbor2.dumps([b"", bytes(32), None]),
    ]
    end = time.monotonic() + 2
    correlation = 0
    while time.monotonic() < end:
        for wire, payload in itertools.product(wires, payloads):
            correlation += 1
            with contextlib.suppress(OSError):
                wire.request(1 + correlation % 6, correlation, payload)
                siege.count()
            with contextlib.suppress(OSError):
                while wire.sock.recv(8192):
                    pass
    for wire in wires:
        wire.close()


def bomb(siege: Siege) -> None:
    """As many threads as there may be, all busy; and forks, clones and programs again and again."""
    block = bytes(MIB)
    end = time.monotonic() + 2

    def work() -> None:
        while time.monotonic() < end:
            hashlib.sha256(block).digest()

    with contextlib.suppress(RuntimeError):
        for _ in range(200):
            threading.Thread(target=work, daemon=True).start()
            siege.count()
    while time.monotonic() < end:
        syscall(number("clone"), 17, None, None, None, None)
        syscall(number("clone3"), None, 0)
        with contextlib.suppress(OSError):
            os.fork()
        with contextlib.suppress(OSError):
            os.execv("/bin/sh", ["sh"])
        siege.count(4)
        time.sleep(0.001)


def memory(siege: Siege) -> None:
    """All address space, some of it touched; memory objects; descriptors; descriptors in flight."""
    kept: list[object] = []
    taken = 0
    with contextlib.suppress(OSError, MemoryError):
        while taken < 4096:
            piece = mmap.mmap(-1, 16 * MIB)
            if taken < 128:
                piece.write(b"x" * 16 * MIB)
            kept.append(piece)
            taken += 16
            siege.count()
    kept.clear()
    descriptors: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            descriptors.append(os.memfd_create("hog") if len(descriptors) % 2 else os.dup(0))
            siege.count()
    for descriptor in descriptors:
        os.close(descriptor)
    time.sleep(0.05)


def files(siege: Siege) -> None:
    """Scratch space and own folder, up to what there is; links and devices in between."""
    for folder in (SCRATCH, DATA):
        with contextlib.suppress(OSError):
            for turn in range(64):
                with (folder / f"fill-{turn}").open("wb", buffering=0) as file:
                    for _ in range(16):
                        file.write(bytes(MIB))
                        siege.count()
    for attempt in (
        lambda: os.symlink("/etc/passwd", DATA / "link"),
        lambda: os.mkfifo(DATA / "fifo"),
        lambda: os.open("/proc/self/mem", os.O_RDWR),
        lambda: os.open(DATA / "../../security/vault", os.O_RDONLY),
    ):
        with contextlib.suppress(OSError):
            attempt()
        siege.count()


def chatter(siege: Siege) -> None:
    """Lines for the journal by both ways, and names of servers that are not there."""
    line = encode_frame(Frame(kind=Kind.LOG, payload=b"\x1b[2J chatter" * 30))
    end = time.monotonic() + 2
    correlation = 0
    while time.monotonic() < end:
        correlation += 1
        siege.control.send(line)
        os.write(2, b"noise \x1b[2J\n" * 50)
        siege.control.send(
            encode_frame(
                Frame(
                    kind=Kind.CONNECT, correlation=correlation, payload=os.urandom(8).hex().encode()
                )
            )
        )
        siege.control.sock.setblocking(False)
        with contextlib.suppress(OSError):
            while siege.control.sock.recv(8192, socket.MSG_DONTWAIT):
                pass
        siege.control.sock.settimeout(5)
        siege.count(52)


ATTACKS: Final[dict[str, Callable[[Siege], None]]] = {
    "flood": flood,
    "forge": forge,
    "objects": objects,
    "screens": screens,
    "bomb": bomb,
    "memory": memory,
    "files": files,
    "chatter": chatter,
}
