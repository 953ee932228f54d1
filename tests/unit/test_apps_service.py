"""Installing, starting and removing apps on a whole device, every process a task (A-4 to A-9)."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from tests.bundle_kit import publisher, signed_bundle
from tests.trust_bench import Bench, bench, quick_hand, quick_pin

from primegap.files import StorageError
from primegap.keyos.airlock.fat import Card
from primegap.keyos.airlock.service import IMAGE
from primegap.keyos.api import security, storage, ui
from primegap.keyos.app_manager.policy import judge_install
from primegap.keyos.app_manager.registry import Registry, role_of
from primegap.keyos.app_manager.shelf import Shelf
from primegap.keyos.bundle import (
    derive_app_id,
    parse_certificate_untrusted,
    verify_bundle_untrusted,
)
from primegap.keyos.core.builtin import builtin_manifests
from primegap.keyos.process import Process
from primegap.keyos.ui.canonical import encode_screen
from primegap.keyos.ui.screen import Button, Screen, Text

__all__ = ["quick_hand", "quick_pin"]  # fixtures

pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")

HELLO: Final = signed_bundle(
    permissions={
        "os/ui": ["Present", "WaitOpened", "Close"],
        "os/security": ["GetAppSeed"],
    }
)
UPDATE: Final = signed_bundle(
    version="1.3.0",
    permissions={"os/ui": ["Present", "WaitOpened", "Close"], "os/camera": ["NextCode"]},
)
APP_ID: Final = derive_app_id(
    parse_certificate_untrusted(publisher().certificate).fingerprint, "hello"
)
ROLE: Final = role_of(APP_ID)


async def hello(process: Process) -> None:
    """What the app does: shows a screen until it is left, and leaves something in its folder."""
    process.serve()
    await process.call(ui.WaitOpened())
    (process.data / "note").write_text("mine")
    await show(process)


async def show(process: Process) -> None:
    """Show a screen until the person leaves it."""
    screen = Screen(id="hello", title="Hello", items=(Text("Hi"),), buttons=(Button("bye", "Bye"),))
    await process.call(ui.Present(encode_screen(screen)), ui.Pressed)
    await process.call(ui.Close())


def device(folder: Path) -> Any:
    return bench(folder, entries={ROLE: hello})


async def tile(one: Bench, name: str) -> None:
    """Press a tile of the home screen, on whichever page it is."""
    await one.wait("home")
    while one.panel.target(name) is None:
        await one.press("page:next")
    await one.press(name)


async def developer_on(one: Bench) -> None:
    await tile(one, "apps")
    await one.press("developer")
    await one.approve("developer-mode")
    await one.wait("apps")
    await one.press("back")


async def refused(one: Bench, kind: str, data: bytes = b"") -> str:
    answer = await asyncio.wait_for(one.port.ask(kind, data), 60)
    return str(answer.get("error", answer))


async def install(one: Bench, data: bytes, *screens: str) -> dict[str, Any]:
    job = asyncio.ensure_future(one.port.ask("install", data))
    for screen in screens:
        await one.approve(screen)
    return await asyncio.wait_for(job, 60)


@pytest.mark.guarantee("A-8", tried="an app installed, used, removed")
async def test_from_offer_to_removal(tmp_path: Path) -> None:
    async with device(tmp_path) as one:
        await one.set_up()
        assert await refused(one, "install", HELLO) == "developer-mode-off"
        assert await refused(one, "list") == "developer-mode-off"
        await developer_on(one)
        done = await install(one, HELLO, "accept-publisher", "install-app")
        assert done["installed"]["app_id"] == APP_ID.hex()
        listed = (await one.port.ask("list", b""))["apps"]
        assert [app["identifier"] for app in listed] == ["hello"]

        await tile(one, f"app:{ROLE}")
        assert (await one.wait("hello"))["app"] == "Hello"
        assert await refused(one, "install", UPDATE) == "app-running"
        await one.press("bye")
        await one.wait("home")
        assert (tmp_path / ROLE / "note").read_text() == "mine"

        done = await install(one, UPDATE, "update-app")
        assert done["installed"]["version"] == "1.3.0"
        assert (tmp_path / ROLE / "note").exists()
        assert await refused(one, "install", HELLO) == "app-older-version"

        job = asyncio.ensure_future(one.port.ask("remove", b"hello"))
        await one.approve("remove-app")
        assert (await job)["removed"]["app_id"] == APP_ID.hex()
        assert not (tmp_path / ROLE).exists()
        assert (await one.port.ask("list", b""))["apps"] == []
        assert ROLE not in one.table.manifests
        assert await refused(one, "remove", b"hello") == "app-not-installed"
        # The person knows the publisher already, and is asked about the app alone.
        await install(one, HELLO, "install-app")


@pytest.mark.guarantee("A-5", "A-9", tried="bundles on the card, good, altered, empty, declined")
async def test_an_app_from_the_card_is_judged_as_from_anywhere(tmp_path: Path) -> None:
    """Chosen on the trusted screen, without developer mode; nothing of it is taken on trust."""
    image = tmp_path / "airlock" / IMAGE
    altered = bytearray(HELLO)
    altered[-40] ^= 1
    async with device(tmp_path) as one:
        await one.set_up()
        while not image.exists():
            await asyncio.sleep(0.01)
        fd = os.open(image, os.O_RDWR)
        card = Card(fd)
        card.write("a-altered.app", bytes(altered))
        card.write("b-hello.app", HELLO)
        card.write("c-empty.app", b"")
        card.write("d-note.txt", b"app")
        os.close(fd)
        await tile(one, "security")
        await one.press("card")
        for entry in ("entry:0", "entry:2"):
            await one.press(entry, "install")
            told = await one.wait("message")
            assert "It was not installed" in str(told)
            await one.press("ok")
        await one.press("entry:3")
        await one.wait("card-entry")
        assert one.panel.target("install") is None
        await one.press("back", "entry:1", "install")
        await one.wait("accept-publisher")
        await one.press("reject")
        await one.press("ok")
        assert ROLE not in one.table.manifests
        await one.press("entry:1", "install")
        await one.approve("accept-publisher")
        await one.approve("install-app")
        await one.press("ok", "back", "back")
        await tile(one, f"app:{ROLE}")
        assert (await one.wait("hello"))["app"] == "Hello"


async def test_an_app_that_others_work_with_is_updated_under_them_and_not_removed(
    tmp_path: Path,
) -> None:
    """The user of a server outlives the server's updates, and is never left without it."""

    def made(identifier: str, **changes: Any) -> bytes:
        return signed_bundle(
            identifier=identifier, appName={"en": identifier.capitalize()}, **changes
        )

    def offers(version: str, *messages: str) -> bytes:
        rule = {"permissionGroup": "ui-and-input.app-surface", "approval": "autoAllow"}
        desk = {name: {"id": number, **rule} for number, name in enumerate(messages, 1)}
        return made("desk", version=version, servers={"app/desk": desk})

    user = made(
        "guest", permissions={"app/desk": ["Ask"], "os/ui": ["Present", "WaitOpened", "Close"]}
    )
    guest = role_of(derive_app_id(fingerprint(), "guest"))
    desk = role_of(derive_app_id(fingerprint(), "desk"))
    async with bench(tmp_path, entries={guest: show_when_opened}) as one:
        await one.set_up()
        await developer_on(one)
        assert await refused(one, "install", user) == "app-permission-refused"
        await install(one, offers("1.0.0", "Ask"), "accept-publisher", "install-app")
        await install(one, user, "install-app")
        done = await install(one, offers("1.1.0", "Tell", "Ask"), "update-app")
        assert done["installed"]["version"] == "1.1.0"
        assert one.table.manifests[desk].servers["app/desk"]["Ask"] == 2
        assert guest in one.table.manifests
        await tile(one, f"app:{guest}")
        await one.wait("hello")
        await one.press("bye")
        assert await refused(one, "install", offers("1.2.0", "Tell")) == "app-needed"
        job = asyncio.ensure_future(one.port.ask("remove", b"desk"))
        await one.approve("remove-app")
        assert (await job)["error"] == "app-needed"
        assert {guest, desk} <= set(one.table.manifests)
        for name in (b"guest", b"desk"):
            job = asyncio.ensure_future(one.port.ask("remove", name))
            await one.approve("remove-app")
            assert "removed" in await job


