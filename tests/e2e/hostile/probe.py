"""A role that tries everything it must not be able to do and reports how each attempt ended."""

from __future__ import annotations

import array
import ctypes
import fcntl
import mmap
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.hostile.raw import (
    CALLS,
    DATA,
    SCRATCH,
    X86_64,
    attempt,
    number,
    syscall,
    wait_for_file,
    write_report,
)

if TYPE_CHECKING:
    from primegap.keyos.process import Process

CLONE_THREAD: Final = 0x00010000
CLONE_AS_THREAD: Final = 0x00000100 | 0x00000800 | CLONE_THREAD  # VM, SIGHAND, THREAD
NAMESPACES: Final = {
    "time": 0x80,
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
HIGHEST_CALL: Final = 600  # the newest kernels stand at about 470
KERNEL_TRAPS: Final = (335, 336) if X86_64 else ()
"uretprobe and uprobe: the kernel never shows them to a filter and kills whoever calls them."
F_SETLEASE: Final = 1024
F_NOTIFY: Final = 1026
TIOCSTI: Final = 0x5412
PROGRAM: Final = __file__
"A file of the program; as an ordinary user, the process is its owner."
LISTED: Final = ("/", "/dev", "/etc", "/usr", "/.primegap")
MSG_FASTOPEN: Final = 0x20000000


async def main(process: Process) -> None:
    """Try, report, and stay."""
    config = process.config
    process.serve()
    write_report(
        {
            "calls": calls(config["allowed"]),
            "clone": clones(),
            "ioctl": ioctls(),
            "memory": memory(),
            "network": network(process),
            "self": about_self(process),
            "files": files(config),
            "thread": thread(),
        }
    )
    await wait_for_file("go-on-for-ever")


# -- system calls --------------------------------------------------------------------------------


def calls(allowed: list[int]) -> dict[str, str]:
    """Every call number that the profile does not list, and what it answered if not EPERM."""
    own = os.getpid()
    space = ctypes.create_string_buffer(4096)
    useful: dict[str, tuple[object, ...]] = {
        "add_key": (b"user", b"x", b"y", ctypes.c_size_t(1), -2),
        "bpf": (5, space, 120),
        "chmod": (bytes(DATA), 0o777),
        "io_uring_setup": (4, space),
        "kcmp": (own, own, 0, 0, 0),
        "kill": (own, 0),
        "linkat": (-100, bytes(DATA / "own"), -100, bytes(DATA / "hard"), 0),
        "memfd_secret": (0,),
        "mknodat": (-100, bytes(DATA / "fifo"), stat.S_IFIFO | 0o600, 0),
        "mount": (b"tmpfs", bytes(DATA), b"tmpfs", 0, None),
        "perf_event_open": (space, 0, -1, -1, 0),
        "personality": (ctypes.c_ulong(0xFFFFFFFF),),
        "pidfd_open": (own, 0),
        "prctl": (38, 1, 0, 0, 0),
        "process_vm_readv": (own, space, 0, space, 0, 0),
        "ptrace": (0, 0, 0, 0),
        "sched_setscheduler": (0, 0, space),
        "setns": (0, 0),
        "setuid": (os.getuid(),),
        "socket": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
        "socketpair": (socket.AF_UNIX, socket.SOCK_STREAM, 0, space),
        "symlinkat": (b"own", -100, bytes(DATA / "link")),
        "tkill": (own, 0),
        "unshare": (NAMESPACES["user"],),
        "userfaultfd": (1,),
    }
    names = {number(name): name for name in CALLS}
    judged = {number("clone"), number("clone3"), *KERNEL_TRAPS}
    found = {}
    for call in range(HIGHEST_CALL):
        if call in allowed or call in judged:
            continue
        name = names.get(call, str(call))
        answer = syscall(call, *useful.get(name, (0, 0, 0, 0, 0, 0)))
        if answer != "EPERM":
            found[name] = answer
    return found


def clones() -> dict[str, str]:
    clone = number("clone")
    found = {"clone3": syscall(number("clone3"), None, 0)}
    found["plain"] = syscall(clone, 17, None, None, None, None)  # SIGCHLD: a fork
    found["vfork"] = syscall(clone, 0x4000 | 0x100 | 17, None, None, None, None)
    for name, flag in NAMESPACES.items():
        found[name] = syscall(clone, flag, None, None, None, None)
        found[f"thread with {name}"] = syscall(
            clone, CLONE_AS_THREAD | flag, None, None, None, None
        )
    found["fork"] = attempt(os.fork)
    found["exec"] = attempt(lambda: os.execv("/bin/sh", ["sh"]))
    found["spawn"] = attempt(lambda: os.posix_spawn("/bin/sh", ["sh"], {}))
    return found


def ioctls() -> dict[str, str]:
    found = {}
    with open("/dev/null", "rb") as null:
        for name, request in {
            "TIOCSTI": TIOCSTI,
            "TCSETS": 0x5402,
            "SIOCGIFCONF": 0x8912,
            "FS_IOC_SETFLAGS": 0x40086602,
        }.items():
            found[name] = attempt(lambda request=request: fcntl.ioctl(null, request, bytes(64)))  # type: ignore[misc]
    descriptor = os.open(PROGRAM, os.O_RDONLY)
    folder = os.open(DATA, os.O_RDONLY)
    found["F_SETLEASE"] = attempt(lambda: fcntl.fcntl(descriptor, F_SETLEASE, fcntl.F_WRLCK))
    found["F_NOTIFY"] = attempt(lambda: fcntl.fcntl(folder, F_NOTIFY, 1))
    found["F_SETOWN"] = attempt(lambda: fcntl.fcntl(descriptor, fcntl.F_SETOWN, 1))
    found["F_GETFL"] = attempt(lambda: fcntl.fcntl(descriptor, fcntl.F_GETFL))
    os.close(descriptor)
    os.close(folder)
    return found


def memory() -> dict[str, str]:
    """Own file and memory as code."""
    path = DATA / "code"
    path.write_bytes(b"\xc3" * 4096)
    scratch = SCRATCH / "code"
    scratch.write_bytes(b"\xc3" * 4096)
    found = {}
    for name, where in {"own folder": path, "scratch": scratch}.items():
        descriptor = os.open(where, os.O_RDWR)
        found[f"code from {name}"] = attempt(
            lambda d=descriptor: mmap.mmap(  # type: ignore[misc]
                d, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC
            )
        )
        os.close(descriptor)
    found["writable code"] = attempt(
        lambda: mmap.mmap(
            -1,
            4096,
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
            mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC,
        )
    )
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    result = protect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 7)
    found["page made writable code"] = "ok" if result == 0 else f"errno {ctypes.get_errno()}"
    found["mlock"] = syscall(149 if X86_64 else 228, page_pointer(), 4096)
    return found


