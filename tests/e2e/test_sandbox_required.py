"""A kernel that lacks one thing the sandbox needs: the device stops and says why (M-4)."""

from __future__ import annotations

import os
from typing import Final

import pytest
from tests.e2e.sandbox_support import HERE, Role, running_device

from primegap.keyos.sandbox.launch import EXIT_NOT_CONFINED

X86_64: Final = os.uname().machine == "x86_64"
PRCTL: Final = 157 if X86_64 else 167
MISSING: Final[dict[str, tuple[int, int | None]]] = {
    "namespaces": (272 if X86_64 else 97, None),
    "mounts": (165 if X86_64 else 40, None),
    "mount attributes": (442, None),
    "a new root": (155 if X86_64 else 41, None),
    "host name": (170 if X86_64 else 161, None),
    "death signal": (PRCTL, 1),
    "bounding set": (PRCTL, 24),
    "capabilities": (126 if X86_64 else 91, None),
    "no new privileges": (PRCTL, 38),
    "not dumpable": (PRCTL, 4),
    "limits": (302 if X86_64 else 261, None),
    "Landlock": (444, None),
    "Landlock's rules": (445, None),
    "Landlock's enforcement": (446, None),
    "system call filter": (PRCTL, 22),
}


@pytest.mark.guarantee("M-4", tried="each kernel feature taken away from the device in turn")
@pytest.mark.parametrize("call", MISSING.values(), ids=MISSING)
def test_the_device_stops_without(call: tuple[int, int | None]) -> None:
    idle = Role(name="idle", module="idle", config={"canary": ""})
    with running_device(idle, mode=HERE, without=call) as device:
        assert device.process.wait(10) == 1
        assert not device.events("process-ready")
        (ended,) = device.events("process-ended")
        assert ended["status"] == EXIT_NOT_CONFINED
        (stopped,) = device.events("stopped")
        assert "idle: cannot be confined: " in stopped["reason"]
        assert not list((device.data / "idle").iterdir())


def test_the_device_runs_with_everything() -> None:
    idle = Role(name="idle", module="idle", config={"canary": ""})
    with running_device(idle, mode=HERE, without=(1023, None)) as device:
        device.report("idle")
