"""A Bluetooth chip that is not the device's own, in real processes, and what the factory gave."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.device_support import Running, device, eventually, make_data_directory
from tests.e2e.device_support import unlock as enter_pin
from tests.stored_seed import store_seed

from primegap.device.air import StartedAir, start_air
from primegap.device.chip_supply import FIRMWARE_HEADER, FUSES, chip_supply
from primegap.device.errors import DataDirectoryError
from primegap.files import write_file
from primegap.radio.chip_memory import EMPTY, HEADER_BYTES, SEALED
from primegap.radio.chip_process import MEMORY_FILE, open_memory
from primegap.radio.firmware import TEST_SIGNERS, bundled_image

OTHER_ENTROPY = bytes(range(100, 116))


@pytest.fixture(scope="module")
def air(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedAir]:
    started = start_air(tmp_path_factory.mktemp("air"))
    yield started
    started.stop()


def home_says(running: Running, words: str) -> bool:
    return words in str(running.client.screen()["screen"])


def flash(data: Path) -> Path:
    return data / "radio" / MEMORY_FILE


def verdict(running: Running) -> dict[str, Any] | None:
    shown = running.client.screen()
    return shown if shown["screen"]["id"] in {"pairing", "chip-distrusted", "message"} else None


def open_pairing(running: Running) -> dict[str, Any]:
    """Press the tile until the chip has come as far as its verdict; return what is shown then."""

    def pressed() -> dict[str, Any] | None:
        running.client.press("pair")
        shown = eventually(lambda: verdict(running))
        if shown["screen"]["id"] != "message":
            return shown
        running.client.press("ok")  # the chip is still starting
        running.client.wait("home")
        return None

    return eventually(pressed, 60)


def adopt(running: Running) -> str:
    """Hold to the chip that is there; return what the device says of it then."""
    running.client.press("adopt-chip")
    running.client.wait("confirm-adopt-chip")
    running.client.press("confirm", timeout_s=30)
    return str(running.client.wait("message", timeout_s=60)["screen"])


@pytest.mark.timeout(400)  # four starts of a whole device, on a machine that may be busy
def test_a_chip_is_used_when_it_is_this_devices_and_not_otherwise(
    tmp_path: Path, air: StartedAir
) -> None:
    data, kept = tmp_path / "device", tmp_path / "own-flash"
    make_data_directory(data)
    store_seed(data)
    with device(data, bluetooth=air.device) as running:
        enter_pin(running)
        assert open_pairing(running)["screen"]["id"] == "pairing"
        assert open_memory(flash(data)).seal == SEALED

    flash(data).unlink()  # somebody puts in another chip, which was never used
    with device(data, bluetooth=air.device) as running:
        enter_pin(running)
        eventually(lambda: home_says(running, "Bluetooth chip not trusted"), 60)
        assert open_pairing(running)["screen"]["id"] == "chip-distrusted"
        assert open_memory(flash(data)).seal == EMPTY
        running.client.press("back")
        running.client.wait("home")
        assert open_pairing(running)["screen"]["id"] == "chip-distrusted"
        assert "this device's now" in adopt(running)
        running.client.press("ok")
        running.client.wait("home")
        assert open_pairing(running)["screen"]["id"] == "pairing"
        assert open_memory(flash(data)).seal == SEALED

    flash(data).rename(kept)
    open_memory(flash(data)).set_secret(bytes(range(32)))  # the chip of another device
    with device(data, bluetooth=air.device) as running:
        enter_pin(running)
        assert open_pairing(running)["screen"]["id"] == "chip-distrusted"
        assert "belongs to another device" in adopt(running)

    kept.replace(flash(data))  # its own again, and a person who has set the device up anew
    shutil.rmtree(data / "security")
    store_seed(data, entropy=OTHER_ENTROPY)
    for file in (data / "link").iterdir():
        file.unlink()
    with device(data, bluetooth=air.device) as running:
        enter_pin(running)
        assert open_pairing(running)["screen"]["id"] == "pairing"


def test_an_ordinary_device_trusts_no_test_key(tmp_path: Path) -> None:
    development = chip_supply(tmp_path, development=True)
    assert development.signers == TEST_SIGNERS
    assert not (tmp_path / FIRMWARE_HEADER).exists()
    ordinary = chip_supply(tmp_path, development=False)
    assert set(ordinary.signers).isdisjoint(TEST_SIGNERS)
    assert len(set(ordinary.signers)) == 2
    assert chip_supply(tmp_path, development=False) == ordinary
    for name in (FUSES, FIRMWARE_HEADER):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    write_file(tmp_path / FIRMWARE_HEADER, bundled_image()[:HEADER_BYTES])
    with pytest.raises(DataDirectoryError, match="test keys"):
        chip_supply(tmp_path, development=False)
    write_file(tmp_path / FIRMWARE_HEADER, b"short")
    assert set(chip_supply(tmp_path, development=False).signers).isdisjoint(TEST_SIGNERS)
    write_file(tmp_path / FUSES, b"zz")
    with pytest.raises(DataDirectoryError):
        chip_supply(tmp_path, development=False)


def test_two_devices_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b = (chip_supply(tmp_path / name, development=False) for name in "ab")
    assert a.fuses != b.fuses
    assert a.device_id != b.device_id
    assert set(a.signers).isdisjoint(b.signers)
    assert a.fuses.hex() not in repr(a)
