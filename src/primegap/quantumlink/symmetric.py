"""Symmetric state of a handshake: transcript hash, chaining key, cipher key (wire section 7).

The state is a value: every step returns a new one, so a message that turns out to be forged leaves
the state it was tried on as it was.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from primegap.quantumlink.errors import DecryptFailedError, InvalidPayloadError
from primegap.quantumlink.suite import TAG_SIZE, Pattern, Suite
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from typing import Self


def nonce_of(counter: int) -> bytes:
    """Return the 12-byte AEAD nonce of a counter: four zeros, then u64le (wire section 3)."""
    return (counter << 32).to_bytes(12, "little")


def invalid_tag() -> type[Exception]:
    """Return what an AEAD raises: for an `except` line, which looks it up only when it must."""
    from cryptography.exceptions import InvalidTag

    return InvalidTag


def hkdf(salt: bytes, ikm: bytes, *, blocks: int, info: bytes = b"") -> list[bytes]:
    """Return the first 32-byte blocks of HKDF-SHA256 (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    size = SHA256.digest_size
    output = HKDF(SHA256(), blocks * size, salt, info).derive(ikm)
    return [output[at : at + size] for at in range(0, len(output), size)]


class SymmetricState(NeverSerialised):
    """One point in the key schedule of a handshake; immutable."""

    __slots__ = ("_chaining_key", "_cipher_key", "_counter", "_hash", "_suite")

    def __init__(
        self, suite: Suite, h: bytes, chaining_key: bytes, cipher_key: bytes | None, counter: int
    ) -> None:
        self._suite = suite
        self._hash = h
        self._chaining_key = chaining_key
        self._cipher_key = cipher_key
        self._counter = counter

    @classmethod
    def start(cls, suite: Suite, pattern: Pattern) -> Self:
        """Return the state before the first message: the hash of the protocol name, no key."""
        h = hashlib.sha256(suite.protocol_names[pattern]).digest()
        return cls(suite, h, h, None, 0)

    @property
    def transcript_hash(self) -> bytes:
        """`h`: 32 bytes over everything both sides have seen so far."""
        return self._hash

    def mix_hash(self, *fields: bytes) -> SymmetricState:
        """Add public data to the transcript, one field after another."""
        h = self._hash
        for data in fields:
            h = hashlib.sha256(h + data).digest()
        return SymmetricState(self._suite, h, self._chaining_key, self._cipher_key, self._counter)

    def mix_key(self, secret: bytes) -> SymmetricState:
        """Add a secret to the keys, leaving the transcript alone; the counter restarts."""
        chaining_key, cipher_key = hkdf(self._chaining_key, secret, blocks=2)
        return SymmetricState(self._suite, self._hash, chaining_key, cipher_key, 0)

    def mix_key_and_hash(self, secret: bytes) -> SymmetricState:
        """Add a secret to the keys and a value derived from it to the transcript."""
        chaining_key, hashed, cipher_key = hkdf(self._chaining_key, secret, blocks=3)
        mixed = SymmetricState(self._suite, self._hash, chaining_key, cipher_key, 0)
        return mixed.mix_hash(hashed)

    def encrypt_and_hash(self, plaintext: bytes) -> tuple[SymmetricState, bytes]:
        """Encrypt with the transcript as associated data; return the state and the ciphertext."""
        assert self._cipher_key is not None  # every pattern mixes a key before it encrypts
        cipher = self._suite.new_cipher(self._cipher_key)
        ciphertext = cipher.encrypt(nonce_of(self._counter), plaintext, self._hash)
        return self._after(ciphertext), ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> tuple[SymmetricState, bytes]:
        """Undo `encrypt_and_hash`; return the state and the plaintext.

        Raises:
            InvalidPayloadError: shorter than a tag.
            DecryptFailedError: key, transcript or ciphertext differ from the writer's.
        """
        assert self._cipher_key is not None  # every pattern mixes a key before it encrypts
        if len(ciphertext) < TAG_SIZE:
            raise InvalidPayloadError("an encrypted field is shorter than its tag")
        cipher = self._suite.new_cipher(self._cipher_key)
        try:
            plaintext = cipher.decrypt(nonce_of(self._counter), ciphertext, self._hash)
        except invalid_tag():
            raise DecryptFailedError("an encrypted field does not verify") from None
        return self._after(ciphertext), plaintext

    def _after(self, ciphertext: bytes) -> SymmetricState:
        advanced = SymmetricState(
            self._suite, self._hash, self._chaining_key, self._cipher_key, self._counter + 1
        )
        return advanced.mix_hash(ciphertext)

    def split(self) -> tuple[bytes, bytes]:
        """Return the two session keys: initiator's sending key, responder's sending key."""
        first, second = hkdf(self._chaining_key, b"", blocks=2)
        return first, second
