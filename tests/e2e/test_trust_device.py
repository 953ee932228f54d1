"""A real device in real sandboxes: an app in other hands, crowds at the door, processes killed."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.device_support import Running, device, eventually, make_data_directory, unlock
from tests.guarantees.other_hands import in_other_hands
from tests.stored_seed import ENTROPY, PIN, store_seed

from primegap.device.client import AutomationClientError
from primegap.keyos.security.sealing import MAX_ATTEMPTS

WRONG: Final = "000000"
DENIED: Final = "ERROR 1"
MALFORMED: Final = "ERROR 5"
LOCKED: Final = "ERROR 7"


# -- an app in other hands -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A device with a seed, locked, whose Bitcoin app is the attacker."""
    folder = tmp_path_factory.mktemp("taken")
    folder.chmod(0o755)
    data = folder / "data"
    make_data_directory(data)
    store_seed(data)
    attacker = {"bitcoin": "tests.e2e.hostile.taken_over:main"}
    with contextlib.ExitStack() as stack:
        with in_other_hands(folder / "other", taken=attacker):
            running = stack.enter_context(device(data))
        yield running


def result(device: Running, name: str) -> dict[str, str]:
    report = device.folder / f"data/bitcoin/{name}.json"
    found: dict[str, Any] = json.loads(eventually(report.read_text, 60))
    answer: dict[str, str] = found["result"]
    return answer


def order(device: Running, name: str) -> None:
    eventually((device.folder / "data/bitcoin").exists)
    (device.folder / f"data/bitcoin/go-{name}").touch()


@pytest.mark.guarantee(
    "ID-1",
    "S-3",
    "U-2",
    "U-5",
    "U-8",
    "U-12",
    tried="the Bitcoin app in other hands: locked, forging screens, reusing an approval, flooding",
)
def test_an_app_in_other_hands_gets_no_further_than_its_rights(taken: Running) -> None:
    """One story: locked, unlocked, asking, flooding. The code in the sandbox is the attacker's."""
    order(taken, "locked")
    found = result(taken, "locked")
    assert found == {
        "xpub": LOCKED,
        "key": LOCKED,
        "wallets": LOCKED,
        "seed": "silence",
        "question": "silence",
    }
    assert taken.screen() == "unlock"
    unlock(taken)

    order(taken, "forged")
    found = result(taken, "forged")
    refused = {name: answer for name, answer in found.items() if answer != DENIED}
    assert set(refused.values()) == {MALFORMED}
    assert all(name.startswith(("confirm ", "notify ")) for name in refused)
    assert taken.screen() == "home"

    order(taken, "asks")
    shown = taken.client.wait("question")["screen"]
    assert shown["app"] == "Bitcoin"  # whatever the title says
    assert shown["banner"]["text"] == "Approving this opens a key: regtest, account 1"
    taken.client.press("confirm")
    found = result(taken, "asks")
    assert found == {
        "approved": True,
        "other network": DENIED,
        "other account": DENIED,
        "other content": DENIED,
        "other connection": "REPLY",
        "again": DENIED,
    }

    order(taken, "floods")
    time.sleep(1)
    began = time.monotonic()
    while time.monotonic() - began < 15:  # questions come and go; the person gets through and locks
        if taken.screen() == "question":
            with contextlib.suppress(AutomationClientError):
                taken.client.press("reject", timeout_s=0)
        with contextlib.suppress(AutomationClientError):
            taken.client.press("lock", timeout_s=0)
        if taken.screen() == "unlock":
            break
    assert taken.screen() == "unlock"
    result(taken, "floods")
    assert taken.process.poll() is None
    for secret in (PIN, ENTROPY.hex(), "tprv", taken.started.token):
        assert secret not in taken.journal + json.dumps(taken.events)


def test_a_crowd_at_the_door_takes_nothing_from_the_device(taken: Running) -> None:
    address, _, port = taken.started.url.removeprefix("http://").partition(":")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))  # a user begins with 1024
    crowd = [socket.create_connection((address, int(port)), timeout=5) for _ in range(1500)]
    assert eventually(taken.screen, 10)
    unlock(taken)
    taken.client.press("lock")
    assert taken.process.poll() is None
    for connection in crowd:
        connection.close()


