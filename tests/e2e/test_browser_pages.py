"""Both pages in a browser, against a real device, companion and chain."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect
from playwright.async_api import TimeoutError as PageTimeoutError
from tests.e2e.browser_support import (
    DESKTOP,
    DeviceHand,
    chromium,
    complaints,
    fits,
    needs_chromium,
    shoot,
    video_of,
)
from tests.e2e.walking_support import system
from tests.web_kit import STRANGER, TOKEN, funded_page, pictures_of, sign

from primegap.companion.companion import Companion
from primegap.demo.shop import new_address
from primegap.device.launcher import listen
from primegap.web.companion_app import build_app
from primegap.web.companion_server import serving

pytestmark = [needs_chromium, pytest.mark.browser, pytest.mark.slow]

PATIENCE_MS = 90_000  # disks and cores of test machines stall; nothing is asked twice
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def picture_file(content: bytes) -> Any:
    return {"name": "picture.png", "mimeType": "image/png", "buffer": content}


def code_on(screen: dict[str, Any]) -> str:
    return str(next(item["text"] for item in screen["screen"]["items"] if item["type"] == "code"))


async def compose(page: Page, recipient: str, amount: str) -> None:
    await page.get_by_role("link", name="Send", exact=True).first.click()
    await page.get_by_label("Address or payment request").fill(recipient)
    await page.get_by_label("Amount").fill(amount)
    await page.get_by_label("Fee rate").fill("4")
    await page.get_by_role("button", name="Review the payment").click()
    await expect(page.get_by_text("Sign it on the device")).to_be_visible()


@pytest.mark.timeout(600)
async def test_pair_receive_and_pay_on_both_pages(tmp_path: Path) -> None:
    async with system(tmp_path, until="set-up") as demo:
        companion = Companion(
            tmp_path / "companion",
            network="regtest",
            electrum_url=demo.electrum_url,
            transport=demo.air.companion,
        )
        sock = listen(0)
        address = f"http://127.0.0.1:{sock.getsockname()[1]}/?token={TOKEN}"
        film = tmp_path / "camera.mjpeg"
        video_of(await demo.finger.open_pairing(), film)
        async with (
            serving(build_app(companion, token=TOKEN), sock),
            chromium(*CAMERA, f"--use-file-for-fake-video-capture={film}") as browser,
        ):
            context = await browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
            context.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            device_page, page = await context.new_page(), await context.new_page()
            wrong = [complaints(device_page), complaints(page)]
            await device_page.goto(demo.device.page)
            await page.goto(address)
            hand = DeviceHand(device_page, demo.finger._client)
            await expect(page.locator("body")).to_have_attribute("data-live", "yes")
            await shoot(page, "01-start")

            try:
                await pair_by_camera(page, hand)
                await share(page, hand)
                await receive(page, hand, demo)
                await pay_over_the_link(page, hand, demo)
                await pay_by_qr(page, hand, demo)
            except AssertionError as error:
                error.add_note(await circumstances(page, companion))
                raise
            await shoot(device_page, "30-device")
            assert wrong == [[], []]
        await companion.close()


async def circumstances(page: Page, companion: Companion) -> str:
    """What a page that does not show what it should cannot tell: who waits, and for what."""
    state = await page.evaluate("[document.hidden, document.body.dataset.live]")
    payments = [(payment.txid[:8], payment.stage) for payment in companion.payments()]
    frames = sys._current_frames()
    threads = [
        f"-- {thread.name}\n" + "".join(traceback.format_stack(frames[thread.ident])[-6:])
        for thread in threading.enumerate()
        if thread.ident in frames
    ]
    tasks = [str(task.get_stack(limit=1)) for task in asyncio.all_tasks()]
    return "\n".join([f"hidden, live: {state}", f"payments: {payments}", *threads, *tasks])


async def pair_by_camera(page: Page, hand: DeviceHand) -> None:
    await page.get_by_role("link", name="Pair a device").click()
    await shoot(page, "02-pair")
    await page.get_by_role("button", name="Use the camera").click()
    await expect(page.get_by_text("Both screens must show")).to_be_visible()
    await shoot(page, "03-fingerprint")
    shown = await hand.approve("confirm-pairing")
    ours = await page.locator(".fingerprint").or_(page.locator("dd .code").first).inner_text()
    assert code_on(shown).replace(" ", "-") == ours
    await expect(page.get_by_text("Connected, end to end encrypted")).to_be_visible()
    await expect(page.locator(".pill")).to_have_text("Connected")
    await shoot(page, "04-paired")
    assert code_on(await hand.wait("companion")).replace(" ", "-") == ours
    await hand.press("ok")


async def share(page: Page, hand: DeviceHand) -> None:
    await page.get_by_role("link", name="Next: ask for the account").click()
    await page.get_by_role("button", name="Ask the device").click()
    await expect(page.get_by_text("Share this account?")).to_be_visible()
    await shoot(page, "05-sharing")
    shown = await hand.approve("share-account")
    rows = {i["label"]: i["value"] for i in shown["screen"]["items"] if i["type"] == "row"}
    await expect(page.get_by_text("Master fingerprint")).to_be_visible()
    await expect(page.get_by_text(rows["Master fingerprint"], exact=True)).to_be_visible()
    await shoot(page, "06-account")
    await hand.wait("home")


async def receive(page: Page, hand: DeviceHand, demo: Any) -> None:
    await page.get_by_role("link", name="Receive", exact=True).first.click()
    code = page.get_by_alt_text("QR code of the payment request")
    await expect(code).to_be_visible()
    await shoot(page, "07-receive")
    address = (await page.locator(".big-address").inner_text()).replace("\n", "").replace(" ", "")
    await hand.press("app:bitcoin")
    await hand.wait("bitcoin")
    await hand.press("check")
    await hand.wait("scanning")
    await hand.hold_up([await code.screenshot()])
    shown = await hand.wait("address-ours")
    assert any(item.get("text") == address for item in shown["screen"]["items"])
    await hand.press("ok")
    await hand.wait("bitcoin")
    await hand.press("leave")
    await hand.wait("home")
    await demo._chain_call("faucet", {"address": address, "amount_sat": 123_456_789})
    await expect(page.get_by_text("Coming in")).to_be_visible()
    await shoot(page, "08-coming-in")
    await demo._chain_call("mine")
    await page.get_by_role("link", name="Overview").click()
    await expect(page.get_by_text("Confirmed in 1 block")).to_be_visible()
    await shoot(page, "09-overview")


async def pay_over_the_link(page: Page, hand: DeviceHand, demo: Any) -> None:
    recipient = await asyncio.to_thread(new_address)
    await compose(page, f"bitcoin:{recipient}?amount=0.3", "")
    await shoot(page, "10-review")
    await page.get_by_role("button", name="Sign on device (Bluetooth)").click()
    await expect(page.get_by_text("It shows this payment on its own screen")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("It shows this payment on its own screen")).to_be_visible()
    await shoot(page, "11-signing")
    shown = await hand.approve("review")
    items = shown["screen"]["items"]
    assert any(item.get("text") == recipient for item in items)
    assert any(item.get("sat") == 30_000_000 for item in items)
    await expect(page.get_by_text("It waits for a block")).to_be_visible()
    await shoot(page, "12-sent")
    await demo._chain_call("mine")
    await expect(page.get_by_text("Confirmed in block")).to_be_visible()
    await shoot(page, "13-confirmed")
    await hand.wait("home")


async def pay_by_qr(page: Page, hand: DeviceHand, demo: Any) -> None:
    await hand.press("app:settings")
    await hand.wait("settings")
    await hand.press("bluetooth")
    await hand.wait("settings")
    await hand.press("back")
    await hand.wait("home")
    await expect(page.locator(".pill")).to_have_text("Not in reach")

    await compose(page, await asyncio.to_thread(new_address), "0.01")
    await page.get_by_role("link", name="Sign by QR").click()
    animation = page.get_by_alt_text("Animated QR code of the payment").first
    await expect(animation).to_be_visible()
    await shoot(page, "14-by-qr")
    await hand.press("app:bitcoin")
    await hand.wait("bitcoin")
    await hand.press("sign")
    await hand.wait("scanning")
    for _ in range(100):
        await hand.hold_up([await animation.screenshot()])
        await asyncio.sleep(0.2)
        if (await hand.screen())["screen"]["id"] == "review":
            break
    await hand.approve("review")
    await hand.wait("signed-qr")
    while "/qr" in page.url:
        with contextlib.suppress(PageTimeoutError):  # the last picture takes the page elsewhere
            await page.locator("[data-file]").set_input_files(
                picture_file(await hand.picture()), timeout=2000
            )
        await asyncio.sleep(0.15)
    await expect(page.get_by_text("It waits for a block")).to_be_visible()
    await demo._chain_call("mine")
    await expect(page.get_by_text("Confirmed in block")).to_be_visible()
    await page.get_by_role("link", name="History").click()
    await expect(page.locator(".rows li")).to_have_count(3)
    await shoot(page, "15-history")


# --- the companion's page alone ----------------------------------------------------------------


async def test_every_page_fits_a_small_phone_and_breaks_no_rule(tmp_path: Path) -> None:
    async with funded_page(tmp_path, served=True) as (client, companion, _), chromium() as browser:
        payment = await companion.compose(STRANGER, 100_000, 2)
        page = await browser.new_page(viewport={"width": 360, "height": 740})
        wrong = complaints(page)
        await page.goto(f"{client.base_url}/?token={TOKEN}")
        for path in (
            *("/", "/pair", "/account", "/receive", "/send", "/history"),
            *(f"/payments/{payment.txid}", f"/payments/{payment.txid}/qr"),
        ):
            await page.goto(f"{client.base_url}{path}")
            await expect(page.locator("body")).to_have_attribute("data-live", "yes")
            assert await fits(page), path
            small = await page.evaluate(
                "[...document.querySelectorAll('button, .button, .tabs a')]"
                ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 40)"
                ".map(e => e.textContent)"
            )
            assert small == [], path
        assert wrong == []


async def test_a_payment_goes_through_without_scripts(tmp_path: Path) -> None:
    async with (
        funded_page(tmp_path, served=True) as (client, companion, node),
        chromium() as browser,
    ):
        expect.set_options(timeout=PATIENCE_MS)
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        await page.goto(f"{client.base_url}/?token={TOKEN}")
        await compose(page, STRANGER, "0.002")
        (payment,) = companion.unfinished()
        await page.get_by_role("link", name="Sign by QR").click()
        still = page.locator("noscript img")
        await expect(still).to_be_visible()
        frames: list[Any] = [
            picture_file(frame) for frame in pictures_of(sign(bytes.fromhex(payment.psbt)))
        ]
        await page.locator("#picture").set_input_files(frames)
        await page.get_by_role("button", name="Read the picture").click()
        await expect(page.get_by_text("waits for a block")).to_be_visible()
        await node.mine()
        await client.post("/sync")
        # Without scripts the page looks again by itself until it is there.
        await expect(page.get_by_text("Confirmed in block")).to_be_visible()


async def test_a_script_that_comes_late_leaves_no_page_behind(tmp_path: Path) -> None:
    async def late(route: Route) -> None:
        await asyncio.sleep(0.5)
        await route.continue_()

    async with (
        funded_page(tmp_path, served=True) as (client, _, _),
        chromium() as browser,
    ):
        page = await browser.new_page()
        await page.route("**/hx-ws-4.min.js", late)
        await page.goto(f"{client.base_url}/?token={TOKEN}")
        await expect(page.locator("body")).to_have_attribute("data-live", "yes")


async def test_the_page_notices_that_the_companion_is_gone(tmp_path: Path) -> None:
    async with chromium() as browser:
        async with funded_page(tmp_path, served=True) as (client, _, _):
            page = await browser.new_page()
            await page.goto(f"{client.base_url}/?token={TOKEN}")
            await expect(page.locator("body")).to_have_attribute("data-live", "yes")
            await page.keyboard.press("Tab")
            await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
            await expect(page.locator("#offline")).to_be_hidden()
        await expect(page.locator("#offline")).to_be_visible()
