"""Control groups: memory, processes and processor time of each role, limited by the kernel (X-3).

Version 2 is used where a part of it is ours: as root, or where a service manager has delegated one
(`systemd-run --user --scope -p Delegate=yes …`). Machines that keep these controllers in version 1
(hybrid set-ups) offer the same three limits in trees of their own, to root only. Where neither can
be written there are resource limits alone, and the support level says so.

A role gets a group of its own in every tree that was found; its process enters them before it does
anything else, so nothing that it starts is ever outside.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from primegap.keyos.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMORY: Final = "memory"
PROCESSES: Final = "pids"
PROCESSOR: Final = "cpu"
CONTROLLERS: Final = (MEMORY, PROCESSES, PROCESSOR)
PREFIX: Final = "primegap-"
REMOVE_PATIENCE_S: Final = 0.5  # a group is empty a moment after its last process was reaped

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one role may take."""

    memory_bytes: int
    processes: int
    "Threads count too."
    weight: int
    "Share of a busy processor; 100 is what a process outside of every group gets."


LIMITS: Final[dict[str, Limits]] = {
    "app": Limits(384 * MIB, 72, 50),
    "radio": Limits(192 * MIB, 72, 50),
    "panel": Limits(512 * MIB, 72, 100),
    "service": Limits(512 * MIB, 72, 100),
}
"""By profile. Memory: an interpreter with BDK takes 90 MiB, Argon2id 64 MiB, a picture less
than 100 MiB. Processes: the 64 threads of RLIMIT_NPROC, and the one that waits for them."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """A place below which groups can be made, and what they limit."""

    base: Path
    version: int
    controllers: tuple[str, ...]


class ControlGroups:
    """The trees of this machine in which groups can be made; none on many."""

    def __init__(self, trees: Iterable[_Tree], name: str) -> None:
        self._trees = tuple(trees)
        self._name = name

    @property
    def controllers(self) -> tuple[str, ...]:
        """Which of CONTROLLERS can be used."""
        found = {name for tree in self._trees for name in tree.controllers}
        return tuple(name for name in CONTROLLERS if name in found)

    @property
    def version(self) -> str:
        """How they are kept here, for people."""
        versions = sorted({tree.version for tree in self._trees}, reverse=True)
        return " and ".join(f"version {version}" for version in versions) or "none"

    def make(self, role: str, limits: Limits) -> list[str]:
        """Make a role's groups; return the files into which its process writes itself.

        Raises:
            SandboxError: a group that could be made at the start cannot be made now.
        """
        try:
            return [str(self._make(tree, role, limits) / "cgroup.procs") for tree in self._trees]
        except OSError as error:
            raise SandboxError(f"cannot limit {role}: {error.strerror}") from error

    def _make(self, tree: _Tree, role: str, limits: Limits) -> Path:
        group = self._group(tree, role)
        group.mkdir(exist_ok=True)
        for controller in tree.controllers:
            for file, value in _settings(controller, tree.version, limits):
                with contextlib.suppress(FileNotFoundError):  # swap is not counted everywhere
                    (group / file).write_text(value)
        return group

    def _group(self, tree: _Tree, role: str) -> Path:
        """Return a role's group: in version 2 below one for the device."""
        if tree.version == 2:
            return tree.base / self._name / role
        return tree.base / f"{self._name}-{role}"

    def remove(self, role: str) -> None:
        """Remove a role's groups; those that still hold a process end it first, if they can."""
        for tree in self._trees:
            group = self._group(tree, role)
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), 9)
            _remove(group)

    def close(self, roles: Iterable[str]) -> None:
        """Remove the groups of these roles and what holds them."""
        for role in roles:
            self.remove(role)
        for tree in self._trees:
            if tree.version == 2:
                _remove(tree.base / self._name)

    def clear_stale(self) -> None:
        """Remove empty groups of devices that were killed: their process id names nobody now."""
        for tree in self._trees:
            for group in tree.base.glob(f"{PREFIX}*"):
                number = group.name.removeprefix(PREFIX).split("-")[0]
                if number.isdecimal() and not Path(f"/proc/{number}").exists():
                    with contextlib.suppress(OSError):
                        for inner in group.iterdir() if tree.version == 2 else ():
                            if inner.is_dir():
                                inner.rmdir()
                        group.rmdir()