async def show_when_opened(process: Process) -> None:
    process.serve()
    await process.call(ui.WaitOpened())
    await show(process)


def fingerprint() -> bytes:
    return parse_certificate_untrusted(publisher().certificate).fingerprint


async def asking(process: Process) -> None:
    """Uses its secret before it shows anything, and leaves a file with the storage service."""
    process.serve()
    await process.call(ui.WaitOpened())
    await process.call(security.GetAppSeed(), security.AppSeed)
    await process.call(storage.WriteFile("note", b"mine"))
    await show(process)


@pytest.mark.guarantee("A-8", "R-7", tried="an app removed and installed again")
async def test_a_removed_app_begins_anew_and_asks_again(tmp_path: Path) -> None:
    data = signed_bundle(
        permissions={
            "os/ui": ["Present", "WaitOpened", "Close"],
            "os/security": ["GetAppSeed"],
            "os/storage": ["WriteFile"],
        }
    )
    async with bench(tmp_path, entries={ROLE: asking}) as one:
        await one.set_up()
        await developer_on(one)
        await install(one, data, "accept-publisher", "install-app")
        for times in range(2):
            await tile(one, f"app:{ROLE}")
            await one.wait("ask-permission")
            await one.press("always")
            await one.wait("hello")
            assert (await stored_by_apps(one))[APP_ID] == 1
            if times == 0:
                job = asyncio.ensure_future(one.port.ask("remove", APP_ID.hex().encode()))
                await one.approve("remove-app")
                assert "removed" in await job
                assert (await stored_by_apps(one)).get(APP_ID, 0) == 0
                await install(one, data, "install-app")


