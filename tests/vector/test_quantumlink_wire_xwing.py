"""X-Wing against the published known answers of draft-connolly-cfrg-xwing-kem.

The cipher library does not take the randomness of an ML-KEM encapsulation, so the encapsulating
side is checked in parts: its X25519 half from the recorded randomness, the combiner, and round
trips.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from primegap.quantumlink import NATIVE, InvalidPayloadError, LocalError
from primegap.quantumlink.kem import XWing, combine_xwing

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "xwing-vectors.json").read_text()
)["cases"]
INDEXES = range(len(CASES))


@pytest.mark.parametrize("case", CASES, ids=INDEXES)
def test_seed_gives_the_public_key(case: dict[str, Any]) -> None:
    _, public_key = XWing().keygen(bytes.fromhex(case["seed"]))
    assert public_key.hex() == case["pk"]


@pytest.mark.parametrize("case", CASES, ids=INDEXES)
def test_ciphertext_gives_the_secret(case: dict[str, Any]) -> None:
    private_key, _ = XWing().keygen(bytes.fromhex(case["seed"]))
    assert private_key.decapsulate(bytes.fromhex(case["ct"])).hex() == case["ss"]


@pytest.mark.parametrize("case", CASES, ids=INDEXES)
def test_encapsulating_half_and_combiner(case: dict[str, Any]) -> None:
    ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["eseed"])[32:])
    ciphertext, public_key = bytes.fromhex(case["ct"]), bytes.fromhex(case["pk"])
    x25519_ciphertext, x25519_public = ciphertext[1088:], public_key[1184:]
    assert ephemeral.public_key().public_bytes_raw() == x25519_ciphertext
    x25519_secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(x25519_public))
    expanded = hashlib.shake_256(bytes.fromhex(case["seed"])).digest(96)
    ml_kem_secret = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(ciphertext[:1088])
    secret = combine_xwing(ml_kem_secret, x25519_secret, x25519_ciphertext, x25519_public)
    assert secret.hex() == case["ss"]


@pytest.mark.parametrize("case", CASES, ids=INDEXES)
def test_encapsulation_round_trip(case: dict[str, Any]) -> None:
    private_key, public_key = XWing().keygen(bytes.fromhex(case["seed"]))
    one, other = XWing().encapsulate(public_key), XWing().encapsulate(public_key)
    assert one != other
    for ciphertext, secret in (one, other):
        assert len(ciphertext) == NATIVE.ciphertext_size == 1120
        assert private_key.decapsulate(ciphertext) == secret


LOW_ORDER_POINTS = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", LOW_ORDER_POINTS)
def test_low_order_points_are_refused(point: str) -> None:
    private_key, public_key = XWing().keygen(bytes.fromhex(CASES[0]["seed"]))
    with pytest.raises(InvalidPayloadError):
        private_key.decapsulate(bytes.fromhex(CASES[0]["ct"])[:1088] + bytes.fromhex(point))
    with pytest.raises(InvalidPayloadError):
        XWing().check_public_key(public_key[:1184] + bytes.fromhex(point))
    with pytest.raises(InvalidPayloadError):
        XWing().encapsulate(public_key[:1184] + bytes.fromhex(point))


def test_coefficients_beyond_the_modulus_are_refused() -> None:
    public_key = bytearray.fromhex(CASES[0]["pk"])
    public_key[0], public_key[1] = 0x01, (public_key[1] & 0xF0) | 0x0D  # 3329, the modulus itself
    with pytest.raises(InvalidPayloadError):
        XWing().encapsulate(bytes(public_key))
    with pytest.raises(InvalidPayloadError):
        XWing().check_public_key(bytes(public_key))
    public_key[0] = 0x00  # 3328, the largest coefficient
    XWing().check_public_key(bytes(public_key))


@pytest.mark.parametrize("size", [0, 31, 32, 1087, 1088, 1119, 1121, 2000])
def test_wrong_lengths_are_refused(size: int) -> None:
    private_key, _ = XWing().keygen(bytes.fromhex(CASES[0]["seed"]))
    with pytest.raises(InvalidPayloadError):
        private_key.decapsulate(bytes(size))
    with pytest.raises(InvalidPayloadError):
        XWing().encapsulate(bytes(size))
    if size != 32:
        with pytest.raises(LocalError):
            XWing().keygen(bytes(size))
