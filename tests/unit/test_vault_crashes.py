"""The vault under power cuts: at every write, with what a disk may lose, and under real kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
from tests.power_cuts import Disk, PowerCut

from primegap.keyos.security import vault as vault_module
from primegap.keyos.security.memory import SecretBuffer
from primegap.keyos.security.sealing import MAX_ATTEMPTS, VaultError, WipedError, WrongPinError
from primegap.keyos.security.vault import SoftwareVault

PINS: Final = ("271828", "314159")
SECRET: Final = bytes(range(96))
CUTS: Final = 1500
KILLS: Final = 100


@pytest.fixture(autouse=True)
def fast_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_module, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(vault_module, "ARGON2_ITERATIONS", 1)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many wrong PINs were looked at since a right one."""
    count = [0]
    unseal = vault_module._unseal

    def counted(data: bytes, device_key: bytes, pin: str) -> bytearray | None:
        opened = unseal(data, device_key, pin)
        count[0] = 0 if opened is not None else count[0] + 1
        return opened

    monkeypatch.setattr(vault_module, "_unseal", counted)
    return count


class World:
    """What the person knows, against what the device says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = SoftwareVault(folder, rng=os.urandom)
        self.pins: set[str] = set()
        "One of these opens; empty when nothing is stored."
        self.maybe_erased = True

    def act(self, rng: random.Random) -> None:
        """Do one thing; an exception leaves the knowledge that it may or may not have happened."""
        pin = next(iter(self.pins), PINS[0])
        match rng.randrange(6):
            case 0 | 1 if not self.vault.state().sealed:
                self.pins, self.maybe_erased = {PINS[0]}, True
                self.vault.seal(PINS[0], SECRET)
                self.maybe_erased = False
            case 1 | 2 if self.vault.state().sealed:
                assert self.vault.unseal(pin) == SecretBuffer(SECRET)
            case 3 if self.vault.state().sealed:
                with pytest.raises(WrongPinError):
                    self.vault.unseal("000000")
            case 4 if self.vault.state().sealed:
                new = PINS[1 - PINS.index(pin)]
                self.pins = {pin, new}
                self.vault.reseal(pin, new)
                self.pins = {new}
            case 5 if rng.random() < 0.2:
                self.maybe_erased = True
                self.vault.wipe()
                self.pins = set()

    def power_up(self, judged: int) -> None:
        """Start again and compare."""
        self.vault = SoftwareVault(self.folder, rng=os.urandom)
        self.vault.recover()
        state = self.vault.state()
        if not state.sealed:
            assert self.maybe_erased
            # Nothing is left that a key found later could open (S-9).
            assert {p.name.removesuffix(".new") for p in self.folder.iterdir()} <= {
                "resets",
                "attempts",
                "anchors",
                "vault",
                "device.key",
            }
            assert not (self.folder / "vault").exists()
            assert not (self.folder / "device.key").exists()
            self.pins = set()
            return
        # Every PIN that was looked at is counted (S-4).
        assert state.attempts_left <= MAX_ATTEMPTS - judged
        opened = []
        for pin in sorted(self.pins):
            try:
                opened.append((pin, self.vault.unseal(pin)))
            except VaultError:
                continue
        assert [secret for _, secret in opened] == [SecretBuffer(SECRET)]
        self.pins, self.maybe_erased = {opened[0][0]}, False


@pytest.mark.guarantee(
    "S-4", "S-9", tried="1500 power cuts at a write of the vault, with what a disk may lose"
)
def test_a_power_cut_at_any_write_loses_nothing_and_reveals_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: list[int]
) -> None:
    rng = random.Random(271828)
    disk = Disk(rng)
    disk.install(monkeypatch)
    world = World(tmp_path)
    cuts = 0
    while cuts < CUTS:
        disk.left = rng.randrange(40)
        try:
            while True:
                world.act(rng)
                if world.vault.state().attempts_left < 4 and world.pins:
                    world.vault.unseal(next(iter(world.pins)))
        except PowerCut:
            cuts += 1
        if rng.random() < 0.3:  # and again while it recovers
            disk.left = rng.randrange(6)
            try:
                SoftwareVault(tmp_path, rng=os.urandom).recover()
            except PowerCut:
                cuts += 1
        disk.left = -1
        world.power_up(judged[0])
        judged[0] = 0


@pytest.mark.guarantee("S-4", tried="wrong PINs and the plug pulled at each write")
def test_wrong_pins_and_power_cuts_never_give_an_eleventh_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: list[int]
) -> None:
    """Whoever pulls the plug at the moment of each answer gets no more tries than anybody."""
    for run in range(40):
        rng = random.Random(run)
        folder = tmp_path / str(run)
        folder.mkdir()
        SoftwareVault(folder, rng=os.urandom).seal(PINS[0], SECRET)
        judged[0] = 0
        with monkeypatch.context() as patch:
            disk = Disk(rng)
            disk.install(patch)
            for _ in range(60):
                disk.left = rng.randrange(16)
                try:
                    vault = SoftwareVault(folder, rng=os.urandom)
                    vault.recover()
                    if not vault.state().sealed:
                        break
                    vault.unseal("000000")
                except (PowerCut, WrongPinError, WipedError):
                    continue
            disk.left = -1
            SoftwareVault(folder, rng=os.urandom).recover()
        assert judged[0] <= MAX_ATTEMPTS
        assert not SoftwareVault(folder, rng=os.urandom).state().sealed


@pytest.mark.guarantee("S-4", "S-9", tried="100 kills of a process at work on a vault")
def test_real_kills_leave_a_vault_that_opens_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    folder.mkdir()
    victim = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("vault_victim.py")), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdin is not None
    assert victim.stdout is not None
    rng = random.Random(1)
    try:
        for number in range(KILLS):
            victim.stdin.write(f"{number}\n")
            victim.stdin.flush()
            child = int(victim.stdout.readline())
            time.sleep(rng.random() * 0.02)
            os.kill(child, signal.SIGKILL)
            while Path(f"/proc/{child}").exists():
                time.sleep(0.0005)
            vault = SoftwareVault(folder, rng=os.urandom)
            vault.recover()
            if not vault.state().sealed:
                assert not (folder / "vault").exists()
                continue
            opened = 0
            for pin in PINS:
                try:
                    with vault.unseal(pin).view() as secret:
                        opened += bytes(secret) == SECRET
                except VaultError:
                    continue
            assert opened == 1
    finally:
        victim.stdin.close()
        victim.kill()
        victim.wait()
        victim.stdout.close()
