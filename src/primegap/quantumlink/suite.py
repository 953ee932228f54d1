"""Suites: which primitives a version byte stands for (wire section 3, suites page).

`NATIVE` (X-Wing, ChaCha20-Poly1305) is the default; `REFERENCE` (ML-KEM-1024, AES-256-GCM) is the
published format. Nothing is negotiated on the wire: a responder answers in the initiator's suite.
Every length that depends on a key or a ciphertext comes from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from primegap.quantumlink.errors import InvalidVersionError
from primegap.quantumlink.kem import Kem, MlKem1024, XWing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TAG_SIZE: Final = 16
"Bytes of an AEAD tag."
KEY_SIZE: Final = 32
"Bytes of every symmetric key, hash and shared secret."


class Pattern(StrEnum):
    """Handshake patterns (wire section 8)."""

    IK = "ik"
    "The initiator already holds the responder's bundle."
    KK = "kk"
    "Both hold each other's bundle."
    XX = "xx"
    "Pairing: both hold a token, the initiator also the responder's QID."


class AeadCipher(Protocol):
    """An AEAD under one key, as in `cryptography`: the tag follows the ciphertext."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Return ciphertext and tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Return the plaintext, or raise `cryptography.exceptions.InvalidTag`."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One fixed set of primitives. Two suites are the same when their version bytes are."""

    version: int
    "Version byte of the record header; also the constant in the session AAD."
    name: str = field(compare=False)
    "For people and settings: `native` or `reference`."
    invite_version: int = field(compare=False)
    "Version byte of the out-of-band invite."
    kem: Kem = field(compare=False, repr=False)
    new_cipher: Callable[[bytes], AeadCipher] = field(compare=False, repr=False)
    "Makes the AEAD of a 32-byte key."
    qid_tag: bytes = field(compare=False, repr=False)
    "KEM tag that goes into the QID."
    protocol_names: Mapping[Pattern, bytes] = field(compare=False, repr=False)
    "Starting value of the transcript hash, by pattern."
    updates_keys: bool = field(compare=False, repr=False)
    "Whether session keys move on every 65 536 records (suites page, key update)."

    def __reduce__(self) -> tuple[Callable[[int], Suite], tuple[int]]:
        # Bundles may be copied or pickled; the suite in them is one of two constants.
        return suite_for_version, (self.version,)

    @property
    def public_key_size(self) -> int:
        """Bytes of a public key."""
        return self.kem.public_key_size

    @property
    def ciphertext_size(self) -> int:
        """Bytes of a KEM ciphertext."""
        return self.kem.ciphertext_size

    @property
    def encrypted_ciphertext_size(self) -> int:
        """Bytes of a KEM ciphertext that is itself encrypted."""
        return self.kem.ciphertext_size + TAG_SIZE


def _aes_256_gcm(key: bytes) -> AeadCipher:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _chacha20_poly1305(key: bytes) -> AeadCipher:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key)


NATIVE: Final = Suite(
    version=0x82,
    name="native",
    invite_version=2,
    kem=XWing(),
    new_cipher=_chacha20_poly1305,
    qid_tag=b"x-wing",
    protocol_names=MappingProxyType(
        {
            Pattern.IK: b"primegap:ik:xwing-chachapoly-sha256:v1",
            Pattern.KK: b"primegap:kk:xwing-chachapoly-sha256:v1",
            Pattern.XX: b"primegap:xx:xwing-chachapoly-sha256:v1",
        }
    ),
    updates_keys=True,
)
"X-Wing, ChaCha20-Poly1305, SHA-256: the default."

REFERENCE: Final = Suite(
    version=0x02,
    name="reference",
    invite_version=1,
    kem=MlKem1024(),
    new_cipher=_aes_256_gcm,
    qid_tag=b"ml-kem-1024",
    protocol_names=MappingProxyType(
        {
            Pattern.IK: b"ql-wire:pq-ik:v1",
            Pattern.KK: b"ql-wire:pq-kk:v1",
            Pattern.XX: b"ql-wire:pq-xx:v1",
        }
    ),
    updates_keys=False,
)
"ML-KEM-1024, AES-256-GCM, SHA-256: the published wire format."

SUITES: Final = (NATIVE, REFERENCE)
"All suites, the default first."


def suite_for_version(version: int) -> Suite:
    """Return the suite of a record's version byte.

    Raises:
        InvalidVersionError: no suite has this version.
    """
    for suite in SUITES:
        if suite.version == version:
            return suite
    raise InvalidVersionError("unknown record version")


def suite_for_invite_version(version: int) -> Suite:
    """Return the suite of an invite's version byte.

    Raises:
        InvalidVersionError: no suite has this invite version.
    """
    for suite in SUITES:
        if suite.invite_version == version:
            return suite
    raise InvalidVersionError("unknown version of an invitation")
