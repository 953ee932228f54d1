"""First start: choose a PIN, make a seed, write the words down, prove it.

Nothing is stored before the last step, so a power cut anywhere in between leaves a device that
starts from the beginning.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import security
from primegap.keyos.errors import KeyosError
from primegap.keyos.ui import screens
from primegap.keyos.ui.flows.context import Context, vault_reason
from primegap.keyos.ui.flows.lock import security_words

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIZ_QUESTIONS: Final = 3
QUIZ_CHOICES: Final = 4


async def first_start(ui: Context) -> None:
    """Run until the device has a seed and is unlocked."""
    while not ui.lock.onboarded:
        await ui.press(screens.welcome())
        pin = await choose_pin(ui)
        if pin is None:
            continue
        await _make_seed(ui, pin)


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
