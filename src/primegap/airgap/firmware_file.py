"""Firmware files of the reference device's form: head, signatures, names (airgap.md section 16).

Pure. The keys that are believed are given by the caller; those of the reference device's vendor
are nowhere in this program.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import FirmwareFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_BYTES: Final = 2048
MIN_IMAGE_BYTES: Final = 2048
MAX_IMAGE_BYTES: Final = (1792 << 10) - 256
KEY_COUNT: Final = 4
_FORM: Final = struct.Struct("<II14s8sII64sI64s")
_SIGNED: Final = 34
_MODELS: Final = {0x50415353: "founders", 0x53534150: "colour"}
_ENDINGS: Final = {"founders": "-founders-passport.bin", "colour": "-passport.bin"}
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class FirmwareFile:
    """What the head of a file says, all of it checked for form."""

    model: str
    "`founders` or `colour`."
    time_s: int
    "Unix time; an older image than the newest one that ran is refused."
    date: str
    version: str
    key_numbers: tuple[int, int]

    @property
    def file_name(self) -> str:
        """Name of such a file on a card."""
        return f"v{self.version}{_ENDINGS[self.model]}"


def parse_firmware_untrusted(header: bytes, file_size: int) -> FirmwareFile:
    """Read the head of a firmware file; signatures are not looked at.

    Args:
        header: at least the first 170 bytes.
        file_size: of the whole file.

    Raises:
        FirmwareFileError: it is no such file.
    """
    if len(header) < _FORM.size:
        raise FirmwareFileError("too short")
    magic, time_s, date, version, length, first, _, second, _ = _FORM.unpack_from(header)
    if magic not in _MODELS or not time_s:
        raise FirmwareFileError("not the head of a firmware file")
    if not MIN_IMAGE_BYTES <= length <= MAX_IMAGE_BYTES or file_size != HEADER_BYTES + length:
        raise FirmwareFileError("not as long as it says")
    return FirmwareFile(_MODELS[magic], time_s, _text(date), _text(version), (first, second))


def check_firmware(content: bytes, keys: Sequence[bytes]) -> FirmwareFile:
    """Return what a whole file is, if two different approved keys signed it.

    Args:
        content: head and image.
        keys: the four approved keys, 64 bytes each, x and y.

    Raises:
        FirmwareFileError: anything is wrong.
    """
    found = parse_firmware_untrusted(content, len(content))
    _, _, _, _, _, first, signature, second, other = _FORM.unpack_from(content)
    if first == second or not (first < len(keys) and second < len(keys)):
        raise FirmwareFileError("not signed by two approved keys")
    inner = hashlib.sha256(content[:_SIGNED] + content[HEADER_BYTES:]).digest()
    digest = hashlib.sha256(inner).digest()
    for number, value in ((first, signature), (second, other)):
        if not verify_digest(keys[number], value, digest):
            raise FirmwareFileError("a signature does not hold")
    return found


def verify_digest(key: bytes, signature: bytes, digest: bytes) -> bool:
    """Tell whether a signature over a SHA-256 digest holds: ECDSA over secp256k1.

    Args:
        key: 64 bytes, x and y.
        signature: 64 bytes, r and s; a high s is taken as its low form.
        digest: 32 bytes.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import (
        Prehashed,
        encode_dss_signature,
    )
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    try:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), b"\x04" + key)
        encoded = encode_dss_signature(r, min(s, _ORDER - s) if 0 < s < _ORDER else s)
        public.verify(encoded, digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(field: bytes) -> str:
    """Return the text of a field that ends with a zero byte."""
    text, zero, _ = field.partition(b"\0")
    if not zero or not text or not all(0x20 <= byte < 0x7F for byte in text):
        raise FirmwareFileError("a text in the head cannot be shown")
    return text.decode()
