"""Screens about the card, backups, and the check of the supply chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.card import MAX_NAME_CHARS, file_choices
from primegap.keyos.ui.screen import (
    Button,
    ButtonStyle,
    Code,
    Icon,
    Item,
    Keypad,
    KeypadPurpose,
    Progress,
    Row,
    Screen,
    Text,
    TextStyle,
    Words,
)
from primegap.keyos.ui.screens import DONE, OK, back, muted
from primegap.keyos.ui.text import untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.airgap.firmware_file import FirmwareFile
    from primegap.keyos.card import FoundFile

PASSED: Final = "passed"
FAILED: Final = "failed"
CODE_DIGITS: Final = 20


def _ok(label: str = "Continue") -> Button:
    return Button(OK, label, style=ButtonStyle.PRIMARY)


def offer_backup() -> Screen:
    """Before a backup."""
    return Screen(
        id="offer-backup",
        title="Back up to a card",
        items=(
            Icon("shield"),
            Text("The card gets an encrypted file with your seed. A code of 20 digits opens it."),
            Text(
                "Keep code and card apart: with both, anybody can spend.", style=TextStyle.WARNING
            ),
        ),
        buttons=(back(), _ok()),
    )


def show_code(code: str) -> Screen:
    """The code, to be written down."""
    return Screen(
        id="backup-code",
        title="Your backup code",
        items=(
            Text("Write it down. It is the same for every backup of this seed on this device."),
            Words(tuple(code.split("-"))),
        ),
        buttons=(back(), _ok("I wrote it down")),
    )


def enter_code(text: str) -> Screen:
    """Type a backup's code."""
    return Screen(
        id="enter-code",
        title="Backup code",
        items=(Text(text), Keypad(KeypadPurpose.CODE, min_length=CODE_DIGITS)),
        buttons=(back(), Button(DONE, "Continue", style=ButtonStyle.PRIMARY)),
    )


def choose_file(title: str, files: Sequence[FoundFile]) -> Screen:
    """Files of one kind: their names are whoever's wrote them."""
    return Screen(id="choose-file", title=title, items=(file_choices(files),), buttons=(back(),))


def confirm_seed(fingerprint: str) -> Screen:
    """A seed that was brought, before it is stored."""
    return Screen(
        id="confirm-seed",
        title="Is this your seed?",
        items=(
            Icon("check"),
            Row("Master fingerprint", fingerprint.upper()),
            muted("Compare it with the one that you know."),
        ),
        buttons=(back("No"), _ok("Yes")),
    )


def scanning(title: str, text: str) -> Screen:
    """The camera looks for the system itself."""
    return Screen(
        id="system-scan",
        title=title,
        items=(Icon("qr"), Text(text), Progress("Scanning", None)),
        buttons=(back("Cancel"),),
    )


def firmware(found: Sequence[tuple[FoundFile, FirmwareFile]]) -> Screen:
    """Firmware files; nothing is installed from here."""
    items: list[Item] = []
    for file, head in found:
        items.append(Row("File", untrusted(file.name, MAX_NAME_CHARS)))
        items.append(Row("Version", untrusted(f"{head.version}, {head.date}, {head.model}")))
    items.append(
        muted("This is what the files say. Signatures are checked when one is installed.")
        if found
        else muted("The card holds no firmware file.")
    )
    return Screen(
        id="firmware-files", title="Firmware files", items=tuple(items), buttons=(back(),)
    )


def supply_chain_words(words: Sequence[str]) -> Screen:
    """The answer; the person compares."""
    return Screen(
        id="supply-chain",
        title="Compare four words",
        items=(
            Code("Words", " ".join(words)),
            Text("Does the page of your device’s maker show the very same words?"),
        ),
        buttons=(
            Button(FAILED, "No", style=ButtonStyle.SECONDARY),
            Button(PASSED, "Yes, the same", style=ButtonStyle.PRIMARY),
        ),
    )
