"""Files on the microSD card, for whoever was granted it: apps and the system's own flows.

Names follow the rules that other devices and wallets keep (airgap.md section 6): a folder for each
kind of file, a number for each file, the root where a folder cannot be had. What others wrote is
untrusted: names are shown with `untrusted(…)`, contents are parsed by whoever knows their form.

    path = await save_to_card(process, TRANSACTIONS, "payment-signed.psbt", content)
    files = await find_on_card(process, (TRANSACTIONS, ""), ".psbt")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import airlock
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.ui.screen import Choice, ChoiceList
from primegap.keyos.ui.text import untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.process import Process

FILE: Final = "file:"
"Begin of the ids of files in a list to choose from; their number in it follows."
MAX_NAME_CHARS: Final = 60
"Of a file's name on the screen."
MAX_FOUND: Final = 64
"Files among which a person chooses; whoever has more sorts them elsewhere."


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file on the card."""

    path: str
    "From the root, with `/` between the parts. Untrusted."
    name: str
    "Its last part. Untrusted."
    size: int


async def _names(process: Process, folder: str) -> list[airlock.CardEntry] | None:
    """Return what is in a folder; None when there is no such folder."""
    try:
        content = await process.call(airlock.ListFolder(folder), airlock.FolderContent)
    except RequestError as error:
        if error.status in {Status.NOT_FOUND, Status.MALFORMED}:
            return None
        raise
    return list(content.entries)


async def find_on_card(
    process: Process, folders: Sequence[str], suffix: str, *, without: Sequence[str] = ()
) -> list[FoundFile]:
    """Return the files whose name ends in `suffix`, folder after folder.

    Args:
        process: of an app that was granted the card.
        folders: where to look; empty for the root. One that is not there holds nothing.
        suffix: such as `.psbt`; upper and lower case are the same.
        without: parts of names that are left out, such as `-signed`.

    Raises:
        RequestError: the card cannot be read, or was not granted.
    """
    found: list[FoundFile] = []
    for folder in folders:
        for entry in await _names(process, folder) or ():
            name = entry.name.casefold()
            if entry.folder or not name.endswith(suffix) or name.startswith("."):
                continue
            if any(part in name for part in without) or len(found) >= MAX_FOUND:
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            found.append(FoundFile(path, entry.name, entry.size))
    return found


def file_choices(files: Sequence[FoundFile], *, paths: bool = False) -> ChoiceList:
    """Return the lines of a screen on which one of the files is chosen: anybody's names.

    Args:
        files: on the card.
        paths: whether each line says where the file is, too.
    """
    return ChoiceList(
        tuple(
            Choice(
                f"{FILE}{number}",
                untrusted(file.name, MAX_NAME_CHARS),
                untrusted(file.path) if paths else "",
            )
            for number, file in enumerate(files)
        )
    )


def chosen_file(files: Sequence[FoundFile], choice: str) -> FoundFile | None:
    """Return the file whose line was pressed; None when it was something else."""
    return files[int(choice.removeprefix(FILE))] if choice.startswith(FILE) else None


async def read_from_card(process: Process, path: str) -> bytes:
    """Return the content of a file; untrusted.

    Raises:
        RequestError: it is gone, too large, or the card cannot be read.
    """
    return (await process.call(airlock.ReadCardFile(path), airlock.CardFile)).data


async def save_to_card(process: Process, folder: str, name: str, content: bytes) -> str:
    """Write a new file and return its path; never one over another.

    Args:
        process: of an app that was granted the card.
        folder: made when it is not there; the root is taken when it cannot be made.
        name: with its suffix; a free number goes before that.
        content: at most 960 KiB.

    Raises:
        RequestError: the card is full or cannot be written; nothing was changed.
        CardNamesUsedUpError: 999 files of this name are there.
    """
    from primegap.airgap.card_names import numbered_name

    entries = await _names(process, folder)
    if entries is None:
        try:
            await process.call(airlock.MakeFolder(folder))
        except RequestError as error:
            if error.status not in {Status.MALFORMED, Status.NOT_FOUND, Status.TOO_LARGE}:
                raise
            folder = ""
        entries = await _names(process, folder) or []
    free = numbered_name(name, (entry.name for entry in entries))
    path = f"{folder}/{free}" if folder else free
    await process.call(airlock.WriteCardFile(path, content))
    return path


async def shred_on_card(process: Process, path: str) -> None:
    """Remove a file after its content was overwritten with zeros and its name with `x`.

    A card may keep copies elsewhere: this hides a file from whoever looks, not from a laboratory.
    """
    await process.call(airlock.RemoveCardFile(path, shred=True))
