"""The seed at rest: wrapped under the PIN and a device key, with a counted number of attempts.

This is the software fallback of a secure element. It slows down and counts whoever types PINs into
the device; it cannot stop somebody who copies the files and then guesses PINs offline at the pace
of Argon2id. Three files, each written in one step:

* `device.key`: 32 random bytes, made with the seed. Without them the vault is noise, so a wipe
  destroys them first (S-9).
* `attempts`: how many PINs were tried since the last right one; raised *before* a PIN is looked at
  (S-4).
* `vault`: Argon2id parameters and salt, nonce, sealed entropy. Its presence means "onboarded", so
  it is written last and a kill in between leaves a device without a seed, not a half-made one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar, Final

from primegap.files import StorageError, read_file, remove_file, write_file
from primegap.keyos.errors import KeyosError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_ATTEMPTS: Final = 10
DEVICE_KEY_BYTES: Final = 32
MIN_PIN_LENGTH: Final = 6
MAX_PIN_LENGTH: Final = 64
ENTROPY_SIZES: Final = (16, 32)
MAGIC: Final = b"PGV\x01"
HEADER: Final = struct.Struct(">4sIIB16s12s")
ARGON2_MEMORY_KIB: Final = 64 << 10  # 64 MiB: a small board has it, a guessing farm pays for it
ARGON2_ITERATIONS: Final = 3
ARGON2_LANES: Final = 1
MAX_ARGON2_MEMORY_KIB: Final = 1 << 20  # of a vault file: a larger value is damage, not a setting
MAX_ARGON2_ITERATIONS: Final = 64


class VaultError(KeyosError):
    """Root of what can go wrong between a person and the vault."""

    code = "vault"


class WrongPinError(VaultError):
    """The PIN is wrong; an attempt is used up."""

    code = "wrong-pin"
    hint = "Wrong PIN."


class WipedError(VaultError):
    """That was the last attempt: the seed is gone."""

    code = "wiped"
    hint = "Too many wrong PINs. The seed was erased from this device."


class DamagedError(VaultError):
    """The vault or its key is not what was once written; nothing can be opened."""

    code = "vault-damaged"
    hint = "The stored seed is damaged and cannot be opened."


class PinFormatError(VaultError):
    """The PIN is too short or too long; no attempt is used."""

    code: ClassVar[str] = "pin-format"
    hint = f"A PIN has {MIN_PIN_LENGTH} to {MAX_PIN_LENGTH} characters."


class Vault:
    """The three files. Holds no secret itself: `open` returns the entropy to its one owner."""

    def __init__(self, directory: Path, *, rng: Callable[[int], bytes]) -> None:
        self._vault = directory / "vault"
        self._device_key = directory / "device.key"
        self._attempts = directory / "attempts"
        self._rng = rng

    @property
    def exists(self) -> bool:
        """Whether a seed is stored."""
        return self._vault.exists() and self._device_key.exists()

    @property
    def attempts_left(self) -> int:
        """PINs that may still be tried."""
        return max(0, MAX_ATTEMPTS - self._used())

    def _used(self) -> int:
        data = read_file(self._attempts)
        if data is None:
            # A missing counter beside a vault means that somebody removed it: one try, then wipe.
            return MAX_ATTEMPTS - 1 if self._vault.exists() else 0
        if len(data) != 1:
            return MAX_ATTEMPTS - 1
        return data[0]

    def create(self, pin: str, entropy: bytes | bytearray) -> None:
        """Store a seed under a PIN. Refused while one is stored."""
        check_pin(pin)
        if len(entropy) not in ENTROPY_SIZES:
            raise ValueError("entropy has 16 or 32 bytes")
        if self.exists:
            raise VaultError("a seed is already stored")
        remove_file(self._vault)
        device_key = self._rng(DEVICE_KEY_BYTES)
        write_file(self._device_key, device_key)
        write_file(self._attempts, b"\x00")
        salt, nonce = self._rng(16), self._rng(12)
        header = HEADER.pack(MAGIC, ARGON2_MEMORY_KIB, ARGON2_ITERATIONS, ARGON2_LANES, salt, nonce)
        sealed = _aead(pin, device_key, header).encrypt(nonce, bytes(entropy), header)
        write_file(self._vault, header + sealed)

    def open(self, pin: str) -> bytearray:
        """Return the entropy.

        Raises:
            PinFormatError: not a PIN; nothing was counted.
            WrongPinError: an attempt was used up.
            WipedError: it was the last one.
            DamagedError: the files are not a vault and its key.
            StorageError: the attempt could not be counted (none was made), or a file not be read.
        """
        check_pin(pin)
        used = self._used()
        if used >= MAX_ATTEMPTS:
            self.wipe()
            raise WipedError("no attempts left")
        write_file(self._attempts, bytes([used + 1]))
        data, device_key = read_file(self._vault), read_file(self._device_key)
        if data is None or device_key is None:
            raise StorageError("no seed is stored")
        entropy = _unseal(data, device_key, pin)
        if entropy is None:
            if used + 1 >= MAX_ATTEMPTS:
                self.wipe()
                raise WipedError("no attempts left")
            raise WrongPinError("wrong PIN")
        write_file(self._attempts, b"\x00")
        return entropy

    def wipe(self) -> None:
        """Destroy the seed: the device key first, then what it wraps."""
        remove_file(self._device_key, overwrite=True)
        remove_file(self._vault, overwrite=True)
        remove_file(self._attempts)


def check_pin(pin: str) -> None:
    """Raise PinFormatError unless the text can be a PIN."""
    if not MIN_PIN_LENGTH <= len(pin) <= MAX_PIN_LENGTH or not pin.isprintable():
        raise PinFormatError("PIN is too short or too long")


def _unseal(data: bytes, device_key: bytes, pin: str) -> bytearray | None:
    from cryptography.exceptions import InvalidTag

    if len(data) < HEADER.size or len(device_key) != DEVICE_KEY_BYTES:
        raise DamagedError("vault is damaged")
    header = data[: HEADER.size]
    magic, memory, iterations, lanes, _, nonce = HEADER.unpack(header)
    if (
        magic != MAGIC
        or not 8 * lanes <= memory <= MAX_ARGON2_MEMORY_KIB
        or not 1 <= iterations <= MAX_ARGON2_ITERATIONS
        or not lanes
    ):
        raise DamagedError("vault is damaged")
    try:
        return bytearray(_aead(pin, device_key, header).decrypt(nonce, data[HEADER.size :], header))
    except InvalidTag:
        return None


def _aead(pin: str, device_key: bytes, header: bytes) -> ChaCha20Poly1305:
    """Return the AEAD under HKDF(device key as salt, Argon2id(PIN), label)."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    _, memory, iterations, lanes, salt, _ = HEADER.unpack(header)
    stretched = Argon2id(
        salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory
    ).derive(pin.encode())
    key = HKDF(algorithm=SHA256(), length=32, salt=device_key, info=b"primegap:vault:v1").derive(
        stretched
    )
    return ChaCha20Poly1305(key)


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
