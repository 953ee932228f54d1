"""The apps that ship, on a whole device: settings, authenticator, and the channel between them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.stored_seed import store_seed
from tests.trust_bench import Bench, bench, quick_hand, quick_pin

from primegap.apps.authenticator.otp import parse_uri_untrusted
from primegap.demo.pictures import qr_picture
from primegap.keyos.api.settings import DeviceTime, GetTime
from primegap.keyos.core.router import Action, Router
from primegap.keyos.errors import ChannelBrokenError, RequestError, Status
from primegap.keyos.frame import Frame, Kind

__all__ = ["quick_hand", "quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")

URI = "otpauth://totp/Mail:me%40example.org?secret=JBSWY3DPEHPK3PXPJBSWY3DP&issuer=Mail&period=300"
COUNTED = "otpauth://hotp/Bank:me?secret=JBSWY3DPEHPK3PXPJBSWY3DP&counter=3"


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Bench]:
    store_seed(tmp_path)
    async with bench(tmp_path) as running:
        await running.unlock()
        await running.wait("home")
        yield running
        assert running.alive, running.journal.text


def item(screen: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(i for i in screen["items"] if i["type"] == kind)
    return found


async def turn_to(device: Bench, target: str) -> None:
    """Turn pages until a target is there, and press it."""
    while device.panel.target(target) is None:
        await device.press("page:next")
    await device.press(target)


async def device_time(device: Bench) -> DeviceTime:
    """Ask as the authenticator does: over a channel between apps."""
    return await device.processes["authenticator"].call(GetTime(), DeviceTime)


async def add(device: Bench, uri: str) -> None:
    await device.press("add")
    await device.wait("otp-scanning")
    async with asyncio.timeout(20):
        while await device.panel.hold_up_picture(qr_picture(uri)) != "read":
            await asyncio.sleep(0.02)
    await device.wait("keep-account")
    await device.press("keep")


async def test_a_login_comes_by_camera_gives_codes_by_the_settings_clock_and_goes(
    device: Bench,
) -> None:
    await device.press("app:authenticator")
    await device.wait("authenticator")
    await add(device, URI)
    async with asyncio.timeout(20):
        while not (
            found := [
                i
                for i in (await device.wait("authenticator"))["items"]
                if i["type"] == "onetimecode"
            ]
        ):
            await asyncio.sleep(0.02)
    account, _ = parse_uri_untrusted(URI)
    now_s = (await device_time(device)).unix_ms // 1000
    near = {account.code_at(now_s), account.code_at(now_s - 30)}
    assert found[0]["code"].replace(" ", "") in near
    await device.press("account:0")
    await device.wait("account")
    await device.press("delete")
    await device.wait("delete-account")
    await device.press("back")
    await device.wait("account")
    await device.press("delete")
    await device.wait("delete-account")
    await device.press("confirm")
    screen = await device.wait("authenticator")
    assert item(screen, "icon")
    await device.press("leave")
    await device.wait("home")


async def test_a_counted_login_uses_each_number_once_and_survives_a_kill(device: Bench) -> None:
    await device.press("app:authenticator")
    await device.wait("authenticator")
    await add(device, COUNTED)
    await device.press("account:0", "next")
    account, counter = parse_uri_untrusted(COUNTED)
    await until_code(device, account.code_for(counter))
    device.kill("authenticator")
    await device.wait("home")
    await device.press("app:authenticator", "account:0", "next")
    await until_code(device, account.code_for(counter + 1))


async def until_code(device: Bench, code: str) -> None:
    async with asyncio.timeout(20):
        while True:
            shown = device.shown()
            with contextlib.suppress(StopIteration):
                if item(shown, "onetimecode")["code"].replace(" ", "") == code:
                    return
            await asyncio.sleep(0.02)


async def test_a_code_of_something_else_is_refused_in_words(device: Bench) -> None:
    await device.press("app:authenticator", "add")
    await device.wait("otp-scanning")
    async with asyncio.timeout(20):
        while await device.panel.hold_up_picture(qr_picture("bitcoin:abc")) != "read":
            await asyncio.sleep(0.02)
    screen = await device.wait("otp-problem")
    assert "authenticator" in item(screen, "text")["text"]
    await device.press("ok")
    await device.wait("authenticator")


async def test_the_person_sets_clock_and_zone_and_other_apps_see_it(device: Bench) -> None:
    before = await device_time(device)
    await device.press("app:settings", "time")
    await device.wait("set-time")
    await device.press("zone")
    await device.wait("choose-zone")
    await turn_to(device, "offset:780")  # one hour ahead of UTC
    await device.wait("set-time")
    await device.press("set")
    await device.wait("set-clock")
    await turn_to(device, "hour-on")
    async with asyncio.timeout(20):
        while (now := await device_time(device)).unix_ms < before.unix_ms + 3_000_000:
            await asyncio.sleep(0.02)
    assert now.offset_minutes == 60
    ahead_s = (now.unix_ms - before.unix_ms) / 1000
    assert 3600 <= ahead_s < 3640
    await turn_to(device, "system-clock")
    async with asyncio.timeout(20):
        while (await device_time(device)).unix_ms > now.unix_ms:
            await asyncio.sleep(0.02)
    # It is kept: the app is killed and asked again.
    device.kill("settings")
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Exception):
                if (await device_time(device)).offset_minutes == 60:
                    break
            await asyncio.sleep(0.02)


async def test_about_names_the_isolation_and_every_process(device: Bench) -> None:
    await device.press("app:settings", "about")
    screen = await device.wait("about")
    labels = {i["label"] for i in screen["items"] if i["type"] == "row"}
    assert {"Master fingerprint", "Isolation", "Security", "Authenticator"} <= labels
    await turn_to(device, "ok")
    await device.wait("settings")
    await device.press("grants")
    await device.wait("grants")


@pytest.mark.guarantee("P-1", "ID-3", tried="an app that the receiver's manifest does not name")
async def test_an_app_that_was_not_named_cannot_reach_the_settings(device: Bench) -> None:
    with pytest.raises(RequestError) as refused:
        await device.processes["bitcoin"].call(GetTime(), DeviceTime)
    assert refused.value.status is Status.DENIED


# -- core between the apps, watched and turned ---------------------------------------------------


@pytest.mark.guarantee("P-2", tried="what core carried between two apps searched for its content")
async def test_core_carries_nothing_that_it_could_read(
    device: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[bytes] = []
    judge = Router.client_frame
    answer = Router.service_frame

    def from_client(self: Router, number: int, frame: Frame, lent: int = 0) -> list[Action]:
        carried.append(frame.payload)
        return judge(self, number, frame, lent)

    def from_service(self: Router, role: str, frame: Frame, lent: int = 0) -> list[Action]:
        carried.append(frame.payload)
        return answer(self, role, frame, lent)

    monkeypatch.setattr(Router, "client_frame", from_client)
    monkeypatch.setattr(Router, "service_frame", from_service)
    told = await device_time(device)
    told = await device_time(device)
    stamp = (told.unix_ms // 60_000 * 60_000).to_bytes(8, "big")[:6]  # all but the last minute
    assert len(carried) >= 4  # two requests and their answers; the channel may stand already
    assert not any(stamp in payload for payload in carried)


@pytest.mark.parametrize("turned", ["alter", "repeat", "swap"])
async def test_a_router_that_is_turned_against_the_apps_is_noticed(
    device: Bench, monkeypatch: pytest.MonkeyPatch, turned: str
) -> None:
    await device_time(device)
    answer = Router.service_frame
    before: list[bytes] = []

    def lie(self: Router, role: str, frame: Frame, lent: int = 0) -> list[Action]:
        if role == "settings" and frame.kind is Kind.REPLY:
            payload = frame.payload
            if turned == "alter":
                payload = payload[:-1] + bytes((payload[-1] ^ 1,))
            elif turned == "repeat" and before:
                payload = before[0]
            elif turned == "swap":
                payload = bytes(reversed(payload))
            before.append(frame.payload)
            frame = dataclasses.replace(frame, payload=payload)
        return answer(self, role, frame, lent)

    with monkeypatch.context() as patch:
        patch.setattr(Router, "service_frame", lie)
        if turned == "repeat":
            await device_time(device)
        with pytest.raises(ChannelBrokenError):
            await device_time(device)
    assert (await device_time(device)).unix_ms  # an honest router: a new channel
