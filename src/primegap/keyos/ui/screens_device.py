"""The system's screens about the device itself: switches, PIN, seed words, facts, erasing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.ui.preferences import AUTO_LOCK_CHOICES_S
from primegap.keyos.ui.screen import (
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Icon,
    Item,
    Keypad,
    KeypadPurpose,
    Row,
    Screen,
    Text,
    TextStyle,
    Toggle,
    Tone,
    Words,
    untrusted,
)
from primegap.keyos.ui.screens import CONFIRM, DONE, HOLD_MS, MIN_PIN, OK, REMOVE, back, muted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.api.airlock import CardEntry, FolderContent
    from primegap.keyos.api.core import SwitchInfo, SystemInfo
    from primegap.keyos.api.security import DeviceFacts

AIR_GAP: Final = "air-gap"
SWITCH: Final = "switch:"
SWITCHES: Final = "switches"
PIN: Final = "pin-and-seed"
CHANGE_PIN: Final = "change-pin"
SHOW_WORDS: Final = "show-words"
AUTO_LOCK: Final = "auto-lock"
CARD: Final = "card"
LEND: Final = "lend"
INSTALL: Final = "install"
APP_FILE: Final = ".app"
TAKE_BACK: Final = "take-back"
BACK_UP: Final = "back-up"
FIRMWARE: Final = "firmware-files"
ENTRY: Final = "entry:"
FACTS: Final = "device-facts"
ERASE: Final = "erase"
SWITCH_NAMES: Final = {"bluetooth": "Bluetooth", "nfc": "NFC", "usb": "USB", "camera": "Camera"}
MAX_SHOWN_ENTRIES: Final = 40
ERASE_HOLD_MS: Final = 3000
SUPPLY_CHAIN: Final = {
    "": "Not checked",
    "passed": "Checked: the words agreed",
    "failed": "The words did not agree",
    "skipped": "The check was left out",
}
LEVELS: Final = {
    1: "Full",
    2: "Reduced: built-in apps only",
    3: "None: simulator",
}


def security(switches: Sequence[SwitchInfo], *, air_gap: bool) -> Screen:
    """The air gap, and the way to everything else about the device."""
    detail = "On: nothing by radio or wire" if air_gap else "Stops radio and wire at once"
    working = [SWITCH_NAMES[switch.name] for switch in switches if switch.on]
    return Screen(
        id="security",
        title="Security",
        items=(
            Toggle(AIR_GAP, "Air gap", on=air_gap, detail=detail),
            ChoiceList(
                (
                    Choice(SWITCHES, "Switches", ", ".join(working) or "All off"),
                    Choice(PIN, "PIN and seed", "Change, show, erase"),
                    Choice(CARD, "microSD card", "Look, remove"),
                    Choice(FIRMWARE, "Firmware files", "On the card"),
                    Choice(FACTS, "This device", "Isolation, seed keeper, storage"),
                )
            ),
        ),
        buttons=(back(),),
    )


def switches(found: Sequence[SwitchInfo], *, air_gap: bool) -> Screen:
    """One switch for each kind of hardware that the device has."""
    items: list[Item] = [
        Toggle(
            SWITCH + switch.name,
            SWITCH_NAMES[switch.name],
            on=switch.on,
            detail="Kept off by the air gap" if switch.chosen and not switch.on else "",
        )
        for switch in found
        if switch.present
    ]
    if air_gap:
        items.append(muted("Behind the air gap, codes and cards carry everything."))
    else:
        items.append(muted("What is off does not run, also after a restart."))
    return Screen(id="switches", title="Switches", items=tuple(items), buttons=(back(),))


def pin_and_seed(auto_lock_s: int) -> Screen:
    """Everything about PIN and seed."""
    return Screen(
        id="pin-and-seed",
        title="PIN and seed",
        items=(
            ChoiceList(
                (
                    Choice(AUTO_LOCK, "Lock by itself", after(auto_lock_s)),
                    Choice(CHANGE_PIN, "Change the PIN", "Asks for the present one"),
                    Choice(SHOW_WORDS, "Show the seed words", "Asks for the PIN"),
                    Choice(BACK_UP, "Back up to a card", "Encrypted, with a code"),
                )
            ),
            ChoiceList((Choice(ERASE, "Erase the device", "Removes the seed for good"),)),
        ),
        buttons=(back(),),
    )


def after(seconds: int) -> str:
    """Return a time without a touch in words."""
    minutes = seconds // 60
    return f"After {minutes} minute{'' if minutes == 1 else 's'}"


def card(content: FolderContent, path: str, free: str) -> Screen:
    """What is in a folder of the card: names are whoever's wrote it."""
    shown = content.entries[:MAX_SHOWN_ENTRIES]
    items: list[Item] = []
    if path:
        items.append(Row("Folder", untrusted(path)))
    if shown:
        items.append(
            ChoiceList(
                tuple(
                    Choice(
                        f"{ENTRY}{number}",
                        untrusted(entry.name, 60),
                        "Folder" if entry.folder else size_text(entry.size),
                    )
                    for number, entry in enumerate(shown)
                )
            )
        )
    else:
        items.append(muted("Nothing is here."))
    if content.more or len(content.entries) > len(shown):
        items.append(muted("There is more than can be listed."))
    items.append(muted(f"{free} free."))
    buttons = (back(),) if path else (back(), Button(LEND, "Lend to a computer"))
    return Screen(id="card", title="microSD card", items=tuple(items), buttons=buttons)


