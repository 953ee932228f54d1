"""A file encrypted and authenticated under a key that exists only while the device is unlocked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import override

from primegap.files import StorageError, read_file, remove_file, write_file

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"PGSF\x01"
NONCE_BYTES: Final = 12


class UnreadableError(StorageError):
    """A file does not open or makes no sense: it was altered, or belongs to a seed that is gone."""

    code = "state-unreadable"
    hint = "A file of the device does not belong to its present seed, or was damaged."


class SealedFile:
    """One state file of a process, keyed by the process's app seed (F-6).

    key = HKDF-SHA-256(ikm = app seed, salt = empty, info = "primegap:sealed-file:v1:" + name), so a
    file cannot be passed off as another one. A fresh random nonce is drawn for each write; a state
    file is written far fewer than 2^32 times.
    """

    def __init__(self, directory: Path, name: str, app_seed: bytes) -> None:
        self._path = directory / name
        self._associated = MAGIC + name.encode()
        key = HKDF(
            algorithm=SHA256(),
            length=32,
            salt=None,
            info=b"primegap:sealed-file:v1:" + name.encode(),
        ).derive(app_seed)
        self._aead = ChaCha20Poly1305(key)

    @override
    def __repr__(self) -> str:
        return f"<SealedFile {self._path.name}>"

    def read(self) -> bytes | None:
        """Return the plaintext, or None when the file does not exist.

        Raises:
            UnreadableError: the file was altered or belongs to another seed.
            StorageError: it cannot be read.
        """
        data = read_file(self._path)
        if data is None:
            return None
        head = len(MAGIC) + NONCE_BYTES
        if len(data) < head or not data.startswith(MAGIC):
            raise UnreadableError(f"{self._path.name} is not a sealed file")
        try:
            return self._aead.decrypt(data[len(MAGIC) : head], data[head:], self._associated)
        except InvalidTag:
            raise UnreadableError(
                f"{self._path.name} was altered or belongs to another seed"
            ) from None

    def write(self, plaintext: bytes) -> None:
        """Replace the content in one step."""
        nonce = os.urandom(NONCE_BYTES)
        write_file(
            self._path, MAGIC + nonce + self._aead.encrypt(nonce, plaintext, self._associated)
        )

    def remove(self) -> None:
        """Remove the file."""
        remove_file(self._path)