async def stored_by_apps(one: Bench) -> dict[bytes, int]:
    """Return how many files each app has with the storage service, as that one counts."""
    usage = await one.processes["ui"].call(storage.GetUsage(), storage.Usage)
    return {app.app_id: app.files for app in usage.apps}


async def test_what_is_installed_outlives_a_restart_and_a_killed_app_manager(
    tmp_path: Path,
) -> None:
    async with device(tmp_path) as one:
        await one.set_up()
        await developer_on(one)
        await install(one, HELLO, "accept-publisher", "install-app")
        one.kill("app-manager")
        await tile(one, f"app:{ROLE}")
        await one.wait("hello")
        one.kill("app-manager")  # the app goes on
        await one.press("bye")
        await one.wait("home")
    async with device(tmp_path) as one:
        assert await refused(one, "list") == "device-locked"
        await one.unlock()
        await tile(one, f"app:{ROLE}")
        await one.wait("hello")


async def test_the_person_says_no(tmp_path: Path) -> None:
    async with device(tmp_path) as one:
        await one.set_up()
        await tile(one, "apps")
        await one.press("developer")
        await one.wait("developer-mode")
        await one.press("reject")
        await one.wait("message")
        await one.press("ok")
        await one.press("back")
        assert await refused(one, "list") == "developer-mode-off"
        await developer_on(one)
        for answer in (("accept-publisher",), ("accept-publisher", "install-app")):
            job = asyncio.ensure_future(one.port.ask("install", HELLO))
            for screen in answer[:-1]:
                await one.approve(screen)
            await one.wait(answer[-1])
            await one.press("reject")
            assert (await job)["error"] == "app-declined"
        assert (await one.port.ask("list", b""))["apps"] == []
        assert list((tmp_path / "app-manager" / "bundles").iterdir()) == []
        assert ROLE not in one.table.manifests
        # Saying no to the app leaves its publisher unknown.
        registry = await stored(one, tmp_path)
        assert registry.publishers == {}


