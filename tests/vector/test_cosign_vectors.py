"""Published vectors of the cosign2 header (keyos-model, section 17; radio, section 9)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from primegap.cosign import (
    Header,
    ImageError,
    Signers,
    parse_header_untrusted,
    sign_image,
    verify_image_untrusted,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "cosign2-vectors.json").read_text()
)
MAGIC = bytes.fromhex(VECTORS["setup"]["magic"])
KEYS = [bytes.fromhex(key) for key in VECTORS["setup"]["public_keys"]]
SIGNERS = [
    ec.derive_private_key(int(key, 16), ec.SECP256K1()) for key in VECTORS["setup"]["secret_keys"]
]


def header_of(case: dict[str, Any]) -> Header:
    return Header.unsigned(
        magic=MAGIC,
        header_bytes=case["header_bytes"],
        timestamp_s=case["timestamp_s"],
        date=case["date"],
        version=case["version"],
        size=len(bytes.fromhex(case["binary"])),
    )


@pytest.mark.guarantee("A-1", tried="published vectors")
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_headers_digests_and_signatures(case: dict[str, Any]) -> None:
    binary = bytes.fromhex(case["binary"])
    header = header_of(case)
    assert header.digest(hashlib.sha256(binary).digest()).hex() == case["digest"]
    image = sign_image(header, binary, SIGNERS)
    size = case["header_bytes"]
    assert len(image) == size + len(binary)
    signed = parse_header_untrusted(image, magic=MAGIC, header_bytes=size)
    assert list(signed.keys) == KEYS
    if case["signatures"] is not None:
        assert [signature.hex() for signature in signed.signatures] == case["signatures"]
    if case["file_sha256"] is not None:
        assert hashlib.sha256(image).hexdigest() == case["file_sha256"]
    signers = verify_image_untrusted(image, known_keys=KEYS, magic=MAGIC, header_bytes=size)
    assert signers is Signers.FULL


@pytest.mark.guarantee("A-1", tried="every bit of a signed file flipped")
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_every_flipped_bit_of_a_published_file_is_refused(case: dict[str, Any]) -> None:
    """A-1: header, both keys, both signatures, reserved bytes, payload."""
    size = case["header_bytes"]
    image = sign_image(header_of(case), bytes.fromhex(case["binary"]), SIGNERS)
    # Every bit of the fields and the payload, and some of the reserved zeros, which are hashed.
    bits = [*range(240 * 8), *range(240 * 8, size * 8, 61), *range(size * 8, len(image) * 8)]
    bits = bits if case["name"] == "V1" else bits[::7]
    for bit in bits:
        changed = bytearray(image)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ImageError):
            verify_image_untrusted(bytes(changed), known_keys=KEYS, magic=MAGIC, header_bytes=size)
