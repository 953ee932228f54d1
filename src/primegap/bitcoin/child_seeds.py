"""Secrets that come from the seed and can be had again from it (BIP-85).

Each is 64 bytes of entropy at a hardened path of the master key, cut or written as the application
at the path's second level asks for. Whoever learns one learns nothing of the seed or of the others.

Secret: only the process that owns the seed imports this, and only the trusted screen shows it.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any, Final

import bdkpython

from primegap.base58 import encode_base58check
from primegap.bitcoin.errors import LocalError
from primegap.bitcoin.mnemonic import ENTROPY_BYTES, entropy_to_words

MAX_INDEX: Final = (1 << 31) - 1
HEX_BYTES: Final = range(16, 65)
BASE64_CHARACTERS: Final = range(20, 87)
BASE85_CHARACTERS: Final = range(10, 81)

_PURPOSE: Final = 83696968
_WORDS: Final = 39
_WIF: Final = 2
_XPRV: Final = 32
_HEX: Final = 128169
_BASE64: Final = 707764
_BASE85: Final = 707785
_ENGLISH: Final = 0
_MAIN_WIF: Final = b"\x80"
_MAIN_XPRV: Final = bytes.fromhex("0488ade4")
_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


def child_words(master: Any, count: int, index: int) -> tuple[str, ...]:
    """Return the words of a child seed.

    Args:
        master: of `keys.master_key`.
        count: 12, 18 or 24.
        index: 0 to 2**31 - 1.

    Raises:
        LocalError: an argument is out of range.
    """
    size = ENTROPY_BYTES.get(count)
    if size is None:
        raise LocalError("a seed has 12, 18 or 24 words")
    return entropy_to_words(_entropy(master, _WORDS, _ENGLISH, count, index)[:size])


def child_wif(master: Any, index: int) -> str:
    """Return a private key in wallet import format, for a compressed public key on mainnet."""
    secret = _scalar(_entropy(master, _WIF, index)[:32])
    return encode_base58check(_MAIN_WIF + secret + b"\x01")


def child_xprv(master: Any, index: int) -> str:
    """Return an extended private master key of mainnet."""
    entropy = _entropy(master, _XPRV, index)
    chain_code, secret = entropy[:32], _scalar(entropy[32:])
    return encode_base58check(_MAIN_XPRV + bytes(9) + chain_code + b"\x00" + secret)


def child_hex(master: Any, size: int, index: int) -> str:
    """Return 16 to 64 bytes in hexadecimal."""
    _check(size, HEX_BYTES)
    return _entropy(master, _HEX, size, index)[:size].hex()


def child_password(master: Any, length: int, index: int, *, base85: bool = False) -> str:
    """Return a password of 20 to 86 characters, or in base85 of 10 to 80."""
    if base85:
        _check(length, BASE85_CHARACTERS)
        return base64.b85encode(_entropy(master, _BASE85, length, index)).decode()[:length]
    _check(length, BASE64_CHARACTERS)
    return base64.b64encode(_entropy(master, _BASE64, length, index)).decode()[:length]


def _check(value: int, allowed: range) -> None:
    if value not in allowed:
        raise LocalError("a length is out of range")


def _scalar(secret: bytes) -> bytes:
    if not 0 < int.from_bytes(secret, "big") < _CURVE_ORDER:
        raise LocalError("this index has no key")  # one in 2**127; the next one has
    return secret


def _entropy(master: Any, *steps: int) -> bytes:
    if not all(0 <= step <= MAX_INDEX for step in steps):
        raise LocalError("an index is out of range")
    path = "/".join(("m", *(f"{step}'" for step in (_PURPOSE, *steps))))
    key = bytes(master.derive(bdkpython.DerivationPath(path)).secret_bytes())
    return hmac.digest(b"bip-entropy-from-k", key, "sha512")