def page_pointer() -> ctypes.c_void_p:
    return ctypes.cast(ctypes.create_string_buffer(8192), ctypes.c_void_p)


# -- network -------------------------------------------------------------------------------------


def network(process: Process) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, family in {
        "inet": socket.AF_INET,
        "inet6": socket.AF_INET6,
        "unix": socket.AF_UNIX,
        "netlink": socket.AF_NETLINK,
        "packet": socket.AF_PACKET,
        "bluetooth": 31,
        "vsock": 40,
        "alg": 38,
    }.items():
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            found[f"{name} {kind}"] = attempt(lambda f=family, k=kind: socket.socket(f, k))  # type: ignore[misc]
    # A channel end is a socket too: it must not become anything else.
    control = socket.socket(fileno=os.dup(process._fds["control"]))
    found["rebind"] = attempt(lambda: control.bind("\0hidden"))
    found["reconnect"] = attempt(lambda: control.connect("\0hidden"))
    found["listen"] = attempt(lambda: control.listen(1))
    found["accept"] = attempt(control.accept)
    credentials = array.array("i", [1, 0, 0])
    found["forged credentials"] = attempt(
        lambda: control.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
    )
    control.close()
    page = process._fds.get("page")
    if page is not None:
        found["page"] = listening(socket.socket(fileno=os.dup(page)))
    return found


def listening(sock: socket.socket) -> dict[str, Any]:
    """The one listening socket of the panel must not become a way out of the process."""
    port = sock.getsockname()[1]
    found = {"connect": attempt(lambda: sock.connect(("127.0.0.1", port)))}
    found["shutdown"] = attempt(lambda: sock.shutdown(socket.SHUT_RDWR))
    found["fast open"] = attempt(
        lambda: sock.sendto(b"GET / HTTP/1.0\r\n\r\n", MSG_FASTOPEN, ("127.0.0.1", 9))
    )
    found["fast open by message"] = attempt(
        lambda: sock.sendmsg([b"GET /"], [], MSG_FASTOPEN, ("127.0.0.1", 9))
    )
    return found


