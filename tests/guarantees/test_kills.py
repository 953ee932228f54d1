"""Kill -9 at random moments in every process of the device, with its state judged after each.

`PRIMEGAP_KILLS` says how many, `PRIMEGAP_KILLS_SEED` which. What dies under a payment, with a
companion, is in `tests/e2e/test_walking_kills.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.device_support import Running, device, eventually, make_data_directory
from tests.guarantees.canaries import of_link
from tests.guarantees.plugin import Attempted
from tests.stored_seed import ENTROPY, PIN, store_seed

from primegap.device.air import start_air
from primegap.device.client import AutomationClientError
from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.security.sealing import MAX_ATTEMPTS
from primegap.keyos.security.vault import SoftwareVault

KILLS: Final = int(os.environ.get("PRIMEGAP_KILLS", "8"))
SEED: Final = int(os.environ.get("PRIMEGAP_KILLS_SEED", "1"))
KILLS_OF_A_LIFE: Final = 8
"Between two starts of the whole device."
LONGEST_WAIT_S: Final = 0.6
TABLE: Final = builtin_table()
STOPS: Final = {role for role, m in TABLE.manifests.items() if m.critical}


class Person(threading.Thread):
    """Unlocks, locks and looks around without pause, whatever happens to the device."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self._running = running
        self._over = threading.Event()

    def run(self) -> None:
        client = self._running.client
        while not self._over.is_set():
            with contextlib.suppress(AutomationClientError):
                if self._running.screen() == "unlock":
                    client.type(PIN, timeout_s=1)
                    client.press("done", timeout_s=1)
                else:
                    client.press("lock", timeout_s=1)

    def end(self) -> None:
        self._over.set()
        self.join()


def one_life(data: Path, bluetooth: str, chance: random.Random, kills: int) -> dict[str, int]:
    """Start the device and kill processes until it stops or there were enough; return how many."""
    killed: dict[str, int] = {}
    with device(data, bluetooth=bluetooth) as running:
        for role in set(TABLE.manifests) - {"core"}:
            running.event("process-started", role)
        person = Person(running)
        person.start()
        try:
            for _ in range(kills):
                time.sleep(chance.uniform(0, LONGEST_WAIT_S))
                role = chance.choice(sorted(TABLE.manifests))
                starts = len(starts_of(running, role))
                with contextlib.suppress(ProcessLookupError, IndexError):
                    os.kill(running.pids(role)[-1], 9)
                    killed[role] = killed.get(role, 0) + 1
                if role in STOPS:
                    running.process.wait(30)
                    break
                # It may have been ending anyway, as at a lock; it is started again in any case.
                eventually(lambda r=role, n=starts: len(starts_of(running, r)) > n, 60)  # type: ignore[misc]
                assert running.process.poll() is None, f"{role} took the device with it"
        finally:
            person.end()
    return killed


def starts_of(running: Running, role: str) -> list[object]:
    return [e for e in running.events if e["event"] == "process-started" and e["role"] == role]


@pytest.mark.timeout(120 + 30 * KILLS)
@pytest.mark.guarantee("X-1", tried="kill -9 in every process at random moments: who depends on it")
@pytest.mark.guarantee("X-2", tried="kill -9 in every process at random moments: locked after it")
@pytest.mark.guarantee("S-4", "S-9", tried="kill -9 at random moments: the seed and its attempts")
@pytest.mark.guarantee("L-5", tried="kill -9 at random moments: the link's identity stays its own")
def test_whoever_is_killed_nothing_is_lost_or_half_done(
    tmp_path: Path, attempted: Attempted
) -> None:
    data, chance = tmp_path / "device", random.Random(SEED)
    make_data_directory(data)
    store_seed(data)
    vault = SoftwareVault(data / "security", rng=os.urandom)
    air = start_air(tmp_path / "air")
    identity: tuple[bytes, ...] = ()
    done = 0
    try:
        while done < KILLS:
            killed = one_life(data, air.device, chance, min(KILLS - done, KILLS_OF_A_LIFE))
            done += max(1, sum(killed.values()))
            attempted(sum(killed.values()))
            # The device is off. A right PIN always opens, so no attempt is lost but those in hand.
            state = vault.state()
            assert state.sealed, f"the seed is gone after {killed} (seed {SEED})"
            assert MAX_ATTEMPTS - done <= state.attempts_left <= MAX_ATTEMPTS
            with vault.unseal(PIN).view() as secret:
                assert bytes(secret)[64:] == ENTROPY
            if (data / "link/link").exists():
                found = of_link(data / "link", ENTROPY, TABLE.manifests["link"].app_id).forms
                assert identity in ((), found), f"another identity after {killed} (seed {SEED})"
                identity = found
        # And the next start is a device like any other: locked, and what was half made is made.
        with device(data, bluetooth=air.device) as running:
            assert running.screen() == "unlock"
            eventually(lambda: not [p for p in data.rglob("*.new") if p.stat().st_size > 1 << 20])
    finally:
        air.stop()
