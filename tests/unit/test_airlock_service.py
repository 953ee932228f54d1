"""The card's service: who waits, what is refused, what others find on the card."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.stored_seed import PIN, store_seed
from tests.trust_bench import bench, quick_pin

from primegap.keyos.airlock.service import IMAGE, MAX_FILE_BYTES, AirlockService
from primegap.keyos.api import airlock as api
from primegap.keyos.api import security
from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Caller, Trust

__all__ = ["quick_pin"]

CALLER = Caller(b"A" * 16, 1, Trust.INSTALLED_APP)


@pytest.mark.guarantee("F-4", tried="the access of every message of the card")
def test_every_message_of_the_card_is_granted_by_the_person() -> None:
    access = builtin_table().manifests["airlock"].access["os/airlock"]
    assert {rule.approval.value for rule in access.values()} == {"grantOnFirstUse"}
    assert {rule.group for rule in access.values()} == {"file-system.airlock-files"}


@pytest.mark.usefixtures("quick_pin")
async def test_an_app_works_on_the_card_while_the_device_is_unlocked(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui", "airlock")) as device:
        ui = await device.puppet("ui")
        device.start("airlock")
        process = await device.puppet("airlock")
        service = AirlockService(process)
        service.prepare()
        service.prepare()

        async def call(request: Any) -> Any:
            return await process._handlers[request.message_id][1](CALLER, request)

        async def refused(request: Any) -> Status:
            with pytest.raises(RequestError) as error:
                await call(request)
            return error.value.status

        early = asyncio.create_task(call(api.WriteCardFile("early.psbt", b"1")))
        await asyncio.sleep(0.1)
        assert not early.done()
        await ui.call(security.Login(PIN))
        await early
        await call(api.MakeFolder("Exports"))
        content = os.urandom(MAX_FILE_BYTES)
        await call(api.WriteCardFile("Exports/wallet of mine.json", content))
        assert (await call(api.ReadCardFile("exports/wallet of mine.json"))).data == content
        listed = (await call(api.ListFolder(""))).entries
        assert [(e.name, e.folder) for e in listed] == [("early.psbt", False), ("Exports", True)]
        state = await call(api.GetCard())
        assert state.usable
        assert MAX_FILE_BYTES < state.free < state.total
        assert await refused(api.ReadCardFile("none")) is Status.NOT_FOUND
        assert await refused(api.ReadCardFile("../x")) is Status.MALFORMED
        assert await refused(api.RemoveCardFile("Exports")) is Status.MALFORMED
        big = api.WriteCardFile("big", bytes(MAX_FILE_BYTES + 1))
        assert await refused(big) is Status.TOO_LARGE
        if shutil.which("mtype") is not None:
            found = subprocess.run(
                ["mtype", "-i", tmp_path / "airlock" / IMAGE, "::early.psbt"],
                capture_output=True,
                check=True,
            )
            assert found.stdout == b"1"
        await call(api.RemoveCardFile("early.psbt"))
        (tmp_path / "airlock" / IMAGE).write_bytes(bytes(4096))
        assert await refused(api.ListFolder("")) is Status.FAILED
        assert not (await call(api.GetCard())).usable
        (tmp_path / "airlock" / IMAGE).unlink()
        assert not (await call(api.GetCard())).usable
        assert await refused(api.WriteCardFile("a", b"")) is Status.NOT_FOUND
