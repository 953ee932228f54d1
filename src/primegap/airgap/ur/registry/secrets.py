"""Seeds and shares of seeds (uniform-resources.md sections 9.2 and 9.8).

Everything here is a secret: nothing is logged, nothing has a text form, and no error says what was
read. Read these only where a person chose to load a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from primegap.airgap.errors import LocalAirgapError, UrPayloadError
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.registry.fields import Fields, value_of
from primegap.airgap.ur.value import Tagged, Value, encode_value

MAX_SEED_BYTES: Final = 64
MAX_WORDS: Final = 24
MAX_WORD_CHARACTERS: Final = 16

_SECONDS: Final = 1  # tag of a date in seconds
_DAYS: Final = 100  # tag of a date in days, in papers of the first generation
_DAY_S: Final = 86_400
_MAX_DATE_S: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class SeedPayload:
    """The entropy of a seed, and what is known about it."""

    entropy: bytes = field(repr=False)
    "1 to 64 bytes, mostly 16 or 32."
    created_s: int | None = None
    "Unix time, seconds."
    name: str = ""
    note: str = ""


def seed_from_ur(ur: Ur) -> SeedPayload:
    """Return the seed in a UR of type `crypto-seed` or `seed`.

    Raises:
        UrPayloadError: another type, or malformed.
        CborError: it is malformed.
    """
    fields = Fields(value_of(ur, "crypto-seed", "seed"), "a seed")
    entropy = fields.data(1)
    if not 1 <= len(entropy) <= MAX_SEED_BYTES:
        raise UrPayloadError("a seed of a wrong length")
    created_s = _date_s(fields.value(2)) if 2 in fields else None
    return SeedPayload(entropy, created_s, fields.text(3), fields.text(4))


def _date_s(value: Value) -> int:
    if isinstance(value, Tagged) and value.tag in {_SECONDS, _DAYS}:
        number = value.value
        if isinstance(number, int) and not isinstance(number, bool):
            seconds = number * (_DAY_S if value.tag == _DAYS else 1)
            if abs(seconds) <= _MAX_DATE_S:
                return seconds
    raise UrPayloadError("not a date")


def seed_to_ur(seed: SeedPayload, ur_type: str = "crypto-seed") -> Ur:
    """Return a seed as a UR; the date is written in seconds, or in days for `crypto-seed`.

    Raises:
        LocalAirgapError: a wrong length, or another type.
    """
    first = ur_type == "crypto-seed"
    if not 1 <= len(seed.entropy) <= MAX_SEED_BYTES or not (first or ur_type == "seed"):
        raise LocalAirgapError("a seed of a wrong length, or not a type for one")
    found: dict[int, Value] = {1: seed.entropy}
    if seed.created_s is not None:
        days = Tagged(_DAYS, seed.created_s // _DAY_S)
        found[2] = days if first else Tagged(_SECONDS, seed.created_s)
    found |= {number: text for number, text in ((3, seed.name), (4, seed.note)) if text}
    return Ur(ur_type, encode_value(found))


def words_from_ur(ur: Ur) -> tuple[str, ...]:
    """Return the words in a UR of type `crypto-bip39`; they are not checked here.

    Raises:
        UrPayloadError: another type or language, or malformed.
        CborError: it is malformed.
    """
    fields = Fields(value_of(ur, "crypto-bip39"), "words")
    words = fields.items(1, MAX_WORDS)
    if fields.text(2) not in {"", "en"}:
        raise UrPayloadError("words of another language")
    found = [word for word in words if isinstance(word, str) and len(word) <= MAX_WORD_CHARACTERS]
    if len(found) != len(words) or not found:
        raise UrPayloadError("not words")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class SskrShare:
    """One share of a seed."""

    identifier: int
    "Two bytes that all shares of one seed have in common."
    group_threshold: int
    group_count: int
    group_index: int
    "From 0."
    member_threshold: int
    member_index: int
    "From 0."
    value: bytes = field(repr=False)
    "16 to 32 bytes, an even number."


def sskr_from_ur(ur: Ur) -> SskrShare:
    """Return the share in a UR of type `crypto-sskr` or `sskr`.

    Raises:
        UrPayloadError: another type, or malformed.
        CborError: it is malformed.
    """
    data = value_of(ur, "crypto-sskr", "sskr")
    if not isinstance(data, bytes) or not 16 <= len(data) - 5 <= 32 or len(data) % 2 == 0:
        raise UrPayloadError("a share of a wrong length")
    share = SskrShare(
        int.from_bytes(data[:2], "big"),
        (data[2] >> 4) + 1,
        (data[2] & 15) + 1,
        data[3] >> 4,
        (data[3] & 15) + 1,
        data[4] & 15,
        data[5:],
    )
    if data[4] >> 4 or share.group_threshold > share.group_count:
        raise UrPayloadError("a share whose numbers contradict each other")
    if share.group_index >= share.group_count:
        raise UrPayloadError("a share whose numbers contradict each other")
    return share


def sskr_to_ur(share: SskrShare, ur_type: str = "crypto-sskr") -> Ur:
    """Return a share as a UR."""
    head = bytes(
        [
            (share.group_threshold - 1) << 4 | (share.group_count - 1),
            share.group_index << 4 | (share.member_threshold - 1),
            share.member_index,
        ]
    )
    return Ur(ur_type, encode_value(share.identifier.to_bytes(2, "big") + head + share.value))
