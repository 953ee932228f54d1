"""Headless Chromium for tests, and a hand that touches the device's page with the mouse."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from primegap.device.client import AutomationClient

CHROMIUM = Path("/usr/bin/chromium")
SHOTS = Path(__file__).parents[2] / "build" / "pages"
"Pictures for people to look at; not part of the source tree."
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1100, "height": 860}
PHONE = {"width": 390, "height": 844}
PATIENCE_S = 90.0
REACTION_S = 3.0
ATTEMPTS = 3
HOLD_MARGIN_S = 0.9  # the screen counts from its own clock, and refuses touches at first

needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"Chromium is not installed at {CHROMIUM}"
)


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """A browser of its own with an empty profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=[*FLAGS, *flags]
        )
        try:
            yield browser
        finally:
            await browser.close()


def complaints(page: Page) -> list[str]:
    """Everything the browser complains about from now on: errors, refused by policy, crashes."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


async def shoot(page: Page, name: str) -> None:
    """Keep pictures of a page as a desktop and as a phone show it."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
    before = page.viewport_size
    await page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    await page.screenshot(path=SHOTS / f"{name}-phone.png")
    if before is not None:
        await page.set_viewport_size(before)


async def fits(page: Page) -> bool:
    """Whether nothing sticks out to the right."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def video_of(picture: bytes, path: Path) -> None:
    """Write a film that shows one picture, for Chromium's pretended camera."""
    shown = Image.open(io.BytesIO(picture)).convert("RGB")
    shown.thumbnail((600, 460))
    frame = Image.new("RGB", (640, 480), "#777")
    frame.paste(shown, ((640 - shown.width) // 2, (480 - shown.height) // 2))
    out = io.BytesIO()
    frame.save(out, "JPEG", quality=92)
    path.write_bytes(out.getvalue() * 30)


def _shows(screen: dict[str, Any]) -> tuple[Any, Any]:
    return screen["screen"], screen["page"]


class DeviceHand:
    """Touches the device on its page; the automation API is only asked where things are."""

    def __init__(self, page: Page, client: AutomationClient) -> None:
        self._page = page
        self._client = client

    async def screen(self) -> dict[str, Any]:
        """What the device shows, as data."""
        return await asyncio.to_thread(self._client.screen)

    async def wait(self, screen: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the device shows a screen."""
        return await asyncio.to_thread(self._client.wait, screen, timeout_s=timeout_s)

    async def picture(self) -> bytes:
        """The device's screen as the browser shows it."""
        return await self._page.locator("#screen").screenshot()

    async def press(self, name: str) -> None:
        """Press something when it is there; again if the device did not take it, as people do."""
        shown = await asyncio.to_thread(self._client.wait, target=name)
        for _ in range(ATTEMPTS):
            (target,) = (item for item in shown["targets"] if item["id"] == name)
            await self._touch(target)
            with contextlib.suppress(TimeoutError):
                await self._until(lambda now: _shows(now) != _shows(shown), REACTION_S)
                return
        raise AssertionError(f"the device does not react to {name}")

    async def _touch(self, target: dict[str, Any]) -> None:
        left, top, right, bottom = target["rect"]
        box = await self._page.locator("#screen").bounding_box()
        assert box is not None
        x = box["x"] + (left + right) / 2 * box["width"] / 480
        y = box["y"] + (top + bottom) / 2 * box["height"] / 800
        await asyncio.sleep(HOLD_MARGIN_S if target["guarded"] else 0)
        await self._page.mouse.move(x, y)
        await self._page.mouse.down()
        await asyncio.sleep(target["hold_ms"] / 1000 + (0.3 if target["hold_ms"] else 0.03))
        await self._page.mouse.up()

    async def _until(
        self, ready: Callable[[dict[str, Any]], bool], timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            while not ready(shown := await self.screen()):
                await asyncio.sleep(0.03)
        return shown

    async def approve(self, screen: str) -> dict[str, Any]:
        """Read a confirmation to its end and hold its button; return what it said."""
        shown = await self.wait(screen)
        while shown["page"] + 1 < shown["pages"]:
            await self.press("page:next")
            shown = await self.screen()
        await self.press("confirm")
        await self._until(lambda now: now["screen"]["id"] != screen)
        return shown

    async def hold_up(self, pictures: Sequence[bytes]) -> None:
        """Hold pictures up to the device's camera, by its page."""
        files: Any = [
            {"name": f"{number}.png", "mimeType": "image/png", "buffer": picture}
            for number, picture in enumerate(pictures)
        ]
        await self._page.set_input_files("#file", files)
