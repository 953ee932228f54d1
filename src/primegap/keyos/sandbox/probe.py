"""Measures the support level: children of this process try what apps must not be able to do.

Run as `python -I -S -B probe.py PYTHON_PATH…`; writes one JSON object to standard output. Each
feature is tried in a process of its own, so that what it gives up there is given up for nothing
else. A trial fails closed: whatever it does not prove is missing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.sandbox.support import Finding, Support

MAX_DETAIL: Final = 200
MAX_TRIAL_S: Final = 20  # each takes a few milliseconds, the memory limit a tenth of a second
_TRY_MEMORY: Final = 24 << 20
_TRY_PROCESSES: Final = 8
_OTHER_UID: Final = 65519  # the last of the range that apps get; nobody's while we try


class _FailedError(Exception):
    """A trial was not what it must be."""


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise _FailedError(problem)


def _refused(action: Callable[[], object], what: str) -> None:
    """Raise unless an action is refused."""
    try:
        action()
    except OSError:
        return
    raise _FailedError(f"{what} was not refused")


# -- trials: each runs in a process of its own and returns what it saw ---------------------------


def _system_call_filter() -> str:
    import socket

    from primegap.keyos.sandbox import libc, seccomp

    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="cannot give up new privileges")
    seccomp.install("app")
    _refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), "a socket")
    _refused(lambda: os.kill(os.getppid(), 0), "a signal to another process")
    _refused(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]), "another program")  # noqa: S606
    _refused(os.fork, "a new process")
    result = libc.raw_syscall(
        101 if os.uname().machine == "x86_64" else 117, 16, os.getppid(), 0, 0
    )
    _expect(result < 0, "tracing another process was not refused")
    return "sockets, signals, programs, new processes and tracing are refused"


def _landlock() -> str:
    from primegap.keyos.sandbox import landlock, libc

    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="cannot give up new privileges")
    abi = landlock.restrict([])
    _refused(lambda: os.open("/etc/passwd", os.O_RDONLY), "reading a file")
    _refused(lambda: os.listdir("/"), "listing a folder")
    _refused(lambda: os.mkdir("/tmp/primegap-probe"), "making a folder")  # noqa: S108
    extra = ", TCP" if abi >= 4 else ""
    extra += ", signals and abstract sockets" if abi >= 6 else ""
    return f"files{extra} are out of reach (ABI {abi})"


def _no_new_privileges() -> str:
    from primegap.keyos.sandbox import libc, namespaces

    with_capabilities = os.geteuid() == 0
    if with_capabilities:
        libc.drop_bounding_set()
        namespaces.become(_OTHER_UID, _OTHER_UID)
    libc.drop_capabilities()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1, what="cannot give up new privileges")
    with open("/proc/self/status", "rb") as file:
        lines = file.read().decode().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        _expect(int(status[name], 16) == 0, f"{name} is not empty")
    if with_capabilities:
        _expect(int(status["CapBnd"], 16) == 0, "the bounding set is not empty")
        _refused(lambda: os.setresuid(0, 0, 0), "becoming root again")
    _expect(status["NoNewPrivs"].strip() == "1", "new privileges are not given up")
    return "no capability is left and none can be had"


def _sealed_memory() -> str:
    import mmap

    from primegap.keyos.channel import ALL_SEALS, check_object, seal_object

    fd = seal_object(bytes(8192))
    check_object(fd)
    _refused(lambda: os.pwrite(fd, b"x", 0), "writing to a sealed object")
    _refused(lambda: os.ftruncate(fd, 1), "shrinking a sealed object")
    _refused(lambda: os.ftruncate(fd, 16384), "growing a sealed object")
    _refused(lambda: mmap.mmap(fd, 8192), "mapping a sealed object for writing")
    extra = ", and never a program" if ALL_SEALS & 0x20 else ""
    return f"an object on its way cannot be changed by anybody{extra}"


def _second_lock() -> str:
    from primegap.keyos.channel import channel_pair
    from primegap.keyos.frame import Frame, Kind, encode_frame
    from primegap.keyos.sandbox.second_lock import STUB_BYTES, attach, connection_filter

    ours, theirs = channel_pair()
    attach(ours, connection_filter({7}), lock=True)
    ours.setblocking(False)
    for message_id in (7, 8):
        frame = Frame(kind=Kind.REQUEST, message_id=message_id, correlation=1, payload=b"x" * 100)
        theirs.send(encode_frame(frame))
    _expect(len(ours.recv(4096)) == 164, "a message that is granted does not pass")
    _expect(len(ours.recv(4096)) == STUB_BYTES, "a message that is not granted passes")
    _refused(lambda: attach(ours, connection_filter({8})), "changing a locked filter")
    return "a message that is not granted is cut by the kernel; the filter stays"


def _namespaces() -> str:
    import socket

    from primegap.keyos.sandbox import namespaces

    namespaces.enter_namespaces(as_root=os.geteuid() == 0)
    pid = os.fork()
    if pid == 0:
        try:
            _expect(os.getpid() == 1, "other processes can be seen")
            namespaces.hide_host_name()
            namespaces.build_root([], {}, None, [], None)
            _expect(set(os.listdir("/")) <= {"dev", ".primegap"}, "files of the host can be seen")
            _refused(lambda: os.mkdir("/x"), "writing to the root")
            names = [name for _, name in socket.if_nameindex()]
            _expect(names == ["lo"], "the host's network can be seen")
        except BaseException as error:  # noqa: BLE001 - the end of this process says it
            os.write(2, f"{error}\n".encode())
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _expect(status == 0, "a root of its own cannot be made, or shows the host")
    return "own processes, files, network, host name: nothing of the host can be seen"


def _own_users() -> str:
    from primegap.keyos.sandbox import namespaces

    if os.geteuid() != 0:
        namespaces.enter_namespaces(as_root=False)
        return "each process in a user namespace; on the host they share your user id"
    namespaces.become(_OTHER_UID, _OTHER_UID)
    _refused(lambda: os.kill(os.getppid(), 0), "a signal to another user's process")
    return "each app has a user id of its own"


def _memory_limit() -> str:
    def take() -> None:
        block = bytearray(4 * _TRY_MEMORY)
        for at in range(0, len(block), 4096):
            block[at] = 1

    status, version = _in_group("memory", take)
    _expect(status == -9, "more memory than the limit can be taken")
    return f"a process that takes more is ended (control groups {version})"


def _process_limit() -> str:
    def bomb() -> None:
        started: list[int] = []
        limited = False
        while len(started) < 4 * _TRY_PROCESSES and not limited:
            try:
                pid = os.fork()
            except BlockingIOError:
                limited = True
                break
            if pid == 0:
                signal.alarm(MAX_TRIAL_S)
                signal.pause()
            started.append(pid)
        for pid in started:
            os.kill(pid, 9)
        os._exit(3 if limited else 0)

    status, version = _in_group("pids", bomb)
    _expect(status == 3, "more processes than the limit can be started")
    return f"a fork bomb stays small (control groups {version})"


def _processor_share() -> str:
    status, version = _in_group("cpu", lambda: None)
    _expect(status == 0, "no process can be put into a group")
    return f"an app gets a share, however many threads it has (control groups {version})"


TRIALS: Final[dict[str, Callable[[], str]]] = {
    "system-call-filter": _system_call_filter,
    "landlock": _landlock,
    "no-new-privileges": _no_new_privileges,
    "sealed-memory": _sealed_memory,
    "second-lock": _second_lock,
    "namespaces": _namespaces,
    "own-users": _own_users,
    "memory-limit": _memory_limit,
    "process-limit": _process_limit,
    "processor-share": _processor_share,
}


def _in_group(controller: str, action: Callable[[], None]) -> tuple[int, str]:
    """Run an action in a process inside a small control group.

    Return its exit status and how groups are kept here.
    """
    from primegap.keyos.sandbox.cgroups import PREFIX, Limits, enter, find_control_groups

    groups = find_control_groups(f"{PREFIX}{os.getpid()}-probe")
    _expect(controller in groups.controllers, "no control group of this kind can be made here")
    try:
        files = groups.make("probe", Limits(_TRY_MEMORY, _TRY_PROCESSES, 20))
        pid = os.fork()
        if pid == 0:
            enter(files)
            action()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), groups.version
    finally:
        groups.close(["probe"])


# -- the trials together --------------------------------------------------------------------------


def measure() -> Support:
    """Try everything, each in a process of its own, and judge it."""
    from primegap.keyos.sandbox.support import judge

    return judge(tuple(_try(name) for name in TRIALS))


def _try(name: str) -> Finding:
    from primegap.keyos.errors import KeyosError
    from primegap.keyos.sandbox.support import Finding

    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(MAX_TRIAL_S)
            line = "+" + TRIALS[name]()
        except (_FailedError, KeyosError, OSError) as error:
            line = f"-{error}"
        except BaseException as error:  # noqa: BLE001 - whatever it was, it proves nothing
            line = f"-{type(error).__name__}"
        os.write(tells, line.encode(errors="replace")[:MAX_DETAIL])
        os._exit(0)
    os.close(tells)
    os.waitpid(pid, 0)
    os.set_blocking(told, False)
    try:
        line = os.read(told, MAX_DETAIL).decode(errors="replace")
    except BlockingIOError:
        line = ""
    os.close(told)
    return Finding(name, line.startswith("+"), line[1:] or "it ended without an answer")


def main() -> None:
    """Entry of the script."""
    sys.path += sys.argv[1:]
    support = measure()
    found = [[f.name, f.present, f.detail] for f in support.findings]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