# -- killed at awkward moments -------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory that a first start has made."""
    data = tmp_path_factory.mktemp("first") / "device"
    with device(data):
        pass
    return data


@pytest.fixture
def data(first_start: Path, tmp_path: Path) -> Path:
    """Return the data directory of a device that was started once."""
    return shutil.copytree(first_start, tmp_path / "device")


@pytest.mark.guarantee("X-2", tried="panel killed")
def test_the_death_of_a_pillar_stops_the_device_and_it_starts_locked(data: Path) -> None:
    store_seed(data)
    with device(data) as running:
        running.kill("panel")
        assert "panel" in running.stopped()
    with device(data) as running:
        assert running.screen() == "unlock"


@pytest.mark.guarantee("X-2", tried="security killed while unlocked")
def test_the_death_of_the_seeds_owner_locks_and_ends_every_session(data: Path) -> None:
    """X-2: apps and link, which hold keys of the seed, end with it."""
    store_seed(data)
    with device(data) as running:
        unlock(running)
        running.event("process-ready", "link")
        running.kill("security")
        eventually(lambda: running.screen() == "unlock")
        running.event("process-ended", "link")
        running.event("process-ended", "bitcoin")
        unlock(running)


@pytest.mark.guarantee("S-8", tried="the device locked")
def test_locking_ends_the_process_that_held_the_seed(data: Path) -> None:
    store_seed(data)
    with device(data) as running:
        unlock(running)
        running.client.press("lock")
        assert running.event("process-ended", "security")["status"] == 0
        assert not [e for e in running.events if e["event"] == "process-ended"][1:]
        unlock(running)


@pytest.mark.guarantee("S-4", tried="security killed during a guess, at two moments")
def test_a_kill_during_a_guess_never_gives_one_back(data: Path) -> None:
    vault = store_seed(data)
    counted = []
    for delay_s in (0.02, 0.12):
        with device(data) as running:
            running.client.type(WRONG)
            guess = threading.Thread(target=press, args=(running, "done"))
            guess.start()
            time.sleep(delay_s)
            running.kill("security")
            running.event("process-ended", "security")
            guess.join()
        counted.append(vault.state().attempts_left)
    assert MAX_ATTEMPTS >= counted[0] >= counted[1] >= MAX_ATTEMPTS - 2
    with device(data) as running:
        left = vault.state().attempts_left
        running.client.type(WRONG)
        running.client.press("done")
        eventually(lambda: vault.state().attempts_left == left - 1)
        unlock(running)
    assert vault.state().attempts_left == MAX_ATTEMPTS


def press(running: Running, target: str) -> None:
    with contextlib.suppress(AutomationClientError):
        running.client.press(target)


def answer_quiz(running: Running, words: list[str]) -> str:
    """Answer all questions but the last; return the target of that one."""
    asked = 0
    while True:
        screen = running.client.wait("quiz")["screen"]
        text = next(i["text"] for i in screen["items"] if i["type"] == "text")
        target = f"word:{words[int(text.rstrip('?').split()[-1]) - 1]}"
        asked += 1
        if asked == 3:
            return target
        running.client.press(target)


@pytest.mark.guarantee("S-9", tried="security killed while the first seed is stored")
def test_a_kill_while_the_seed_is_stored_leaves_it_whole_or_absent(data: Path) -> None:
    for delay_s in (0.05, 0.2):
        with device(data) as running:
            if running.screen() == "unlock":
                break  # it was whole
            client = running.client
            client.press("start")
            for _ in range(2):
                client.type(PIN)
                client.press("done")
            client.press("words-12")
            client.press("no-dice")
            screen = client.wait("seed-words")["screen"]
            words = [word for item in screen["items"] for word in item.get("words", ())]
            while (shown := client.screen())["page"] + 1 < shown["pages"]:
                client.press("page:next")
            client.press("done")
            last = answer_quiz(running, words)
            storing = threading.Thread(target=press, args=(running, last))
            storing.start()
            time.sleep(delay_s)
            running.kill("security")
            running.event("process-ended", "security")
            eventually(lambda: running.screen() in ("unlock", "message"))
            storing.join()
            told = running.journal + json.dumps(running.events)
            assert PIN not in told
            assert " ".join(words[:3]) not in told
    with device(data) as running:
        if running.screen() == "unlock":
            unlock(running)
        else:
            assert running.screen() == "welcome"
