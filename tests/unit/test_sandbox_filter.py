"""The system call filter, run by a small BPF interpreter: what passes and what does not.

The numbers are compared with the kernel's own headers, and the forbidden calls are named here by
number, so that an error in the table of the code is not repeated by the test.
"""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path
from typing import Final

import pytest

from primegap.keyos.errors import SandboxError
from primegap.keyos.manifest.schema import PROFILES as MANIFEST_PROFILES
from primegap.keyos.sandbox.seccomp import build_filter
from primegap.keyos.sandbox.syscalls import ABSENT, JUDGED, NUMBERS, PROFILES

ALLOW: Final = 0x7FFF0000
KILL_PROCESS: Final = 0x80000000
EPERM: Final = 0x00050000 | errno.EPERM
ENOSYS: Final = 0x00050000 | errno.ENOSYS
MACHINES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
OTHER_ARCHITECTURES: Final = {"i386": 0x40000003, "arm": 0x40000028, "riscv64": 0xC00000F3}
HIGHEST_CALL: Final = 1024
HEADERS: Final = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),  # arm64 uses the generic table
}
# By number, from arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
FORBIDDEN: Final[dict[str, tuple[int, int]]] = {
    "add_key": (248, 217),
    "bind": (49, 200),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "finit_module": (313, 273),
    "fork": (57, ABSENT),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "link": (86, ABSENT),
    "linkat": (265, 37),
    "mknod": (133, ABSENT),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "pkey_mprotect": (329, 288),
    "prctl": (157, 167),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "seccomp": (317, 277),
    "sendmmsg": (307, 269),
    "setns": (308, 268),
    "setresuid": (117, 147),
    "setuid": (105, 146),
    "shmat": (30, 196),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "symlink": (88, ABSENT),
    "symlinkat": (266, 36),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vfork": (58, ABSENT),
}
CLONE_VM_SIGHAND_THREAD: Final = 0x100 | 0x800 | 0x10000
CLONE_GLIBC_THREAD: Final = 0x3D0F00
NAMESPACE_FLAGS: Final = (
    0x80,  # time; the same bits are the exit signal, which a thread has none of
    0x00020000,  # mount
    0x02000000,  # cgroup
    0x04000000,  # uts
    0x08000000,  # ipc
    0x10000000,  # user
    0x20000000,  # pid
    0x40000000,  # net
)
MSG_FASTOPEN: Final = 0x20000000
MSG_NOSIGNAL: Final = 0x4000


