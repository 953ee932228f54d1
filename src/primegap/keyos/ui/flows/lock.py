"""The lock screen: nothing of the device can be used or seen before the right PIN."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import core, security
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens
from primegap.keyos.ui.flows.context import Context, tries_left, vault_reason
from primegap.keyos.ui.stage import Rank

if TYPE_CHECKING:
    from primegap.keyos.ui.stage import Ask

WORDS_AFTER: Final = 4  # characters of the PIN: few enough to give away on a swapped device


async def _enter_pin(ui: Context, note: str) -> str | None:
    """Ask for the PIN; after its first digits show the words by which a person knows the device."""
    ask = ui.stage.add(screens.unlock(note), Rank.LOCK)
    following = asyncio.ensure_future(_show_words(ui, ask, note))
    try:
        action = await ask.answer
        return "".join(ask.typed) if action.id == screens.DONE else None
    finally:
        following.cancel()
        ask.typed.clear()
        ui.stage.remove(ask)


async def _show_words(ui: Context, ask: Ask, note: str) -> None:
    shown = ""
    while True:
        await ask.typed_news.wait()
        ask.typed_news.clear()
        prefix = "".join(ask.typed[:WORDS_AFTER]) if len(ask.typed) >= WORDS_AFTER else ""
        if prefix != shown:
            shown = prefix
            ui.stage.replace(ask, screens.unlock(note, await security_words(ui, prefix)))


async def security_words(ui: Context, pin: str) -> tuple[str, ...]:
    """Return the two words for a PIN; none while it is too short, or when they cannot be had."""
    if len(pin) < WORDS_AFTER:
        return ()
    with contextlib.suppress(KeyosError):
        request = security.GetSecurityWords(pin[:WORDS_AFTER])
        return (await ui.process.call(request, security.SecurityWords)).words
    return ()


async def unlock(ui: Context) -> None:
    """Ask for the PIN until it is right or the seed is wiped."""
    note = ""
    while ui.lock.onboarded and not ui.lock.unlocked:
        pin = await _enter_pin(ui, note)
        if not pin:
            continue
        erased = False
        with ui.working("Checking the PIN", Rank.LOCK):
            try:
                ui.note_lock(await ui.process.call(security.Login(pin), security.SecurityState))
                note = f"Wrong PIN. {tries_left(ui.lock)}"
            except KeyosError as error:
                note = vault_reason(error)
                erased = not (await ui.read_lock()).onboarded
                if erased:
                    # Apps and link hold keys and addresses of the seed that is gone.
                    await ui.process.call(core.RestartApps())
        if erased:
            await ui.press(screens.message("The seed was erased", note, good=False), Rank.LOCK)
