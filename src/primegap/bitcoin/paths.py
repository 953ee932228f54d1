"""BIP-32 derivation paths as text and as numbers."""

from __future__ import annotations

import re
from typing import Final

from primegap.bitcoin.errors import AccountFormatError
from primegap.bitcoin.psbt_fields import HARDENED, MAX_DERIVATION_DEPTH

_PATH: Final = re.compile(r"m((?:/[0-9]{1,10}['hH]?)*)", re.ASCII)


def format_path(path: tuple[int, ...]) -> str:
    """Return a path as `m/84'/0'/0'/0/5`."""
    steps = (f"{step & ~HARDENED}{chr(39) if step & HARDENED else ''}" for step in path)
    return "/".join(("m", *steps))


def parse_path_untrusted(text: str) -> tuple[int, ...]:
    """Read a path such as `m/84'/0'/0'` (`h` and `H` also mark hardened steps).

    Raises:
        AccountFormatError: not a path, a number out of range, or deeper than 12 steps.
    """
    match = _PATH.fullmatch(text)
    if match is None:
        raise AccountFormatError("not a derivation path")
    steps = match[1].split("/")[1:]
    if len(steps) > MAX_DERIVATION_DEPTH:
        raise AccountFormatError("a derivation path is too deep")
    return tuple(_step(step) for step in steps)


def _step(text: str) -> int:
    hardened = text[-1] in "'hH"
    number = int(text[:-1] if hardened else text)
    if number >= HARDENED:
        raise AccountFormatError("a step of a derivation path is out of range")
    return number | HARDENED if hardened else number
