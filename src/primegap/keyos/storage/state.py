"""How a process comes by its stored state, whatever became of the file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from primegap.files import StorageError
from primegap.keyos.storage.sealed import SealedFile, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RETRY_S: Final = 5.0


async def load_state(
    file: SealedFile,
    load: Callable[[SealedFile], T],
    *,
    log: Callable[[str], None],
    on_trouble: Callable[[str], None] = lambda hint: None,
) -> T:
    """Return what is stored in a file, or a new beginning.

    A file that does not open belongs to a seed that was erased, or was altered: it is dropped, and
    with it everything that was granted. While the storage cannot be used at all, this waits.

    Args:
        file: of the process.
        load: reads the file, or begins anew when there is none.
        log: takes one line for the journal, at each change.
        on_trouble: is told why it waits, as a sentence for a person.
    """
    told = ""
    while True:
        try:
            try:
                return load(file)
            except UnreadableError as error:
                log(f"{error}: beginning anew")
                file.remove()
                return load(file)
        except StorageError as error:
            if str(error) != told:
                log(str(error))
            told = str(error)
            on_trouble(error.hint)
            await asyncio.sleep(RETRY_S)
