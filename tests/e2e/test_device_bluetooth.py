"""The chip behind an adapter process, and the switch that outlives a restart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.walking_support import eventually, processes_of, start

from primegap.demo.steps import Demo
from primegap.device.adapter import AdapterError, start_adapter
from primegap.device.air import start_air
from primegap.device.errors import BluetoothPathError
from primegap.device.launcher import DeviceSettings, start_device


async def test_a_device_pairs_through_an_adapter_named_by_a_transport_string(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual controller stands for the hardware: bumble opens it by its string."""
    from primegap.demo import steps

    adapters = []

    def air_behind_an_adapter(folder: Path) -> object:
        air = start_air(folder)
        adapter = start_adapter(air.device.replace("unix:", "unix-client:"), tmp_path / "adapter")
        adapters.append(adapter)
        air.device = adapter.device
        return air

    monkeypatch.setattr(steps, "start_air", air_behind_an_adapter)
    try:
        async with Demo(tmp_path / "run", tell=lambda _: None) as demo:
            await start(demo, until="pair")
            await demo.finger.switch_bluetooth(on=False)
            assert processes_of(demo, "radio") == []
            await eventually(lambda: not demo.companion.connected, 60)
            await demo.finger.switch_bluetooth(on=True)
            await eventually(lambda: demo.companion.connected, 60)
    finally:
        for adapter in adapters:
            adapter.stop()


def test_an_adapter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="usb"):
        start_adapter("usb:0", tmp_path)
    with pytest.raises(BluetoothPathError):
        start_device(DeviceSettings(data=tmp_path / "device", network="regtest", bluetooth="usb:0"))
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "primegap.cli",
            "--data-dir",
            str(tmp_path),
            "device",
            "run",
            "--bluetooth",
            "usb:0",
            "--port",
            "0",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "--bluetooth none" in run.stderr


@pytest.mark.guarantee(
    "L-7", tried="the air gap and the switch turned on the screen, and a restart"
)
@pytest.mark.parametrize("how", ["switch", "air gap"])
async def test_bluetooth_that_was_switched_off_stays_off(tmp_path: Path, how: str) -> None:
    async with Demo(tmp_path / "run", tell=lambda _: None) as demo:
        await start(demo, until="set-up")
        if how == "switch":
            await demo.finger.switch_bluetooth(on=False)
        else:
            await eventually(lambda: processes_of(demo, "radio") != [])
            await demo.finger.press("security")
            await demo.finger.wait("security")
            await demo.finger.press("air-gap")
            shown = await demo.finger.wait("security")
            while not shown["screen"]["items"][0]["on"]:
                await asyncio.sleep(0.02)
                shown = await demo.finger.wait("security")
            # Whoever sees the switch on can rely on it: the process is gone, not about to go.
            assert processes_of(demo, "radio") == []
        demo.device.process.terminate()
        await asyncio.to_thread(demo.device.process.wait)
        settings = DeviceSettings(
            data=demo.folder / "device",
            network="regtest",
            development=True,
            bluetooth=demo.air.device,
        )
        assert demo.device.process.stdout is not None
        demo.device.process.stdout.close()
        demo.device = start_device(settings, journal=subprocess.DEVNULL)
        try:
            await eventually(lambda: processes_of(demo, "bitcoin") != [])
            await asyncio.sleep(1)
            assert processes_of(demo, "radio") == []
        finally:
            demo.device.process.terminate()
            demo.device.process.communicate()
