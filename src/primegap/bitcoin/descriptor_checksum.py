"""The checksum of a descriptor, for texts that are not written as BDK writes them (BIP-380)."""

from __future__ import annotations

from typing import Final

from primegap.bitcoin.errors import LocalError

_INPUT: Final = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~"
    'ijklmnopqrstuvwxyzABCDEFGH`#"\\ '
)
_OUTPUT: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


def _step(value: int, symbol: int) -> int:
    top = value >> 35
    value = (value & 0x7FFFFFFFF) << 5 ^ symbol
    for bit, generator in enumerate(_GENERATOR):
        if top >> bit & 1:
            value ^= generator
    return value


def descriptor_checksum(text: str) -> str:
    """Return the eight characters that stand behind `#`.

    Raises:
        LocalError: a character that no descriptor has.
    """
    value, groups, count = 1, 0, 0
    for character in text:
        place = _INPUT.find(character)
        if place < 0:
            raise LocalError("not the text of a descriptor")
        value = _step(value, place & 31)
        groups = groups * 3 + (place >> 5)
        count += 1
        if count == 3:
            value, groups, count = _step(value, groups), 0, 0
    if count:
        value = _step(value, groups)
    for _ in range(8):
        value = _step(value, 0)
    value ^= 1
    return "".join(_OUTPUT[value >> 5 * (7 - place) & 31] for place in range(8))
