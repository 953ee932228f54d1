"""Runs the real Supervisor with the roles of a test: `python run_device.py ORDER.json`.

As root with a `uid` in the order, it first makes a mount namespace in which that user can reach the
interpreter and the code (both may live below a closed home directory), becomes that user, and
starts again, so that the whole device runs as an ordinary user.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import errno
import json
import os
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.core.journal import Journal
from primegap.keyos.core.order import find_runtime
from primegap.keyos.core.supervisor import Supervisor, Supply
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted
from primegap.keyos.manifest.table import Verdict
from primegap.keyos.sandbox import libc
from primegap.keyos.sandbox.cgroups import find_control_groups


def main() -> None:
    # No device outlives its test.
    libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the device to the test")
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    if os.getuid() == 0 and order["uid"] is not None:
        become_ordinary(order)
    if order["without"] is not None:
        forbid(*order["without"])
    raise SystemExit(asyncio.run(run(order)))


async def run(order: dict[str, Any]) -> int:
    runtime = find_runtime(PACKAGE.parent)
    code = order["code"]
    runtime = dataclasses.replace(
        runtime,
        python_path=(*runtime.python_path, code),
        read_only=(*runtime.read_only, code),
    )
    supplies = {}
    for role, supply in order["supplies"].items():
        sockets = {}
        if supply["page"]:
            listener = socket.create_server(("127.0.0.1", 0))
            sockets["page"] = listener
        supplies[role] = Supply(config=supply["config"], sockets=sockets)
    manifests = [parse_manifest_untrusted((PACKAGE / "keyos/core/manifest.toml").read_bytes())]
    manifests += [parse_manifest_untrusted(text.encode()) for text in order["manifests"]]
    table = (OpenTable if order["open_router"] else PermissionTable)(manifests)
    groups = find_control_groups()
    groups.clear_stale()
    journal = Journal(started_s=time.monotonic())
    supervisor = Supervisor(
        table,
        runtime,
        data=Path(order["data"]),
        development=True,
        journal=journal,
        supplies=supplies,
        groups=groups,
        simulator=order["simulator"],
    )
    journal.event("core-ready", pid=os.getpid())
    supervisor.start_first()
    reason = await supervisor.finished
    journal.event("stopped", reason=reason)
    return 1 if reason else 0


class OpenTable(PermissionTable):
    """A table whose answer to the router is always yes: the first lock is broken."""

    @override
    def judge(self, role: str, server: str, message_id: int) -> Verdict:
        return Verdict.ALLOW


def become_ordinary(order: dict[str, Any]) -> None:
    uid: int = order["uid"]
    runtime = find_runtime(PACKAGE.parent)
    needed = {Path(sys.base_prefix), Path(sys.prefix), PACKAGE.parent, Path(sys.argv[0]).parent}
    needed |= {Path(path) for path in runtime.read_only}
    needed |= {Path(path) for path in (sys.argv[1], order["code"], order["data"])}
    open_way({path.resolve() for path in needed})
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # Starting again makes the process an ordinary one: dumpable, its /proc files its own.
    os.execv(sys.executable, [sys.executable, "-B", *sys.argv])


def forbid(call: int, first_argument: int | None) -> None:
    """Let the device run on a kernel that lacks a call, or one use of it: both answer ENOSYS."""
    load, equal, leave = 0x20, 0x15, 0x06
    refuse, allow = 0x00050000 | errno.ENOSYS, 0x7FFF0000
    code = [(load, 0, 0, 0)]  # the number of the call
    if first_argument is None:
        code += [(equal, 0, 1, call)]
    else:
        code += [(equal, 0, 3, call), (load, 0, 0, 16), (equal, 0, 1, first_argument)]
    code += [(leave, 0, 0, refuse), (leave, 0, 0, allow)]
    packed = b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
    program = ctypes.create_string_buffer(struct.pack("@H6xP", len(code), address_of(packed)))
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="cannot give up new privileges")
    libc.prctl_pointer(libc.PR_SET_SECCOMP, 2, program, what="cannot install the filter")


def address_of(data: bytes) -> int:
    KEPT.append(ctypes.create_string_buffer(data))
    return ctypes.addressof(KEPT[-1])


KEPT: Final[list[ctypes.Array[ctypes.c_char]]] = []


def open_way(needed: set[Path]) -> None:
    """Cover closed directories above the needed trees by open ones that hold only those trees."""
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE, None)
    closed: dict[Path, list[Path]] = {}
    for path in sorted(needed):
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & stat.S_IXOTH:
                closed.setdefault(parent, []).append(path)
                break
    for cover, paths in closed.items():
        kept = {path: os.open(path, os.O_PATH) for path in paths}
        libc.mount("tmpfs", str(cover), "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
        for path, fd in kept.items():
            source = f"/proc/self/fd/{fd}"
            if path.exists():
                continue  # inside a tree that was shown before
            if Path(source).is_dir():
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            libc.mount(source, str(path), None, libc.MS_BIND | libc.MS_REC, None)
            os.close(fd)


if __name__ == "__main__":
    main()
