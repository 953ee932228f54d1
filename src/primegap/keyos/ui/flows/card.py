"""The card in the system's own hands: backups, restoring them, and what firmware is there.

What reads and writes the files is loaded when it is needed: the first screen does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.api import security
from primegap.keyos.card import chosen_file, find_on_card, read_from_card, save_to_card
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens, screens_card
from primegap.keyos.ui.flows.context import reason
from primegap.keyos.ui.flows.pin import ask_pin
from primegap.keyos.ui.text import untrusted

if TYPE_CHECKING:
    from primegap.keyos.card import FoundFile
    from primegap.keyos.ui.flows.context import Context

QUIZ_DIGITS: Final = 4


async def back_up(ui: Context) -> None:
    """Encrypt the seed, show its code, have it repeated, and write the file."""
    from primegap.airgap.backup_file import format_code
    from primegap.airgap.card_names import BACKUP_SUFFIX, BACKUPS
    from primegap.airgap.errors import AirgapError

    if await ui.press(screens_card.offer_backup()) != screens.OK:
        return
    made: list[security.CardBackup] = []

    async def make(pin: str) -> None:
        request = security.MakeCardBackup(pin, ui.network)
        made.append(await ui.process.call(request, security.CardBackup))

    if not await ask_pin(ui, "Enter it to back up the seed.", make):
        return
    (backup,) = made
    while True:
        if await ui.press(screens_card.show_code(backup.code)) != screens.OK:
            return
        typed = await ui.enter(screens_card.enter_code("Type the whole code from your note."))
        if typed is not None and format_code(typed) == backup.code:
            break
        await ui.tell("That is not the code", "Look at it again and compare each group.")
    name = f"{ui.lock.fingerprint}-backup{BACKUP_SUFFIX}"
    try:
        path = await save_to_card(ui.process, BACKUPS, name, backup.archive)
    except AirgapError as error:
        await ui.tell("Not backed up", error.hint)
        return
    await ui.tell(
        "Backed up", untrusted(f"The card holds {path}. It opens with your code alone."), good=True
    )


async def choose_file(ui: Context, title: str, files: list[FoundFile]) -> FoundFile | None:
    """Let the person choose; None when there is nothing, or the person left."""
    if not files:
        await ui.tell("Nothing found", "The card holds no such file.")
        return None
    choice = await ui.press(screens_card.choose_file(title, files))
    return chosen_file(files, choice)


async def restore(ui: Context) -> bool:
    """Bring the seed of a backup into memory; whether it was done."""
    from primegap.airgap.backup_file import format_code
    from primegap.airgap.card_names import BACKUP_SUFFIX, BACKUPS

    try:
        files = await find_on_card(ui.process, (BACKUPS, ""), BACKUP_SUFFIX)
        file = await choose_file(ui, "Choose a backup", files)
        if file is None:
            return False
        archive = await read_from_card(ui.process, file.path)
        typed = await ui.enter(screens_card.enter_code("Type the code of the backup."))
        if typed is None:
            return False
        request = security.RestoreCardBackup(archive, format_code(typed))
        with ui.working("Opening the backup"):
            begun = await ui.process.call(request, security.SeedBegun)
    except KeyosError as error:
        await ui.tell("Not restored", reason(error))
        return False
    return await ui.press(screens_card.confirm_seed(begun.fingerprint)) == screens.OK


async def scan_seed(ui: Context) -> bool:
    """Bring the seed of a SeedQR into memory; whether it was done."""
    from primegap.airgap import CodeReader, Expect

    reader = CodeReader(Expect.SEED)
    try:
        while reader.result is None:
            code = await ui.scan(screens_card.scanning("Scan a SeedQR", "Hold the code up."))
            if code is None:
                return False
            reader.receive(code.text, code.raw)
        request = security.ImportSeed(reader.result.content)
        begun = await ui.process.call(request, security.SeedBegun)
    except KeyosError as error:
        await ui.tell("Not imported", reason(error))
        return False
    return await ui.press(screens_card.confirm_seed(begun.fingerprint)) == screens.OK


async def list_firmware(ui: Context) -> None:
    """Show which firmware files of the reference device's form are on the card."""
    from primegap.airgap.card_names import FIRMWARE_SUFFIX
    from primegap.airgap.errors import FirmwareFileError
    from primegap.airgap.firmware_file import parse_firmware_untrusted

    found = []
    for file in await find_on_card(ui.process, ("",), FIRMWARE_SUFFIX):
        try:
            head = parse_firmware_untrusted(await read_from_card(ui.process, file.path), file.size)
        except (FirmwareFileError, KeyosError):
            continue
        found.append((file, head))
    await ui.press(screens_card.firmware(found))


async def check_supply_chain(ui: Context) -> str | None:
    """Answer the question of the maker's server; return what the person says came of it."""
    code = await ui.scan(
        screens_card.scanning("Check this device", "Hold up the code of your maker’s page.")
    )
    if code is None:
        return None
    try:
        request = security.AnswerSupplyChain(code.text)
        words = await ui.process.call(request, security.SupplyChainWords)
    except KeyosError as error:
        await ui.tell("Not checked", reason(error))
        return None
    choice = await ui.press(screens_card.supply_chain_words(words.words))
    return choice if choice in {screens_card.PASSED, screens_card.FAILED} else None
