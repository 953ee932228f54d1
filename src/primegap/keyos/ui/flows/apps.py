"""Installed apps: opening, removing, publishers, developer mode.

What changes something is asked for by the app manager, on a confirmation of its own.
"""

from __future__ import annotations

from primegap.keyos.api import apps
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens
from primegap.keyos.ui.flows.context import Context, reason
from primegap.keyos.ui.stage import Rank


async def start_installed(ui: Context, role: str) -> None:
    """Have an installed app verified and started; say why if it may not run."""
    app = _find(ui, role)
    if app is None:
        return
    try:
        await ui.process.call(apps.OpenApp(app.app_id))
    except KeyosError as error:
        await ui.tell("The app does not start", reason(error))


async def manage_apps(ui: Context) -> None:
    """Show what is installed until the person goes back."""
    while True:
        choice = await ui.press_live(lambda: screens.apps(ui.apps), Rank.SYSTEM)
        if choice == screens.DEVELOPER:
            await _do(ui, apps.SetDeveloper(not ui.apps.developer))
        elif choice == screens.PUBLISHERS:
            await _publishers(ui)
        elif choice.startswith(screens.INSTALLED):
            await _app(ui, choice.removeprefix(screens.INSTALLED))
        else:
            return


async def _app(ui: Context, role: str) -> None:
    app = _find(ui, role)
    if app is None:
        return
    if await ui.press(screens.installed_app(app)) == screens.REMOVE:
        await _do(ui, apps.RemoveApp(app.app_id))


async def _publishers(ui: Context) -> None:
    while True:
        listed = await ui.process.call(apps.ListPublishers(), apps.PublisherList)
        choice = await ui.press(screens.publishers(listed))
        prefix = choice.removeprefix(screens.PUBLISHER)
        chosen = [p for p in listed.publishers if p.fingerprint.hex().startswith(prefix)]
        if not choice.startswith(screens.PUBLISHER) or not chosen:
            return
        if await ui.press(screens.publisher(chosen[0])) == screens.REMOVE:
            await _do(ui, apps.RemovePublisher(chosen[0].fingerprint))


async def _do(
    ui: Context, request: apps.SetDeveloper | apps.RemoveApp | apps.RemovePublisher
) -> None:
    try:
        await ui.process.call(request)
    except KeyosError as error:
        await ui.tell("That was not done", reason(error))


def _find(ui: Context, role: str) -> apps.AppInfo | None:
    return next((app for app in ui.apps.apps if app.role == role), None)
