"""Attacks by pictures on the camera, and by a camera process in other hands on the app."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image
from tests.stored_seed import store_seed
from tests.trust_bench import Bench, bench, quick_hand, quick_pin

from primegap.airgap import UrEncoder
from primegap.demo.pictures import qr_picture
from primegap.device.errors import DeviceError
from primegap.keyos.api import camera, core
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.messages import Message
from primegap.keyos.process import Process

__all__ = ["quick_hand", "quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Bench]:
    store_seed(tmp_path)
    async with bench(tmp_path) as running:
        await running.unlock()
        await running.press("app:bitcoin")
        await running.wait("bitcoin")
        yield running
        assert running.alive, running.journal.text


async def held_up(device: Bench, picture: bytes) -> str:
    async with asyncio.timeout(10):
        return await device.panel.hold_up_picture(picture)


def pictures() -> list[bytes]:
    good = qr_picture("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
    chance = random.Random(7)
    found = [b"", b"\x00", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", os.urandom(5000), good[:200]]
    for _ in range(25):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 20)):
            damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
        found.append(bytes(damaged))
    for size in ((1, 1), (30_000, 1), (4000, 4000)):
        out = io.BytesIO()
        Image.new("L", size, 255).save(out, "PNG")
        found.append(out.getvalue())
    bomb = bytearray(found[-1])
    bomb[16:24] = (1 << 31).to_bytes(4, "big") * 2  # a picture of four billion rows, it says
    return [*found, bytes(bomb)]


async def test_no_picture_stops_the_camera(device: Bench) -> None:
    assert await held_up(device, b"x") == "idle"  # nobody scans: it is not even looked at
    await device.press("check")
    await device.wait("scanning")
    for picture in pictures():
        verdict = await held_up(device, picture)
        if verdict == "read":
            await device.press("ok", "check")
            await device.wait("scanning")
        assert verdict in ("read", "nothing", "unreadable")
    assert device.starts["camera"] == device.starts["bitcoin"] == 1
    await held_up(device, qr_picture("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"))
    await device.wait("address-foreign")


TEXTS: Final = (
    "",
    "\x00",
    "\u202eevil",
    "bitcoin:" + "?" * 5000,
    "a" * 1_000_000,
    "ur:crypto-psbt/",
    "ur:crypto-psbt/1-1/" + "ae" * 4000,
    "ur:crypto-psbt/99999999-1/lpad",
    "UR:CRYPTO-PSBT/" + "9" * 50 + "-1/AE",
    "ur:bytes/oyadtsctiajpes",
    "ur:crypto-psbt/taaddw" * 100,
)


WAY_BACK: Final = {
    "scanning": "cancel",
    "address-foreign": "ok",
    "bitcoin-problem": "ok",
    "home": "app:bitcoin",
}


class Liar:
    """A camera process in other hands: answers what the test wants."""

    def __init__(self, process: Process) -> None:
        self.answers: asyncio.Queue[Message | RequestError] = asyncio.Queue()
        process.handle(camera.NextCode, self._answer)
        process.serve()

    async def _answer(self, caller: Any, request: camera.NextCode) -> Message:
        del caller, request
        answer = await self.answers.get()
        if isinstance(answer, RequestError):
            raise answer
        return answer


async def test_no_answer_of_the_camera_stops_the_app(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("camera",)) as device:
        liar = Liar(await device.puppet("camera"))
        await device.unlock()
        await device.press("app:bitcoin")
        lies: list[Message | RequestError] = [camera.Code(text) for text in TEXTS]
        lies += [
            core.SystemInfo((), (), False, 1, (), False),  # not an answer to this at all
            RequestError(Status.BUSY, "\u202e\n" * 50),
            RequestError(Status.FAILED, ""),
        ]
        for choice in ("check", "sign"):
            for lie in lies:
                await device.press(choice)
                await device.wait("scanning")
                liar.answers.put_nowait(lie)
                await asyncio.sleep(0.1)
                async with asyncio.timeout(20):  # the screen may change under the finger
                    while (shown := device.shown()["id"]) != "bitcoin":
                        with contextlib.suppress(DeviceError):
                            await device.finger.press(WAY_BACK.get(shown, ""), timeout_s=0)
                        await asyncio.sleep(0.02)
        assert device.starts["bitcoin"] == 1
        await device.press("check")
        await device.wait("scanning")
        device.kill("camera")  # while somebody waits for it
        await device.wait("bitcoin-problem")
        await device.press("ok")
        await device.wait("bitcoin")


async def test_a_payment_by_picture_is_shown_and_asked_for_like_any_other(device: Bench) -> None:
    """Garbage in a well-formed UR: refused with a reason, nothing signed."""
    await device.press("sign")
    await device.wait("scanning")
    encoder = UrEncoder("crypto-psbt", b"\x58\x20" + os.urandom(32), 100)
    assert await held_up(device, qr_picture(encoder.next_part())) == "read"
    await device.wait("bitcoin-problem")
    await device.press("ok")
    await device.wait("bitcoin")
