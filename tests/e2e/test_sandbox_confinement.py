"""What a confined process can reach: nothing but its channels, its folder and its libraries.

Real processes, started by the real Supervisor, try everything by raw system calls; the host then
looks at them through /proc. Once as root (a user id for each role) and once as an ordinary user
(user namespaces). Property ids are those of the operating model, section 14.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.sandbox_support import (
    HOSTILE,
    MODES,
    Device,
    Role,
    children,
    is_alive,
    running_device,
    status_of,
)

from primegap.keyos.core import builtin
from primegap.keyos.core.order import find_runtime
from primegap.keyos.sandbox.syscalls import ABSENT, JUDGED, NUMBERS, PROFILES

PACKAGE: Final = builtin.PACKAGE
LIBRARY: Final = str(PACKAGE / "keyos/frame.py")
COLUMN: Final = 0 if os.uname().machine == "x86_64" else 1
CANARY: Final = "canary-of-the-neighbour"
PROBES: Final = tuple(PROFILES)
FORBIDDEN: Final = (
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hostname",
    "/proc",
    "/proc/self/mem",
    "/proc/1/environ",
    "/sys",
    "/sys/kernel",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/random",
    "/dev/shm",
    "/dev/pts",
    "/dev/tty",
    "/root",
    "/home",
    "/run",
    "/var",
    "/tmp",
    "/boot",
    "/bin/sh",
    "/usr/bin",
    "/usr/share",
    "/.host",
    "/.primegap/data/../idle/canary",
    str(Path.home()),
    str(HOSTILE.parents[2] / "pyproject.toml"),
)
PR_SET_CHILD_SUBREAPER: Final = 36
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to look at other processes")


def probe(profile: str) -> Role:
    names = PROFILES[profile] | JUDGED
    shown = [Path(path) for path in find_runtime(PACKAGE.parent).read_only]
    folders = [str(path) for path in shown if path.is_dir()]
    return Role(
        name=profile,
        module="probe",
        profile=profile,
        page=profile == "panel",
        config={
            "allowed": sorted({NUMBERS[name][COLUMN] for name in names} - {ABSENT}),
            "forbidden": FORBIDDEN,
            "not_writable": [LIBRARY, *(str(path) for path in shown if path.is_file())],
            "not_writable_folders": ["/", "/etc", "/.primegap", "/dev", *folders],
        },
    )


@dataclass(frozen=True)
class Probed:
    """A running device whose probes have reported."""

    device: Device
    mode: str
    reports: dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=MODES)
def probed(request: pytest.FixtureRequest) -> Iterator[Probed]:
    roles = [*map(probe, PROBES), Role(name="idle", module="idle", config={"canary": CANARY})]
    with running_device(*roles, mode=request.param) as device:
        reports = {name: device.report(name) for name in PROBES}
        device.report("idle")
        yield Probed(device, request.param, reports)


def everything(found: dict[str, str], *outcomes: str) -> bool:
    """Whether every attempt ended in one of the outcomes; shows the others on failure."""
    others = {name: outcome for name, outcome in found.items() if outcome not in outcomes}
    assert others == {}
    return bool(found)


@pytest.mark.guarantee(
    "ID-3",
    "ID-5",
    "S-7",
    tried="all call numbers by raw system call, dangerous ones with arguments",
)
def test_every_call_that_is_not_listed_is_refused(probed: Probed) -> None:
    for report in probed.reports.values():
        assert report["calls"] == {}


@pytest.mark.guarantee(
    "ID-5", tried="fork, vfork, clone with namespaces, clone3, exec; threads work"
)
def test_no_process_can_be_made_and_no_program_run(probed: Probed) -> None:
    for report in probed.reports.values():
        clone = dict(report["clone"])
        assert clone.pop("clone3") == "ENOSYS"
        assert everything(clone, "EPERM")
        assert report["thread"] == "ok"


@pytest.mark.guarantee(
    "ID-5",
    "X-3",
    tried="terminal input, interface lists, leases on shared files, signals by descriptor",
)
def test_descriptors_cannot_be_used_to_signal_steal_or_stall(probed: Probed) -> None:
    for report in probed.reports.values():
        ioctl = dict(report["ioctl"])
        assert ioctl.pop("F_GETFL") == "ok"
        assert everything(ioctl, "EPERM")


@pytest.mark.guarantee("X-5", "H-3", tried="own files and memory are data")
def test_nothing_that_was_written_can_be_executed(probed: Probed) -> None:
    for report in probed.reports.values():
        memory = dict(report["memory"])
        assert memory.pop("mlock").startswith("ok")
        assert everything(memory, "EPERM", "EACCES", "errno 1", "errno 13")


@pytest.mark.guarantee(
    "ID-3", "L-1", tried="every family; the panel's listening socket is no way out either"
)
def test_no_socket_can_be_made_bound_or_connected(probed: Probed) -> None:
    for name, report in probed.reports.items():
        network = dict(report["network"])
        page = network.pop("page", None)
        # Without privileges the foreign ids of the credentials do not even exist for the process.
        assert network.pop("forged credentials") in ("EPERM", "EINVAL")  # ID-6
        if name == "panel":
            assert network.pop("accept") == "EINVAL"
            assert network.pop("listen") == "EINVAL"
            assert page.pop("shutdown") == "ok"  # it may break what it has
            assert everything(page, "EPERM")
        assert everything(network, "EPERM")


@pytest.mark.guarantee("F-1", "F-2", tried="by name, by listing, upwards")
def test_the_world_is_own_folder_and_libraries(probed: Probed) -> None:
    for report in probed.reports.values():
        files = report["files"]
        assert everything(files["read"], "ENOENT", "EACCES")
        assert everything(files["list"], "ENOENT", "EACCES")
        assert everything(files["listing"], "EACCES")
        own = files["own"]
        assert own.pop("up and out") == "EACCES"
        assert own.pop("up by descriptor") == "EACCES"
        assert everything(own, "ok")


@pytest.mark.guarantee("F-3", tried="no links devices fifos sockets or modes")
def test_no_links_devices_fifos_sockets_or_modes(probed: Probed) -> None:
    for report in probed.reports.values():
        assert everything(report["files"]["kinds"], "EPERM")


@pytest.mark.guarantee(
    "F-4", "H-4", tried="also as the owner of the program's files, which an ordinary user is"
)
def test_nothing_outside_the_own_folder_can_be_written(probed: Probed) -> None:
    for report in probed.reports.values():
        files = report["files"]
        assert everything(files["write"], "EACCES", "EROFS")
        assert everything(files["create"], "EACCES", "EROFS")
        assert everything(files["tamper"], "EPERM", "EACCES", "EROFS", "EXDEV")
    assert Path(LIBRARY).stat().st_size > 0
    assert (probed.device.data / "idle/canary").read_text() == CANARY


@pytest.mark.guarantee(
    "ID-2", "ID-5", "H-4", tried="process 1 of its own world, nobody to signal, nothing of the host"
)
def test_a_process_sees_only_itself(probed: Probed) -> None:
    for report in probed.reports.values():
        own = report["self"]
        assert (own["pid"], own["parent"]) == (1, 0)
        assert own["signal others"] == ["ESRCH"]
        assert own["kill init of the host"] == "EPERM"
        assert own["environment"] == {"LC_ALL": "C.UTF-8", "TMPDIR": "/.primegap/scratch"}
        assert own["host name"] == "primegap"
        assert own["raise limit"] in ("EPERM", "ValueError")


@pytest.mark.guarantee(
    "ID-3", tried="standard streams, the loop's own three, and those of the order"
)
def test_a_process_holds_only_the_descriptors_it_was_given(probed: Probed) -> None:
    for name, report in probed.reports.items():
        own = report["self"]
        fds: dict[str, int] = own["fds"]
        assert set(fds) == {"control"} | ({"page"} if name == "panel" else set())
        kinds = {int(number): kind for number, kind in own["descriptors"].items()}
        assert (kinds.pop(0), kinds.pop(1), kinds.pop(2)) == ("c", "c", "p")
        assert [kinds.pop(number) for number in fds.values()] == ["s"] * len(fds)
        assert sorted(kinds.values()) == ["?", "s", "s"]  # epoll, and the pair that wakes it


@pytest.mark.guarantee("X-3", tried="limits are set")
def test_limits_are_set(probed: Probed) -> None:
    mib = 1 << 20
    for name, report in probed.reports.items():
        limits = report["self"]["limits"]
        assert all(soft == hard for soft, hard in limits.values())
        assert limits["CORE"] == [0, 0]
        assert limits["MSGQUEUE"] == [0, 0]
        assert limits["AS"][0] <= 2048 * mib
        assert limits["FSIZE"][0] <= 16 * mib
        assert limits["NPROC"][0] <= 64
        assert limits["NOFILE"][0] <= (128 if name in ("app", "radio") else 1024)


@pytest.mark.guarantee(
    "S-1", "S-7", tried="capabilities, privileges, filter, user, dumps, namespaces, network"
)
@as_root
def test_the_kernel_s_view_of_a_process(probed: Probed) -> None:
    users = set()
    for name in PROBES:
        pid = probed.device.pid(name)
        status = status_of(pid)
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities], 16) == 0, capabilities
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert status["NSpid"].split()[-1] == "1"
        assert status["Groups"] == ""
        uids = set(status["Uid"].split())
        assert len(uids) == 1
        assert "0" not in uids
        assert set(status["Gid"].split()) == uids
        users |= uids
        # The files of a process that may be dumped belong to its user.
        assert Path(f"/proc/{pid}/maps").stat().st_uid == 0
        for space in ("mnt", "pid", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}")
        own_user_space = os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
        assert own_user_space == (probed.mode == "user")
        interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
        assert "127.0.0.1" not in Path(f"/proc/{pid}/net/fib_trie").read_text()  # it is not up
        yields = os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0)
        assert yields >= (10 if name == "app" else 0)
        adjustment = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        assert adjustment > int(Path(f"/proc/{probed.device.core}/oom_score_adj").read_text())
    assert len(users) == (len(PROBES) if probed.mode == "root" else 1)


@pytest.mark.guarantee(
    "F-1",
    "F-4",
    tried="read-only but for two places, where nothing is executed; no device, no set-uid",
)
@as_root
def test_the_mounts_of_a_process(probed: Probed) -> None:
    for name in PROBES:
        mounts = {}
        lines = Path(f"/proc/{probed.device.pid(name)}/mountinfo").read_text().splitlines()
        for line in lines:
            fields = line.split()
            mounts[fields[4]] = set(fields[5].split(","))
        assert all("nosuid" in flags for flags in mounts.values())
        writable = {path for path, flags in mounts.items() if "ro" not in flags}
        devices = {"/dev/null", "/dev/zero", "/dev/urandom"}
        assert writable == devices | {"/.primegap/data", "/.primegap/scratch"}
        assert all("noexec" in mounts[path] for path in writable)
        assert {path for path, flags in mounts.items() if "nodev" not in flags} == devices


@pytest.mark.guarantee("ID-3", "S-1", tried="no file of the host stays open")
@as_root
def test_the_descriptors_of_a_process_from_outside(probed: Probed) -> None:
    for name in PROBES:
        folder = Path(f"/proc/{probed.device.pid(name)}/fd")
        targets = {os.readlink(path).split(":")[0] for path in folder.iterdir()}
        assert targets <= {"/dev/null", "pipe", "socket", "anon_inode"}


# -- death ---------------------------------------------------------------------------------------


def wait_until_dead(pids: list[int], within_s: float) -> list[int]:
    """Return those that are still alive when the time is over."""
    end = time.monotonic() + within_s
    while (alive := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    return alive


@pytest.mark.guarantee("ID-5", "X-1", tried="kill -9 core; nobody is left within a second")
@pytest.mark.parametrize("mode", MODES)
def test_every_process_dies_with_core(mode: str) -> None:
    roles = [Role(name=f"idle-{n}", module="idle", config={"canary": ""}) for n in range(3)]
    with running_device(*roles, mode=mode) as device:
        for role in roles:
            device.report(role.name)
        outer = [device.outer(role.name) for role in roles]
        inner = [device.pid(role.name) for role in roles]
        device.process.kill()
        device.process.wait()
        assert wait_until_dead([*outer, *inner], 1.0) == []


@pytest.mark.guarantee(
    "ID-2", tried="after the end of a process nothing of it is left, and its next start is another"
)
@pytest.mark.parametrize("mode", MODES)
def test_a_process_dies_with_the_one_that_waits_for_it(mode: str) -> None:
    with running_device(
        Role(name="idle", module="idle", config={"canary": ""}), mode=mode
    ) as device:
        device.report("idle")
        outer, inner = device.outer("idle"), device.pid("idle")
        os.kill(outer, signal.SIGKILL)
        assert wait_until_dead([outer, inner], 3.0) == []
        device.wait_for("a second start", lambda: device.events("process-started", "idle")[1:])


@pytest.mark.guarantee("ID-5", tried="kill -9 core while its processes confine themselves")
@pytest.mark.parametrize("mode", MODES)
def test_core_may_die_at_any_moment_of_a_start(mode: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        for step in range(6):
            role = Role(name="idle", module="idle", config={"canary": ""})
            with running_device(role, mode=mode) as device:
                device.wait_for("start", functools.partial(device.events, "process-started"))
                time.sleep(step * 0.02)
                device.process.kill()
                device.process.wait()
                # Whoever survives its parent becomes a child of this process.
                own = [pid for pid in children(os.getpid()) if is_launch(pid)]
                assert wait_until_dead(own, 3.0) == []
                orphans = [pid for pid in children(os.getpid()) if is_launch(pid)]
                assert wait_until_dead(orphans, 3.0) == []
                for pid in {*own, *orphans}:
                    os.waitpid(pid, 0)
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def is_launch(pid: int) -> bool:
    try:
        return b"sandbox/launch.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
