"""Published vectors of the image header (radio.md section 9, keyos-model section 17)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from primegap.radio.chip_memory import challenge_result
from primegap.radio.cosign import (
    Header,
    Signers,
    parse_header_untrusted,
    sign_image,
    verify_image_untrusted,
)
from primegap.radio.crc32c import crc32c

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "cosign2-vectors.json").read_text()
)
MAGIC = bytes.fromhex(VECTORS["setup"]["magic"])
KEYS = [bytes.fromhex(key) for key in VECTORS["setup"]["public_keys"]]
SIGNERS = [
    ec.derive_private_key(int(key, 16), ec.SECP256K1()) for key in VECTORS["setup"]["secret_keys"]
]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_headers_digests_and_signatures(case: dict[str, Any]) -> None:
    binary = bytes.fromhex(case["binary"])
    header = Header(
        magic=MAGIC,
        timestamp_s=case["timestamp_s"],
        date=case["date"],
        version=case["version"],
        size_bytes=len(binary),
        reserved=bytes(case["header_bytes"] - 240),
    )
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


def test_the_check_value_of_crc_32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_the_challenge_vector() -> None:
    result = challenge_result(bytes(range(32)), 0x0123456789ABCDEF)
    assert result.hex() == "5bb1ef93888227e2e83691de2504db341e618bce91c3c4f97f9d23a54cdac825"
