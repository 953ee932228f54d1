"""Files of apps: who sees what, what stands on the medium, limits, and power cuts at each write."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.power_cuts import Disk, PowerCut
from tests.stored_seed import PIN, store_seed
from tests.trust_bench import Bench, bench, quick_pin

from primegap.keyos.api import security, storage
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Caller, Trust
from primegap.keyos.process import Process
from primegap.keyos.security.vault import SoftwareVault
from primegap.keyos.storage import AppFile
from primegap.keyos.storage.appdata import (
    MAX_FILE_BYTES,
    MAX_FILES,
    QUOTA_BYTES,
    AppFiles,
    FileDamagedError,
    FileNameError,
    QuotaError,
    erase_folder,
)
from primegap.keyos.storage.service import StorageService

__all__ = ["quick_pin"]

KEY = bytes(range(32))
APP, OTHER = b"A" * 16, b"B" * 16


def files(folder: Path, key: bytes = KEY) -> AppFiles:
    return AppFiles(folder, key, rng=os.urandom)


def test_what_is_written_is_read_under_its_name(tmp_path: Path) -> None:
    app = files(tmp_path / "app")
    assert app.read("state") is None
    assert app.list() == []
    app.write("state", b"one")
    app.write("state", b"second")
    app.write("no_backup/identity", b"")
    assert app.read("state") == b"second"
    assert app.read("no_backup/identity") == b""
    assert app.list() == [("no_backup/identity", 0), ("state", 6)]
    app.remove("state")
    app.remove("state")
    assert app.list() == [("no_backup/identity", 0)]


@pytest.mark.guarantee("F-6", tried="a look at the medium for names and contents")
def test_the_medium_tells_neither_names_nor_contents(tmp_path: Path) -> None:
    files(tmp_path).write("canary-name", b"canary content" * 100)
    (path,) = tmp_path.iterdir()
    assert b"canary" not in path.read_bytes()
    assert "canary" not in path.name
    assert files(tmp_path, bytes(32)).read("canary-name") is None
    assert files(tmp_path, bytes(32)).list() == []


@pytest.mark.guarantee("F-2", tried="names out of the folder, of other forms and too long")
@pytest.mark.parametrize(
    "name",
    [
        *"./\\",
        "",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\x00b",
        "a" * 65,
        "no_backup/../x",
        "no_backup/",
        " a",
        "-a",
        ".a",
        "é",
        "a\n",
        "NO_BACKUP/a",
        "a\\b",
        "con:",
        "A" * 300,
    ],
)
def test_only_plain_names_are_names(tmp_path: Path, name: str) -> None:
    app = files(tmp_path / "app")
    with pytest.raises(FileNameError):
        app.read(name)
    with pytest.raises(FileNameError):
        app.write(name, b"")
    with pytest.raises(FileNameError):
        app.remove(name)
    assert list(tmp_path.iterdir()) == []


@given(name=st.text(max_size=80))
@settings(max_examples=200)
def test_a_name_is_refused_or_stays_inside(name: str, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("names")
    app = files(folder / "app")
    try:
        app.write(name, b"x")
    except FileNameError:
        assert list(folder.iterdir()) == []
        return
    assert [path.name for path in folder.iterdir()] == ["app"]
    assert app.list() == [(name, 1)]


def test_an_altered_or_exchanged_file_is_not_read(tmp_path: Path) -> None:
    app = files(tmp_path)
    app.write("a", b"one")
    app.write("b", b"two")
    first, second = sorted(tmp_path.iterdir())
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    for name in "ab":
        with pytest.raises(FileDamagedError):
            app.read(name)
    for cut in range(0, len(one), 5):
        first.write_bytes(one[:cut])
        second.write_bytes(two[:cut] + bytes([two[cut] ^ 1]) + two[cut + 1 :])
        for name in "ab":
            with pytest.raises(FileDamagedError):
                app.read(name)


@pytest.mark.guarantee("F-9", tried="more bytes and more files than the quota")
def test_the_quota_is_never_exceeded(tmp_path: Path) -> None:
    app = files(tmp_path)
    with pytest.raises(QuotaError):
        app.write("big", bytes(MAX_FILE_BYTES + 1))
    for number in range(QUOTA_BYTES // MAX_FILE_BYTES):
        app.write(f"f{number}", bytes(MAX_FILE_BYTES))
    with pytest.raises(QuotaError):
        app.write("another", bytes(MAX_FILE_BYTES))
    assert QUOTA_BYTES - MAX_FILE_BYTES < app.used() <= QUOTA_BYTES
    app.write("f0", b"smaller")  # what replaces a file counts instead of it
    app.write("more", bytes(MAX_FILE_BYTES - 7))
    for path in tmp_path.iterdir():
        path.unlink()
    for count in range(MAX_FILES):
        (tmp_path / f"{count:04x}").touch()
    with pytest.raises(QuotaError):
        app.write("one-more", b"")


def test_a_power_cut_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    disk = Disk(rng)
    disk.install(monkeypatch)
    app = files(tmp_path)
    app.write("state", b"0")
    app.write("other", b"untouched")
    before = b"0"
    for number in range(600):
        disk.left = rng.randrange(8)
        after = b"%d" % number * rng.randrange(1, 50)
        try:
            app.write("state", after)
            assert disk.left >= 0
            before = after
        except PowerCut:
            pass
        disk.left = -1
        found = files(tmp_path).read("state")
        assert found in (before, after)
        assert found is not None
        before = found
        assert [name for name, _ in files(tmp_path).list()] == ["other", "state"]
    assert app.read("other") == b"untouched"


def test_an_erasure_that_was_cut_is_completed(tmp_path: Path) -> None:
    for stage in ("before", "renamed", "half"):
        folder = tmp_path / "app"
        app = files(folder)
        app.write("a", b"1")
        app.write("b", b"2")
        if stage != "before":
            folder.replace(tmp_path / "app.new")
        if stage == "half":
            next((tmp_path / "app.new").iterdir()).unlink()
        erase_folder(folder)
        assert list(tmp_path.iterdir()) == []


# -- the service --------------------------------------------------------------------------------


class Callers:
    """Calls the handlers of a service that runs on a bench as one app or another."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def call(self, app_id: bytes, request: Any) -> Any:
        handler = self.process._handlers[request.message_id][1]
        return await handler(Caller(app_id, 1, Trust.INSTALLED_APP), request)


