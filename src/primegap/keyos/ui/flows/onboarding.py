"""First start: choose a PIN, make a seed, write the words down, prove it.

Nothing is stored before the last step, so a power cut anywhere in between leaves a device that
starts from the beginning.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.api import security
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens
from primegap.keyos.ui.flows.card import check_supply_chain, restore, scan_seed
from primegap.keyos.ui.flows.context import Context, vault_reason
from primegap.keyos.ui.flows.lock import security_words
from primegap.keyos.ui.preferences import save_preferences

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIZ_QUESTIONS: Final = 3
QUIZ_CHOICES: Final = 4


async def first_start(ui: Context) -> None:
    """Run until the device has a seed and is unlocked."""
    while not ui.lock.onboarded:
        if await ui.press(screens.welcome(core_model=ui.core_model)) == screens.CHECK_DEVICE:
            await _check_device(ui)
            continue
        if ui.core_model and not ui.preferences.supply_chain:
            _note_check(ui, "skipped")
        pin = await choose_pin(ui)
        if pin is None:
            continue
        await _make_seed(ui, pin)


async def _check_device(ui: Context) -> None:
    """Have the maker's server and the person judge whether this is a device that was made there."""
    found = await check_supply_chain(ui)
    if found is None:
        return
    _note_check(ui, found)
    if found == "passed":
        await ui.tell("The words agree", "This device is one that its maker made.", good=True)
    else:
        await ui.tell("The words do not agree", "Do not use this device. Ask its maker.")


def _note_check(ui: Context, found: str) -> None:
    """Keep what came of the check: left out, passed and failed stay apart (section 19.11)."""
    ui.preferences = dataclasses.replace(ui.preferences, supply_chain=found)
    with contextlib.suppress(StorageError):
        save_preferences(ui.process.data, ui.preferences)


async def choose_pin(ui: Context) -> str | None:
    """Ask for a PIN twice; None when the person went back."""
    note = ""
    while True:
        first = await ui.enter(screens.pin_entry("Choose a PIN", note or "At least 6 digits."))
        if first is None:
            return None
        second = await ui.enter(screens.pin_entry("Repeat the PIN", "Enter the same digits again."))
        if second == first:
            return first
        note = "The two entries differ. Choose again."


async def _make_seed(ui: Context, pin: str) -> None:
    """Choose length and dice, show the words, quiz, store."""
    choice = await ui.press(screens.seed_length())
    if choice in {screens.RESTORE, screens.SCAN_SEED}:
        if await (restore(ui) if choice == screens.RESTORE else scan_seed(ui)):
            await _store(ui, pin)
        return
    if choice not in screens.SEED_LENGTHS:
        return
    dice = ""
    if await ui.press(screens.offer_dice()) == screens.DICE:
        dice = await ui.enter(screens.dice_entry()) or ""
    try:
        seed = await ui.process.call(
            security.BeginSeed(screens.SEED_LENGTHS[choice], dice), security.SeedWords
        )
        while True:
            if await ui.press(screens.seed_words(seed.words)) == screens.BACK:
                return
            if await _quiz(ui, seed.words):
                break
    except KeyosError as error:
        await ui.tell("The seed was not stored", vault_reason(error))
        return
    await _store(ui, pin)


async def _store(ui: Context, pin: str) -> None:
    """Store the seed that is in memory under the PIN."""
    try:
        with ui.working("Securing the seed"):
            ui.note_lock(await ui.process.call(security.CommitSeed(pin), security.SecurityState))
    except KeyosError as error:
        await ui.read_lock()
        if not ui.lock.onboarded:  # else it was stored, and only the answer was lost
            await ui.tell("The seed was not stored", vault_reason(error))
        return
    words = " ".join(await security_words(ui, pin))
    await ui.tell(
        "Your device is ready",
        f"Master fingerprint {ui.lock.fingerprint.upper()}. Keep the words where only you look.\n"
        f"While you type your PIN, this device will show: {words}. Another device cannot.",
        good=True,
    )


async def _quiz(ui: Context, words: Sequence[str]) -> bool:
    """Ask for some of the words; False sends the person back to the list."""
    for position in _draw(len(words), QUIZ_QUESTIONS):
        choices = _choices(words, position)
        answer = await ui.press(screens.quiz(position, choices))
        if answer != screens.word_choice(words[position]):
            await ui.tell("That is not the word", "Look at the list again and check each word.")
            return False
    return True


def _draw(size: int, count: int) -> list[int]:
    """Return `count` different numbers below `size`, in random order."""
    numbers = list(range(size))
    return [numbers.pop(_below(len(numbers))) for _ in range(count)]


def _below(limit: int) -> int:
    """Return a uniform number below `limit` (limit <= 256) from the kernel's generator."""
    while True:
        value = os.urandom(1)[0]
        if value < 256 - 256 % limit:
            return value % limit


def _choices(words: Sequence[str], position: int) -> list[str]:
    """Return the right word among others of the same list, in random order."""
    others = [word for word in dict.fromkeys(words) if word != words[position]]
    picked = [others[i] for i in _draw(len(others), min(QUIZ_CHOICES - 1, len(others)))]
    picked.insert(_below(len(picked) + 1), words[position])
    return picked