def card_lent() -> Screen:
    """A computer has the card: the device leaves it alone."""
    return Screen(
        id="card-lent",
        title="microSD card",
        items=(
            Text("A computer has the card. This device neither reads nor writes it."),
            muted("Eject it on the computer first, then take it back."),
        ),
        buttons=(back(), Button(TAKE_BACK, "Take it back", style=ButtonStyle.PRIMARY)),
    )


def card_entry(entry: CardEntry) -> Screen:
    """One file, or an empty folder, to be removed."""
    kind = "Folder" if entry.folder else "File"
    return Screen(
        id="card-entry",
        title=kind,
        items=(
            Row("Name", untrusted(entry.name)),
            Row("Size", "–" if entry.folder else size_text(entry.size)),
        ),
        buttons=(
            back(),
            Button(REMOVE, "Hold to remove", style=ButtonStyle.DANGER, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def is_app(entry: CardEntry) -> bool:
    """Whether a file says that it is an app; what it is, the app manager judges."""
    return not entry.folder and entry.name.lower().endswith(APP_FILE)


def card_app(entry: CardEntry) -> Screen:
    """A file that says it is an app: to be installed or removed."""
    return Screen(
        id="card-app",
        title="App on the card",
        items=(
            Row("Name", untrusted(entry.name)),
            Row("Size", size_text(entry.size)),
            ChoiceList(
                (
                    Choice(INSTALL, "Install", "After all checks"),
                    Choice(REMOVE, "Remove", "From the card"),
                )
            ),
        ),
        buttons=(back(),),
    )


def size_text(size: int) -> str:
    """Return a size as people read it, rounded up."""
    if size < 1024:
        return "1 byte" if size == 1 else f"{size} bytes"
    return f"{-(-size // 1024)} KiB" if size < 1 << 20 else f"{-(-size // (1 << 20))} MiB"


def auto_lock(chosen_s: int) -> Screen:
    """Choose when the device locks itself."""
    choices = tuple(
        Choice(f"after:{seconds}", after(seconds), selected=seconds == chosen_s)
        for seconds in AUTO_LOCK_CHOICES_S
    )
    return Screen(
        id="auto-lock",
        title="Lock by itself",
        items=(muted("Without a touch for this time, the device locks."), ChoiceList(choices)),
        buttons=(back(),),
    )


def chosen_auto_lock(action: str) -> int | None:
    """Return the seconds that a choice of `auto_lock` stands for."""
    number = action.removeprefix("after:")
    return int(number) if action.startswith("after:") and number.isdigit() else None


def check_pin(purpose: str, note: str = "") -> Screen:
    """Ask for the PIN again, for a fixed purpose of the system's own (U-12)."""
    text = Text(note, style=TextStyle.WARNING) if note else Text(purpose)
    return Screen(
        id="check-pin",
        title="Your PIN",
        items=(text, Keypad(KeypadPurpose.PIN, min_length=MIN_PIN)),
        buttons=(back("Cancel"), Button(DONE, "Continue", style=ButtonStyle.PRIMARY)),
    )


def warn_words() -> Screen:
    """Before the seed words are shown."""
    return Screen(
        id="warn-words",
        title="Is nobody watching?",
        items=(
            Icon("warning", tone=Tone.WARNING),
            Text("Whoever sees these words can take your coins, now or years from now."),
            muted("No app, no companion and no support ever needs them."),
        ),
        buttons=(back("Cancel"), Button(OK, "I am alone", style=ButtonStyle.PRIMARY)),
    )


def show_words(words: Sequence[str]) -> Screen:
    """The seed words, once more."""
    return Screen(
        id="show-words",
        title="Your seed words",
        items=(Words(tuple(words)), muted("On paper, in this order. Never in a picture.")),
        buttons=(Button(DONE, "Hide", style=ButtonStyle.PRIMARY),),
    )


def confirm_air_gap_off() -> Screen:
    """Ask before radio and wire are allowed again."""
    return Screen(
        id="confirm-air-gap-off",
        title="Leave the air gap?",
        items=(
            Icon("shield"),
            Text("Bluetooth, NFC and USB may work again, as their own switches say."),
        ),
        buttons=(
            back(),
            Button(CONFIRM, "Hold to leave", style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def warn_erase() -> Screen:
    """Before the last question."""
    return Screen(
        id="warn-erase",
        title="Erase the device?",
        items=(
            Icon("warning", tone=Tone.DANGER),
            Text("The seed, the PIN and everything that apps have stored go for good."),
            Text(
                "Your coins can then be reached only with the words on your paper.",
                style=TextStyle.WARNING,
            ),
        ),
        buttons=(back("Keep it"), Button(OK, "Go on", style=ButtonStyle.DANGER)),
    )


def confirm_erase(fingerprint: str) -> Screen:
    """The last question."""
    return Screen(
        id="confirm-erase",
        title="Erase for good",
        items=(
            Row("Master fingerprint", fingerprint.upper()),
            Text("There is no way back.", style=TextStyle.DANGER),
        ),
        buttons=(
            back("Keep it"),
            Button(CONFIRM, "Hold to erase", style=ButtonStyle.DANGER, hold_ms=ERASE_HOLD_MS),
        ),
        confirm=True,
    )


def facts(
    version: str,
    fingerprint: str,
    system: SystemInfo,
    device: DeviceFacts,
    chip: str,
    storage: str,
    supply_chain: str,
) -> Screen:
    """What this device is made of, as measured."""
    keeper = "Files and a counter" if device.sealing == "software" else device.sealing.upper()
    memory = {"secret": "Hidden, locked", "locked": "Locked"}.get(device.memory, "Ordinary")
    level = LEVELS.get(system.level, "Measured at start")
    items: list[Item] = [
        Row("primegap", version),
        Row("Master fingerprint", fingerprint.upper()),
        Row("Device", " ".join(_groups(device.device_id.upper()))),
        Row("Isolation", level, tone=Tone.WARNING if system.level > 1 else Tone.PLAIN),
        Row("Seed is kept by", keeper),
        Row("Seed in memory", memory, tone=Tone.WARNING if memory == "Ordinary" else Tone.PLAIN),
        Row("Bluetooth chip", chip),
        Row("Stored by apps", storage),
        Row("Erased so far", str(device.resets)),
        Row("Supply chain", SUPPLY_CHAIN[supply_chain]),
    ]
    if device.limits:
        items.append(Text(device.limits, style=TextStyle.WARNING))
    items += [Row(f.feature, "Yes" if f.present else "No") for f in system.features]
    items += [
        Row(p.role.capitalize(), "Runs" if p.running else "Off", tone=Tone.MUTED)
        for p in system.processes
    ]
    return Screen(
        id="device-facts",
        title="This device",
        items=tuple(items),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def _groups(text: str) -> list[str]:
    return [text[i : i + 4] for i in range(0, len(text), 4)]
