"""Landlock: what the process may still reach after the namespaces are in place (a second wall)."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

from primegap.keyos.errors import SandboxError
from primegap.keyos.sandbox.libc import raw_syscall

if TYPE_CHECKING:
    from collections.abc import Iterable

# The three calls have the same numbers on every architecture.
_SYS_CREATE_RULESET: Final = 444
_SYS_ADD_RULE: Final = 445
_SYS_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14

READ_ONLY: Final = READ_FILE | READ_DIR
READ_WRITE: Final = (
    READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE
)
DEVICE: Final = READ_FILE | WRITE_FILE

_FS_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15}  # number of file rights by ABI; 5 and later: 16
_NET_BIND_CONNECT: Final = 0x3
_SCOPE_ABSTRACT_UNIX_AND_SIGNAL: Final = 0x3


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi_version() -> int:
    """Return the kernel's Landlock ABI, 0 when there is none."""
    result = raw_syscall(_SYS_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return max(result, 0)


def restrict(rules: Iterable[tuple[str, int]]) -> int:
    """Confine this process to the given (path, rights) rules for ever; return the ABI used.

    From ABI 4 no TCP port can be bound or connected to, from ABI 6 no abstract Unix socket and no
    process outside can be reached, whatever descriptors the process holds.

    Raises:
        SandboxError: the kernel has no Landlock, or a rule names a path that does not exist.
    """
    abi = abi_version()
    if abi < 1:
        raise SandboxError("the kernel has no Landlock (Linux 5.13 or later with it enabled)")
    handled = (1 << _FS_RIGHTS.get(abi, 16)) - 1
    attr = _RulesetAttr(
        handled_access_fs=handled,
        handled_access_net=_NET_BIND_CONNECT if abi >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_UNIX_AND_SIGNAL if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = raw_syscall(_SYS_CREATE_RULESET, ctypes.byref(attr), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise SandboxError(f"cannot create a Landlock ruleset: {os.strerror(-ruleset)}")
    try:
        for path, rights in rules:
            _add_rule(ruleset, path, rights & handled)
        result = raw_syscall(_SYS_RESTRICT_SELF, ruleset, 0)
        if result < 0:
            raise SandboxError(f"cannot enforce Landlock: {os.strerror(-result)}")
    finally:
        os.close(ruleset)
    return abi


def _add_rule(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"cannot open {path} for Landlock: {error.strerror}") from error
    try:
        attr = _PathBeneathAttr(allowed_access=rights, parent_fd=fd)
        result = raw_syscall(_SYS_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(attr), 0)
        if result < 0:
            raise SandboxError(f"cannot add a Landlock rule for {path}: {os.strerror(-result)}")
    finally:
        os.close(fd)
