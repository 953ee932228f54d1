"""The software fallback of a secure element: files, Argon2id and a counter that is written first.

It slows down and counts whoever types PINs into the device. It cannot stop somebody who copies the
files: that person can guess PINs at the pace of Argon2id, as often as they like, and can put an
earlier counter back. System information says so.

Files, each replaced in one step:

* `device.key`: 32 random bytes, made with the secret. Without them the vault is noise, so a wipe
  destroys them first (S-9).
* `attempts`: how many PINs were tried since the last right one, with a MAC under the device key;
  raised *before* a PIN is looked at (S-4). Missing or altered, one try is left.
* `vault`: Argon2id parameters and salt, nonce, sealed secret. It is written last, so a kill in
  between leaves a device without a seed, not a half-made one.
* `anchors`: the newest state of each app, see `anchors`; made with the secret, gone with it.
* `resets`: how often a secret was destroyed. No guarantee rests on it.
"""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING, ClassVar, Final

from primegap.files import StorageError, read_file, remove_file, write_file
from primegap.keyos.security.anchors import LIFE_BYTES, Anchor, Anchors
from primegap.keyos.security.memory import SecretBuffer
from primegap.keyos.security.sealing import (
    MAX_ATTEMPTS,
    MAX_SECRET_BYTES,
    DamagedError,
    SealState,
    VaultError,
    WipedError,
    WrongPinError,
    check_pin,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

DEVICE_KEY_BYTES: Final = 32
MAGIC: Final = b"PGV\x02"
HEADER: Final = struct.Struct(">4sIIB16s12s")
ARGON2_MEMORY_KIB: Final = 64 << 10  # 64 MiB: a small board has it, a guessing farm pays for it
ARGON2_ITERATIONS: Final = 3
ARGON2_LANES: Final = 1
MAX_ARGON2_MEMORY_KIB: Final = 1 << 20  # of a vault file: a larger value is damage, not a setting
MAX_ARGON2_ITERATIONS: Final = 64
MAX_RESETS: Final = 0xFFFF
_MAC_BYTES: Final = 32
_COUNTER_LABEL: Final = b"primegap:attempts:v1"
_TAG_LABEL: Final = b"primegap:device-tag:v1:"


class SoftwareVault:
    """A `SealingHardware` out of files. Holds no secret itself."""

    kind: ClassVar[str] = "software"
    limits: ClassVar[str] = (
        "No secure element: whoever copies this device’s storage can try PINs elsewhere, "
        "and can put all of it back to an earlier state. Use a long PIN."
    )

    def __init__(self, directory: Path, *, rng: Callable[[int], bytes]) -> None:
        self._vault = directory / "vault"
        self._device_key = directory / "device.key"
        self._attempts = directory / "attempts"
        self._resets = directory / "resets"
        self._anchors = directory / "anchors"
        self._rng = rng

    @property
    def exists(self) -> bool:
        """Whether a secret is stored."""
        return self._vault.exists() and self._device_key.exists()

    def state(self) -> SealState:
        """Return what may be known without the PIN."""
        try:
            left = max(0, MAX_ATTEMPTS - self._used())
        except StorageError:
            left = 0  # a PIN cannot be tried while the counter cannot be read
        return SealState(self.exists, left, self._reset_count())

    def recover(self) -> None:
        """Go on with a wipe that a power cut stopped, and drop what a cut storing left."""
        if self._vault.exists() and read_file(self._device_key) in (None, bytes(DEVICE_KEY_BYTES)):
            self.wipe()  # the key was removed, or overwritten and not yet removed
        elif self.exists and self._used() >= MAX_ATTEMPTS:
            self.wipe()
        elif not self._vault.exists() and self._device_key.exists():
            remove_file(self._device_key, overwrite=True)
            remove_file(self._attempts)
        if not self.exists:
            remove_file(self._anchors)

    def seal(self, pin: str, secret: bytes | bytearray | memoryview) -> None:
        """Store a secret under a PIN. Refused while one is stored."""
        check_pin(pin)
        if not 1 <= len(secret) <= MAX_SECRET_BYTES:
            raise ValueError(f"a secret has 1 to {MAX_SECRET_BYTES} bytes")
        if self.exists:
            raise VaultError("a seed is already stored")
        remove_file(self._vault)
        device_key = self._rng(DEVICE_KEY_BYTES)
        write_file(self._device_key, device_key)
        self._count(device_key, 0)
        write_file(self._anchors, Anchors(self._rng(LIFE_BYTES)).encode(device_key))
        self._write(pin, device_key, secret)

    def unseal(self, pin: str) -> SecretBuffer:
        """Return the secret; see `SealingHardware.unseal`."""
        secret, _ = self._open(pin)
        return secret

    def reseal(self, pin: str, new_pin: str) -> None:
        """Change the PIN by replacing the vault file in one step."""
        check_pin(new_pin)
        secret, device_key = self._open(pin)
        try:
            with secret.view() as view:
                self._write(new_pin, device_key, view)
        finally:
            secret.wipe()

    def wipe(self) -> None:
        """Destroy the secret: the device key first, then what it wraps."""
        there = self._vault.exists() or self._device_key.exists()
        remove_file(self._device_key, overwrite=True)
        if there:
            write_file(self._resets, struct.pack(">H", min(self._reset_count() + 1, MAX_RESETS)))
        remove_file(self._vault, overwrite=True)
        remove_file(self._attempts)
        remove_file(self._anchors)

    def tag(self, label: bytes, data: bytes) -> bytes:
        """Return HMAC-SHA-256 under the device key, in a domain of its own for each label."""
        sub_key = hmac.digest(self._need_device_key(), _TAG_LABEL + label, "sha256")
        return hmac.digest(sub_key, data, "sha256")

    def anchor(self, app_id: bytes) -> tuple[bytes, Anchor]:
        """Return life and anchor; see `SealingHardware.anchor`."""
        anchors = Anchors.decode(read_file(self._anchors), self._need_device_key())
        return anchors.life, anchors.of(app_id)

    def set_anchor(self, app_id: bytes, anchor: Anchor) -> bool:
        """Move an anchor on; see `SealingHardware.set_anchor`."""
        device_key = self._need_device_key()
        try:
            anchors = Anchors.decode(read_file(self._anchors), device_key)
        except StorageError:
            anchors = Anchors(self._rng(LIFE_BYTES))
        moved = anchors.setting(app_id, anchor)
        if moved is None:
            return False
        write_file(self._anchors, moved.encode(device_key))
        return True

    def _need_device_key(self) -> bytes:
        device_key = read_file(self._device_key)
        if device_key is None or len(device_key) != DEVICE_KEY_BYTES:
            raise StorageError("no seed is stored")
        return device_key

    # -- inside ---------------------------------------------------------------------------------

    def _open(self, pin: str) -> tuple[SecretBuffer, bytes]:
        check_pin(pin)
        used = self._used()
        if used >= MAX_ATTEMPTS:
            self.wipe()
            raise WipedError("no attempts left")
        device_key = read_file(self._device_key)
        if device_key is None:
            raise StorageError("no seed is stored")
        self._count(device_key, used + 1)
        data = read_file(self._vault)
        if data is None:
            raise StorageError("no seed is stored")
        opened = _unseal(data, device_key, pin)
        if opened is None:
            if used + 1 >= MAX_ATTEMPTS:
                self.wipe()
                raise WipedError("no attempts left")
            raise WrongPinError("wrong PIN")
        secret = SecretBuffer(opened)
        self._count(device_key, 0)
        return secret, device_key

    def _write(self, pin: str, device_key: bytes, secret: bytes | bytearray | memoryview) -> None:
        salt, nonce = self._rng(16), self._rng(12)
        header = HEADER.pack(MAGIC, ARGON2_MEMORY_KIB, ARGON2_ITERATIONS, ARGON2_LANES, salt, nonce)
        sealed = _aead(pin, device_key, header).encrypt(nonce, secret, header)
        write_file(self._vault, header + sealed)

    def _used(self) -> int:
        """Return how many attempts are used; whoever altered the counter has one left."""
        data = read_file(self._attempts)
        device_key = read_file(self._device_key)
        if device_key is None:
            return 0
        if data is None:
            return MAX_ATTEMPTS - 1 if self._vault.exists() else 0
        if len(data) != 1 + _MAC_BYTES or not hmac.compare_digest(
            data[1:], _counter_mac(device_key, data[0])
        ):
            return MAX_ATTEMPTS - 1
        return data[0]

    def _count(self, device_key: bytes, used: int) -> None:
        write_file(self._attempts, bytes([used]) + _counter_mac(device_key, used))

    def _reset_count(self) -> int:
        try:
            data = read_file(self._resets)
        except StorageError:
            return 0
        return int.from_bytes(data, "big") if data is not None and len(data) == 2 else 0


def _counter_mac(device_key: bytes, used: int) -> bytes:
    return hmac.digest(device_key, _COUNTER_LABEL + bytes([used]), "sha256")


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
    key = HKDF(algorithm=SHA256(), length=32, salt=device_key, info=b"primegap:vault:v2").derive(
        stretched
    )
    return ChaCha20Poly1305(key)
