"""A classic BPF filter that lets only listed system calls pass, built without any library."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from primegap.keyos.errors import SandboxError
from primegap.keyos.sandbox import libc
from primegap.keyos.sandbox.syscalls import ABSENT, NUMBERS, PROFILES

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000

_LD_ABS: Final = 0x20
_JEQ: Final = 0x15
_JGE: Final = 0x35
_JSET: Final = 0x45
_AND: Final = 0x54
_RET: Final = 0x06
_OFF_NUMBER: Final = 0
_OFF_ARCH: Final = 4
_OFF_ARGUMENT_LOW: Final = (16, 24, 32, 40, 48, 56)  # little endian: the low word comes first

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_EPERM: Final = 1
_ENOSYS: Final = 38

_CLONE_THREAD: Final = 0x00010000
_CLONE_NEW_ANY: Final = 0x7E020080  # every namespace flag, CLONE_NEWTIME included
_IOCTLS: Final = (0x5401, 0x5421, 0x5450, 0x5451, 0x541B)
"TCGETS (answers `isatty`), FIONBIO, FIONCLEX, FIOCLEX, FIONREAD."
_FCNTLS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1033, 1034)
"""Duplicate, flags, record locks, seals. Not F_SETLEASE (a lease on a file of the program, which an
ordinary user owns, makes everyone else's `open` wait 45 s), F_NOTIFY, F_SETOWN and F_SETSIG."""
_MSG_FASTOPEN: Final = 0x20000000
"""A connect in disguise: it opens the panel's listening socket, once shut down, to any address of
the host's network, and Landlock does not see it."""
_PROT_WRITE: Final = 0x2
_PROT_EXEC: Final = 0x4

_SECCOMP_MODE_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _instruction(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jump_true, jump_false, k)


def build_filter(profile: str, machine: str) -> bytes:
    """Return the BPF program of a profile for a machine ("x86_64" or "aarch64").

    Wrong architecture kills the process; `clone3` answers ENOSYS so that the C library falls back
    to `clone`, whose flags can be seen: only threads pass. The calls of `JUDGED` pass by what their
    arguments say. Everything else not listed gets EPERM.
    """
    if machine not in _AUDIT_ARCH:
        raise SandboxError(f"no system call table for {machine} processors")
    column = list(_AUDIT_ARCH).index(machine)

    def number(name: str) -> int:
        return NUMBERS[name][column]

    def judge(name: str, argument: int, *tests: bytes) -> list[bytes]:
        """Judge a call by one argument; the tests jump to the refusal or the permission below."""
        body = [_instruction(_LD_ABS, _OFF_ARGUMENT_LOW[argument]), *tests, *verdict]
        return [_instruction(_JEQ, number(name), 0, len(body)), *body]

    def one_of(values: tuple[int, ...]) -> list[bytes]:
        return [_instruction(_JEQ, v, len(values) - i, 0) for i, v in enumerate(values)]

    verdict = [_instruction(_RET, _ERRNO | _EPERM), _instruction(_RET, _ALLOW)]
    out = [
        _instruction(_LD_ABS, _OFF_ARCH),
        _instruction(_JEQ, _AUDIT_ARCH[machine], 1, 0),
        _instruction(_RET, _KILL),
        _instruction(_LD_ABS, _OFF_NUMBER),
    ]
    if machine == "x86_64":
        out += [_instruction(_JGE, _X32_BIT, 0, 1), _instruction(_RET, _KILL)]
    out += [
        _instruction(_JEQ, number("clone3"), 0, 1),
        _instruction(_RET, _ERRNO | _ENOSYS),
        # clone: a thread of this process and nothing new around it
        *judge(
            "clone",
            0,
            _instruction(_JSET, _CLONE_NEW_ANY, 1, 0),
            _instruction(_JSET, _CLONE_THREAD, 1, 0),
        ),
        *judge("ioctl", 1, *one_of(_IOCTLS)),
        *judge("fcntl", 1, *one_of(_FCNTLS)),
        *judge("sendto", 3, _instruction(_JSET, _MSG_FASTOPEN, 0, 1)),
        *judge("sendmsg", 2, _instruction(_JSET, _MSG_FASTOPEN, 0, 1)),
        # memory is written or executed, never both, and nothing written becomes code
        *judge(
            "mmap",
            2,
            _instruction(_AND, _PROT_WRITE | _PROT_EXEC),
            _instruction(_JEQ, _PROT_WRITE | _PROT_EXEC, 0, 1),
        ),
        *judge("mprotect", 2, _instruction(_JSET, _PROT_EXEC, 0, 1)),
    ]
    for name in sorted(PROFILES[profile]):
        value = number(name)
        if value != ABSENT:
            out += [_instruction(_JEQ, value, 0, 1), _instruction(_RET, _ALLOW)]
    out.append(_instruction(_RET, _ERRNO | _EPERM))
    return b"".join(out)


def install(profile: str) -> None:
    """Confine this process, for ever, to the system calls of a profile."""
    code = build_filter(profile, os.uname().machine)
    program = _Program(len(code) // 8, code)
    libc.prctl_pointer(
        libc.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, what="cannot install the seccomp filter"
    )
