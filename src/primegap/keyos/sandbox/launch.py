"""First code of every process of the device: confine yourself, then become the role.

Run by core as `python -I -S -B launch.py FD PYTHON_PATH…`. FD is a socket on which the order comes:
a sealed memory object (JSON) and the descriptors that it names. Until then only the common library
is loaded, which holds nothing of the device: core may start interpreters ahead of need.

Steps (keyos-model, section 16.2): die with core; control groups; new namespaces; fork, so that the
role is process 1 of its own process namespace; new root; own user id; no capabilities; no new
privileges; limits; Landlock; seccomp; only then the role's own code is imported and run.

Any step that fails ends the process with EXIT_NOT_CONFINED and one line on standard error: nothing
ever runs with less isolation than ordered (M-4).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any, Final

EXIT_NOT_CONFINED: Final = 78
EXIT_CRASHED: Final = 70
MAX_DESCRIPTORS: Final = 32
COMMON: Final = (
    "asyncio",
    "primegap.keyos.process",
    *(
        f"primegap.keyos.sandbox.{name}"
        for name in ("cgroups", "landlock", "limits", "namespaces", "seccomp")
    ),
)
_CONFINED: Final = b"c"


def main() -> None:
    """Entry of the script."""
    sys.path += sys.argv[2:]
    from primegap.keyos.errors import SandboxError
    from primegap.keyos.sandbox import libc

    with contextlib.suppress(SandboxError):  # it is insisted on below, when there is a role
        libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the process to its parent")
    _load_common()
    order = _receive_order(int(sys.argv[1]))

    try:
        if order["simulator"]:
            _simulate(order)
        else:
            _confine(order)
    except (SandboxError, OSError) as error:
        _die(f"{order['role']}: cannot be confined: {error}", EXIT_NOT_CONFINED)
    _run(order)


def _load_common() -> None:
    """Load what every role needs, while nobody waits for it."""
    import importlib

    for name in COMMON:
        importlib.import_module(name)


def _receive_order(fd: int) -> dict[str, Any]:
    """Wait for the order; end quietly when core ends without giving one."""
    import socket

    with socket.socket(fileno=fd) as bridge:
        data, fds, _, _ = socket.recv_fds(bridge, 64, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not data:
        os._exit(0)
    order_fd, *given = fds
    order: dict[str, Any] = json.loads(os.pread(order_fd, os.fstat(order_fd).st_size, 0))
    os.close(order_fd)
    order["fds"] = dict(zip(order["fds"], given, strict=True))
    return order


def _confine(order: dict[str, Any]) -> None:
    from primegap.keyos.sandbox import cgroups, landlock, libc, limits, namespaces, seccomp

    uid: int | None = order["uid"]
    image: int | None = order["fds"].get("image")
    libc.set_name(order["role"])
    libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the process to its parent")
    if os.getppid() != order["parent"]:
        os._exit(EXIT_NOT_CONFINED)  # core died before that
    cgroups.enter(order["groups"])
    namespaces.enter_namespaces(as_root=uid is not None)
    alive, holds_alive = os.pipe()
    proof, gives_proof = os.pipe()
    child = os.fork()
    if child:
        os.close(alive)
        os.close(gives_proof)
        _wait_for(child, list(order["fds"].values()), proof)
    os.close(holds_alive)
    os.close(proof)
    libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the process to its parent")
    limits.prefer_as_oom_victim(order["profile"])
    limits.yield_the_processor(order["profile"])
    namespaces.hide_host_name()
    namespaces.build_root(
        order["read_only"], order["links"], order["data"], order["devices"], image
    )
    libc.drop_bounding_set()
    if uid is not None:
        namespaces.become(uid, uid)
    libc.drop_capabilities()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="cannot give up new privileges")
    libc.prctl(libc.PR_SET_DUMPABLE, 0, what="cannot forbid core dumps")
    # Changing ids cleared the death signal: a parent that died meanwhile is seen on the pipe.
    libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the process to its parent")
    os.set_blocking(alive, False)
    with contextlib.suppress(BlockingIOError):
        os.read(alive, 1)
        os._exit(EXIT_NOT_CONFINED)
    os.close(alive)
    limits.apply_limits(order["profile"])
    rules = [(path, landlock.READ_ONLY) for path in order["read_only"] if os.path.isdir(path)]
    rules += [(path, landlock.READ_FILE) for path in order["read_only"] if not os.path.isdir(path)]
    rules += [(path, landlock.DEVICE) for path in [*namespaces.DEVICES, *order["devices"]]]
    rules.append((namespaces.SCRATCH, landlock.READ_WRITE))
    if image is not None:
        rules.append((namespaces.APP, landlock.READ_ONLY))
    if order["data"] is not None:
        rules.append((namespaces.DATA, landlock.READ_WRITE))
    landlock.restrict(rules)
    # The loop opens an epoll instance and a socket pair; afterwards no socket can be made.
    import asyncio

    asyncio.set_event_loop(asyncio.new_event_loop())
    seccomp.install(order["profile"])
    os.write(gives_proof, _CONFINED)
    os.close(gives_proof)


def _simulate(order: dict[str, Any]) -> None:
    """Keep to what needs nothing of the kernel: a simulator runs without walls, and says so."""
    import asyncio

    from primegap.keyos.sandbox import libc

    libc.set_name(order["role"])
    libc.prctl(libc.PR_SET_PDEATHSIG, 9, what="cannot tie the process to its parent")
    if os.getppid() != order["parent"]:
        os._exit(EXIT_NOT_CONFINED)  # core died before that
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="cannot give up new privileges")
    libc.prctl(libc.PR_SET_DUMPABLE, 0, what="cannot forbid core dumps")
    asyncio.set_event_loop(asyncio.new_event_loop())


def _wait_for(child: int, fds: list[int], proof: int) -> None:
    """Wait for the confined process and end as it ended; hold nothing that belongs to it.

    The status EXIT_NOT_CONFINED stops the device. A role's own code cannot fake it: by the time it
    runs, the proof of confinement is in the pipe.
    """
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
    with contextlib.suppress(OSError):
        os.close(2)
    _, wait_status = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(wait_status)
    if status == EXIT_NOT_CONFINED and os.read(proof, 1) == _CONFINED:
        status = EXIT_CRASHED
    os._exit(status & 0xFF)


def _run(order: dict[str, Any]) -> None:
    import asyncio
    import importlib

    from primegap.keyos.process import Process
    from primegap.keyos.sandbox import namespaces

    module, _, function = order["entry"].partition(":")
    loop = asyncio.get_event_loop_policy().get_event_loop()
    data = namespaces.DATA
    if order["simulator"]:
        data = order["data"] or os.devnull
    else:
        os.environ["TMPDIR"] = namespaces.SCRATCH
    if order["fds"].pop("image", None) is not None:
        sys.path.insert(0, namespaces.IMAGE)
    try:
        entry = getattr(importlib.import_module(module), function)
        process = Process(order, data=data, loop=loop)
        loop.run_until_complete(process.run(entry))
    except Exception as error:  # noqa: BLE001 - the top of the process: report and end
        _die(_describe(order, error), EXIT_CRASHED)
    os._exit(0)


def _describe(order: dict[str, Any], error: BaseException) -> str:
    """One line per frame with names and line numbers only: values may be secrets."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    detail = f": {error}" if order["development"] else ""
    return f"{order['role']}: {type(error).__name__}{detail} at {' < '.join(reversed(frames[-8:]))}"


def _die(line: str, status: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace") + b"\n")
    os._exit(status)


if __name__ == "__main__":
    main()
