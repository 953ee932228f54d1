"""Secrets whose every byte is known, looked for in all memory and all files of a device."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.device_support import Running, device, eventually, make_data_directory, unlock
from tests.e2e.sandbox_support import status_of
from tests.guarantees.canaries import PAGE, Canary, files, memory, of_link, of_seed, search
from tests.guarantees.plugin import Attempted
from tests.stored_seed import store_seed

from primegap.device.air import start_air
from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.security.sealing import WrongPinError
from primegap.keyos.security.vault import SoftwareVault

pytestmark = pytest.mark.timeout(400)  # a whole day of a device, on whatever machine

TABLE: Final = builtin_table()
PIN: Final = "8301946275"
IN_TRANSIT: Final = "core"
"""Core carries the messages that hold app seeds, the PIN and the key of a confirmed signature. It
reads no payload and keeps none, but what it carried may linger in memory that it gave back."""
MOMENTS: Final = ("locked", "unlocked", "locked again")


@dataclass
class Searched:
    """What was found where, at each moment."""

    canaries: list[Canary]
    found: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    "Moment -> role -> names of canaries."
    bytes_searched: int = 0
    in_files: dict[str, set[str]] = field(default_factory=dict)
    files_searched: int = 0
    security: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    if os.getuid() != 0:
        pytest.skip("only root can read the memory of other processes")
    folder = tmp_path_factory.mktemp("canaries")
    folder.chmod(0o755)
    data, entropy = folder / "device", os.urandom(16)
    make_data_directory(data)
    store_seed(data, pin=PIN, entropy=entropy)
    air = start_air(folder / "air")
    ids = {role: manifest.app_id for role, manifest in TABLE.manifests.items()}
    result = Searched(of_seed(entropy, ids))
    result.canaries.append(Canary("PIN", (PIN.encode(),), frozenset({"security", "ui", "panel"})))
    try:
        with device(data, bluetooth=air.device) as running:
            for role in set(TABLE.manifests) - {"core"}:
                running.event("process-started", role)
            look(running, result, "locked")
            unlock(running, PIN)
            eventually((data / "link/link").exists, 60)
            result.canaries.append(of_link(data / "link", entropy, ids["link"]))
            look(running, result, "unlocked")
            result.security = about(running.pids("security")[-1])
            running.client.press("lock")
            eventually(lambda: running.screen() == "unlock")
            look(running, result, "locked again")
        for path, content in files(folder):
            names, _ = search(iter((content,)), result.canaries)
            if names:
                result.in_files[str(path.relative_to(folder))] = names
            result.files_searched += 1
    finally:
        air.stop()
    return result


def look(running: Running, result: Searched, moment: str) -> None:
    found: dict[str, set[str]] = {}
    for role in TABLE.manifests:
        for pid in running.pids(role):
            names, size = search(memory(pid), result.canaries)
            found.setdefault(role, set()).update(names)
            result.bytes_searched += size
    result.found[moment] = found


def about(pid: int) -> dict[str, Any]:
    return {
        **status_of(pid),
        "children": Path(f"/proc/{pid}/task/{pid}/children").read_text().split(),
        "descriptors": {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()},
        "limits": Path(f"/proc/{pid}/limits").read_text(),
    }


@pytest.mark.guarantee(
    "S-1", "L-1", tried="seed, PIN, keys and app seeds in the memory of every process that may not"
)
def test_a_secret_is_only_in_the_memory_of_its_holders(
    searched: Searched, attempted: Attempted
) -> None:
    for moment in MOMENTS:
        for role, names in searched.found[moment].items():
            if role == IN_TRANSIT:
                names -= {n for n in names if n == "PIN" or n.startswith(("app seed", "account"))}
            for canary in searched.canaries:
                if role not in canary.holders:
                    assert canary.name not in names, f"{moment}: {role} holds the {canary.name}"
                    attempted(1)
    # The search finds what is there.
    assert "app seed of link" in searched.found["unlocked"]["link"]
    assert searched.bytes_searched > 50 << 20
    assert not any(searched.found["locked"].values())


@pytest.mark.guarantee("S-8", "S-3", tried="all memory of the security process after a lock")
def test_nothing_is_left_in_the_security_process_after_a_lock(searched: Searched) -> None:
    assert searched.found["locked again"]["security"] == set()


@pytest.mark.guarantee(
    "S-1", "H-2", tried="every file, journal, trace and radio capture of a device's day"
)
def test_no_secret_is_in_any_file(searched: Searched, attempted: Attempted) -> None:
    assert searched.in_files == {}
    assert searched.files_searched > 8
    attempted(searched.files_searched)


@pytest.mark.guarantee(
    "S-7", tried="the kernel's view of the security process while it is unlocked"
)
def test_the_security_process_is_alone(searched: Searched) -> None:
    seen = searched.security
    assert seen["children"] == []
    kinds = {target.split(":")[0] for target in seen["descriptors"]}
    assert kinds <= {"/dev/null", "pipe", "socket", "anon_inode", "/memfd", "/secretmem (deleted)"}
    assert seen["TracerPid"] == "0"
    assert seen["NoNewPrivs"] == "1"
    limit = next(line for line in seen["limits"].splitlines() if "core file" in line)
    assert limit.split()[4:6] == ["0", "0"]


@pytest.mark.guarantee("S-7", tried="the locked memory of the security process")
def test_the_seed_is_never_swapped(searched: Searched) -> None:
    kib = {name: int(searched.security[name].split()[0]) for name in ("VmLck", "VmSwap")}
    assert kib["VmLck"] >= PAGE // 1024
    assert kib["VmSwap"] == 0
    # Where the kernel hides pages even from itself, the search above saw no seed at all.
    if "/secretmem (deleted)" in searched.security["descriptors"]:
        assert "entropy" not in searched.found["unlocked"]["security"]


@pytest.mark.guarantee("S-5", tried="wrong PINs of every kind, by processor time at the vault")
def test_the_time_of_a_login_says_nothing_about_the_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempted: Attempted
) -> None:
    """Stretching dwarfs everything else, and a random delay comes on top (section 6.3)."""
    monkeypatch.setattr("primegap.keyos.security.vault.ARGON2_MEMORY_KIB", 4096)
    vault = SoftwareVault(tmp_path, rng=os.urandom)
    vault.seal(PIN, bytes(80))
    times: dict[str, list[float]] = {}
    for _ in range(8):
        for kind, pin in {
            "first digit": "9" + PIN[1:],
            "last digit": PIN[:-1] + "9",
            "short": "000000",
            "long": "0" * 64,
        }.items():
            began = time.process_time()
            with pytest.raises(WrongPinError):
                vault.unseal(pin)
            times.setdefault(kind, []).append(time.process_time() - began)
            attempted(1)
            vault.unseal(PIN)
    fastest = [min(found) for found in times.values()]
    assert max(fastest) < 1.5 * min(fastest)
