"""The application image that a device carries for its chip, and who may sign such images.

The program that runs as the chip's application is not in the image: in this system the chip is a
process, and the image stands for its firmware. Everything about the image is real but its binary,
which only says what it is.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from primegap.cosign import Header, parse_header_untrusted, sign_image
from primegap.radio.chip import FIRMWARE_VERSION
from primegap.radio.chip_memory import HEADER_BYTES, IMAGE_BYTES, MAGIC

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

TEST_SIGNERS: Final = (
    bytes.fromhex("039d1abaec9f5715a15c7628244170951e0f85e87f68ca5393d3f9fc3fa23a69c8"),
    bytes.fromhex("0370b55404702ffa86ecfa4e88e0f354004a0965a5eea5fbbd297436001ae920df"),
)
"""Public keys of `open_signers`. TEST KEYS: anybody can sign with them. A chip that is to keep
strangers' firmware out is given other keys (`known_keys`)."""
TIMESTAMP_S: Final = 1_772_668_800
DATE: Final = "Mar 05 2026"

_SIGNATURES: Final = (
    "38e1af8d36e9080409b90bcb32ff5186954e2865a27876808b58693404ecb7f1"
    "6869b1958f0c5e5bf705186c2c69c2c3f2a99287439bbed336739864f082ef68",
    "0142ba6d1d1671bfa02c0cb9b604c55a7f0a465c8d12019da8659ee1fd5ef689"
    "77bf2b45a44f00f780bb4911838be63c9be7197622a80846c293033db4ea1db9",
)
"By the two test signers over the image of `unsigned_image`: what `build_image` returns."


def unsigned_image(version: str = FIRMWARE_VERSION) -> tuple[Header, bytes]:
    """Return header and binary of the image for a version, not signed; the same every time."""
    binary = f"primegap radio application {version}\n".encode()
    binary = binary.ljust(IMAGE_BYTES - HEADER_BYTES, b"\xff")
    header = Header.unsigned(
        magic=MAGIC,
        header_bytes=HEADER_BYTES,
        timestamp_s=TIMESTAMP_S,
        date=DATE,
        version=version,
        size=len(binary),
    )
    return header, binary


@functools.cache
def bundled_image() -> bytes:
    """Return the image that a device gives to its chip, signed by both test signers."""
    header, binary = unsigned_image()
    signatures = (bytes.fromhex(_SIGNATURES[0]), bytes.fromhex(_SIGNATURES[1]))
    signed = replace(header, keys=TEST_SIGNERS, signatures=signatures)
    return signed.encode() + binary


def image_with(header: bytes) -> bytes:
    """Return the image that a signed header, 256 bytes, belongs to."""
    return header + unsigned_image()[1]


def signers_of(image: bytes) -> tuple[bytes, ...]:
    """Return the compressed public keys that an image of ours is signed by.

    Raises:
        CosignError: it has no header.
    """
    header = parse_header_untrusted(image, magic=MAGIC, header_bytes=HEADER_BYTES)
    return tuple(key for key in header.keys if any(key))


def version_of(image: bytes) -> str:
    """Return the version that the header of an image names.

    Raises:
        CosignError: it has no header.
    """
    return parse_header_untrusted(image, magic=MAGIC, header_bytes=HEADER_BYTES).version


def build_image(version: str = FIRMWARE_VERSION) -> bytes:
    """Build and sign the image for a version; for the current one, `bundled_image` byte by byte."""
    header, binary = unsigned_image(version)
    return sign_image(header, binary, open_signers())


def open_signers() -> tuple[EllipticCurvePrivateKey, EllipticCurvePrivateKey]:
    """Return two private keys that are no secret: numbers 1001 and 1002. TEST KEYS."""
    from cryptography.hazmat.primitives.asymmetric import ec

    first, second = (ec.derive_private_key(number, ec.SECP256K1()) for number in (1001, 1002))
    return first, second
