"""The lock screen: nothing of the device can be used or seen before the right PIN."""

from __future__ import annotations

from primegap.keyos.api import core, security
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens
from primegap.keyos.ui.flows.context import Context, vault_reason
from primegap.keyos.ui.stage import Rank


async def unlock(ui: Context) -> None:
    """Ask for the PIN until it is right or the seed is wiped."""
    note = ""
    while ui.lock.onboarded and not ui.lock.unlocked:
        pin = await ui.enter(screens.unlock(note), Rank.LOCK)
        if not pin:
            continue
        working = ui.stage.add(screens.working("Checking the PIN"), Rank.LOCK)
        try:
            ui.note_lock(await ui.process.call(security.Login(pin), security.SecurityState))
            left = ui.lock.attempts_left
            note = f"Wrong PIN. {left} {'try' if left == 1 else 'tries'} left."
        except KeyosError as error:
            note = vault_reason(error)
            state = await ui.process.call(security.GetState(), security.SecurityState)
            ui.note_lock(state)
            if not state.onboarded:
                # Apps and link hold keys and addresses of the seed that is gone.
                await ui.process.call(core.RestartApps())
                ui.stage.remove(working)
                await ui.press(screens.message("The seed was erased", note, good=False), Rank.LOCK)
        finally:
            ui.stage.remove(working)
