"""The support level: how findings are judged, and the probe on this very kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Final

import pytest

from primegap.keyos.sandbox.cgroups import find_control_groups
from primegap.keyos.sandbox.probe import TRIALS
from primegap.keyos.sandbox.support import NEEDS, Finding, Level, judge, parse_findings

ORDINARY_UID: Final = 47113
AS_USER: Final = """
import json, os, sys
import mmap, socket, struct, ctypes
from primegap.keyos import channel, frame
from primegap.keyos.sandbox import second_lock
from primegap.keyos.sandbox import cgroups, landlock, libc, namespaces, probe, seccomp, support
uid = int(sys.argv[1])
if uid:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # An ordinary process: its /proc files are its own.
    libc.prctl(libc.PR_SET_DUMPABLE, 1, what="cannot be ordinary")
found = probe.measure()
print(json.dumps([[f.name, f.present, f.detail] for f in found.findings]))
"""


def findings(*missing: str) -> tuple[Finding, ...]:
    return tuple(Finding(need.name, need.name not in missing, "") for need in NEEDS)


def test_every_need_is_tried_and_every_trial_is_needed() -> None:
    assert [need.name for need in NEEDS] == list(TRIALS)
    assert all(need.remedy and need.title for need in NEEDS)


def test_everything_there_is_the_full_level() -> None:
    support = judge(findings())
    assert support.level is Level.FULL
    assert support.missing == ()


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.name)
def test_what_is_missing_decides(need: object) -> None:
    assert isinstance(need, type(NEEDS[0]))
    support = judge(findings(need.name))
    limits = ("memory-limit", "process-limit", "processor-share")
    assert support.level is (Level.REDUCED if need.name in limits else Level.NONE)
    assert support.missing == (need,)


def test_what_was_not_tried_is_missing() -> None:
    assert judge(()).level is Level.NONE
    assert judge(findings()[1:]).level is Level.NONE


def test_only_a_plain_yes_is_one() -> None:
    found = parse_findings([["landlock", 1, "x"], ["seccomp", "true", "x"], ["a", True, "x"]])
    assert [finding.present for finding in found] == [False, False, True]


def measured(uid: int) -> tuple[Finding, ...]:
    run = subprocess.run(
        [sys.executable, "-B", "-c", AS_USER, str(uid)],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
        cwd="/",
    )
    return parse_findings(json.loads(run.stdout))


def test_the_probe_finds_what_this_kernel_has() -> None:
    """As the user of this test: everything but what only a part of the machines has."""
    found = {finding.name: finding for finding in measured(0)}
    groups = find_control_groups().controllers
    kinds = {"memory": "memory-limit", "pids": "process-limit", "cpu": "processor-share"}
    for controller, name in kinds.items():
        assert found[name].present is (controller in groups), found[name]
    for name in ("system-call-filter", "landlock", "no-new-privileges", "sealed-memory"):
        assert found[name].present, found[name]
    assert found["second-lock"].present
    if os.getuid() == 0:
        assert found["namespaces"].present, found["namespaces"]
        assert found["own-users"].present, found["own-users"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_the_probe_as_an_ordinary_user_says_what_is_missing() -> None:
    support = judge(measured(ORDINARY_UID))
    present = {finding.name for finding in support.findings if finding.present}
    assert {"system-call-filter", "landlock", "no-new-privileges", "second-lock"} <= present
    assert "process-limit" not in present
    if "namespaces" in present:
        assert support.level is Level.REDUCED
    limit = next(need for need in support.missing if need.name == "memory-limit")
    assert "systemd-run" in limit.remedy