def _settings(controller: str, version: int, limits: Limits) -> list[tuple[str, str]]:
    if controller == PROCESSES:
        return [("pids.max", str(limits.processes))]
    if controller == MEMORY:
        if version == 2:
            return [
                ("memory.max", str(limits.memory_bytes)),
                ("memory.swap.max", "0"),
                ("memory.oom.group", "1"),
            ]
        return [
            ("memory.limit_in_bytes", str(limits.memory_bytes)),
            ("memory.memsw.limit_in_bytes", str(limits.memory_bytes)),
        ]
    if version == 2:
        return [("cpu.weight", str(limits.weight))]
    return [("cpu.shares", str(limits.weight * 1024 // 100))]


def _remove(group: Path) -> None:
    end = time.monotonic() + REMOVE_PATIENCE_S
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                return
            time.sleep(0.01)
        else:
            return


def find_control_groups(name: str | None = None) -> ControlGroups:
    """Look, by trying, where groups with limits can be made; leave nothing behind.

    `name` begins with PREFIX and is unique among devices of this machine; by default it is made of
    the process id.
    """
    name = name or f"{PREFIX}{os.getpid()}"
    try:
        mounts = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ControlGroups((), name)
    own = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    trees: list[_Tree] = []
    wanted = set(CONTROLLERS)
    for fields in mounts:
        if fields[2] == "cgroup2" and "" in own:
            tree = _find_version_2(Path(fields[1]), own[""], name)
            if tree is not None:
                trees.append(tree)
                wanted -= set(tree.controllers)
                break
    for fields in mounts:
        if fields[2] != "cgroup":
            continue
        held = wanted & set(fields[3].split(","))
        for controller in sorted(held):
            base = Path(fields[1]) / own.get(controller, "/").lstrip("/")
            if _can_make(base / f"{name}-try"):
                trees.append(_Tree(base, 1, (controller,)))
                wanted.discard(controller)
    return ControlGroups(trees, name)


def _find_version_2(mount: Path, own: str, name: str) -> _Tree | None:
    """Try the own group and those above it.

    A group that holds processes cannot share out limits: so the groups of the device stand beside
    the one in which it was started, where the one above is ours.
    """
    path = Path(own)
    for place in (path, *path.parents):
        base = mount / str(place).lstrip("/")
        group = base / name
        try:
            group.mkdir(exist_ok=True)
        except OSError:
            continue
        try:
            available = (group / "cgroup.controllers").read_text().split()
            usable = tuple(c for c in CONTROLLERS if c in available)
            if usable:
                (group / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in usable))
                trial = group / "try"
                trial.mkdir()
                # Whether a process may be moved there is what matters: ask with one of ours.
                pid = os.fork()
                if pid == 0:
                    try:
                        (trial / "cgroup.procs").write_text("0")
                    except OSError:
                        os._exit(1)
                    os._exit(0)
                moved = os.waitpid(pid, 0)[1] == 0
                _remove(trial)
                if moved:
                    return _Tree(base, 2, usable)
        except OSError:
            pass
        _remove(group)
    return None


def _can_make(group: Path) -> bool:
    try:
        group.mkdir()
        group.rmdir()
    except OSError:
        return False
    return True


def enter(files: list[str]) -> None:
    """Move this process into groups; everything it starts from now on is in them.

    Raises:
        SandboxError: a limit that the device runs with cannot be had.
    """
    for file in files:
        try:
            with open(file, "wb", buffering=0) as procs:
                procs.write(b"0")
        except OSError as error:
            raise SandboxError(f"cannot enter a control group: {error.strerror}") from error
