"""Derivations from the master entropy, as the original defines them (keyos-model, 6.3, 6.4)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

APP_ID_BYTES: Final = 16
DISK_ENTROPY_BYTES: Final = 64
STORAGE_TAG_BYTES: Final = 8
Secret = bytes | bytearray | memoryview


def app_seed(app_id: bytes, entropy: Secret) -> bytes:
    """Return an app's 32-byte seed: HMAC-SHA-256 with the app id as key over the entropy."""
    _check_app_id(app_id)
    return hmac.digest(app_id, entropy, "sha256")


def seed_fingerprint(entropy: Secret) -> bytes:
    """Return the 32-byte fingerprint of a seed, by which backups are told apart."""
    return _sha256(entropy, b"Fingerprint")


def backup_key(seed: Secret) -> bytes:
    """Return the 32-byte key of data backups from the app seed of `os/backup`."""
    return _sha256(seed, b"backup_encryption")


def fido_material(seed: Secret, key: int, registration: int) -> bytes:
    """Return the 32-byte key material of a FIDO credential from the app seed of `os/fido`.

    The path has U+2019 as prime signs, as in the original.
    """
    path = f"m/83696968’/1179473391’/{key}/{registration}"
    return hmac.digest(path.encode(), seed, "sha256")


def disk_keys(entropy: Secret, disk_entropy: Secret) -> bytes:
    """Return the two 32-byte disk keys, one after the other: they need the seed *and* the device.

    disk_key_i = disk_entropy[32 i : 32 i + 32] XOR SHA256(entropy | "AES"), i = 0, 1.
    """
    if len(disk_entropy) != DISK_ENTROPY_BYTES:
        raise ValueError("disk entropy has 64 bytes")
    mask = int.from_bytes(_sha256(entropy, b"AES") * 2, "big")
    mixed = int.from_bytes(disk_entropy, "big") ^ mask
    return mixed.to_bytes(DISK_ENTROPY_BYTES, "big")


def storage_key(app_id: bytes, keys: Secret) -> bytes:
    """Return the 32-byte key of an app's files from the disk keys."""
    _check_app_id(app_id)
    return hmac.digest(keys, b"primegap:app-storage:v1:" + app_id, "sha256")


def storage_tag(keys: Secret) -> bytes:
    """Return 8 bytes that tell one life of the storage from another: seed and set-up."""
    return hmac.digest(keys, b"primegap:storage-tag:v1", "sha256")[:STORAGE_TAG_BYTES]


def _check_app_id(app_id: bytes) -> None:
    if len(app_id) != APP_ID_BYTES:
        raise ValueError("an app id has 16 bytes")


def _sha256(secret: Secret, label: bytes) -> bytes:
    digest = hashlib.sha256(secret)
    digest.update(label)
    return digest.digest()
