"""The few system calls that Python does not offer, by way of the C library.

Every wrapper raises SandboxError with the name of what failed: a process that cannot be confined
must not run (M-4).
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from primegap.keyos.errors import SandboxError

_libc: Final = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 0x2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_SYS_MOUNT_SETATTR: Final = 442  # the same on every architecture
_AT_RECURSIVE: Final = 0x8000
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_SYS_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_CAP_VERSION_3: Final = 0x20080522


def _check(result: int, what: str) -> int:
    if result < 0:
        raise SandboxError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _per_machine(table: dict[str, int], what: str) -> int:
    machine = os.uname().machine
    if machine not in table:
        raise SandboxError(f"{what} is not known for {machine} processors")
    return table[machine]


def prctl(option: int, arg2: int = 0, arg3: int = 0, *, what: str) -> None:
    """Change an attribute of this process."""
    _check(
        _libc.prctl(
            option, ctypes.c_ulong(arg2), ctypes.c_ulong(arg3), ctypes.c_ulong(0), ctypes.c_ulong(0)
        ),
        what,
    )


def prctl_pointer(option: int, arg2: int, pointer: object, *, what: str) -> None:
    """Call prctl(2) with a pointer to a ctypes structure as third argument."""
    _check(_libc.prctl(option, ctypes.c_ulong(arg2), ctypes.byref(pointer), 0, 0), what)  # type: ignore[arg-type]


def set_name(name: str) -> None:
    """Name this process as `ps` shows it (15 bytes)."""
    _check(_libc.prctl(PR_SET_NAME, name.encode()[:15]), "cannot name the process")


def unshare(flags: int) -> None:
    """Leave namespaces of the host for new ones."""
    _check(_libc.unshare(flags), "cannot make new namespaces")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None) -> None:
    """Mount, bind or remount."""

    def encode(text: str | None) -> bytes | None:
        return None if text is None else text.encode()

    _check(
        _libc.mount(
            encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)
        ),
        f"cannot mount {target}",
    )


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def restrict_mounts(target: str, attributes: int) -> None:
    """Add attributes to a mount and to every mount below it; none is ever taken away."""
    attr = _MountAttr(attr_set=attributes)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    result = raw_syscall(
        _SYS_MOUNT_SETATTR, -100, target.encode(), _AT_RECURSIVE, ctypes.byref(attr), size
    )
    if result < 0:
        raise SandboxError(f"cannot restrict {target}: {os.strerror(-result)}")


def umount_detach(target: str) -> None:
    """Detach a mount."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"cannot unmount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a mount the root of this mount namespace."""
    number = _per_machine(_SYS_PIVOT_ROOT, "pivot_root")
    _check(_libc.syscall(number, new_root.encode(), put_old.encode()), "cannot change the root")


def drop_bounding_set() -> None:
    """Give up every capability for good; needs CAP_SETPCAP, so it comes before a change of user."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_READ, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # past the last one the kernel knows
        prctl(PR_CAPBSET_DROP, capability, what="cannot drop capabilities for good")


def drop_capabilities() -> None:
    """Give up every capability that is held: ambient, permitted, effective, inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, what="cannot clear ambient capabilities")
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    number = _per_machine(_SYS_CAPSET, "capset")
    _check(
        _libc.syscall(number, ctypes.byref(header), ctypes.byref(data)), "cannot drop capabilities"
    )


def raw_syscall(number: int, *arguments: object) -> int:
    """Make a system call by number; return its result or minus the error number."""
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    return -ctypes.get_errno() if result < 0 else result
