"""Every message id of every server, sent raw by every role of the device in its real sandbox."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.device_support import Running, eventually
from tests.guarantees.hostile.everyman import CORE, IDS
from tests.guarantees.other_hands import PACKAGE, in_other_hands
from tests.guarantees.plugin import Attempted

from primegap.device.launcher import DeviceSettings, start_device
from primegap.keyos.api.core import NextPermissionRequest, NextRadio, RestartApps
from primegap.keyos.core.builtin import builtin_table

DENIED: Final = "ERROR 1"
TABLE: Final = builtin_table()
ROLES: Final = sorted(set(TABLE.manifests) - {"core"})
WAIT: Final = {NextRadio.message_id, NextPermissionRequest.message_id}
"Answered when there is a radio or a request: never in this device, so they are sent last."
KILLS: Final = RestartApps.message_id


@dataclass
class Swept:
    """What every role tried and what reached every service."""

    answers: dict[str, dict[str, Any]]
    "Role -> server -> answer -> ids, or what came instead of a connection."
    seen: dict[str, set[tuple[str, str, int]]]
    "Role of the service -> (app id, kind, message id)."
    last: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    if os.getuid() != 0:
        pytest.skip("needs root to give every role a folder of its own user")
    folder = tmp_path_factory.mktemp("matrix")
    servers: dict[str, list[int]] = {
        server: [] for m in TABLE.manifests.values() for server in m.servers
    }
    last = {CORE: [*sorted(WAIT), KILLS]}
    config = {role: {"servers": {**servers, CORE: last[CORE]}, "last": last} for role in ROLES}
    data = folder / "device"
    with (
        in_other_hands(
            folder / "other",
            taken=dict.fromkeys(ROLES, f"{PACKAGE}.everyman:main"),
            config=config,
            all_first=True,
            folders=True,
        ),
        (folder / "journal").open("wb") as journal,
    ):
        started = start_device(
            DeviceSettings(data=data, network="regtest", development=True), journal=journal
        )
        device = Running(started, folder)
        try:
            yield sweep(device, data)
        finally:
            device.end()


def sweep(device: Running, data: Path) -> Swept:
    for role in ROLES:
        device.event("process-ready", role)

    def reports(order: str, name: str) -> dict[str, Any]:
        for role in ROLES:
            (data / role / order).touch()
        return {
            role: json.loads(eventually((data / role / f"{name}.json").read_text, 60))
            for role in ROLES
        }

    answers = {role: report["swept"] for role, report in reports("go-sweep", "swept").items()}
    seen = {
        role: {(app, kind, number) for app, kind, number, _ in report["seen"]}
        for role, report in reports("go-report", "seen").items()
    }
    last = {}
    for role in [r for r in ROLES if r != "ui"] + ["ui"]:
        (data / role / "go-last").touch()
        last[role] = json.loads(eventually((data / role / "last.json").read_text))["answer"]
    return Swept(answers, seen, last)


def allowed(role: str, server: str) -> set[int]:
    return {number for number in IDS if TABLE.allows(role, server, number)}


@pytest.mark.guarantee("P-1", "P-2", "S-6", tried="every id of every server from every role, raw")
def test_what_is_not_granted_is_denied_in_words(swept: Swept, attempted: Attempted) -> None:
    sent = 0
    for role, servers in swept.answers.items():
        for server, answers in servers.items():
            if not TABLE.may_connect(role, server):
                assert answers == DENIED, f"{role} got a connection to {server}"
                sent += 1
                continue
            left_out = {*WAIT, KILLS} if server == CORE else set()
            denied = set(answers.pop(DENIED, ()))
            assert denied == set(IDS) - left_out - allowed(role, server), f"{role} at {server}"
            others = {number for ids in answers.values() for number in ids}
            assert others == allowed(role, server) - left_out, f"{role} at {server}"
            assert "silence" not in answers, f"{role} at {server}"
            sent += len(IDS)
    attempted(sent)


@pytest.mark.guarantee("P-1", "P-8", "ID-1", tried="the services' own list of what reached them")
def test_exactly_what_is_granted_reaches_a_service(swept: Swept, attempted: Attempted) -> None:
    for owner, seen in swept.seen.items():
        granted = {
            (TABLE.manifests[role].app_id.hex(), "REQUEST", number)
            for server in TABLE.manifests[owner].servers
            for role in TABLE.manifests
            for number in allowed(role, server)
        }
        assert seen == granted, owner
        attempted(len(seen))


@pytest.mark.guarantee(
    "P-1", "P-4", tried="the messages to core that wait or end others, from every role"
)
def test_what_waits_in_core_and_what_restarts_apps_is_for_its_holder(swept: Swept) -> None:
    for role, answers in swept.last.items():
        for number in (*WAIT, KILLS):
            may = TABLE.allows(role, CORE, number)
            assert (answers[f"{CORE} {number}"] != DENIED) == may, f"{role}: {number}"
