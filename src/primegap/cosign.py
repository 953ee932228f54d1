"""Signed images: the cosign2 header in front, its digest and its signatures, pure.

The header stands in front of firmware, system images and manifests of apps (keyos-model, section
4.2; radio, section 9). It carries up to two ECDSA signatures over secp256k1. Who may sign is the
caller's business: the known keys are an argument everywhere, and so are magic and header size.

The hardening of the real chip against glitches (the check runs twice with random waits around it)
has no meaning in a program and is left out.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

MIN_HEADER_BYTES: Final = 256
MAX_HEADER_BYTES: Final = 4096
KEY_BYTES: Final = 33
"A compressed public key."
SIGNATURE_BYTES: Final = 64
"r and s, 32 bytes each, big endian."

_KEY_1: Final = 46
_SIGNATURE_1: Final = 79
_KEY_2: Final = 143
_SIGNATURE_2: Final = 176
_RESERVED: Final = 240
_PAD_BYTES: Final = 128
_MONTHS: Final = (
    *("Jan.", "Feb.", "Mar.", "Apr.", "May", "June"),
    *("July", "Aug.", "Sep.", "Oct.", "Nov.", "Dec."),
)
_NO_KEY: Final = bytes(KEY_BYTES)
_NO_SIGNATURE: Final = bytes(SIGNATURE_BYTES)
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class CosignError(Exception):
    """Root of every error raised in `primegap.cosign`."""

    code: ClassVar[str] = "cosign"
    "Stable public code: JSON output, logs, documentation."
    hint: ClassVar[str] = "A signature could not be made or checked."
    "A sentence for a person."


class HeaderFieldError(CosignError):
    """Our own caller gave a value that a header cannot hold."""

    code = "cosign-field"
    hint = "The version or the date is too long for the header of a signed file."


class ImageError(CosignError):
    """Bytes are not an image signed as the rules say (keyos-model, section 4.2)."""

    code = "image-invalid"
    hint = "The file is damaged or not signed by whom it must be."


class Signers(enum.Enum):
    """Who signed an image that passed the check."""

    FULL = "full"
    "Two different known keys."
    PARTIAL = "partial"
    "One known key."
    THIRD_PARTY = "third-party"
    "One key that is not known."
    DISABLED = "disabled"
    "Whoever checks knows no key: the signatures fit the image, and say nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields in front of a binary."""

    timestamp_s: int
    "Unix time."
    date: str
    "The same for people, at most 14 bytes."
    version: str
    "SemVer, at most 20 bytes."
    size_bytes: int
    "Of the binary."
    keys: tuple[bytes, bytes] = (_NO_KEY, _NO_KEY)
    "Compressed public keys; zeros where nobody signed."
    signatures: tuple[bytes, bytes] = field(default=(_NO_SIGNATURE, _NO_SIGNATURE), repr=False)
    "Of the keys at the same place; zeros where nobody signed."
    reserved: bytes = field(repr=False)
    "The rest of the header: zeros, counted in the digest."
    magic: bytes
    "First 4 bytes: what kind of image it is."

    @classmethod
    def unsigned(
        cls,
        *,
        magic: bytes,
        header_bytes: int,
        timestamp_s: int,
        date: str,
        version: str,
        size: int,
    ) -> Header:
        """Return a header for a binary of `size` bytes that nobody has signed yet.

        Raises:
            HeaderFieldError: a value does not fit.
        """
        if not MIN_HEADER_BYTES <= header_bytes <= MAX_HEADER_BYTES or len(magic) != 4:
            raise HeaderFieldError("not the size of a header")
        if not 0 <= timestamp_s < 1 << 32 or not 0 <= size < 1 << 32:
            raise HeaderFieldError("a number of the header has more than 32 bits")
        header = cls(
            magic=magic,
            timestamp_s=timestamp_s,
            date=date,
            version=version,
            size_bytes=size,
            reserved=bytes(header_bytes - _RESERVED),
        )
        header.encode()
        return header

    def encode(self) -> bytes:
        """Return the bytes in front of the binary."""
        return b"".join(
            (
                self._signed_fields(),
                self.keys[0],
                self.signatures[0],
                self.keys[1],
                self.signatures[1],
                self.reserved,
            )
        )

    def _signed_fields(self) -> bytes:
        return b"".join(
            (
                self.magic,
                self.timestamp_s.to_bytes(4, "little"),
                _text_field(self.date, 14),
                _text_field(self.version, 20),
                self.size_bytes.to_bytes(4, "little"),
            )
        )

    def digest(self, binary_sha256: bytes) -> bytes:
        """Return what the signatures sign, 32 bytes."""
        fields = _sha256(self._signed_fields().ljust(_PAD_BYTES, b"\0"))
        parts = fields + _sha256(self.reserved) + binary_sha256
        return _sha256(_sha256(parts.ljust(_PAD_BYTES, b"\0")))


