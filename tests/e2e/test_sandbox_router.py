"""The router under attack, over the real channels of real processes.

An attacker, which speaks the wire without the client library, a well-behaved app that measures how
fast its own calls are answered meanwhile, and a service that writes down everything that reaches
it. Property ids are those of the operating model, section 14.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.hostile.attacker import SEAL_EXEC
from tests.e2e.hostile.vault_api import MESSAGES
from tests.e2e.sandbox_support import HERE, Device, Role, running_device, status_of

from primegap.keyos.channel import ALL_SEALS, MAX_QUEUED_FRAMES
from primegap.keyos.core.router import MAX_CONNECTIONS, MAX_PENDING_PER_CALLER

GRANTED: Final = [name for name in MESSAGES if name != "Secret"]
IDS_SEEN: Final = {MESSAGES[name] for name in GRANTED}
ATTACKER: Final = f"{1:032x}"
BYSTANDER: Final = f"{2:032x}"
ATTACKS: Final = (
    "headers",
    "descriptors",
    "names",
    "message-ids",
    "identity",
    "answers",
    "flood",
    "flood-read",
    "flood-cancel",
    "park",
    "unpark",
    "refuse-descriptors",
    "never-read",
    "wait-for-late",
)
QUICK_S: Final = 1.0  # for a call of the bystander; on an idle machine it takes a few ms
DENIED, BUSY, MALFORMED, TOO_LARGE = "ERROR 1", "ERROR 3", "ERROR 5", "ERROR 10"


@dataclass
class Attacked:
    """What was seen of each attack."""

    results: dict[str, dict[str, Any]]
    bystander: dict[str, dict[str, Any]]
    log: dict[str, Any]
    descriptors: dict[str, list[int]]
    memory_kib: dict[str, list[int]]
    service_descriptors: int
    idle_ticks: int
    late: str
    ended: list[str]


def open_descriptors(device: Device) -> int:
    return len(os.listdir(f"/proc/{device.core}/fd"))


def memory_kib(device: Device) -> int:
    return int(status_of(device.core)["VmRSS"].split()[0])


def processor_ticks(device: Device) -> int:
    fields = Path(f"/proc/{device.core}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def roles() -> list[Role]:
    return [
        Role(
            name="attacker",
            module="attacker",
            permissions={
                "os/vault": GRANTED,
                "os/core": ["GetSystemInfo"],
                "os/late": ["Never"],
            },
            config={"attacks": [*ATTACKS, "deaf-control"]},
        ),
        Role(
            name="bystander",
            module="bystander",
            permissions={
                "os/vault": GRANTED,
                "os/late": ["Never"],
                "os/core": ["GetSystemInfo"],
            },
        ),
        Role(name="vault", module="vault", profile="service", servers={"os/vault": MESSAGES}),
        Role(
            name="other", module="idle", servers={"os/other": {"Thing": 1}}, config={"canary": ""}
        ),
        Role(name="late", module="late", servers={"os/late": {"Never": 1}}),
    ]


@pytest.fixture(scope="module")
def attacked() -> Iterator[Attacked]:
    with running_device(*roles(), mode=HERE) as device:
        for name in ("attacker", "bystander", "vault"):
            device.wait_for(name, lambda name=name: device.events("process-ready", name))  # type: ignore[misc]
        yield attack(device)


def attack(device: Device) -> Attacked:
    results, bystander = {}, {}
    descriptors, memory = {}, {}
    idle_ticks = 0
    device.tell("bystander", "ask-late-x")
    for name in ATTACKS:
        before = open_descriptors(device), memory_kib(device)
        device.tell("bystander", f"ask-measure-{name}")
        device.tell("attacker", f"go-{name}")
        results[name] = device.report("attacker", name)["result"]
        device.tell("bystander", f"stop-{name}")
        bystander[name] = device.report("bystander", f"measure-{name}")
        if name == "refuse-descriptors":
            ticks = processor_ticks(device)
            time.sleep(0.3)
            idle_ticks = processor_ticks(device) - ticks
        descriptors[name] = [before[0], open_descriptors(device)]
        memory[name] = [before[1], memory_kib(device)]
    device.tell("bystander", "ask-log-x")
    log = json.loads(device.report("bystander", "log-x")["log"])
    # Only root may look into a process that cannot be dumped.
    vault = Path(f"/proc/{device.pid('vault')}/fd")
    service_descriptors = len(os.listdir(vault)) if os.getuid() == 0 else 0
    device.tell("late", "go-serve")
    late = device.report("bystander", "late-x")["outcome"]
    device.tell("attacker", "go-deaf-control")
    device.wait_for("end", lambda: device.events("process-ended", "attacker"))
    ended = [event["role"] for event in device.events("process-ended")]
    return Attacked(
        results,
        bystander,
        log,
        descriptors,
        memory,
        service_descriptors,
        idle_ticks,
        late,
        ended,
    )


@pytest.mark.guarantee("X-3", "P-10", tried="limits hit only the sender")
def test_another_app_is_served_quickly_through_every_attack(attacked: Attacked) -> None:
    for name, seen in attacked.bystander.items():
        assert seen["errors"] == [], name
        assert seen["slowest_s"] < QUICK_S, name
        assert seen["calls"] > 0, name


@pytest.mark.guarantee(
    "X-1", "X-3", tried="no descriptor stays in core, its memory does not grow, it does not spin"
)
def test_nobody_but_the_attacker_was_ended_and_core_lost_nothing(attacked: Attacked) -> None:
    assert attacked.ended == ["attacker"]
    for name, (before, after) in attacked.descriptors.items():
        # Parked connections stay open, and answers that nobody reads wait as objects in core.
        kept = {
            "park": MAX_CONNECTIONS,
            "never-read": 2 + MAX_PENDING_PER_CALLER,
        }.get(name, 2)
        assert after - before <= kept, name
    for name, (before, after) in attacked.memory_kib.items():
        assert after - before < 4 << 10, name
    assert attacked.service_descriptors < 16  # after thousands of objects, many never looked at
    assert attacked.idle_ticks < 15  # half of 0.3 s


@pytest.mark.guarantee(
    "P-1", "P-2", "P-8", tried="the service's own count; unknown ids, forged kinds, other servers"
)
def test_what_is_not_granted_never_reaches_the_service(attacked: Attacked) -> None:
    ids = {(app, kind, message) for app, kind, message, _ in attacked.log["seen"]}
    assert {kind for _, kind, _ in ids} == {"REQUEST", "CANCEL"}
    assert {message for _, kind, message in ids if kind == "REQUEST"} <= IDS_SEEN
    found = attacked.results["message-ids"]
    assert set(found) == {"os/vault", "os/core"}
    assert all(set(answers) == {DENIED} for answers in found.values())
    assert sum(map(sum, (answers.values() for answers in found.values()))) > 500


@pytest.mark.guarantee("ID-1", "ID-6", tried="ids in payload and words, kernel credentials")
def test_identity_is_what_core_knows(attacked: Attacked) -> None:
    assert {app for app, *_ in attacked.log["seen"]} == {ATTACKER, BYSTANDER}
    assert all(len(numbers) == 1 for numbers in attacked.log["instances"].values())
    found = attacked.results["identity"]
    assert found["claimed in the payload"] == "REPLY"
    assert found["credentials root"] in ("EPERM", "EINVAL")
    assert found["credentials host"] in ("EPERM", "ESRCH", "EINVAL")
    assert found["peer"] == 0  # core has no number in the app's world


@pytest.mark.guarantee(
    "P-1",
    "ID-4",
    tried="servers of others, names with tricks, thousands of names, core's own kinds",
)
def test_names_lead_only_where_the_manifest_says(attacked: Attacked) -> None:
    found = dict(attacked.results["names"])
    assert found.pop("control answers") == "silence"
    assert set(found.values()) == {DENIED}


@pytest.mark.guarantee("P-8", "H-6", tried="malformed frames change nothing")
def test_malformed_frames_change_nothing(attacked: Attacked) -> None:
    found = attacked.results["headers"]
    assert found["usable"]
    # Only well-formed frames of kinds that a client may not send are answered.
    assert set(found["answers"]) == {MALFORMED}
    assert found["answers"][MALFORMED] <= 8
    assert [found[name] for name in ("too long", "longest", "empty")] == ["closed"] * 3


@pytest.mark.guarantee(
    "X-4", "X-5", "ID-3", tried="no other descriptor, no second one, no cut ancillary data"
)
def test_only_fully_sealed_memory_objects_pass(attacked: Attacked) -> None:
    found = dict(attacked.results["descriptors"])
    assert found.pop("sealed as it must be") == "REPLY"
    assert found.pop("write to what was sent") == "EPERM"
    assert found.pop("map what was sent") == "EPERM"
    assert found.pop("seal while mapped") == "EBUSY"
    assert found.pop("usable")
    assert found.pop("one byte too large") == TOO_LARGE
    if not ALL_SEALS & SEAL_EXEC:  # Linux before 6.3
        del found["a program"]
    assert found.pop("5 descriptors") == "closed"
    assert found.pop("60 descriptors") == "closed"
    assert set(found.values()) == {MALFORMED}


@pytest.mark.guarantee("ID-1", "ID-2", tried="a client cannot answer or reuse a correlation")
def test_a_client_cannot_answer_or_reuse_a_correlation(attacked: Attacked) -> None:
    found = dict(attacked.results["answers"])
    assert found.pop("usable")
    assert found.pop("again") == "REPLY"
    assert found.pop("after cancel") == "silence"
    assert found.pop("cancel of nothing") == "silence"
    assert set(found.values()) == {MALFORMED}


@pytest.mark.guarantee("P-10", "X-3", tried="floods are held back at their source")
def test_floods_are_held_back_at_their_source(attacked: Attacked) -> None:
    flood = attacked.results["flood"]
    assert flood["sent"] < 10_000
    assert flood["blocked"] > 0
    assert attacked.results["flood-read"]["sent"] > 500
    assert attacked.results["flood-cancel"]["sent"] > 100
    assert attacked.log["cancelled"] > 0


@pytest.mark.guarantee("P-10", tried="on all its connections together")
def test_one_app_cannot_fill_a_server_s_queue(attacked: Attacked) -> None:
    found = attacked.results["park"]
    assert found["connections"] <= MAX_CONNECTIONS
    assert set(found["answers"]) == {BUSY}
    assert found["answers"][BUSY] == found["connections"] * 80 - MAX_PENDING_PER_CALLER
    assert attacked.results["unpark"]["usable"]


@pytest.mark.guarantee(
    "X-6", tried="answers refused by the asker's socket options, answers that are not read"
)
def test_answers_that_cannot_be_delivered_hurt_only_the_asker(attacked: Attacked) -> None:
    found = attacked.results["refuse-descriptors"]
    if found["option"] == "ok":  # Linux 6.16 and later
        assert found["answer"] == "closed"
    assert attacked.results["never-read"]["sent"] > MAX_PENDING_PER_CALLER


@pytest.mark.guarantee("P-10", tried="the other app's wait is not pushed out")
def test_waiting_for_a_service_that_is_not_ready_is_limited_by_process(attacked: Attacked) -> None:
    assert attacked.results["wait-for-late"]["refused"] == 200 - MAX_CONNECTIONS
    assert attacked.late == "connected"


@pytest.mark.guarantee("X-6", tried="a process that does not read its control channel is ended")
def test_a_process_that_does_not_read_its_control_channel_is_ended(attacked: Attacked) -> None:
    assert "attacker" in attacked.ended
    assert MAX_QUEUED_FRAMES <= 1024


# -- services that break the rules ---------------------------------------------------------------


@pytest.fixture(scope="module")
def betrayed() -> Iterator[Device]:
    reborn = Role(name="reborn", module="reborn", permissions={"os/vault": GRANTED})
    with running_device(*roles()[1:3], roles()[4], reborn, mode=HERE) as device:
        device.report("reborn", "first")
        yield device


def ask(device: Device, kind: str, name: str) -> dict[str, Any]:
    device.tell("bystander", f"ask-{kind}-{name}")
    outcome: dict[str, Any] = device.report("bystander", f"{kind}-{name}")["outcome"]
    return outcome


@pytest.mark.guarantee(
    "ID-2",
    "X-1",
    "X-2",
    tried="one story, in order, as each end of the service delays its next start",
)
def test_services_that_break_the_rules_leave_nobody_waiting(betrayed: Device) -> None:
    device = betrayed
    # A parked request dies with its process; the next start, another instance, inherits nothing.
    device.tell("reborn", "go-die")
    device.wait_for("end", lambda: device.events("process-ended", "reborn"))
    first = device.report("reborn", "first")
    second = device.report("reborn", "second", lives=2)
    assert first["payload"] != second["payload"]
    assert ask(device, "release", "x")["result"] == "Number"
    device.tell("reborn", "go-listen")
    heard = device.report("reborn", "heard", lives=2)
    assert heard == {"heard": "silence", "control": "silence"}

    # Answers to nobody, and requests from a service: ignored.
    assert ask(device, "misbehave", "answer-strangers")["result"] == "Number"
    assert ask(device, "misbehave", "ask")["result"] == "Number"
    # A service that does not read: core goes on, and so does the service afterwards.
    device.tell("bystander", "ask-misbehave-stop-reading")
    time.sleep(0.1)
    assert ask(device, "core", "x")["elapsed_s"] < QUICK_S / 2
    stalled = device.report("bystander", "misbehave-stop-reading")["outcome"]
    assert stalled["result"] == "Number"
    assert stalled["elapsed_s"] > QUICK_S / 2
    # An answer with an object that is not sealed: an error for whoever waits.
    assert ask(device, "misbehave", "unsealed-answer")["result"] == "request-failed: failed"
    assert not device.events("process-ended", "vault")

    for name in ("die", "hang-up", "break-the-channel"):
        ended = len(device.events("process-ended", "vault"))
        device.tell("bystander", f"ask-hold-{name}")
        outcome = ask(device, "misbehave", name)
        assert outcome["result"] == "request-failed: server gone", name
        assert outcome["elapsed_s"] < 3.0, name
        held = device.report("bystander", f"hold-{name}")["outcome"]
        assert held["result"] == "request-failed: server gone", name
        assert len(device.events("process-ended", "vault")) == ended + 1
        # The next start is waited for, and serves again.
        assert ask(device, "big", name)["result"] == "Blob"


@pytest.mark.guarantee("P-3", "P-6", "ID-4", tried="unknown messages and servers, names of others")
def test_a_manifest_that_asks_for_more_stops_the_start() -> None:
    cases = {
        "has no message": {"permissions": {"os/core": ["ReadEverything"]}},
        "no server": {"permissions": {"os/hidden": ["Thing"]}},
        "belongs to another process": {"servers": {"os/core": {"GetSystemInfo": 1}}},
    }
    for reason, changes in cases.items():
        role = Role(name="greedy", module="idle", config={"canary": ""}, **changes)  # type: ignore[arg-type]
        with running_device(role, mode=HERE) as device:
            assert device.process.wait(10) != 0
            assert reason in device.journal
            assert not device.events("process-started")
