"""The text of a UR (uniform-resources.md section 3).

The single form is `ur:type/body`, a part of several is `ur:type/number-count/body`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from primegap.airgap.errors import LegacyUrError, UrTextError
from primegap.airgap.limits import MAX_SYMBOL_CHARACTERS
from primegap.airgap.ur.limits import MAX_SEQ_NUM, MAX_TYPE_CHARACTERS

_PREFIX: Final = "ur:"
_TYPE: Final = re.compile(rf"[a-z0-9-]{{1,{MAX_TYPE_CHARACTERS}}}")
_NUMBERS: Final = re.compile(r"([1-9][0-9]{0,9})-([1-9][0-9]{0,9})")
_BODY: Final = re.compile(r"[a-z]+")
# UR 1 writes its counter as 1of3 and its body in the Bech32 alphabet, which has digits.
_LEGACY_NUMBERS: Final = re.compile(r"[0-9]+of[0-9]+")
_LEGACY_BODY: Final = re.compile(r"[02-9ac-hj-np-z]+")


@dataclass(frozen=True, slots=True)
class UrText:
    """The pieces of a UR's text, in lower case."""

    ur_type: str
    numbers: tuple[int, int] | None
    "Number of the part and number of fragments, or None in the single form."
    body: str = field(repr=False)
    "Minimal bytewords; not yet decoded."


def is_ur_text(text: str) -> bool:
    """Tell whether `text` claims to be a UR, of whatever version."""
    return text[: len(_PREFIX)].lower() == _PREFIX


def is_ur_type(ur_type: str) -> bool:
    """Tell whether `ur_type` has the form of a type: 1 to 32 of a-z, 0-9 and the hyphen."""
    return _TYPE.fullmatch(ur_type) is not None


def parse_ur_text_untrusted(text: str) -> UrText:
    """Take the text of one frame apart.

    Raises:
        LegacyUrError: it is of version 1.
        UrTextError: it is not a UR.
    """
    if len(text) > MAX_SYMBOL_CHARACTERS:
        raise UrTextError("longer than a QR symbol holds")
    if not text.isascii():  # some other letters become a to z in lower case
        raise UrTextError("not ASCII")
    if not is_ur_text(text):
        raise UrTextError("no UR prefix")
    ur_type, *rest = text.lower()[len(_PREFIX) :].split("/")
    if not rest or _TYPE.fullmatch(ur_type) is None:
        raise UrTextError("no type or no body")
    *middle, body = rest
    letters_only = _BODY.fullmatch(body) is not None
    legacy_body = not letters_only and _LEGACY_BODY.fullmatch(body) is not None
    if legacy_body or (middle and _LEGACY_NUMBERS.fullmatch(middle[0])):
        raise LegacyUrError("UR version 1")
    if len(middle) > 1 or not letters_only:
        raise UrTextError("not the form of a UR")
    if not middle:
        return UrText(ur_type, None, body)
    match = _NUMBERS.fullmatch(middle[0])
    if match is None:
        raise UrTextError("malformed sequence numbers")
    number, count = int(match[1]), int(match[2])
    if number > MAX_SEQ_NUM:
        raise UrTextError("sequence number of more than 32 bits")
    return UrText(ur_type, (number, count), body)


def format_ur_text(ur_type: str, numbers: tuple[int, int] | None, body: str) -> str:
    """Return the text of one frame, in upper case so that QR's alphanumeric mode applies."""
    counter = "" if numbers is None else f"{numbers[0]}-{numbers[1]}/"
    return f"{_PREFIX}{ur_type}/{counter}{body}".upper()
