"""System call numbers (x86-64, arm64) and the allow-lists of the roles (keyos-model, section 16.4).

A call that is not listed fails with EPERM. Absent on purpose from every list: socket, socketpair,
connect, bind (channels and the one listening socket are inherited), fork without threads, execve,
ptrace, process_vm_*, pidfd_getfd, bpf, perf_event_open, userfaultfd, io_uring_*, the key ring,
mounts, unshare, setns, module and kexec calls, open_by_handle_at, kcmp, personality, kill, symbolic
and hard links, mknod.
"""

from __future__ import annotations

from typing import Final

ABSENT: Final = -1  # the architecture does not have the call

NUMBERS: Final[dict[str, tuple[int, int]]] = {
    # name: (x86_64, aarch64)
    "access": (21, ABSENT),
    "accept4": (288, 242),
    "arch_prctl": (158, ABSENT),
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "close_range": (436, 436),
    "dup": (32, 23),
    "dup2": (33, ABSENT),
    "dup3": (292, 24),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_wait": (232, ABSENT),
    "eventfd2": (290, 19),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fadvise64": (221, 223),
    "fallocate": (285, 47),
    "fchmod": (91, 52),
    "fcntl": (72, 25),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "fsync": (74, 82),
    "ftruncate": (77, 46),
    "futex": (202, 98),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getpeername": (52, 205),
    "getpgrp": (111, ABSENT),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getrandom": (318, 278),
    "getresgid": (120, 150),
    "getresuid": (118, 148),
    "getrusage": (98, 165),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "ioctl": (16, 29),
    "listen": (50, 201),
    "lseek": (8, 62),
    "lstat": (6, ABSENT),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mkdir": (83, ABSENT),
    "mkdirat": (258, 34),
    "mlock": (149, 228),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munlock": (150, 229),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "newfstatat": (262, 79),
    "open": (2, ABSENT),
    "openat": (257, 56),
    "pipe2": (293, 59),
    "poll": (7, ABSENT),
    "ppoll": (271, 73),
    "pread64": (17, 67),
    "prlimit64": (302, 261),
    "pselect6": (270, 72),
    "pwrite64": (18, 68),
    "pwritev2": (328, 287),
    "read": (0, 63),
    "readlink": (89, ABSENT),
    "readlinkat": (267, 78),
    "readv": (19, 65),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "rename": (82, ABSENT),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "restart_syscall": (219, 128),
    "rmdir": (84, ABSENT),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "select": (23, ABSENT),
    "sendfile": (40, 71),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "setsockopt": (54, 208),
    "shutdown": (48, 210),
    "sigaltstack": (131, 132),
    "stat": (4, ABSENT),
    "statfs": (137, 43),
    "statx": (332, 291),
    "sysinfo": (99, 179),
    "tgkill": (234, 131),
    "times": (100, 153),
    "uname": (63, 160),
    "unlink": (87, ABSENT),
    "unlinkat": (263, 35),
    "wait4": (61, 260),
    "write": (1, 64),
    "writev": (20, 66),
}

JUDGED: Final[frozenset[str]] = frozenset(
    {"clone", "fcntl", "ioctl", "mmap", "mprotect", "sendmsg", "sendto"}
)
"Calls of every profile that pass or not by their arguments: the rules stand in seccomp.py."

BASE: Final[frozenset[str]] = (
    frozenset(NUMBERS)
    - JUDGED
    - {"accept4", "clone3", "listen", "memfd_secret", "sendfile", "shutdown", "wait4"}
)
"What every confined process may call, without looking at arguments."

PROFILES: Final[dict[str, frozenset[str]]] = {
    "app": BASE,
    "service": BASE | {"memfd_secret"},
    "radio": BASE | {"shutdown"},
    "panel": BASE | {"accept4", "listen", "shutdown", "sendfile"},
}
"Allow-list by role, without the calls of `JUDGED`."