async def start(device: Bench) -> tuple[Process, Callers]:
    ui = await device.puppet("ui")
    device.start("storage")
    process = await device.puppet("storage")
    StorageService(process)
    return ui, Callers(process)


async def refused(call: Any) -> Status:
    with pytest.raises(RequestError) as error:
        await call
    return error.value.status


@pytest.mark.guarantee(
    "F-1", "F-5", "F-7", tried="two apps, locked and unlocked, each at the other's"
)
@pytest.mark.usefixtures("quick_pin")
async def test_each_app_has_its_own_files_and_none_while_locked(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui", "storage")) as device:
        ui, apps = await start(device)
        for request in (
            storage.ReadFile("a"),
            storage.WriteFile("a", b""),
            storage.RemoveFile("a"),
            storage.ListFiles(),
        ):
            assert await refused(apps.call(APP, request)) is Status.LOCKED
        await ui.call(security.Login(PIN))
        await apps.call(APP, storage.WriteFile("a", b"mine"))
        assert (await apps.call(APP, storage.ReadFile("a"))).data == b"mine"
        assert await refused(apps.call(OTHER, storage.ReadFile("a"))) is Status.NOT_FOUND
        assert (await apps.call(OTHER, storage.ListFiles())).files == ()
        assert await refused(apps.call(APP, storage.ReadFile("../a"))) is Status.MALFORMED
        big = storage.WriteFile("a", bytes(MAX_FILE_BYTES + 1))
        assert await refused(apps.call(APP, big)) is Status.TOO_LARGE
        await ui.call(security.Logout())
        assert await refused(apps.call(APP, storage.ReadFile("a"))) is Status.LOCKED
        usage = await apps.call(APP, storage.GetUsage())
        assert usage.apps == (storage.AppUsage(APP, 4, 1),)
        await ui.call(security.GetState())
        await ui.call(security.Login(PIN))
        assert (await apps.call(APP, storage.ReadFile("a"))).data == b"mine"


@pytest.mark.guarantee("A-8", tried="an app's files erased while the device is locked")
@pytest.mark.usefixtures("quick_pin")
async def test_erased_apps_and_erased_seeds_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "security").mkdir()
    vault = SoftwareVault(tmp_path / "security", rng=os.urandom)
    vault.seal(PIN, os.urandom(64) + bytes(16))
    async with bench(tmp_path, puppets=("ui", "storage")) as device:
        ui, apps = await start(device)
        await ui.call(security.Login(PIN))
        for app_id in (APP, OTHER):
            await apps.call(app_id, storage.WriteFile("a", b"1"))
        await ui.call(security.Logout())
        await apps.call(b"", storage.EraseApp(APP))
        assert await refused(apps.call(b"", storage.EraseApp(b"short"))) is Status.MALFORMED
        await ui.call(security.GetState())
        await ui.call(security.Login(PIN))
        assert (await apps.call(APP, storage.ListFiles())).files == ()
        assert (await apps.call(OTHER, storage.ReadFile("a"))).data == b"1"
        # The same words on a device that was erased: what was stored before is noise, and goes.
        await ui.call(security.Erase())
        await ui.call(security.GetState())
        vault.seal(PIN, os.urandom(64) + bytes(16))
        await ui.call(security.Login(PIN))
        assert (await apps.call(OTHER, storage.ListFiles())).files == ()
        assert len(list((tmp_path / "storage").iterdir())) == 0


