"""BIP-32 derivation paths as text and as numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.errors import AccountFormatError, LocalError
from primegap.bitcoin.psbt_fields import HARDENED, MAX_DERIVATION_DEPTH

if TYPE_CHECKING:
    from primegap.bitcoin.networks import Network

MAX_ACCOUNT: Final = (1 << 31) - 1
STANDARD_PURPOSES: Final = (44, 49, 84, 86)
"BIP-44, 49, 84 and 86: accounts with one key."
MULTISIG_PURPOSE: Final = 48
"BIP-48: keys for wallets of several."
MULTISIG_SCRIPTS: Final = (1, 2, 3)
"Last level of BIP-48: nested segwit, segwit, taproot."
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


def account_path(network: Network, account: int, purpose: int = 84, script: int = 2) -> str:
    """Return the path of an account: `m/84'/0'/0'`, or `m/48'/0'/0'/2'` for wallets of several.

    Args:
        network: decides the coin level.
        account: 0 to 2**31 - 1.
        purpose: 44, 48, 49, 84 or 86.
        script: last level of BIP-48.

    Raises:
        LocalError: an argument is out of range.
    """
    path = f"m/{purpose}'/{network.coin_type}'/{account}'"
    path = f"{path}/{script}'" if purpose == MULTISIG_PURPOSE else path
    check_account_path(path, network)
    return path


def check_account_path(path: str, network: Network) -> None:
    """Raise LocalError unless a path leads to an account of a network, in its usual writing.

    Keys are given out for such paths only: never for the master key, nor for those that seeds and
    passwords of other programs come from (BIP-85).
    """
    try:
        steps = parse_path_untrusted(path)
    except AccountFormatError:
        steps = ()
    numbers = [step & ~HARDENED for step in steps]
    is_single = len(steps) == 3 and numbers[0] in STANDARD_PURPOSES
    is_shared = (
        len(steps) == 4 and numbers[0] == MULTISIG_PURPOSE and numbers[3] in MULTISIG_SCRIPTS
    )
    if not (is_single or is_shared) or not all(step & HARDENED for step in steps):
        raise LocalError("not the path of an account")
    if numbers[1] != network.coin_type or format_path(steps) != path:
        raise LocalError("not the path of an account of this network")
