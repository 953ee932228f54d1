"""The card's service: who waits, what is refused, what others find on the card."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.stored_seed import PIN, store_seed
from tests.trust_bench import bench, quick_pin

from primegap.keyos.airlock.fat import Card
from primegap.keyos.airlock.service import IMAGE, MAX_FILE_BYTES, AirlockService
from primegap.keyos.api import airlock as api
from primegap.keyos.api import security
from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Caller, Trust
from primegap.keyos.process import Process

__all__ = ["quick_pin"]

CALLER = Caller(b"A" * 16, 1, Trust.INSTALLED_APP)


@pytest.mark.guarantee("F-4", tried="the access of every message of the card")
def test_every_message_of_the_card_is_granted_by_the_person() -> None:
    access = dict(builtin_table().manifests["airlock"].access["os/airlock"])
    for ours in ("LendCard", "ReadBundle"):
        assert access.pop(ours).approval.value == "notUserGrantable"
    assert {rule.approval.value for rule in access.values()} == {"grantOnFirstUse"}
    assert {rule.group for rule in access.values()} == {"file-system.airlock-files"}


@asynccontextmanager
async def card_of_a_device(
    folder: Path,
) -> AsyncIterator[tuple[Process, Process, Callable[[Any], Coroutine[Any, Any, Any]]]]:
    """A locked device whose screen and card service the test plays, and calls of an app."""
    store_seed(folder)
    async with bench(folder, puppets=("ui", "airlock")) as device:
        ui = await device.puppet("ui")
        device.start("airlock")
        process = await device.puppet("airlock")
        service = AirlockService(process)
        service.prepare()
        service.prepare()  # what is there already stays

        async def call(request: Any) -> Any:
            return await process._handlers[request.message_id][1](CALLER, request)

        yield ui, process, call


@pytest.mark.usefixtures("quick_pin")
async def test_an_app_works_on_the_card_while_the_device_is_unlocked(tmp_path: Path) -> None:
    async with card_of_a_device(tmp_path) as (ui, _, call):

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


@pytest.mark.guarantee("F-8", tried="every message of the card while a computer has it")
@pytest.mark.usefixtures("quick_pin")
async def test_a_card_that_a_computer_has_is_left_alone(tmp_path: Path) -> None:
    """Lent, not one byte of it is touched by the device; the loan outlives the process."""
    async with card_of_a_device(tmp_path) as (ui, process, call):
        await ui.call(security.Login(PIN))
        await call(api.WriteCardFile("ours.psbt", b"1"))
        image = tmp_path / "airlock" / IMAGE
        writing = asyncio.create_task(call(api.WriteCardFile("big", bytes(MAX_FILE_BYTES))))
        await asyncio.sleep(0)
        await call(api.LendCard(lent=True))  # comes behind what is under way
        assert writing.done()
        lent = image.read_bytes()
        for starts in range(2):
            for request in (
                api.WriteCardFile("theirs.psbt", b"2"),
                api.ReadCardFile("ours.psbt"),
                api.ListFolder(""),
                api.RemoveCardFile("ours.psbt"),
                api.MakeFolder("Folder"),
            ):
                with pytest.raises(RequestError) as refused:
                    await call(request)
                assert refused.value.status is Status.DENIED
            state = await call(api.GetCard())
            assert state.lent
            assert not state.usable
            assert not [fd for fd in Path("/proc/self/fd").iterdir() if opens(fd, image)]
            if not starts:
                process._handlers.clear()
                AirlockService(process).prepare()  # it died meanwhile
        assert image.read_bytes() == lent
        fd = os.open(image, os.O_RDWR)
        try:
            Card(fd).write("from the computer.psbt", b"3")
        finally:
            os.close(fd)
        await call(api.LendCard(lent=False))
        assert (await call(api.ReadCardFile("from the computer.psbt"))).data == b"3"
        await call(api.WriteCardFile("theirs.psbt", b"2"))
        assert (await call(api.ReadCardFile("theirs.psbt"))).data == b"2"


def opens(fd: Path, image: Path) -> bool:
    try:
        return fd.readlink() == image
    except OSError:
        return False