def parse_header_untrusted(image: bytes, *, magic: bytes, header_bytes: int) -> Header:
    """Return the header at the front of `image`, its signatures not verified.

    Raises:
        ImageError: there is none, or its fields break the rules.
    """
    if len(image) < max(header_bytes, MIN_HEADER_BYTES) or image[:4] != magic:
        raise ImageError("no header")
    header = Header(
        magic=magic,
        timestamp_s=int.from_bytes(image[4:8], "little"),
        date=_parse_text(image[8:22]),
        version=_parse_text(image[22:42]),
        size_bytes=int.from_bytes(image[42:_KEY_1], "little"),
        keys=(image[_KEY_1:_SIGNATURE_1], image[_KEY_2:_SIGNATURE_2]),
        signatures=(image[_SIGNATURE_1:_KEY_2], image[_SIGNATURE_2:_RESERVED]),
        reserved=image[_RESERVED:header_bytes],
    )
    for key, signature in zip(header.keys, header.signatures, strict=True):
        if signature == _NO_SIGNATURE and key != _NO_KEY:
            raise ImageError("a key without a signature")
    return header


def verify_image_untrusted(
    image: bytes,
    *,
    known_keys: Collection[bytes],
    magic: bytes,
    header_bytes: int,
) -> Signers:
    """Check header and signatures over a whole image and return who signed it.

    Callers name the one answer they accept; every other is a refusal.

    Raises:
        ImageError: anything is not as it must be.
    """
    header = parse_header_untrusted(image, magic=magic, header_bytes=header_bytes)
    binary = image[header_bytes:]
    if len(binary) != header.size_bytes:
        raise ImageError("size does not match")
    digest = header.digest(_sha256(binary))
    first, second = header.keys
    signed_1, signed_2 = (one != _NO_SIGNATURE for one in header.signatures)
    if not signed_1 and not signed_2:
        raise ImageError("no signature")
    if signed_1 and signed_2 and first == second:
        raise ImageError("one signer stands in both places")
    for key, signature in zip(header.keys, header.signatures, strict=True):
        if signature != _NO_SIGNATURE:
            _verify(key, signature, digest)
    if not known_keys:
        return Signers.DISABLED
    if signed_1 and first not in known_keys:
        raise ImageError("the first signer is not known")
    if signed_1 and signed_2 and second not in known_keys:
        raise ImageError("the second signer is not known")
    if not signed_1 and second in known_keys:
        raise ImageError("a known signer stands alone in the second place")
    if signed_1:
        return Signers.FULL if signed_2 else Signers.PARTIAL
    return Signers.THIRD_PARTY


def sign_image(
    header: Header, binary: bytes, signers: Sequence[EllipticCurvePrivateKey | None]
) -> bytes:
    """Return header and binary with up to two signatures (RFC 6979, low s).

    Args:
        header: its keys and signatures are replaced.
        binary: of `header.size_bytes`.
        signers: for the first and the second place; None leaves a place empty.
    """
    digest = header.digest(_sha256(binary))
    keys, signatures = [_NO_KEY, _NO_KEY], [_NO_SIGNATURE, _NO_SIGNATURE]
    for place, signer in enumerate(signers):
        if signer is not None:
            keys[place], signatures[place] = _sign(signer, digest)
    signed = replace(header, keys=(keys[0], keys[1]), signatures=(signatures[0], signatures[1]))
    return signed.encode() + binary


def header_date(timestamp_s: int) -> str:
    """Return a header's date text for a Unix time: `Apr. 9, 2026`; May, June, July have no stop."""
    date = datetime.datetime.fromtimestamp(timestamp_s, datetime.UTC)
    return f"{_MONTHS[date.month - 1]} {date.day}, {date.year}"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _text_field(text: str, size: int) -> bytes:
    data = text.encode()
    if len(data) > size or b"\0" in data:
        raise HeaderFieldError(f"text of a header has at most {size} bytes, none of them zero")
    return data.ljust(size, b"\0")


def _parse_text(data: bytes) -> str:
    text = data.rstrip(b"\0")
    if b"\0" in text:
        raise ImageError("text goes on behind its end")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ImageError("text is not UTF-8") from error


def _verify(key: bytes, signature: bytes, digest: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    # A high s is the same signature written differently; nobody who signs images makes one.
    if not 0 < r < _ORDER or not 0 < s <= _ORDER // 2:
        raise ImageError("signature is out of range")
    if key[0] not in {2, 3}:
        raise ImageError("key is not a compressed point")
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key)
        point.verify(
            utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        )
    except (InvalidSignature, ValueError) as error:
        raise ImageError("signature does not verify") from error


def _sign(signer: EllipticCurvePrivateKey, digest: bytes) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
    r, s = utils.decode_dss_signature(signer.sign(digest, algorithm))
    key = signer.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    return key, r.to_bytes(32) + min(s, _ORDER - s).to_bytes(32)