async def stored(one: Bench, folder: Path) -> Registry:
    process = one.processes["app-manager"]
    seed = await process.call(security.GetAppSeed(), security.AppSeed)
    shelf = Shelf(folder / "app-manager", seed.seed, log=lambda line: None)
    await shelf.load()
    return shelf.registry


@pytest.mark.guarantee(
    "A-9", tried="every developer command with the mode off, while locked, under a question"
)
async def test_the_developers_door_while_locked_and_while_a_question_is_shown(
    tmp_path: Path,
) -> None:
    """A-9: no command gets past the lock, none answers a question or changes what it shows."""
    async with device(tmp_path) as one:
        await one.set_up()
        await developer_on(one)
        job = asyncio.ensure_future(one.port.ask("install", HELLO))
        shown = await one.wait("accept-publisher")
        assert await refused(one, "install", UPDATE) == "app-busy"
        assert await refused(one, "remove", b"hello") == "app-not-installed"
        assert await refused(one, "approve") == "app-not-installed"
        assert (await one.port.ask("list", b""))["apps"] == []
        assert one.shown() == shown
        await one.press("reject")
        assert (await job)["error"] == "app-declined"
        await one.wait("home")
        await one.press("lock")
        await one.wait("unlock")
        for kind, data in (("install", HELLO), ("list", b""), ("remove", b"hello")):
            assert await refused(one, kind, data) == "device-locked"
        assert one.shown()["id"] == "unlock"


@pytest.mark.guarantee("A-3", "A-5", tried="bundles that do not hold, offered")
async def test_bundles_that_do_not_hold_ask_nobody(tmp_path: Path) -> None:
    async with device(tmp_path) as one:
        await one.set_up()
        await developer_on(one)
        expired = publisher(3, "Late", not_before_s=1_000_000_000, not_after_s=1_100_000_000)
        cases = {
            b"": "bundle-archive",
            HELLO[:-1]: "bundle-archive",
            signed_bundle(expired, identifier="late"): "publisher-certificate-date",
            signed_bundle(minKeyosVersion="99.0.0"): "app-needs-newer-system",
            signed_bundle(identifier="bitcoin"): "app-built-in",
            signed_bundle(permissions={"os/security": ["Login"]}): "app-permission-refused",
            signed_bundle(appName={"en": "bitcoin"}): "app-name-taken",
        }
        for data, code in cases.items():
            assert await refused(one, "install", data) == code
        assert one.shown()["id"] == "home"
        assert list((tmp_path / "app-manager" / "bundles").iterdir()) == []


@pytest.mark.guarantee("A-6", "A-7", tried="stored bytes swapped, the publisher removed")
async def test_a_swapped_bundle_or_a_removed_publisher_does_not_start(tmp_path: Path) -> None:
    """A-6, A-7: each start checks the stored bytes again, and whether they are still wanted."""
    async with device(tmp_path) as one:
        await one.set_up()
        await developer_on(one)
        await install(one, HELLO, "accept-publisher", "install-app")
        (file,) = (tmp_path / "app-manager" / "bundles").iterdir()
        for swapped in (signed_bundle(), HELLO[:5000] + b"x" + HELLO[5001:], b""):
            file.write_bytes(swapped)
            await tile(one, f"app:{ROLE}")
            await one.wait("message")
            assert ROLE not in one.running
            await one.press("ok")
        file.write_bytes(HELLO)
        await tile(one, "apps")
        await one.press("publishers")
        await one.wait("publishers")
        choice = next(
            target["id"]
            for target in one.finger.screen()["targets"]
            if target["id"].startswith("publisher:")
        )
        await one.press(choice, "remove")
        await one.wait("publishers")
        await one.press("back", "back")
        await tile(one, f"app:{ROLE}")
        await one.wait("message")
        assert ROLE not in one.running
        await one.press("ok")
        # The same app, offered again, makes its publisher known again.
        await install(one, HELLO, "accept-publisher", "update-app")
        await tile(one, f"app:{ROLE}")
        await one.wait("hello")


