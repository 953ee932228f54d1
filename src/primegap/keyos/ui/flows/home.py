"""Home and pairing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import link
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens
from primegap.keyos.ui.flows.apps import manage_apps, start_installed
from primegap.keyos.ui.flows.context import Context, reason
from primegap.keyos.ui.flows.device import device
from primegap.keyos.ui.stage import Rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.ui.screen import Screen

CHIP_START_S: Final = 30.0  # firmware of 188 blocks is written to a new chip first
PAIRING_TIMEOUT_S: Final = 300.0  # a shown pairing code is a secret in plain sight


async def home(ui: Context, open_app: Callable[[str], None]) -> None:
    """Run the home screen for as long as the device is unlocked."""
    while ui.lock.unlocked:
        if ui.core_model:
            choice = await ui.press(screens.core_home(), Rank.HOME)
        else:
            choice = await ui.press_live(lambda: screens.home(ui.link, ui.apps), Rank.HOME)
        app = choice.removeprefix(screens.APP) if choice.startswith(screens.APP) else ""
        open_app(app)
        await start_installed(ui, app)
        if choice == screens.LOCK:
            await ui.lock_device()
        elif not app:
            try:
                await _do(ui, choice)
            except KeyosError as error:  # the link restarts, say; the device goes on
                await ui.tell("That did not work", reason(error))


async def _do(ui: Context, choice: str) -> None:
    if choice == screens.PAIR:
        await pair(ui)
    elif choice == screens.COMPANION:
        if ui.link.radio == link.UNTRUSTED:
            await chip(ui)
        await companion(ui)
    elif choice == screens.SECURITY:
        await device(ui)
    elif choice == screens.APPS:
        await manage_apps(ui)


async def pair(ui: Context) -> None:
    """Show the pairing code until a companion paired, the person left, or time is over."""
    await ui.read_system()
    if ui.air_gap:
        await ui.tell("The air gap is on", "Leave it on the security page, then pair again.")
        return
    if not ui.switch("bluetooth").on:
        await ui.tell("Bluetooth is off", "Switch it on on the security page, then pair again.")
        return
    if ui.link.radio == link.UNTRUSTED:
        await chip(ui)
        return
    try:
        with ui.working("Preparing the pairing"):
            offer = await ui.process.call(link.StartPairing(), link.PairingOffer)
    except KeyosError as error:
        await ui.tell("Pairing is not possible", reason(error))
        return
    try:
        await _show_offer(ui, screens.pairing(offer.text))
    finally:
        with contextlib.suppress(KeyosError):  # a link process that died has forgotten the code
            await ui.process.call(link.StopPairing())
    if ui.link.paired:
        await companion(ui)


async def _show_offer(ui: Context, screen: Screen) -> None:
    leaving = asyncio.ensure_future(ui.press(screen))
    paired = asyncio.ensure_future(_paired(ui))
    try:
        done, _ = await asyncio.wait(
            (leaving, paired), timeout=PAIRING_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if leaving in done:
            leaving.result()
    finally:
        leaving.cancel()
        paired.cancel()


async def _paired(ui: Context) -> None:
    while not ui.link.paired:
        await ui.link_news.wait()


async def companion(ui: Context) -> None:
    """Show the paired companion and its session's fingerprint; offer to unpair."""
    if await ui.press_live(lambda: screens.companion(ui.link), Rank.SYSTEM) != screens.UNPAIR:
        return
    if await ui.press(screens.confirm_unpair(ui.link.peer_name)) == screens.CONFIRM:
        await ui.process.call(link.Unpair())


async def chip(ui: Context) -> None:
    """Tell about a Bluetooth chip that is not trusted; use it if the person holds to it."""
    if await ui.press(screens.chip_distrusted()) != screens.ADOPT:
        return
    if await ui.press(screens.confirm_adopt_chip()) != screens.CONFIRM:
        return
    with ui.working("Bluetooth"):
        await ui.process.call(link.AdoptChip())
        started = await _chip_started(ui)
    if started:
        await ui.tell("Bluetooth chip", "It is this device's now.", good=True)
    else:
        await ui.tell(
            "Bluetooth chip",
            "It still does not pass. It belongs to another device. QR codes go on working.",
        )


async def _chip_started(ui: Context) -> bool:
    """Wait until the chip runs, or has failed once more."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CHIP_START_S):
            while ui.link.radio == link.UNTRUSTED:
                await ui.link_news.wait()  # it goes first
            while ui.link.radio in {"off", "starting"}:
                await ui.link_news.wait()
    return ui.link.radio in {"waiting", "connected"}
