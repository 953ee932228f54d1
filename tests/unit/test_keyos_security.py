"""Vault, grants, derivations and sealed files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from primegap.files import StorageError, StorageFullError, write_file
from primegap.keyos.security import vault as vault_module
from primegap.keyos.security.derivation import app_seed, seed_fingerprint
from primegap.keyos.security.grants import GRANT_LIFE_S, Grants, Use
from primegap.keyos.security.memory import SecretBuffer
from primegap.keyos.security.sealing import (
    MAX_ATTEMPTS,
    DamagedError,
    PinFormatError,
    VaultError,
    WipedError,
    WrongPinError,
)
from primegap.keyos.security.vault import SoftwareVault
from primegap.keyos.storage import SealedFile

ENTROPY = bytes(range(16))


@pytest.fixture(autouse=True)
def fast_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters are stored in the file; small ones keep the tests fast."""
    monkeypatch.setattr(vault_module, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(vault_module, "ARGON2_ITERATIONS", 1)


@pytest.fixture
def vault(tmp_path: Path) -> SoftwareVault:
    made = SoftwareVault(tmp_path, rng=os.urandom)
    made.seal("123456", ENTROPY)
    return made


@pytest.mark.guarantee("S-2", "S-10", tried="published vectors")
def test_app_seeds_equal_the_published_vectors() -> None:
    # keyos-model, section 17
    zero16, zero32 = bytes(16), bytes(32)
    bitcoin = bytes.fromhex("426974636f696e2057616c6c65740000")
    assert app_seed(bitcoin, zero16).hex() == (
        "41fe7b94393db4aa45b45cc09cb13a46370697785a66ff86ca512adeef466eba"
    )
    assert app_seed(bitcoin, zero32).hex() == (
        "b5c6b4c102f80b7b818d8dfbf974fa3e407206e2570a508610571c3a3da51444"
    )
    assert app_seed(bitcoin, ENTROPY).hex() == (
        "bf4c2f52d742418fbe12bfb92322c48fe1d8922102dd604eb8028dc2a8d6297b"
    )
    assert seed_fingerprint(zero16).hex() == (
        "45e5487a14e99b72e436aae7edf7d6dac7c9f14e286974539c794cc39e2c7023"
    )
    assert seed_fingerprint(zero32).hex() == (
        "d2a4a2b8e1356c3ee06a41e52520be5aff2a313238cdd543f0566c75cab17279"
    )


def test_the_right_pin_opens_and_resets_the_counter(vault: SoftwareVault) -> None:
    with pytest.raises(WrongPinError):
        vault.unseal("654321")
    assert vault.state().attempts_left == MAX_ATTEMPTS - 1
    assert vault.unseal("123456") == SecretBuffer(ENTROPY)
    assert vault.state().attempts_left == MAX_ATTEMPTS


@pytest.mark.guarantee("S-4", "S-9", tried="ten wrong PINs")
def test_the_tenth_wrong_pin_wipes(vault: SoftwareVault, tmp_path: Path) -> None:
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(WrongPinError):
            vault.unseal("000000")
    with pytest.raises(WipedError):
        vault.unseal("000000")
    assert not vault.exists
    assert [path.name for path in tmp_path.iterdir()] == ["resets"]


@pytest.mark.guarantee("S-4", tried="a look at the counter from inside the comparison")
def test_an_attempt_is_counted_before_the_pin_is_looked_at(
    vault: SoftwareVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> bytearray:
        raise KeyboardInterrupt

    monkeypatch.setattr(vault_module, "_unseal", killed)
    with pytest.raises(KeyboardInterrupt):
        vault.unseal("123456")
    assert vault.state().attempts_left == MAX_ATTEMPTS - 1


def test_a_counter_that_cannot_be_written_means_no_try(
    vault: SoftwareVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StorageFullError("no space left")

    monkeypatch.setattr(vault_module, "write_file", full)
    with pytest.raises(StorageFullError):
        vault.unseal("123456")


@pytest.mark.guarantee("S-4", tried="the counter's file removed")
def test_a_removed_counter_leaves_one_try(vault: SoftwareVault, tmp_path: Path) -> None:
    (tmp_path / "attempts").unlink()
    assert vault.state().attempts_left == 1
    with pytest.raises(WipedError):
        vault.unseal("000000")


def test_a_pin_of_the_wrong_form_costs_nothing(vault: SoftwareVault) -> None:
    for pin in ("", "12345", "1" * 65, "12345\n"):
        with pytest.raises(PinFormatError):
            vault.unseal(pin)
    assert vault.state().attempts_left == MAX_ATTEMPTS


def test_without_the_device_key_the_vault_is_noise(vault: SoftwareVault, tmp_path: Path) -> None:
    write_file(tmp_path / "device.key", os.urandom(32))
    with pytest.raises(WipedError):  # nor is the counter its own: one try
        vault.unseal("123456")


@pytest.mark.guarantee("S-9", tried="the vault damaged at every place")
@pytest.mark.parametrize("offset", [0, 5, 9, 12, 13, 30, 60])
def test_a_damaged_vault_never_opens(vault: SoftwareVault, tmp_path: Path, offset: int) -> None:
    data = bytearray((tmp_path / "vault").read_bytes())
    data[offset % len(data)] ^= 0x80
    (tmp_path / "vault").write_bytes(data)
    with pytest.raises((DamagedError, WrongPinError)):
        vault.unseal("123456")


def test_a_second_seed_never_replaces_the_first(vault: SoftwareVault) -> None:
    with pytest.raises(VaultError):
        vault.seal("123456", bytes(16))
    assert vault.unseal("123456") == SecretBuffer(ENTROPY)


USE = Use(instance=7, content=bytes(32), network="regtest", account=0)


@pytest.mark.guarantee("U-5", tried="a grant taken for something else")
@pytest.mark.parametrize(
    "other",
    [
        replace(USE, instance=8),
        replace(USE, content=bytes([1] * 32)),
        replace(USE, network="mainnet"),
        replace(USE, account=1),
    ],
)
def test_a_grant_is_for_one_process_one_content_one_key_and_one_use(other: Use) -> None:
    grants = Grants()
    number = bytes(16)
    assert grants.approve(number, USE, now_s=0)
    assert not grants.approve(number, other, now_s=0)
    assert not grants.take(number, other, now_s=1)
    assert not grants.take(bytes([9] * 16), USE, now_s=1)
    assert grants.take(number, USE, now_s=1)
    assert not grants.take(number, USE, now_s=1)


@pytest.mark.guarantee("U-5", tried="a grant taken late")
def test_a_grant_expires_and_is_lost_at_lock() -> None:
    grants = Grants()
    assert grants.approve(bytes(16), USE, now_s=0)
    assert not grants.take(bytes(16), USE, now_s=GRANT_LIFE_S)
    assert grants.approve(bytes(16), USE, now_s=100)
    grants.clear()
    assert not grants.take(bytes(16), USE, now_s=100)


def test_a_sealed_file_opens_only_with_its_seed_and_name(tmp_path: Path) -> None:
    SealedFile(tmp_path, "state", b"a" * 32).write(b"content")
    assert SealedFile(tmp_path, "state", b"a" * 32).read() == b"content"
    with pytest.raises(StorageError):
        SealedFile(tmp_path, "state", b"b" * 32).read()
    (tmp_path / "state").rename(tmp_path / "other")
    with pytest.raises(StorageError):
        SealedFile(tmp_path, "other", b"a" * 32).read()
    assert SealedFile(tmp_path, "state", b"a" * 32).read() is None
    assert b"content" not in (tmp_path / "other").read_bytes()