def run(
    program: bytes, number: int, arguments: tuple[int, ...] = (), *, architecture: int = 0
) -> int:
    """Execute a seccomp program as the kernel does; every jump is forward and inside."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = position = 0
    while True:
        operation, jump_true, jump_false, k = code[position]
        position += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            assert k % 4 == 0
            accumulator = int.from_bytes(data[k : k + 4], "little")
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= k
        elif operation == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            position += jump_true if accumulator == k else jump_false
        elif operation == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            position += jump_true if accumulator >= k else jump_false
        elif operation == 0x45:  # BPF_JMP | BPF_JSET | BPF_K
            position += jump_true if accumulator & k else jump_false
        elif operation == 0x06:  # BPF_RET | BPF_K
            return int(k)
        else:
            raise AssertionError(f"operation {operation:#x} is not used")


class Filter:
    """The filter of one profile on one machine."""

    def __init__(self, profile: str, machine: str) -> None:
        self.machine = machine
        self.column = list(MACHINES).index(machine)
        self.program = build_filter(profile, machine)

    def __call__(self, call: str | int, *arguments: int) -> int:
        number = NUMBERS[call][self.column] if isinstance(call, str) else call
        return run(self.program, number, arguments, architecture=MACHINES[self.machine])


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PROFILES)
def judge(request: pytest.FixtureRequest, machine: str) -> Filter:
    return Filter(request.param, machine)


@pytest.mark.guarantee("ID-5", "S-7", tried="every call number through the filter's own program")
@pytest.mark.parametrize("profile", PROFILES)
def test_exactly_the_listed_calls_pass_and_every_other_number_is_refused(
    profile: str, machine: str
) -> None:
    judge = Filter(profile, machine)
    column = judge.column
    listed = {NUMBERS[name][column] for name in PROFILES[profile]} - {ABSENT}
    judged = {NUMBERS[name][column] for name in JUDGED}
    clone3 = NUMBERS["clone3"][column]
    for number in {*range(HIGHEST_CALL), 0x3FFFFFFF}:
        if number in judged:
            continue
        wanted = ALLOW if number in listed else ENOSYS if number == clone3 else EPERM
        assert judge(number, *[0xFFFFFFFFFFFFFFFF] * 6) == wanted, number


def test_calls_that_lead_out_are_refused_whatever_the_profile(judge: Filter) -> None:
    for name, numbers in FORBIDDEN.items():
        if numbers[judge.column] != ABSENT:
            assert judge(numbers[judge.column]) == EPERM, name
    assert not FORBIDDEN.keys() & NUMBERS.keys()


@pytest.mark.guarantee("ID-3", tried="sockets in each profile's filter")
def test_only_the_panel_listens_and_accepts(machine: str) -> None:
    for profile in PROFILES:
        judge = Filter(profile, machine)
        wanted = ALLOW if profile == "panel" else EPERM
        assert [judge("listen"), judge("accept4")] == [wanted, wanted]


def test_only_threads_pass_clone(judge: Filter) -> None:
    for flags in (CLONE_VM_SIGHAND_THREAD, CLONE_GLIBC_THREAD):
        assert judge("clone", flags) == ALLOW
        assert judge("clone", flags | 0xFFFFFFFF << 32) == ALLOW  # the kernel ignores these bits
        for namespace in NAMESPACE_FLAGS:
            assert judge("clone", flags | namespace) == EPERM
    for fork in (0, 17, 0x4111, 0x01200011):  # plain, SIGCHLD, vfork, glibc's fork
        assert judge("clone", fork) == EPERM
    for namespace in NAMESPACE_FLAGS:
        assert judge("clone", namespace) == EPERM
    assert judge("clone3") == ENOSYS


def test_only_harmless_requests_pass_ioctl_and_fcntl(judge: Filter) -> None:
    ioctls = {0x5401, 0x5421, 0x5450, 0x5451, 0x541B}
    for request in [*range(0x5400, 0x5500), 0x8912, 0x40086602, 0xC0206951, 0, 0xFFFFFFFF]:
        assert judge("ioctl", 3, request) == (ALLOW if request in ioctls else EPERM)
    fcntls = {0, 1, 2, 3, 4, 5, 6, 7, 1030, 1033, 1034}
    for request in [*range(64), *range(1020, 1050), 0xFFFFFFFF]:
        assert judge("fcntl", 3, request) == (ALLOW if request in fcntls else EPERM)


def test_a_send_cannot_connect(judge: Filter) -> None:
    for flags in (0, MSG_NOSIGNAL, MSG_NOSIGNAL | 0x40):
        assert judge("sendto", 3, 0, 0, flags) == ALLOW
        assert judge("sendmsg", 3, 0, flags) == ALLOW
        assert judge("sendto", 3, 0, 0, flags | MSG_FASTOPEN) == EPERM
        assert judge("sendmsg", 3, 0, flags | MSG_FASTOPEN) == EPERM


def test_memory_is_written_or_executed_and_nothing_becomes_code(judge: Filter) -> None:
    read, write, execute = 1, 2, 4
    for protection in range(8):
        both = protection & (write | execute) == write | execute
        assert judge("mmap", 0, 4096, protection) == (EPERM if both else ALLOW)
        assert judge("mprotect", 0, 4096, protection) == (EPERM if protection & execute else ALLOW)
    assert judge("mmap", 0, 4096, read | execute) == ALLOW  # shared libraries


def test_another_architecture_kills(judge: Filter) -> None:
    others = {**OTHER_ARCHITECTURES, **MACHINES}
    del others[judge.machine]
    for architecture in [*others.values(), 0]:
        for number in (0, 1, 56, 220, 1000):
            assert run(judge.program, number, architecture=architecture) == KILL_PROCESS


def test_x32_numbers_kill() -> None:
    for profile in PROFILES:
        judge = Filter(profile, "x86_64")
        for number in (0, 1, 59, 520, 0x3FFFFFFF):
            assert judge(0x40000000 | number) == KILL_PROCESS
        assert judge(0xFFFFFFFF) == KILL_PROCESS


def test_programs_fit_the_kernel_s_limit_and_have_a_profile_each(machine: str) -> None:
    assert set(PROFILES) == set(MANIFEST_PROFILES)
    for profile in PROFILES:
        assert len(build_filter(profile, machine)) // 8 <= 4096  # BPF_MAXINSNS


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SandboxError):
        build_filter("app", "riscv64")


def test_numbers_are_those_of_the_kernel_s_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"the kernel's headers are not installed ({header})")
    found = {
        match[1]: int(match[2])
        for match in re.finditer(
            r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(), re.MULTILINE
        )
    }
    column = list(MACHINES).index(machine)
    renamed = {"newfstatat": "fstatat"} if machine == "aarch64" else {}
    for name, numbers in {**NUMBERS, **FORBIDDEN}.items():
        real = found.get(renamed.get(name, name))
        if numbers[column] == ABSENT and machine == "x86_64":
            assert real is None, name
        elif real is not None and numbers[column] != ABSENT:  # older headers lack newer calls
            assert numbers[column] == real, name
    assert len(found.keys() & NUMBERS.keys()) > 80
