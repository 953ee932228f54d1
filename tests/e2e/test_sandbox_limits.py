"""Processes that take all they get: the limits hold, and the others do not notice (X-3, F-9).

Beside the greedy ones run a service and an app that measures how fast its calls are answered.
Once as root and once as an ordinary user, where all processes share one user id.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.e2e.hostile.vault_api import MESSAGES
from tests.e2e.sandbox_support import MODES, Device, Role, running_device

from primegap.keyos.core.journal import LINES_AT_ONCE, LINES_PER_S
from primegap.keyos.core.quota import MAX_FOLDER_BYTES
from primegap.keyos.sandbox.launch import EXIT_CRASHED

GREEDY: Final = (
    "threads",
    "memory",
    "memory-objects",
    "descriptors",
    "in-flight",
    "scratch",
    "disk",
    "standard-error",
    "log",
)
FATAL: Final = ("exit-78", *(("x32", "int80") if os.uname().machine == "x86_64" else ()))
AT_ONCE: Final = ("threads", "standard-error", "log", "disk")
KILLED_BY_FILTER: Final = 256 - 31  # SIGSYS
KILLED_BY_FAULT: Final = 256 - 11  # SIGSEGV: a kernel without 32-bit calls
QUICK_S: Final = 1.0  # for a call of the bystander; on an idle machine it takes a few ms


@pytest.fixture(scope="module", params=MODES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    granted = [name for name in MESSAGES if name != "Secret"]
    roles = [
        Role(name="bystander", module="bystander", permissions={"os/vault": granted}),
        Role(name="vault", module="vault", profile="service", servers={"os/vault": MESSAGES}),
        *(Role(name=name, module="hog", config={"takes": name}) for name in (*GREEDY, *FATAL)),
    ]
    with running_device(*roles, mode=request.param) as device:
        for role in roles:
            device.wait_for(role.name, lambda name=role.name: device.events("process-ready", name))  # type: ignore[misc]
        yield device


@pytest.mark.guarantee("X-3", "F-9", tried="one story, as the greedy ones keep what they took")
def test_limits_hold_and_others_are_served(device: Device) -> None:
    device.tell("bystander", "ask-measure-x")

    def take(name: str) -> dict[str, Any]:
        device.tell(name, "go")
        report = device.report(name)
        # The service still sends large answers: they need memory, a descriptor and the kernel.
        device.tell("bystander", f"ask-big-{name}")
        assert device.report("bystander", f"big-{name}")["outcome"]["result"] == "Blob"
        return report

    assert 500 < take("memory")["mib"] <= 2048
    objects = take("memory-objects")
    assert objects["objects"] < 128
    assert objects["object_mib"] <= 16
    assert take("descriptors")["descriptors"] < 128
    assert "Too many references" in take("in-flight")["error"]
    scratch = take("scratch")
    assert scratch["mib"] <= 16
    assert scratch["names"] <= 512

    for name in AT_ONCE:
        device.tell(name, "go")
    threads = device.report("threads")
    assert 8 < threads["threads"] <= 64
    assert "start new thread" in threads["error"]
    device.report("standard-error")
    device.report("log")
    device.wait_for("the end of the disk filler", lambda: device.events("over-quota", "disk"))
    device.wait_for("its end", lambda: device.events("process-ended", "disk"))

    (device.data / "bystander/stop-x").touch()
    measured = device.report("bystander", "measure-x")
    assert measured["errors"] == []
    assert measured["slowest_s"] < QUICK_S

    # Two floods of 1 s: a burst and the rate, not thousands of lines.
    lines = device.journal.splitlines()
    seconds = device.events("process-ended", "disk")[0]["elapsed_s"]
    for role in ("log", "standard-", "core"):
        written = sum(line[10:].startswith(role) for line in lines)
        assert 1 <= written <= LINES_AT_ONCE + LINES_PER_S * seconds
    assert not any("\x1b" in line for line in lines)

    # Over quota it stays down; with room again it comes back, and nothing was deleted.
    filled = sorted((device.data / "disk").glob("fill-*"))
    assert sum(path.stat().st_size for path in filled) > MAX_FOLDER_BYTES
    assert max(path.stat().st_size for path in filled) <= 16 << 20
    assert len(device.events("process-started", "disk")) == 1
    for path in filled[1:]:
        path.unlink()
    (device.data / "disk/go").touch()
    assert device.report("disk", lives=2) == {"files": 1}

    assert {e["role"] for e in device.events("process-ended")} <= {"disk", *FATAL}


@pytest.mark.guarantee(
    "ID-5", "M-4", tried='the status that means "not confined" is not an app\'s to give'
)
def test_an_app_cannot_stop_the_device_and_the_filter_kills(device: Device) -> None:
    wanted = {
        "exit-78": {EXIT_CRASHED},
        "x32": {KILLED_BY_FILTER},
        "int80": {KILLED_BY_FILTER, KILLED_BY_FAULT},
    }
    for name in FATAL:
        device.tell(name, "go")
        events = device.wait_for(name, lambda name=name: device.events("process-ended", name))  # type: ignore[misc]
        assert events[0]["status"] in wanted[name], name
        device.wait_for("restart", lambda name=name: device.events("process-started", name)[1:])  # type: ignore[misc]
    assert not device.events("stopped")


def test_the_test_itself_runs_without_such_limits() -> None:
    """So that a limit seen above is the sandbox's and not the machine's."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 128
    assert resource.getrlimit(resource.RLIMIT_NPROC)[0] not in range(65)