# -- the process itself --------------------------------------------------------------------------


def about_self(process: Process) -> dict[str, Any]:
    descriptors = {}
    for descriptor in range(1024):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        descriptors[descriptor] = stat.filemode(status.st_mode)[0]
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "environment": dict(os.environ),
        "fds": dict(process._fds),
        "descriptors": descriptors,
        "host name": os.uname().nodename,
        "limits": {
            name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
            for name in ("CORE", "AS", "NOFILE", "FSIZE", "NPROC", "MSGQUEUE")
        },
        "raise limit": attempt(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))),
        "kill init of the host": attempt(lambda: os.kill(1, 0)),
        "signal others": sorted(
            {syscall(234 if X86_64 else 131, pid, pid, 0) for pid in range(2, 2000)}
        ),
    }


def thread() -> str:
    seen: list[int] = []
    worker = threading.Thread(target=lambda: seen.append(threading.get_native_id()))
    worker.start()
    worker.join()
    return "ok" if seen else "lost"


# -- files ---------------------------------------------------------------------------------------


def files(config: dict[str, Any]) -> dict[str, Any]:
    own = DATA / "own"
    own.write_bytes(b"own")
    found: dict[str, Any] = {"read": {}, "list": {}}
    for path in config["forbidden"]:
        found["read"][path] = attempt(lambda p=path: os.close(os.open(p, os.O_RDONLY)))  # type: ignore[misc]
        found["list"][path] = attempt(lambda p=path: os.listdir(p))  # type: ignore[misc]
    found["listing"] = {path: attempt(lambda p=path: os.listdir(p)) for path in LISTED}  # type: ignore[misc]
    found["kinds"] = {
        "symbolic link": attempt(lambda: os.symlink("own", DATA / "symbolic")),
        "link to a secret": attempt(lambda: os.symlink("/etc/passwd", DATA / "secret")),
        "hard link": attempt(lambda: os.link(own, DATA / "hard")),
        "hard link of a library": attempt(lambda: os.link(PROGRAM, DATA / "library")),
        "fifo": attempt(lambda: os.mkfifo(DATA / "fifo")),
        "device": attempt(lambda: os.mknod(DATA / "mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))),
        "socket": attempt(lambda: os.mknod(DATA / "socket", stat.S_IFSOCK | 0o600)),
        "mode by path": attempt(lambda: os.chmod(own, 0o4755)),
        "owner": attempt(lambda: os.chown(own, 0, 0)),
        "attribute": attempt(lambda: os.setxattr(own, "user.x", b"y")),
        "change directory": attempt(lambda: os.chdir("/")),
        "new root": attempt(lambda: os.chroot("/")),
    }
    found["write"] = {path: attempt(tampering(path)) for path in (PROGRAM, *config["not_writable"])}
    found["create"] = {
        path: attempt(lambda p=path: os.close(os.open(f"{p}/new", os.O_WRONLY | os.O_CREAT)))  # type: ignore[misc]
        for path in config["not_writable_folders"]
    }
    found["tamper"] = {
        "remove": attempt(lambda: os.unlink(PROGRAM)),
        "rename": attempt(lambda: os.rename(PROGRAM, DATA / "stolen")),
        "replace": attempt(lambda: os.rename(own, PROGRAM)),
        "truncate": attempt(lambda: os.truncate(PROGRAM, 0)),
        "times": attempt(lambda: os.utime(PROGRAM)),
    }
    found["own"] = {
        "write": attempt(lambda: own.write_bytes(b"again")),
        "make a folder": attempt(lambda: (DATA / "folder").mkdir(exist_ok=True)),
        "rename": attempt(lambda: own.rename(DATA / "renamed")),
        "remove": attempt((DATA / "renamed").unlink),
        "scratch": attempt(lambda: (SCRATCH / "note").write_bytes(b"x")),
        "up and out": attempt(lambda: os.listdir(DATA / "../../../../../etc")),
        "up by descriptor": attempt(up_by_descriptor),
    }
    return found


def tampering(path: str) -> Callable[[], None]:
    def write() -> None:
        descriptor = os.open(path, os.O_WRONLY)
        os.close(descriptor)

    return write


def up_by_descriptor() -> None:
    folder = os.open(DATA, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(8):
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = above
        os.close(os.open("etc/passwd", os.O_RDONLY, dir_fd=folder))
    finally:
        os.close(folder)
