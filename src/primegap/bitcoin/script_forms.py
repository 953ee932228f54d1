"""The forms of output scripts: from public keys to the bytes that stand in an output."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from primegap.bitcoin.curve import output_key
from primegap.bitcoin.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

_OP_1_LESS_ONE = 0x50
_OP_CHECKMULTISIG = b"\xae"


def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256, 20 bytes."""
    return hashlib.new("ripemd160", hashlib.sha256(data).digest()).digest()


def p2pkh_script(public_key: bytes) -> bytes:
    """Return the script that pays to a key's hash (before segwit)."""
    return b"\x76\xa9\x14" + hash160(public_key) + b"\x88\xac"


def p2wpkh_script(public_key: bytes) -> bytes:
    """Return the script that pays to a key's hash (BIP-141)."""
    return b"\x00\x14" + hash160(public_key)


def p2wsh_script(witness_script: bytes) -> bytes:
    """Return the script that pays to a script's hash (BIP-141)."""
    return b"\x00\x20" + hashlib.sha256(witness_script).digest()


def nested_script(redeem_script: bytes) -> bytes:
    """Return the script that pays to a script's hash (BIP-16)."""
    return b"\xa9\x14" + hash160(redeem_script) + b"\x87"


def p2tr_script(public_key: bytes, merkle_root: bytes = b"") -> bytes:
    """Return the script that pays to a taproot output of an internal key, given with 33 bytes."""
    found = output_key(public_key[1:], merkle_root)
    if found is None:
        raise LocalError("this key has no output")
    return b"\x51\x20" + found[0]


def multisig_script(threshold: int, public_keys: Sequence[bytes]) -> bytes:
    """Return the script that asks for some of several signatures."""
    body = b"".join(b"\x21" + key for key in public_keys)
    first, last = (bytes((_OP_1_LESS_ONE + n,)) for n in (threshold, len(public_keys)))
    return first + body + last + _OP_CHECKMULTISIG
