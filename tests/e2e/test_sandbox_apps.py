"""Installed apps, launched from sealed images in real sandboxes; and the kernel's lock alone.

The part of the app manager and of the broker of permissions is played by `hostile/manager.py`, the
app by `hostile/installed.py`, which speaks the wire itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.hostile.vault_api import MESSAGES
from tests.e2e.sandbox_support import HERE, Device, Role, running_device

from primegap.keyos.core.user_ids import FIRST_UID
from primegap.keyos.sandbox.cgroups import find_control_groups
from primegap.keyos.sandbox.support import NEEDS, Level

GROUP = 'permissionGroup = "device-secrets.app-scoped-seed"'
DENIED = "ERROR 1"
CORE = (
    "FirstScreen",
    "GetSystemInfo",
    "AdmitApp",
    "RemoveApp",
    "LaunchApp",
    "StopApp",
    "NextAppEvent",
    "NextPermissionRequest",
    "AnswerPermissionRequest",
    "RevokePermission",
)


def vault() -> Role:
    messages: dict[str, int | str] = dict(MESSAGES)
    messages["Ping"] = f'{{ id = {MESSAGES["Ping"]}, {GROUP}, approval = "autoAllow" }}'
    messages["Hold"] = f'{{ id = {MESSAGES["Hold"]}, {GROUP}, approval = "grantOnFirstUse" }}'
    return Role(name="vault", module="vault", profile="service", servers={"os/vault": messages})


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    roles = [
        vault(),
        Role(
            name="other", module="idle", servers={"os/other": {"Thing": 1}}, config={"canary": ""}
        ),
        Role(
            name="permissions",
            module="manager",
            profile="service",
            system=True,
            permissions={"os/core": list(CORE)},
        ),
    ]
    with running_device(*roles, mode=HERE) as device:
        yield device


@pytest.mark.guarantee(
    "A-6",
    "A-8",
    "ID-4",
    "P-5",
    "P-6",
    "P-9",
    "R-5",
    "R-6",
    tried="an installed app in the real sandbox: admitted, launched, asked for, revoked, removed",
)
def test_the_life_of_an_installed_app(device: Device) -> None:
    """A-6, A-8, ID-4, P-5, P-6, P-9, R-5, R-6: one story, in order."""
    # The level is measured before the app is launched: a while on a busy machine.
    report = device.data / "permissions/launch.json"
    device.wait_for("the launch", report.exists, deadline_s=60)
    launch = device.report("permissions", "launch")
    assert launch["level at once"] == Level.UNKNOWN
    assert set(launch["features"]) == {need.name for need in NEEDS}
    assert launch["level"] in (Level.FULL, Level.REDUCED)
    assert launch["not admitted"] == "NOT_FOUND"
    assert set(launch["admissions"].values()) == {"DENIED"}
    assert launch["admitted"] == "ok"
    assert launch["admitted again"] == "DENIED"
    assert launch["without an image"] == "DENIED"
    assert launch["launched"] == "ok"
    assert launch["launched again"] == "BUSY"
    assert launch["started"]

    first = device.report("app-thing", "first")
    assert first["mark"] == "first"
    assert first["file"] == "/.primegap/app/image.zip/thing/app.py"
    if os.getuid() == 0:
        assert first["uid"] > FIRST_UID + 3  # no other role's
    assert first["write to the image"] in ("EROFS", "ENOTDIR")
    assert first["replace the image"] != "ok"
    assert first["ping"] == "REPLY"
    assert first["not declared"] == first["for parts of the image"] == DENIED
    assert set(first["other servers"]) == {DENIED}

    # where there are control groups, both processes of the app are in its own.
    if find_control_groups().controllers:
        for pid in (device.outer("app-thing"), device.pid("app-thing")):
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            assert f"primegap-{device.core}" in groups
            assert "app-thing" in groups

    device.tell("permissions", "go-revoke")
    held = device.report("app-thing", "held")
    assert held["taken back"] == DENIED
    assert held["denied"] == DENIED
    assert held["denied again"] == {DENIED: 200}
    assert held["ping"] == "REPLY"
    device.tell("permissions", "go-stop")
    prompts = device.report("permissions", "prompts")
    assert prompts["prompts"] == [[True, "Thing", "device-secrets.app-scoped-seed"]] * 2
    assert not prompts["asked again"]

    device.report("app-thing", "life-second", lives=2)
    device.tell("permissions", "go-remove")
    end = device.report("permissions", "end")
    assert end == {
        "stopped": "ok",
        "running": False,
        "came back": False,
        "launched anew": "ok",
        "removed": "ok",
        "removed again": "NOT_FOUND",
        "part of the image": "DENIED",
        "launched after that": "NOT_FOUND",
    }


@pytest.mark.guarantee("P-1", "P-2", tried="a router that says yes to everything")
def test_the_kernel_s_lock_holds_when_the_router_s_is_broken() -> None:
    """P-1, P-2: with a router that says yes to everything, the service still gets nothing else."""
    granted = [name for name in MESSAGES if name != "Secret"]
    roles = [
        Role(
            name="attacker",
            module="attacker",
            permissions={"os/vault": granted, "os/core": ["GetSystemInfo"]},
            config={"attacks": ["message-ids"]},
        ),
        Role(name="bystander", module="bystander", permissions={"os/vault": granted}),
        Role(name="vault", module="vault", profile="service", servers={"os/vault": {**MESSAGES}}),
    ]
    with running_device(*roles, mode=HERE, open_router=True) as device:
        for name in ("attacker", "bystander", "vault"):
            device.wait_for(name, lambda name=name: device.events("process-ready", name))  # type: ignore[misc]
        device.tell("attacker", "go-message-ids")
        answers = device.report("attacker", "message-ids")["result"]
        assert all(set(found) == {DENIED} for found in answers.values())
        assert sum(sum(found.values()) for found in answers.values()) > 500
        device.tell("bystander", "ask-log-x")
        log = json.loads(device.report("bystander", "log-x")["log"])
        ids = {message for _, kind, message, _ in log["seen"] if kind == "REQUEST"}
        assert ids <= {MESSAGES[name] for name in granted}
