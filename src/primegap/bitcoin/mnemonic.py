"""Seed words (BIP-39, English): entropy to words and back, and mixing in thrown dice.

Secret: only the process that owns the seed, and whoever sets one up, imports this.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import bdkpython

from primegap.bitcoin.errors import (
    LocalError,
    MnemonicChecksumError,
    MnemonicLengthError,
    MnemonicWordError,
)

ENTROPY_BYTES: Final = {12: 16, 18: 24, 24: 32}
"Number of words to bytes of entropy."
WORD_COUNT: Final = 2048
WORD_BITS: Final = 11
MAX_DICE_ROLLS: Final = 1024  # 100 hold more entropy than the longest seed
MAX_WORD_CHARACTERS: Final = 8  # the longest word of the list
_MIX_LABEL: Final = b"primegap/mix-entropy/v1"


@lru_cache(maxsize=1)
def seed_words() -> tuple[str, ...]:
    """Return the 2048 words in order.

    BDK knows the list but does not hand it out, so it is read off the words of entropies that
    count upwards: each 16 bytes spell eleven words of our choice.
    """
    words: list[str] = []
    for start in range(0, WORD_COUNT, 11):
        number = 0
        for word in range(start, start + 11):
            number = number << WORD_BITS | min(word, WORD_COUNT - 1)
        entropy = (number << 128 - 11 * WORD_BITS).to_bytes(16, "big")
        words += str(bdkpython.Mnemonic.from_entropy(entropy)).split()[:11]
    return tuple(words[:WORD_COUNT])


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {word: number for number, word in enumerate(seed_words())}


def entropy_to_words(entropy: bytes) -> tuple[str, ...]:
    """Return the 12, 18 or 24 words of 16, 24 or 32 bytes of entropy."""
    check_entropy(entropy)
    return tuple(str(bdkpython.Mnemonic.from_entropy(entropy)).split())


def words_to_entropy(words: tuple[str, ...] | list[str]) -> bytes:
    """Return the entropy of 12, 18 or 24 words, as typed by a person or scanned.

    Raises:
        MnemonicLengthError: another number of words.
        MnemonicWordError: a word is not in the list; it names which.
        MnemonicChecksumError: the words do not belong together.
    """
    size = ENTROPY_BYTES.get(len(words))
    if size is None:
        raise MnemonicLengthError("a seed has 12, 18 or 24 words")
    numbers = _numbers()
    bits = 0
    for position, word in enumerate(words, 1):
        number = numbers.get(word[: MAX_WORD_CHARACTERS + 1].lower())
        if number is None:
            raise MnemonicWordError(position)
        bits = bits << WORD_BITS | number
    entropy = (bits >> size * 8 // 32).to_bytes(size, "big")
    if entropy_to_words(entropy)[-1] != words[-1].lower():
        raise MnemonicChecksumError("the checksum does not match")
    return entropy


def mix_entropy(kernel: bytes, dice_rolls: str) -> bytes:
    """Mix thrown dice into random bytes of the operating system.

    The result is the beginning of `SHA-256(label ‖ length ‖ kernel ‖ dice rolls)`: the label
    `primegap/mix-entropy/v1`, one byte for the length of the kernel, the kernel, the rolls as ASCII
    digits. Whoever knows the rolls still has to guess the kernel, and the other way round: the
    result is as hard to guess as the better of the two, up to its own length and less the fraction
    of a bit that any hash of equal length costs.

    Args:
        kernel: 16, 24 or 32 random bytes.
        dice_rolls: digits 1 to 6 in the order thrown; may be empty.

    Returns:
        As many bytes as `kernel` has.

    Raises:
        LocalError: sizes or digits are out of range.
    """
    check_entropy(kernel)
    if len(dice_rolls) > MAX_DICE_ROLLS or set(dice_rolls) - set("123456"):
        raise LocalError("dice show the digits 1 to 6")
    mixed = _MIX_LABEL + bytes((len(kernel),)) + kernel + dice_rolls.encode()
    return hashlib.sha256(mixed).digest()[: len(kernel)]


def check_entropy(entropy: bytes) -> None:
    """Raise LocalError unless there are 16, 24 or 32 bytes."""
    if len(entropy) not in ENTROPY_BYTES.values():
        raise LocalError("entropy has 16, 24 or 32 bytes")
