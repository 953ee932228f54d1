"""What the person is asked before anything about apps changes, as data.

Names and descriptions come from the publisher and are marked as such; what a permission means is
said in the system's own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.manifest import CATALOGUE
from primegap.keyos.ui.screen import (
    Button,
    ButtonStyle,
    Code,
    Item,
    Row,
    Screen,
    Text,
    TextStyle,
    untrusted,
)

if TYPE_CHECKING:
    from primegap.keyos.app_manager.policy import Plan
    from primegap.keyos.app_manager.registry import InstalledApp

CONFIRM: Final = "confirm"
REJECT: Final = "reject"
HOLD_MS: Final = 1200


def _buttons(label: str, style: ButtonStyle = ButtonStyle.PRIMARY) -> tuple[Button, Button]:
    return (
        Button(REJECT, "Cancel", style=ButtonStyle.SECONDARY),
        Button(CONFIRM, label, style=style, hold_ms=HOLD_MS),
    )


def accept_publisher(name: str, fingerprint: bytes) -> Screen:
    """Ask whether to accept a publisher that this device has not seen."""
    return Screen(
        id="accept-publisher",
        title="New publisher",
        items=(
            Row("Calls itself", untrusted(name)),
            Code("Fingerprint", _grouped(fingerprint)),
            Text("Compare it with what the publisher shows elsewhere: anybody can use any name."),
            Text("Apps of this publisher can then be installed here.", style=TextStyle.MUTED),
        ),
        buttons=_buttons("Hold to accept"),
        confirm=True,
    )


def install(plan: Plan) -> Screen:
    """Ask whether to install an app, or to replace the installed version."""
    app, old = plan.app, plan.replaces
    items: list[Item] = [Row("App", untrusted(app.name))]
    if old is None:
        items.append(Row("Version", app.version))
    else:
        items.append(Row("Version", f"{old.version} → {app.version}"))
    items += [
        Row("Publisher", untrusted(app.publisher)),
        Code("Fingerprint", _short(app.fingerprint)),
    ]
    if app.description:
        items.append(Text(untrusted(app.description), style=TextStyle.MUTED))
    new = [group for group in app.subgroups if old is None or group not in old.subgroups]
    kept = [group for group in app.subgroups if group not in new]
    if new:
        items.append(Text("It wants to:" if old is None else "New: it wants to"))
        items += [Text(f"• {CATALOGUE[group].title}") for group in new]
    elif old is None:
        items.append(Text("It asks for nothing."))
    else:
        items.append(Text("It asks for nothing new."))
    if kept:
        items.append(Text("As before:", style=TextStyle.MUTED))
        items += [Text(f"• {CATALOGUE[group].title}", style=TextStyle.MUTED) for group in kept]
    return Screen(
        id="install-app" if old is None else "update-app",
        title="Install this app?" if old is None else "Update this app?",
        items=tuple(items),
        buttons=_buttons("Hold to install" if old is None else "Hold to update"),
        confirm=True,
    )


def remove(app: InstalledApp) -> Screen:
    """Ask whether to erase an app and its data."""
    return Screen(
        id="remove-app",
        title="Remove this app?",
        items=(
            Row("App", untrusted(app.name)),
            Row("Publisher", untrusted(app.publisher)),
            Text(
                "Its data on this device is erased for good, with all that you granted to it.",
                style=TextStyle.WARNING,
            ),
        ),
        buttons=_buttons("Hold to remove", ButtonStyle.DANGER),
        confirm=True,
    )


def developer_mode() -> Screen:
    """Ask whether to switch developer mode on."""
    return Screen(
        id="developer-mode",
        title="Developer mode?",
        items=(
            Text("A computer connected to this device may then offer apps to be installed."),
            Text("Each one is still asked for here. Nothing else opens: no keys, no screens."),
            Text("If you do not write apps yourself, leave it off.", style=TextStyle.WARNING),
        ),
        buttons=_buttons("Hold to switch on"),
        confirm=True,
    )


def _grouped(fingerprint: bytes) -> str:
    text = fingerprint.hex()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _short(fingerprint: bytes) -> str:
    return f"{_grouped(fingerprint[:4])} ... {_grouped(fingerprint[-4:])}"
