"""An automatic finger: does on the device what a person would, by its automation API only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from primegap.demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.demo.evidence import Evidence
    from primegap.device.client import AutomationClient

T = TypeVar("T")

MAX_QR_FRAMES: Final = 200
NEXT_SCREEN_S: Final = 75.0  # after rejections in a row the device takes half a minute's rest


class Finger:
    """Operates one development device."""

    def __init__(self, client: AutomationClient, evidence: Evidence) -> None:
        self._client = client
        self._evidence = evidence

    async def _do(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return await asyncio.to_thread(function, *arguments, **options)

    async def wait(self, screen: str, timeout_s: float = NEXT_SCREEN_S) -> dict[str, Any]:
        """Wait for a screen."""
        return await self._do(self._client.wait, screen, timeout_s=timeout_s)

    async def press(self, target: str) -> dict[str, Any]:
        """Touch something on the screen."""
        return await self._do(self._client.press, target)

    async def type(self, text: str) -> None:
        """Touch keys."""
        await self._do(self._client.type, text)

    async def picture(self) -> bytes:
        """Return the pixels of the screen as PNG."""
        return await self._do(self._client.picture)

    async def keep(self, name: str) -> None:
        """Put the present screen into the evidence folder."""
        self._evidence.picture(name, await self.picture())

    async def scan(self, picture: bytes) -> str:
        """Hold a picture up to the device's camera."""
        return await self._do(self._client.scan, picture)

    async def read_to_the_end(self, keep: str | None = None) -> dict[str, Any]:
        """Turn the pages of a screen to the last one, keeping pictures if asked to."""
        screen = await self._do(self._client.screen)
        while True:
            if keep is not None:
                await self.keep(keep)
            if screen["page"] + 1 >= screen["pages"]:
                return screen
            screen = await self.press("page:next")

    async def answer_quiz(self, words: list[str]) -> None:
        """Say which word stands where, as often as the device asks."""
        shown = await self.wait("quiz")
        while shown["screen"]["id"] == "quiz":
            await self.keep("quiz")
            question = next(i["text"] for i in shown["screen"]["items"] if i["type"] == "text")
            position = int(question.rstrip("?").split()[-1])
            await self.press(f"word:{words[position - 1]}")
            shown = await self._after(shown)

    async def _after(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Return the first screen that says something else; a busy machine takes its time."""
        async with asyncio.timeout(NEXT_SCREEN_S):
            while True:
                now = await self._do(self._client.screen)
                if now["screen"] != shown["screen"]:
                    return now
                await asyncio.sleep(0.05)

    async def set_up(self, pin: str) -> list[str]:
        """Do the first start; return the seed words, as a person would have them on paper."""
        await self.wait("welcome")
        await self.keep("welcome")
        await self.press("start")
        await self.wait("choose-pin")
        for _ in range(2):
            await self.type(pin)
            await self.keep("choose-pin")
            typed = await self._do(self._client.screen)
            await self.press("done")
            await self._after(typed)
        await self.wait("seed-length")
        await self.press("words-12")
        await self.wait("offer-dice")
        await self.press("dice")
        await self.wait("dice")
        await self.type("314265314265")
        await self.keep("dice")
        await self.press("done")
        screen = await self.wait("seed-words")
        words = [word for item in screen["screen"]["items"] for word in item.get("words", ())]
        await self.keep("seed-words")
        await self.read_to_the_end()
        await self.press("done")
        await self.answer_quiz(words)
        await self.wait("message")
        await self.keep("ready")
        await self.press("ok")
        await self.wait("home")
        await self.keep("home")
        return words

    async def approve(self, screen: str, timeout_s: float = NEXT_SCREEN_S) -> dict[str, Any]:
        """Wait for a confirmation, read all of it, hold its button; return the screen as shown."""
        await self.wait(screen, timeout_s)
        shown = await self.read_to_the_end(keep=screen)
        after = await self.press("confirm")
        if after["screen"]["id"] == screen:
            try:
                await self._after(after)  # a busy machine takes its time
            except TimeoutError:
                message = f"the device did not take the confirmation of {screen}"
                raise DemoError(message) from None
        return shown

    async def open_pairing(self) -> bytes:
        """Open the pairing screen; return its picture."""
        await self.press("pair")
        await self.wait("pairing")
        await self.keep("pairing")
        return await self.picture()

    async def check_address(self, picture: bytes) -> str:
        """Check an address with the device's camera; return the address the device shows."""
        await self.press("app:bitcoin")
        await self.wait("bitcoin")
        await self.keep("bitcoin")
        await self.press("check")
        await self.wait("scanning")
        if await self.scan(picture) != "read":
            raise DemoError("the device could not read the address's QR code")
        screen = await self.wait("address-ours")
        await self.keep("address-ours")
        address = next(i["text"] for i in screen["screen"]["items"] if i["type"] == "address")
        await self.press("ok")
        await self.press("leave")
        await self.wait("home")
        return str(address)

    async def switch_bluetooth(self, *, on: bool) -> None:
        """Flip the switch in the settings."""
        await self.press("app:settings")
        await self.wait("settings")
        await self.press("bluetooth")
        screen = await self.wait("settings")
        now = next(i["on"] for i in screen["screen"]["items"] if i["type"] == "toggle")
        if now is not on:
            raise DemoError("the Bluetooth switch did not move")
        await self.keep("bluetooth-on" if on else "bluetooth-off")
        await self.press("back")
        await self.wait("home")

    async def feed_animation(self, next_picture: Callable[[], bytes]) -> int:
        """Open the QR signer and hold up pictures one by one; return how many it took."""
        await self.press("app:bitcoin")
        await self.wait("bitcoin")
        await self.press("sign")
        await self.wait("scanning")
        for count in range(1, MAX_QR_FRAMES):
            await self.scan(next_picture())
            screen = await self._do(self._client.screen)
            if count == 2:
                await self.keep("scanning")
            if screen["screen"]["id"] != "scanning":
                return count
        raise DemoError("the device did not finish reading the animated QR code")

    async def leave_bitcoin(self) -> None:
        """Close the signed QR code and go home."""
        await self.press("done")
        await self.wait("bitcoin")
        await self.press("leave")
        await self.wait("home")
