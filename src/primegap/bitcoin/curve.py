"""Arithmetic on secp256k1 for signing, checking and deriving: libsecp256k1 behind a small surface.

The only module that touches `coincurve`. Signatures are deterministic, so that another device with
the same seed makes the same bytes and a signature has no room to carry anything out.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from coincurve._libsecp256k1 import ffi

_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_R_LENGTH_AT: Final = 3  # in DER; 33 bytes hold a number whose first bit is set
_HALF: Final = 32


@lru_cache(maxsize=16)
def _tag(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest() * 2


def tagged_hash(name: str, data: bytes) -> bytes:
    """Return the tagged hash of BIP-340, 32 bytes."""
    return hashlib.sha256(_tag(name) + data).digest()


# --- public keys --------------------------------------------------------------------------------


def is_public_key(data: bytes) -> bool:
    """Tell whether 33 or 65 bytes are a point on the curve."""
    try:
        PublicKey(data)
    except ValueError:
        return False
    return True


def add_to_public_key(public_key: bytes, scalar: bytes) -> bytes | None:
    """Return `public_key + scalar·G`, 33 bytes; None in the one case in 2**127 without answer."""
    try:
        result: bytes = PublicKey(public_key).add(scalar).format()
    except ValueError:
        return None
    return result


def add_to_secret(secret: bytes, scalar: bytes) -> bytes | None:
    """Return the sum of two numbers of the curve's order, 32 bytes; None when it is none."""
    other = int.from_bytes(scalar, "big")
    total = (int.from_bytes(secret, "big") + other) % _CURVE_ORDER
    return total.to_bytes(_HALF, "big") if total and other < _CURVE_ORDER else None


def public_key_of(secret: bytes) -> bytes:
    """Return the compressed public key of 32 secret bytes."""
    key: bytes = PublicKey.from_valid_secret(secret).format()
    return key


def tweak_of(internal_key: bytes, merkle_root: bytes) -> bytes:
    """Return the tweak of a taproot output (BIP-341); without leaves the root is empty."""
    return tagged_hash("TapTweak", internal_key + merkle_root)


def output_key(internal_key: bytes, merkle_root: bytes) -> tuple[bytes, int] | None:
    """Return a taproot output key (BIP-341) and its parity.

    Args:
        internal_key: 32 bytes.
        merkle_root: 32 bytes, or none.

    Returns:
        The 32 bytes of the key and 0 or 1; None when the internal key is not on the curve.
    """
    try:
        key = PublicKeyXOnly(internal_key)
        key.tweak_add(tweak_of(internal_key, merkle_root))
    except ValueError:
        return None
    return key.format(), int(key.parity)


# --- signatures ---------------------------------------------------------------------------------


def sign_ecdsa(secret: bytes, digest: bytes) -> bytes:
    """Return the DER signature of a digest, with low numbers both (RFC 6979, BIP-146).

    As Bitcoin Core does, the nonce is drawn again with a counter until the first number is low.
    """
    key = PrivateKey(secret)
    nonce: tuple[Any, Any] = (ffi.NULL, ffi.NULL)
    counter = 0
    while True:
        signature: bytes = key.sign(digest, hasher=None, custom_nonce=nonce)
        if signature[_R_LENGTH_AT] <= _HALF:  # a coin flip
            return signature
        counter += 1
        nonce = (ffi.NULL, ffi.new("unsigned char[32]", counter.to_bytes(32, "little")))


def is_ecdsa_signature(der: bytes, public_key: bytes, digest: bytes) -> bool:
    """Tell whether a signature is strict DER with a low second number, and verifies."""
    numbers = _strict_numbers(der)
    if numbers is None or numbers[1] > _CURVE_ORDER // 2:
        return False
    try:
        return bool(PublicKey(public_key).verify(der, digest, hasher=None))
    except ValueError:
        return False


def is_low_der(der: bytes) -> bool:
    """Tell whether a signature has the one form that is relayed: strict DER, low second number."""
    numbers = _strict_numbers(der)
    return numbers is not None and numbers[1] <= _CURVE_ORDER // 2


def _strict_numbers(der: bytes) -> tuple[int, int] | None:
    """Return the two numbers of a DER signature in its only form (BIP-66)."""
    if not 8 <= len(der) <= 72 or der[0] != 0x30 or der[1] != len(der) - 2 or der[2] != 2:
        return None
    size = der[3]
    rest = der[4 + size :]
    if len(rest) < 3 or rest[0] != 2 or rest[1] != len(rest) - 2:
        return None
    numbers: list[int] = []
    for part in (der[4 : 4 + size], rest[2:]):
        if not part or part[0] & 0x80 or (len(part) > 1 and not part[0] and not part[1] & 0x80):
            return None
        numbers.append(int.from_bytes(part, "big"))
    return numbers[0], numbers[1]


def sign_schnorr(secret: bytes, digest: bytes, *, merkle_root: bytes | None = None) -> bytes:
    """Return the BIP-340 signature of a digest, 64 bytes.

    Args:
        secret: 32 bytes.
        digest: 32 bytes.
        merkle_root: sign with the output key of this root (BIP-341) instead of the key itself.
    """
    key = PrivateKey(secret)
    if merkle_root is not None:
        public_key = key.public_key.format()
        if public_key[0] == 3:  # the key with an even other coordinate is meant
            negated = _CURVE_ORDER - int.from_bytes(secret, "big")
            key = PrivateKey(negated.to_bytes(_HALF, "big"))
        key = key.add(tweak_of(public_key[1:], merkle_root))
    signature: bytes = key.sign_schnorr(digest, None)
    return signature


def is_schnorr_signature(signature: bytes, public_key: bytes, digest: bytes) -> bool:
    """Tell whether 64 bytes are a BIP-340 signature of a 32-byte key."""
    try:
        return bool(PublicKeyXOnly(public_key).verify(signature, digest))
    except ValueError:
        return False


# --- signatures of messages ---------------------------------------------------------------------


def sign_recoverable(secret: bytes, digest: bytes) -> bytes:
    """Return both numbers of a deterministic signature and which key it is of, 65 bytes."""
    signature: bytes = PrivateKey(secret).sign_recoverable(digest, hasher=None)
    return signature


def recover_public_key(signature: bytes, digest: bytes, *, compressed: bool) -> bytes | None:
    """Return the key that made a recoverable signature, in its short or long form; None if none.

    Args:
        signature: 64 bytes and a number from 0 to 3.
        digest: 32 bytes.
        compressed: 33 bytes rather than 65.
    """
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
        result: bytes = key.format(compressed=compressed)
    except ValueError:
        return None
    except Exception as error:
        if type(error) is not Exception:
            raise
        return None
    return result
