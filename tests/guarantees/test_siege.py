"""Everybody at once: eight hostile apps take, flood and forge while a payment is made.

The device's own processes run their own code under an import hook, so the same day shows that none
of them imports what is not on its list.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import pytest_asyncio
from tests.e2e.sandbox_support import children, is_alive, status_of
from tests.e2e.walking_support import processes_of
from tests.guarantees.hostile.siege import ATTACKS, COUNTED
from tests.guarantees.imports import COMMON, IMPORTS
from tests.guarantees.other_hands import PACKAGE, app, in_other_hands
from tests.guarantees.plugin import Attempted

from primegap.demo.finger import Finger
from primegap.demo.steps import Demo
from primegap.device.client import AutomationClient
from primegap.keyos.core.builtin import builtin_table

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

TABLE: Final = builtin_table()
ROLES: Final = sorted(set(TABLE.manifests) - {"core"})
RIGHTS: Final = {
    server: [name for name in names if name != "TakeAccountKey"]
    for server, names in TABLE.manifests["bitcoin"].permissions.items()
    if server != "os/camera"  # an attack of its own: `test_foreground.py`
}
"What hostile apps may: as much as the Bitcoin app, but for keys."
PATIENCE_S: Final = 180.0
QUICK_S: Final = 3.0  # for the picture of the screen, on two cores that eight hostile apps share


@dataclass
class Day:
    """What happened during the siege."""

    lines: list[str] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    looks_s: list[float] = field(default_factory=list)
    "How long it took to see the screen, again and again."
    paid: bool = False
    journal: str = ""
    processes: int = 0
    memory_kib: int = 0
    radio_off: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    folder = tmp_path_factory.mktemp("siege")
    folder.chmod(0o755)
    apps, config = [], {}
    for number, attack in enumerate(ATTACKS):
        entry = f"{PACKAGE}.siege"
        apps.append(app(f"hostile-{attack}", entry, RIGHTS, number))
        config[f"hostile-{attack}"] = {"attack": attack, "servers": sorted(RIGHTS)}
    for role in IMPORTS:
        config[role] = {
            "entry": TABLE.manifests[role].entry,
            "imports": [*COMMON, *IMPORTS[role]],
        }
    found = Day()
    with (
        in_other_hands(
            folder / "other",
            taken=dict.fromkeys(IMPORTS, f"{PACKAGE}.watched:main"),
            apps=apps,
            config=config,
        ),
        pytest.MonkeyPatch.context() as patch,
    ):
        # The finger and its client are more patient than with a device that nobody attacks.
        patch.setattr("primegap.demo.finger.NEXT_SCREEN_S", PATIENCE_S)
        patch.setattr(Finger, "wait", functools.partialmethod(patient, Finger.wait))
        patch.setattr(AutomationClient, "press", patient_press)
        async with Demo(folder / "run", tell=found.lines.append) as demo:
            await through_the_day(demo, found)
    yield found


async def patient(finger: Finger, wait: Any, screen: str, _: float = 0) -> dict[str, Any]:
    shown: dict[str, Any] = await wait(finger, screen, PATIENCE_S)
    return shown


PRESS: Final = AutomationClient.press


def patient_press(client: AutomationClient, target: str, **_: Any) -> dict[str, Any]:
    return PRESS(client, target, timeout_s=PATIENCE_S)


async def through_the_day(demo: Demo, found: Day) -> None:
    await demo._step("chain", "", demo._chain)
    await demo._step("device", "", demo._device)
    watching = asyncio.create_task(look_at_the_screen(demo, found))
    try:
        await demo._step("set-up", "", demo._set_up)
        await demo._step("pair", "", demo._pair)
        await demo._step("account", "", demo._account)
        await demo._step("receive", "", demo._receive)
        await demo._step("pay", "", demo._pay)
        found.paid = True
        found.processes = len(tree(demo.device.process.pid))
        found.memory_kib = int(status_of(demo.device.process.pid)["VmRSS"].split()[0])
        radio = processes_of(demo, "radio")
        assert radio
        await demo.finger.switch_bluetooth(on=False)
        found.radio_off = not any(is_alive(pid) for pid in radio)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        found.journal = (demo.folder / "device.log").read_text(errors="replace")
        for attack in ATTACKS:
            path = demo.folder / f"device/hostile-{attack}/{COUNTED}"
            found.tried[attack] = int(path.read_text())
        found.evidence = dict(demo.evidence.report)


async def look_at_the_screen(demo: Demo, found: Day) -> None:
    while True:
        began = time.monotonic()
        await demo.finger.picture()
        found.looks_s.append(time.monotonic() - began)
        await asyncio.sleep(0.5)


def tree(pid: int) -> list[int]:
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


@pytest.mark.guarantee(
    "X-3", "P-10", "U-1", tried="eight hostile apps at once while a payment goes to a block"
)
async def test_a_payment_goes_through_unharmed(day: Day, attempted: Attempted) -> None:
    assert day.paid
    payment = day.evidence["payment-1"]
    assert payment["height"] > 120
    assert set(day.tried) == set(ATTACKS)
    assert all(count > 0 for count in day.tried.values()), day.tried
    attempted(sum(day.tried.values()))


@pytest.mark.guarantee("X-3", "X-6", tried="looks at the screen under the siege")
async def test_the_screen_stays_responsive(day: Day, attempted: Attempted) -> None:
    assert len(day.looks_s) > 5
    assert sorted(day.looks_s)[len(day.looks_s) // 2] < QUICK_S
    attempted(len(day.looks_s))


@pytest.mark.guarantee("X-3", "ID-5", tried="forks, memory and descriptors, counted from outside")
async def test_the_device_does_not_grow(day: Day) -> None:
    assert day.processes <= 1 + 2 * (len(ROLES) + len(ATTACKS))
    assert day.memory_kib < 200 << 10
    assert "\x1b" not in day.journal


@pytest.mark.guarantee("L-7", tried="the switch in the settings, under the siege")
async def test_the_chip_goes_off_whoever_holds_the_processor(day: Day) -> None:
    assert day.radio_off  # as soon as the screen says so


@pytest.mark.guarantee("H-3", "H-7", tried="an import hook in every process for a whole day")
async def test_no_process_imports_more_than_its_list(day: Day, attempted: Attempted) -> None:
    assert set(ROLES) == set(IMPORTS)
    forbidden = [line for line in day.journal.splitlines() if "forbidden import" in line]
    assert not forbidden
    for role in ROLES:
        assert f" {role:9} imports are watched" in day.journal, role
        attempted(1)
