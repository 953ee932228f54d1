"""A device without isolation: marked, with the test seed, kept apart from all others (M-1, M-2)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.e2e.device_support import Running, device, make_data_directory
from tests.e2e.hostile.vault_api import MESSAGES
from tests.e2e.sandbox_support import HERE, Role, running_device

from primegap.device.errors import DataDirectoryModeError, SimulatorNetworkError
from primegap.device.launcher import DeviceSettings, prepare_data_directory, start_device
from primegap.keyos.ui import screens, theme
from primegap.keyos.ui.render import frame_to_png, render
from primegap.keyos.ui.view import StatusBar, ViewState

FIRST_START = Path(__file__).parents[2] / "docs/examples/first_start.py"
TEST_SEED = [*["abandon"] * 11, "about"]


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Running]:
    with device(tmp_path / "device", simulator=True) as running:
        assert running.screen() == "welcome"
        yield running


def drawn(status: StatusBar) -> bytes:
    return frame_to_png(render(screens.welcome(), ViewState(), status))


def banner(picture: bytes) -> bytes:
    """Return the pixels at the top of a screen."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return image.crop((0, 0, image.width, theme.DEVELOPMENT_HEIGHT)).tobytes()


@pytest.mark.guarantee("M-1", tried="a start without isolation: its seed, its screens, its level")
def test_a_simulator_has_the_seed_that_everybody_knows_and_says_so(simulator: Running) -> None:
    shown = banner(simulator.client.picture())
    assert shown == banner(drawn(StatusBar(development=True, simulator=True)))
    assert shown != banner(drawn(StatusBar(development=True)))

    run = subprocess.run(
        [sys.executable, str(FIRST_START), simulator.started.url, simulator.started.token],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.stdout.split() == TEST_SEED
    assert simulator.event("support")["level"] == 3


@pytest.mark.guarantee("M-2", tried="another app's id in words, payload and front of a frame")
def test_identity_is_the_channel_s_in_a_simulator_too() -> None:
    granted = [name for name in MESSAGES if name != "Secret"]
    roles = [
        Role(name="claimant", module="claimant", permissions={"os/vault": granted}),
        Role(name="vault", module="vault", profile="service", servers={"os/vault": MESSAGES}),
    ]
    with running_device(*roles, mode=HERE, simulator=True) as device:
        found = device.report("claimant")
    assert found["answers"] == ["REPLY", "silence"]
    assert {app for app, *_ in found["seen"]} == {f"{1:032x}"}


@pytest.mark.guarantee("M-1", tried="data directories and networks of devices with real seeds")
def test_a_simulator_never_comes_near_a_real_device(tmp_path: Path) -> None:
    make_data_directory(tmp_path / "development")
    os.close(prepare_data_directory(tmp_path / "ordinary", development=False))
    os.close(prepare_data_directory(tmp_path / "simulator", development=True, simulator=True))
    for name in ("development", "ordinary"):
        for development in (False, True):
            with pytest.raises(DataDirectoryModeError):
                prepare_data_directory(tmp_path / name, development=development, simulator=True)
    for development in (False, True):
        with pytest.raises(DataDirectoryModeError):
            prepare_data_directory(tmp_path / "simulator", development=development)
    with pytest.raises(SimulatorNetworkError):
        start_device(DeviceSettings(data=tmp_path / "simulator", network="mainnet", simulator=True))