@pytest.mark.usefixtures("quick_pin")
async def test_apps_write_at_the_same_time_and_in_order(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui", "storage")) as device:
        ui, apps = await start(device)
        await ui.call(security.Login(PIN))
        await asyncio.gather(
            *(
                apps.call(app_id, storage.WriteFile("a", app_id + b"%d" % number))
                for number in range(20)
                for app_id in (APP, OTHER)
            )
        )
        for app_id in (APP, OTHER):
            assert (await apps.call(app_id, storage.ReadFile("a"))).data == app_id + b"19"


class OneApp:
    """What an app's own code holds: its calls reach the services of a bench."""

    def __init__(self, device: Bench, apps: Callers) -> None:
        self._security = Callers(device.processes["security"])
        self._storage = apps

    async def call(self, request: Any, reply: Any = None) -> Any:
        server = self._security if isinstance(request, security.WaitUnlocked) else self._storage
        return await server.call(APP, request)


@pytest.mark.usefixtures("quick_pin")
async def test_an_apps_file_waits_for_the_device_and_passes_on_what_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "security").mkdir()
    SoftwareVault(tmp_path / "security", rng=os.urandom).seal(PIN, bytes(80))
    async with bench(tmp_path, puppets=("ui", "storage")) as device:
        ui, apps = await start(device)
        file = AppFile(cast("Process", OneApp(device, apps)), "a")
        writing = asyncio.create_task(file.write(b"mine"))
        done, _ = await asyncio.wait({writing}, timeout=0.05)
        assert not done
        await ui.call(security.Login(PIN))
        await writing
        assert await file.read() == b"mine"
        assert await refused(file.write(bytes(MAX_FILE_BYTES + 1))) is Status.TOO_LARGE
        await file.remove()
        assert await file.read() is None
        unnamed = AppFile(cast("Process", OneApp(device, apps)), "../a")
        assert await refused(unnamed.read()) is Status.MALFORMED
