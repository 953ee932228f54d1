"""The device itself: switches and air gap, PIN, seed words, facts, erasing.

Everything here is drawn and asked by the trusted screen alone. The PIN goes from the keypad to
`os/security`, which judges it; no app ever sees it (U-11, U-12).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.api import airlock, apps, core, security, storage
from primegap.keyos.errors import KeyosError, RequestError
from primegap.keyos.ui import screens, screens_device
from primegap.keyos.ui.flows.card import back_up, list_firmware
from primegap.keyos.ui.flows.context import Context, reason, tries_left, vault_reason
from primegap.keyos.ui.flows.onboarding import choose_pin
from primegap.keyos.ui.flows.pin import ask_pin
from primegap.keyos.ui.preferences import save_preferences
from primegap.keyos.ui.text import untrusted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Step = Callable[[Context], Awaitable[None]]

CHIP_STATES: Final = {
    "off": "Off",
    "starting": "Starting",
    "waiting": "Being checked",
    "untrusted": "Not trusted",
}


async def device(ui: Context) -> None:
    """Show the security page until the person leaves it."""
    while True:
        info = await ui.read_system()
        choice = await ui.press(screens_device.security(info.switches, air_gap=info.air_gap))
        steps: dict[str, Step] = {
            screens_device.AIR_GAP: switch_air_gap,
            screens_device.SWITCHES: turn_switches,
            screens_device.PIN: pin_and_seed,
            screens_device.CARD: browse_card,
            screens_device.FIRMWARE: list_firmware,
            screens_device.FACTS: show_facts,
        }
        if not await _do(ui, steps, choice):
            return


async def pin_and_seed(ui: Context) -> None:
    """Show the page about PIN and seed until the person leaves it."""
    steps: dict[str, Step] = {
        screens_device.BACK_UP: back_up,
        screens_device.CHANGE_PIN: change_pin,
        screens_device.SHOW_WORDS: show_words,
        screens_device.AUTO_LOCK: choose_auto_lock,
        screens_device.ERASE: erase,
    }
    while True:
        choice = await ui.press(screens_device.pin_and_seed(ui.preferences.auto_lock_s))
        if not await _do(ui, steps, choice):
            return


async def turn_switches(ui: Context) -> None:
    """Show the switches until the person leaves them."""
    while True:
        info = await ui.read_system()
        choice = await ui.press(screens_device.switches(info.switches, air_gap=info.air_gap))
        if not choice.startswith(screens_device.SWITCH):
            return
        name = choice.removeprefix(screens_device.SWITCH)
        await turn(ui, core.SetSwitch(name, not ui.switch(name).chosen))


async def browse_card(ui: Context) -> None:
    """Look at the card, folder by folder, and remove what is not wanted."""
    path: list[str] = []
    while True:
        state = await ui.process.call(airlock.GetCard(), airlock.CardState)
        if state.lent:
            if await ui.press(screens_device.card_lent()) != screens_device.TAKE_BACK:
                return
            await ui.process.call(airlock.LendCard(lent=False))
            continue
        if not state.usable:
            await ui.tell("The card cannot be used", untrusted(state.trouble))
            return
        content = await ui.process.call(airlock.ListFolder("/".join(path)), airlock.FolderContent)
        free = screens_device.size_text(state.free)
        choice = await ui.press(screens_device.card(content, "/".join(path), free))
        if choice == screens_device.LEND:
            await lend_card(ui)
            continue
        if not choice.startswith(screens_device.ENTRY):
            if not path:
                return
            path.pop()
            continue
        entry = content.entries[int(choice.removeprefix(screens_device.ENTRY))]
        full = "/".join([*path, entry.name])
        if entry.folder and (await _holds_something(ui, full)):
            path.append(entry.name)
            continue
        action = screens.REMOVE
        if screens_device.is_app(entry):
            action = await ui.press(screens_device.card_app(entry))
        if action == screens_device.INSTALL:
            await install_from_card(ui, full)
        elif action == screens.REMOVE and (
            await ui.press(screens_device.card_entry(entry)) == screens.REMOVE
        ):
            await ui.process.call(airlock.RemoveCardFile(full))


async def install_from_card(ui: Context, path: str) -> None:
    """Have a file verified and installed; the app manager asks, and says why if it does not."""
    try:
        await ui.process.call(apps.InstallFromCard(path))
    except KeyosError as error:
        await ui.tell("It was not installed", reason(error))
    else:
        await ui.tell("The app is installed", "It stands on the home screen.", good=True)


async def lend_card(ui: Context) -> None:
    """Let a computer have the card, which stands at the end of a cable: not behind the air gap."""
    info = await ui.read_system()
    if info.air_gap:
        await ui.tell("The card stays here", "Behind the air gap no computer gets the card.")
        return
    await ui.process.call(airlock.LendCard(lent=True))


async def _holds_something(ui: Context, path: str) -> bool:
    content = await ui.process.call(airlock.ListFolder(path), airlock.FolderContent)
    return bool(content.entries)


async def _do(ui: Context, steps: dict[str, Step], choice: str) -> bool:
    """Take a step; False when the choice is none. What goes wrong is told."""
    if choice not in steps:
        return False
    try:
        await steps[choice](ui)
    except KeyosError as error:
        await ui.tell("That did not work", reason(error))
    return True


async def turn(ui: Context, request: core.SetSwitch | core.SetAirGap) -> None:
    """Turn a switch, and look at what came of it even if it failed."""
    try:
        await ui.process.call(request)
    finally:
        await ui.read_system()


async def switch_air_gap(ui: Context) -> None:
    """On at once; off after a confirmation."""
    if not ui.air_gap:
        await turn(ui, core.SetAirGap(on=True))
        await ui.process.call(airlock.LendCard(lent=False))
    elif await ui.press(screens_device.confirm_air_gap_off()) == screens.CONFIRM:
        await turn(ui, core.SetAirGap(on=False))


async def choose_auto_lock(ui: Context) -> None:
    """Choose the time without a touch."""
    action = await ui.press(screens_device.auto_lock(ui.preferences.auto_lock_s))
    seconds = screens_device.chosen_auto_lock(action)
    if seconds is None:
        return
    ui.preferences = dataclasses.replace(ui.preferences, auto_lock_s=seconds)
    ui.idle_news.set()
    try:
        save_preferences(ui.process.data, ui.preferences)
    except StorageError as error:
        await ui.tell("That will be forgotten", error.hint)


async def show_words(ui: Context) -> None:
    """Show the seed words after a warning and the PIN (U-11)."""
    if await ui.press(screens_device.warn_words()) != screens.OK:
        return
    words: list[str] = []

    async def reveal(pin: str) -> None:
        reply = await ui.process.call(security.RevealWords(pin), security.SeedWords)
        words.extend(reply.words)

    try:
        if await ask_pin(ui, "Enter it to see the seed words.", reveal):
            await ui.press(screens_device.show_words(words))
    finally:
        words.clear()


async def change_pin(ui: Context) -> None:
    """Ask for the old PIN, then twice for the new one."""
    old = await ui.enter(screens_device.check_pin("Enter the present PIN first."))
    if old is None:
        return
    new = await choose_pin(ui)
    if new is None:
        return
    refusal = ""
    with ui.working("Changing the PIN"):
        try:
            request = security.ChangePin(old, new)
            ui.note_lock(await ui.process.call(request, security.SecurityState))
        except RequestError as error:
            refusal = f"{vault_reason(error)} {tries_left(await ui.read_lock())}"
    if refusal:
        await ui.tell("The PIN is as before", refusal)
    else:
        await ui.tell("The PIN is changed", "From now on only the new one opens.", good=True)


async def erase(ui: Context) -> None:
    """Destroy the seed after two questions."""
    if await ui.press(screens_device.warn_erase()) != screens.OK:
        return
    if await ui.press(screens_device.confirm_erase(ui.lock.fingerprint)) != screens.CONFIRM:
        return
    await ui.erase_device()


async def show_facts(ui: Context) -> None:
    """Show what the device is made of."""
    from importlib.metadata import version

    info = await ui.read_system()
    facts = await ui.process.call(security.GetDeviceFacts(), security.DeviceFacts)
    usage = await ui.process.call(storage.GetUsage(), storage.Usage)
    used = sum(app.used for app in usage.apps)
    switch = ui.switch("bluetooth")
    chip = CHIP_STATES.get(ui.link.radio, "Trusted")
    if not switch.present:
        chip = "None"
    elif not switch.on:
        chip = "Off"
    await ui.press(
        screens_device.facts(
            version("primegap"),
            ui.lock.fingerprint,
            info,
            facts,
            chip,
            f"{(used + 1023) // 1024} KiB of {len(usage.apps)} apps",
            ui.preferences.supply_chain,
        )
    )