# -- power cuts -----------------------------------------------------------------------------------


class PowerCutError(BaseException):
    """Everything stops here; no handler of ours runs on."""


SEED: Final = bytes(range(32))


async def shelf_at(folder: Path) -> Shelf:
    shelf = Shelf(folder, SEED, log=lambda line: None)
    await shelf.load()
    return shelf


def put(shelf: Shelf, data: bytes) -> None:
    plan = judge_install(
        verify_bundle_untrusted(data),
        shelf.registry,
        builtin=builtin_manifests(),
        others=[],
        running=(),
        system_version="0.1.0",
        now_s=1_780_000_000,
    )
    shelf.install(plan.app, plan.certificate, data)


@pytest.mark.guarantee("A-4", tried="a power cut at every step of installing, updating, removing")
@pytest.mark.parametrize("what", ["install", "update", "remove", "erased"])
async def test_power_cuts_at_every_step_leave_the_old_or_the_new(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    before = await shelf_at(origin)
    if what != "install":
        put(before, HELLO)
    if what == "erased":
        before.commit(before.registry.removing(APP_ID))
    old = before.registry

    def change(shelf: Shelf) -> None:
        match what:
            case "install":
                put(shelf, HELLO)
            case "update":
                put(shelf, UPDATE)
            case "remove":
                shelf.commit(shelf.registry.removing(APP_ID))
            case _:
                shelf.commit(shelf.registry.erased(APP_ID))

    seen = set()
    for step in range(1000):
        folder = tmp_path / f"cut{step}"
        shutil.copytree(origin, folder)
        shelf = await shelf_at(folder)
        left = step
        with monkeypatch.context() as patch:

            def cut(real: Any) -> Any:
                def call(*arguments: Any, **named: Any) -> Any:
                    nonlocal left
                    if left == 0:
                        raise PowerCutError
                    left -= 1
                    return real(*arguments, **named)

                return call

            for name in ("open", "write", "fsync", "close", "listdir"):
                patch.setattr(f"os.{name}", cut(getattr(__import__("os"), name)))
            patch.setattr(Path, "replace", cut(Path.replace))
            patch.setattr(Path, "unlink", cut(Path.unlink))
            try:
                change(shelf)
                complete = True
            except PowerCutError:
                complete = False
        after = await shelf_at(folder)
        seen.add("old" if after.registry == old else "new")
        if complete:
            assert after.registry == shelf.registry != old
        names = {path.name for path in (folder / "bundles").iterdir()}
        assert names == {f"{a.sha256.hex()}.app" for a in after.registry.apps.values()}
        for app in after.registry.apps.values():
            data = after.bundle(app)
            assert data is not None
            assert verify_bundle_untrusted(data).sha256 == app.sha256
        if complete:
            break
    assert step > 5
    assert seen == {"old", "new"}


@pytest.mark.guarantee("A-4", "F-9", tried="a full disk")
async def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = await shelf_at(tmp_path)
    put(shelf, HELLO)
    old = shelf.registry

    def full(path: Path, data: bytes) -> None:
        raise StorageError("no space left")

    for place in ("store", "storage"):
        target = {
            "store": "primegap.keyos.app_manager.store.write_file",
            "storage": "primegap.keyos.storage.sealed.write_file",
        }[place]
        with monkeypatch.context() as patch:
            patch.setattr(target, full)
            with pytest.raises(StorageError):
                put(shelf, UPDATE)
        assert shelf.registry == old
        assert (await shelf_at(tmp_path)).registry == old
