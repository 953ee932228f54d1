"""Asking for the PIN of an unlocked device, for one purpose (U-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primegap.keyos.errors import RequestError
from primegap.keyos.ui import screens_device
from primegap.keyos.ui.flows.context import Context, tries_left, vault_reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def ask_pin(ui: Context, purpose: str, use: Callable[[str], Awaitable[None]]) -> bool:
    """Ask for the PIN and use it; again after a wrong one. False when the person left.

    Raises:
        KeyosError: the device was locked or erased meanwhile.
    """
    note = ""
    while True:
        pin = await ui.enter(screens_device.check_pin(purpose, note))
        if pin is None:
            return False
        with ui.working("Checking the PIN"):
            try:
                await use(pin)
            except RequestError as error:
                state = await ui.read_lock()
                if not state.unlocked:
                    raise
                note = f"{vault_reason(error)} {tries_left(state)}"
            else:
                return True
