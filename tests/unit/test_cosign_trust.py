"""Who signed an image: every row of the trust table, and every reason to refuse (A-1, A-2)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from primegap.cosign import (
    Header,
    HeaderFieldError,
    ImageError,
    Signers,
    sign_image,
    verify_image_untrusted,
)

MAGIC, SIZE = b"PRM1", 2048
BINARY = b"some payload"
A, B, C = (ec.derive_private_key(number, ec.SECP256K1()) for number in (11, 12, 13))


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )


KNOWN = frozenset({public(A), public(B)})
HEADER = Header.unsigned(
    magic=MAGIC,
    header_bytes=SIZE,
    timestamp_s=1_775_692_800,
    date="Apr. 9, 2026",
    version="1.2.1",
    size=len(BINARY),
)


def signed(*signers: ec.EllipticCurvePrivateKey | None) -> bytes:
    return sign_image(HEADER, BINARY, signers)


def verify(image: bytes, known: Collection[bytes] = KNOWN) -> Signers:
    return verify_image_untrusted(image, known_keys=known, magic=MAGIC, header_bytes=SIZE)


def put(image: bytes, at: int, data: bytes) -> bytes:
    return image[:at] + data + image[at + len(data) :]


@pytest.mark.guarantee("A-1", "A-2", tried="every row of the trust table")
@pytest.mark.parametrize(
    ("image", "known", "expected"),
    [
        (signed(A, B), KNOWN, Signers.FULL),
        (signed(B, A), KNOWN, Signers.FULL),
        (signed(A), KNOWN, Signers.PARTIAL),
        (signed(B, None), KNOWN, Signers.PARTIAL),
        (signed(None, C), KNOWN, Signers.THIRD_PARTY),
        (signed(None, C), (), Signers.DISABLED),
        (signed(A, B), (), Signers.DISABLED),
        (signed(A), (), Signers.DISABLED),
    ],
)
def test_the_rows_of_the_trust_table(
    image: bytes, known: Collection[bytes], expected: Signers
) -> None:
    assert verify(image, known) is expected


REFUSED = {
    "unknown key 1": signed(C),
    "unknown key 1 before a known one": signed(C, A),
    "unknown key 2 behind a known one": signed(A, C),
    "the same key twice": signed(A, A),
    "the same unknown key twice": signed(C, C),
    "a known key alone in slot 2": signed(None, A),
    "nobody signed": signed(),
    "slots swapped: third party in slot 1": signed(C, None),
    "key 1 without its signature": put(signed(None, C), 46, public(A)),
    "key 2 without its signature": put(signed(A), 143, public(B)),
    "signature 2 without its key": put(signed(None, C), 143, bytes(33)),
    "signature 2 of slot 1's key": put(put(signed(A), 143, public(B)), 176, signed(A)[79:143]),
    "no point: prefix 4": put(signed(None, C), 143, b"\x04"),
    "no point: x too large": put(signed(None, C), 143, b"\x02" + b"\xff" * 32),
    "r is zero": put(signed(None, C), 176, bytes(32)),
    "s is zero": put(signed(None, C), 208, bytes(32)),
    "r is the order": put(
        signed(None, C),
        176,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141.to_bytes(32),
    ),
    "another magic": put(signed(A, B), 0, b"blef"),
    "a byte more": signed(A, B) + b"x",
    "a byte less": signed(A, B)[:-1],
    "header only": signed(A, B)[:SIZE],
    "shorter than a header": signed(A, B)[: SIZE - 1],
    "empty": b"",
    "text behind the end of the version": put(signed(A, B), 22, b"1.2.1\0x"),
    "date that is not UTF-8": put(signed(A, B), 8, b"\xff"),
}


@pytest.mark.guarantee(
    "A-1", "A-2", tried="one key twice, slots swapped, unknown keys, malformed headers"
)
@pytest.mark.parametrize("image", REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_an_error(image: bytes) -> None:
    with pytest.raises(ImageError):
        verify(image)


@pytest.mark.parametrize("image", [signed(A, A), put(signed(A, B), 100, b"xx"), signed()])
def test_a_verifier_without_keys_still_refuses_what_does_not_fit(image: bytes) -> None:
    with pytest.raises(ImageError):
        verify(image, ())


def test_the_same_signature_with_a_high_s_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    image = signed(None, C)
    s = order - int.from_bytes(image[208:240])
    with pytest.raises(ImageError):
        verify(put(image, 208, s.to_bytes(32)))


def test_another_header_size_is_another_file() -> None:
    with pytest.raises(ImageError):
        verify_image_untrusted(signed(A, B), known_keys=KNOWN, magic=MAGIC, header_bytes=1024)
    with pytest.raises(ImageError):
        verify_image_untrusted(signed(A, B), known_keys=KNOWN, magic=MAGIC, header_bytes=0)


def test_reserved_bytes_are_counted() -> None:
    marked = replace(HEADER, reserved=b"\1" + HEADER.reserved[1:])
    digest = hashlib.sha256(BINARY).digest()
    assert marked.digest(digest) != HEADER.digest(digest)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1" * 21},
        {"date": "1" * 15},
        {"version": "1\0"},
        {"timestamp_s": 1 << 32},
        {"timestamp_s": -1},
        {"size": 1 << 32},
        {"header_bytes": 255},
        {"header_bytes": 4097},
        {"magic": b"PRM"},
    ],
)
def test_values_that_no_header_can_hold(change: dict[str, object]) -> None:
    values: dict[str, object] = {
        "magic": MAGIC,
        "header_bytes": SIZE,
        "timestamp_s": 0,
        "date": "",
        "version": "",
        "size": 0,
    }
    with pytest.raises(HeaderFieldError):
        Header.unsigned(**{**values, **change})  # type: ignore[arg-type]
