"""What this machine's isolation is worth: features, how they were tried, and the support level.

The level is measured by trying (`probe.py`), never by reading version numbers (keyos-model, 16.5).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Level(enum.IntEnum):
    """Support level."""

    UNKNOWN = 0
    "Not measured yet."
    FULL = 1
    "Everything: installed apps may run."
    REDUCED = 2
    "Every wall stands, but nothing limits what an app takes together: built-in apps only."
    NONE = 3
    "A wall is missing: nothing but a simulator runs here."

    @property
    def meaning(self) -> str:
        """One sentence for a person."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Level.UNKNOWN: "Not measured yet.",
    Level.FULL: "Full isolation. Installed apps may run.",
    Level.REDUCED: "Reduced isolation. Built-in apps only; installed apps do not start.",
    Level.NONE: "The isolation is incomplete. Nothing but a simulator runs here.",
}


@dataclass(frozen=True, slots=True)
class Need:
    """A feature that the sandbox is built of."""

    name: str
    "Stable."
    title: str
    "For people."
    level: Level
    "The best level that is possible without it is the one below this."
    remedy: str
    "How to get it, for people."


_KERNEL: Final = "Use a kernel with {}; every current distribution has it switched on."
NEEDS: Final[tuple[Need, ...]] = (
    Need(
        "system-call-filter",
        "System call filter",
        Level.REDUCED,
        _KERNEL.format("CONFIG_SECCOMP_FILTER"),
    ),
    Need(
        "landlock",
        "Landlock",
        Level.REDUCED,
        "Use Linux 5.13 or later with Landlock enabled (`lsm=landlock,…` on the kernel's command "
        "line where a distribution leaves it out).",
    ),
    Need(
        "no-new-privileges",
        "No privileges",
        Level.REDUCED,
        _KERNEL.format("no_new_privs and capability bounding sets"),
    ),
    Need(
        "sealed-memory",
        "Sealed memory objects",
        Level.REDUCED,
        _KERNEL.format("memfd_create and its seals"),
    ),
    Need(
        "second-lock",
        "Permissions in the kernel",
        Level.REDUCED,
        "Use a kernel with CONFIG_NET and socket filters on Unix sockets.",
    ),
    Need(
        "namespaces",
        "Namespaces and a root of its own",
        Level.REDUCED,
        "Start the device as root, or allow unprivileged user namespaces: "
        "`sysctl kernel.unprivileged_userns_clone=1`, and with AppArmor "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`. In a container: allow `unshare` "
        "and `mount`.",
    ),
    Need(
        "own-users",
        "A user of its own, or a user namespace",
        Level.REDUCED,
        "Start the device as root, or allow unprivileged user namespaces.",
    ),
    Need(
        "memory-limit",
        "Memory limit",
        Level.FULL,
        "Start the device as root, or in a control group of your own: "
        "`systemd-run --user --scope -p Delegate=yes primegap device run`.",
    ),
    Need(
        "process-limit",
        "Process limit",
        Level.FULL,
        "As for the memory limit.",
    ),
    Need(
        "processor-share",
        "Processor share",
        Level.FULL,
        "As for the memory limit; some systems delegate `cpu` only when told to "
        "(`Delegate=cpu memory pids` for `user@.service`).",
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying one feature."""

    name: str
    present: bool
    detail: str
    "What was tried and what happened, one line for people."


@dataclass(frozen=True, slots=True)
class Support:
    """Everything that was measured."""

    findings: tuple[Finding, ...]
    level: Level

    @property
    def missing(self) -> tuple[Need, ...]:
        """What is missing for the full level."""
        absent = {finding.name for finding in self.findings if not finding.present}
        return tuple(need for need in NEEDS if need.name in absent)


def parse_findings(found: list[list[object]]) -> tuple[Finding, ...]:
    """Read what `probe.py` wrote; anything else than its answers is missing."""
    return tuple(
        Finding(str(name), present is True, str(detail)) for name, present, detail in found
    )


def judge(findings: tuple[Finding, ...]) -> Support:
    """Return the support level: a feature that was not tried counts as missing."""
    present = {finding.name for finding in findings if finding.present}
    level = Level.FULL
    for need in NEEDS:
        if need.name not in present:
            level = max(level, Level(need.level + 1))
    return Support(findings, level)
