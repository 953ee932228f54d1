"""What comes in from outside is for the app that the person has in front, and for no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.stored_seed import store_seed
from tests.trust_bench import bench, quick_hand, quick_pin

from primegap.demo.pictures import qr_picture
from primegap.keyos.api import camera, ui
from primegap.keyos.errors import RequestError

__all__ = ["quick_hand", "quick_pin"]


@pytest.mark.usefixtures("quick_pin", "quick_hand")
@pytest.mark.guarantee(
    "U-3", tried="an app in the background that asks the camera for what it sees"
)
async def test_an_app_in_the_background_gets_no_picture(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("authenticator",)) as device:
        await device.unlock()
        await device.wait("home")
        spy = await device.puppet("authenticator")
        async with asyncio.timeout(20):
            with pytest.raises(RequestError):
                await spy.call(camera.NextCode(), camera.Code)
            # Opened, it looks; left, it gets nothing, and the app in front has the camera.
            await device.press("app:authenticator")
            looking = asyncio.create_task(spy.call(camera.NextCode(), camera.Code))
            await asyncio.sleep(0.2)
            assert not looking.done()
            await spy.call(ui.Close())
            await device.press("app:bitcoin", "check")
            await device.wait("scanning")
            with pytest.raises(RequestError):
                await looking
            assert await device.panel.hold_up_picture(qr_picture("bitcoin:nothing")) == "read"
