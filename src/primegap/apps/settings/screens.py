"""The app's screens, as data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from primegap.apps.settings.store import OFFSETS_MINUTES
from primegap.keyos.manifest.catalogue import CATALOGUE
from primegap.keyos.ui.screen import (
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Icon,
    Item,
    Row,
    Screen,
    Text,
    TextStyle,
    Toggle,
    Tone,
    untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.api.core import SwitchInfo, SystemInfo
    from primegap.keyos.api.permissions import Grant

BLUETOOTH: Final = "bluetooth"
TIME: Final = "time"
GRANTS: Final = "grants"
ABOUT: Final = "about"
BACK: Final = "back"
OK: Final = "ok"
ZONE: Final = "zone"
SET: Final = "set"
SYSTEM_CLOCK: Final = "system-clock"
REVOKE: Final = "revoke"
GRANT: Final = "grant:"
OFFSET: Final = "offset:"
SHIFTS: Final = {
    "hour-back": ("− 1 hour", -3600),
    "hour-on": ("+ 1 hour", 3600),
    "minute-back": ("− 1 minute", -60),
    "minute-on": ("+ 1 minute", 60),
    "second-back": ("− 1 second", -1),
    "second-on": ("+ 1 second", 1),
}
"Ids of the choices that set the clock, what they say and how many seconds they add."
_LEVELS: Final = {1: "Full", 2: "Reduced: built-in apps", 3: "None: simulator"}
MAX_SHOWN_GRANTS: Final = 48


def _back() -> Button:
    return Button(BACK, "Back", style=ButtonStyle.SECONDARY)


def _muted(text: str) -> Text:
    return Text(text, style=TextStyle.MUTED)


def bluetooth(info: SystemInfo) -> SwitchInfo:
    """Return the switch of the Bluetooth chip."""
    return next(switch for switch in info.switches if switch.name == BLUETOOTH)


def menu(info: SystemInfo, clock: str) -> Screen:
    """First screen of the app."""
    items: list[Item] = []
    switch = bluetooth(info)
    if switch.present:
        detail = "Connects to the companion" if switch.on else "Off: signs by QR code only"
        if switch.chosen and not switch.on:
            detail = "Kept off by the air gap"
        items.append(Toggle(BLUETOOTH, "Bluetooth", on=switch.on, detail=detail))
    else:
        items.append(_muted("This device has no Bluetooth chip. It signs by QR code only."))
    items.append(
        ChoiceList(
            (
                Choice(TIME, "Time and zone", clock),
                Choice(GRANTS, "Permissions", "What you have allowed to apps", icon=None),
                Choice(ABOUT, "About this device", "Seed, processes, isolation"),
            )
        )
    )
    items.append(_muted("Air gap, PIN and lock are under Security on the home screen."))
    return Screen(id="settings", title="Settings", items=tuple(items), buttons=(_back(),))


def zone_name(offset_minutes: int) -> str:
    """Return an offset from UTC as people write it."""
    sign = "−" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    return "UTC" if not offset_minutes else f"UTC {sign}{hours}:{minutes:02}"


def local_time(unix_ms: int, offset_minutes: int) -> str:
    """Return date and time of day at an offset from UTC."""
    moment = time.gmtime(unix_ms // 1000 + offset_minutes * 60)
    return time.strftime("%Y-%m-%d  %H:%M:%S", moment)


def set_time(unix_ms: int, offset_minutes: int, correction_s: int) -> Screen:
    """The running clock, its zone, and where it comes from."""
    items: list[Item] = [
        *_clock(unix_ms, offset_minutes, correction_s),
        ChoiceList(
            (
                Choice(ZONE, "Time zone", zone_name(offset_minutes)),
                Choice(SET, "Set the clock", "Codes for logins need the right time"),
            )
        ),
    ]
    return Screen(id="set-time", title="Time", items=tuple(items), buttons=(_back(),))


def _clock(unix_ms: int, offset_minutes: int, correction_s: int) -> list[Item]:
    day, _, clock = local_time(unix_ms, offset_minutes).partition("  ")
    source = f"{correction_s:+} s from the system’s" if correction_s else "the system’s"
    return [
        Row("Time", clock, tone=Tone.ACCENT),
        Row("Date", day),
        Row("Clock", source.replace("-", "−")),
    ]


def set_clock(unix_ms: int, offset_minutes: int, correction_s: int) -> Screen:
    """The running clock and the choices that set it."""
    shifts = tuple(Choice(key, label) for key, (label, _) in SHIFTS.items())
    source = Choice(SYSTEM_CLOCK, "Use the system’s clock", selected=not correction_s)
    return Screen(
        id="set-clock",
        title="Set the clock",
        items=(
            *_clock(unix_ms, offset_minutes, correction_s),
            ChoiceList((source,)),
            ChoiceList(shifts),
        ),
        buttons=(_back(),),
    )


def choose_zone(offset_minutes: int) -> Screen:
    """Every offset from UTC, from the present one on and round."""
    at = OFFSETS_MINUTES.index(offset_minutes)
    choices = tuple(
        Choice(f"{OFFSET}{o + 720}", zone_name(o), selected=o == offset_minutes)
        for o in OFFSETS_MINUTES[at:] + OFFSETS_MINUTES[:at]
    )
    return Screen(
        id="choose-zone",
        title="Time zone",
        items=(_muted("Summer time is not followed by itself."), ChoiceList(choices)),
        buttons=(_back(),),
    )


def chosen_offset(action: str) -> int | None:
    """Return the offset that a choice of `choose_zone` stands for."""
    number = action.removeprefix(OFFSET)
    return int(number) - 720 if action.startswith(OFFSET) and number.isdigit() else None


def grants(found: Sequence[Grant]) -> Screen:
    """What the person decided about apps."""
    if not found:
        items: tuple[Item, ...] = (
            Icon("shield"),
            Text("Nothing is granted.", style=TextStyle.HEADING),
            _muted("An app that you install asks when it first wants something."),
        )
    else:
        items = (
            ChoiceList(
                tuple(
                    Choice(f"{GRANT}{n}", untrusted(g.name, 24), _granted(g))
                    for n, g in enumerate(found[:MAX_SHOWN_GRANTS])
                )
            ),
        )
    return Screen(id="grants", title="Permissions", items=items, buttons=(_back(),))


def _granted(grant: Grant) -> str:
    return f"{'May' if grant.allowed else 'May never'} {_title(grant)}"


def _title(grant: Grant) -> str:
    known = CATALOGUE.get(grant.subgroup)
    return known.title if known else grant.subgroup


def one_grant(grant: Grant) -> Screen:
    """One decision, to be taken back."""
    known = CATALOGUE.get(grant.subgroup)
    items: list[Item] = [
        Row("App", untrusted(grant.name, 24)),
        Text(f"{_granted(grant)}.", style=TextStyle.HEADING),
    ]
    if known:
        items.append(Text(known.detail))
    items.append(_muted("Taken back, it holds from the app’s next step on. It may ask again."))
    return Screen(
        id="one-grant",
        title="Permission",
        items=tuple(items),
        buttons=(Button(REVOKE, "Take back", style=ButtonStyle.DANGER), _back()),
    )


def about(fingerprint: str, info: SystemInfo, *, development: bool) -> Screen:
    """Facts about the device; one for development takes chip firmware that anybody can sign."""
    level = "Simulator" if info.simulator else _LEVELS.get(info.level, "Not known")
    tone = Tone.SUCCESS if info.level == 1 and not info.simulator else Tone.WARNING
    items: list[Item] = [
        Row("Master fingerprint", fingerprint.upper() or "none"),
        Row("Isolation", level, tone=tone),
    ]
    if any(process.role == "radio" for process in info.processes):
        keys, shade = ("test keys", Tone.WARNING) if development else ("its maker's", Tone.MUTED)
        items.append(Row("Bluetooth firmware keys", keys, tone=shade))
    items += [
        Row(f.feature.capitalize(), "missing", tone=Tone.WARNING)
        for f in info.features
        if not f.present
    ]
    items += [
        Row(p.role.capitalize(), "runs" if p.running else "off", tone=Tone.MUTED)
        for p in info.processes
    ]
    return Screen(
        id="about",
        title="About",
        items=tuple(items),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def problem(text: str) -> Screen:
    """Something did not work."""
    return Screen(
        id="settings-problem",
        title="That did not work",
        items=(Icon("cross"), Text(untrusted(text))),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )
