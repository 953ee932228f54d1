"""A role that takes as much as it gets of one thing, and says how much that was."""

from __future__ import annotations

import array
import contextlib
import mmap
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.hostile.raw import DATA, SCRATCH, wait_for_file, write_report

from primegap.keyos.frame import Frame, Kind, encode_frame

if TYPE_CHECKING:
    from primegap.keyos.process import Process

MIB: Final = 1 << 20


async def main(process: Process) -> None:
    """Wait for the word, take, report, and keep what was taken."""
    process.serve()
    await wait_for_file("go")
    report = HOGS[process.config["takes"]](process)
    if report is not None:
        write_report(report)
    await wait_for_file("go-on-for-ever")


def threads(process: Process) -> dict[str, Any]:
    """As many threads as there may be, all of them busy for 1.5 s in native code without a lock."""
    del process
    import hashlib

    block = bytes(4 * MIB)
    started = 0
    error = ""
    go = threading.Event()

    def work() -> None:
        go.wait()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            hashlib.sha256(block).digest()

    try:
        while started < 2000:
            threading.Thread(target=work, daemon=True).start()
            started += 1
    except RuntimeError as failure:
        error = str(failure)
    go.set()
    return {"threads": started, "error": error}


def memory(process: Process) -> dict[str, Any]:
    """Address space, until there is no more; touched in part only, to be kind to the machine."""
    del process
    taken = 0
    kept = []
    with contextlib.suppress(OSError, MemoryError):
        while taken < 64 << 10:
            kept.append(mmap.mmap(-1, 16 * MIB))
            kept[-1][0] = 1
            taken += 16
    KEPT.append(kept)
    return {"mib": taken}


def memory_objects(process: Process) -> dict[str, Any]:
    """Memory that no address space holds."""
    del process
    objects = size = 0
    descriptor = -1
    with contextlib.suppress(OSError):
        while objects < 5000:
            descriptor = os.memfd_create("hog")
            objects += 1
            if not size:
                # One is filled to see how large each of them might be.
                with contextlib.suppress(OSError):
                    while size < MIB << 10:
                        size += os.write(descriptor, bytes(MIB))
    os.close(descriptor)  # the report needs one
    return {"objects": objects, "object_mib": size // MIB}


def descriptors(process: Process) -> dict[str, Any]:
    del process
    opened = 0
    with contextlib.suppress(OSError):
        while opened < 100_000:
            os.dup(0)
            opened += 1
    os.close(opened)  # the report needs one
    return {"descriptors": opened}


def scratch(process: Process) -> dict[str, Any]:
    """Fill the scratch space, with bytes and with names."""
    del process
    block = bytes(MIB)
    size = names = 0
    with contextlib.suppress(OSError):
        for number in range(64):
            with (SCRATCH / f"fill-{number}").open("wb", buffering=0) as file:
                while size < 1 << 10:
                    size += file.write(block) // MIB
    for path in SCRATCH.iterdir():
        path.unlink()
    with contextlib.suppress(OSError):
        while names < 5000:
            (SCRATCH / f"empty-{names}").touch()
            names += 1
    return {"mib": size, "names": names}


def disk(process: Process) -> dict[str, Any] | None:
    """Fill the own folder for ever; in the next life, do nothing."""
    del process
    if (DATA / "fill-0").exists():
        return {"files": len(list(DATA.glob("fill-*")))}
    block = bytes(MIB)
    number = 0
    while True:
        with contextlib.suppress(OSError), (DATA / f"fill-{number}").open("wb") as file:
            while True:
                file.write(block)
        number += 1
        time.sleep(0.01)  # the disk of the test machine is shared


def standard_error(process: Process) -> dict[str, Any]:
    """Write lines to standard error as fast as they are taken."""
    del process
    end = time.monotonic() + 1.0
    written = 0
    while time.monotonic() < end:
        written += os.write(2, b"\n" * 2000 + b"noise \x1b[2J\n" * 200)
    return {"bytes": written}


def log(process: Process) -> dict[str, Any]:
    """Write lines to the journal as fast as they are taken."""
    sock = socket.socket(fileno=os.dup(process._fds["control"]))
    sock.settimeout(5)
    data = encode_frame(Frame(kind=Kind.LOG, payload=b"chatter " * 50))
    junk = b"\0" * 64
    end = time.monotonic() + 1.0
    sent = 0
    while time.monotonic() < end:
        sock.send(data)
        sock.send(junk)
        sent += 2
    return {"sent": sent}


def in_flight(process: Process) -> None:
    """Keep descriptors in flight in a socket of its own: the kernel counts them by user."""
    own = process._loop._csock  # type: ignore[attr-defined]
    sent = 0
    error = ""
    try:
        own.setblocking(False)
        while sent < 5000:
            rights = array.array("i", [0] * 100)
            own.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            sent += 100
    except (OSError, AttributeError) as failure:
        error = str(failure)
    write_report({"in_flight": sent, "error": error})
    time.sleep(1000)  # the loop would take them out again


def exit_as_if_not_confined(process: Process) -> None:
    del process
    os._exit(78)


def system_call_of_x32(process: Process) -> None:
    del process
    import ctypes

    ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 | 39))


def system_call_of_32_bits(process: Process) -> None:
    """Run `int 0x80`. Nothing written becomes code, so the code comes in a memory object."""
    del process
    import ctypes

    descriptor = os.memfd_create("code")
    os.write(descriptor, b"\xb8\x14\x00\x00\x00\xcd\x80\xc3".ljust(4096, b"\xc3"))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(4096), 5, 1, descriptor, ctypes.c_long(0))
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()


KEPT: Final[list[object]] = []
HOGS: Final[dict[str, Callable[[Process], dict[str, Any] | None]]] = {
    "threads": threads,
    "memory": memory,
    "memory-objects": memory_objects,
    "descriptors": descriptors,
    "disk": disk,
    "scratch": scratch,
    "standard-error": standard_error,
    "log": log,
    "in-flight": in_flight,
    "exit-78": exit_as_if_not_confined,
    "x32": system_call_of_x32,
    "int80": system_call_of_32_bits,
}
