"""System calls by number, and how an attempt ended."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

libc: Final = ctypes.CDLL(None, use_errno=True)
X86_64: Final = os.uname().machine == "x86_64"
DATA: Final = Path("/.primegap/data")
SCRATCH: Final = Path("/.primegap/scratch")

# name: (x86_64, aarch64); -1: not there. Taken from the kernel's own headers.
CALLS: Final[dict[str, tuple[int, int]]] = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "acct": (163, 89),
    "add_key": (248, 217),
    "bind": (49, 200),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chdir": (80, 49),
    "chmod": (90, -1),
    "chown": (92, -1),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "connect": (42, 203),
    "delete_module": (176, 106),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fork": (57, -1),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "landlock_create_ruleset": (444, 444),
    "link": (86, -1),
    "linkat": (265, 37),
    "listen": (50, 201),
    "lookup_dcookie": (212, 18),
    "memfd_secret": (447, 447),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "sched_setscheduler": (144, 119),
    "seccomp": (317, 277),
    "sendmmsg": (307, 269),
    "setgroups": (116, 159),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "setresuid": (117, 147),
    "setsid": (112, 157),
    "settimeofday": (164, 170),
    "setuid": (105, 146),
    "shmget": (29, 194),
    "shutdown": (48, 210),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapon": (167, 224),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "syslog": (103, 116),
    "timer_create": (222, 107),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vfork": (58, -1),
    "vmsplice": (278, 75),
    "wait4": (61, 260),
}


def number(name: str) -> int:
    return CALLS[name][0 if X86_64 else 1]


def syscall(call: int, *arguments: object) -> str:
    """Make a call; return `ok RESULT` or the name of its error."""
    ctypes.set_errno(0)
    result = int(libc.syscall(ctypes.c_long(call), *arguments))
    if result >= 0:
        return f"ok {result}"
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def attempt(action: Callable[[], object]) -> str:
    """Return `ok`, or the name of the error that an action ended with."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - whatever it was, the report says so
        return type(error).__name__
    return "ok"


def write_report(content: dict[str, Any], name: str = "report") -> None:
    """Put a report where the test finds it: whole or not at all."""
    new = DATA / f"{name}.new"
    new.write_text(json.dumps(content))
    new.rename(DATA / f"{name}.json")


async def wait_for_file(name: str) -> None:
    """Wait until the test put a file into this role's folder."""
    while not (DATA / name).exists():
        await asyncio.sleep(0.01)
