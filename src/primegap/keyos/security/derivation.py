"""Derivations from the master entropy, as the original defines them (keyos-model, 6.3, 6.4)."""

from __future__ import annotations

import hashlib
import hmac

APP_ID_BYTES = 16


def app_seed(app_id: bytes, entropy: bytes) -> bytes:
    """Return an app's 32-byte seed: HMAC-SHA-256 with the app id as key over the entropy."""
    if len(app_id) != APP_ID_BYTES:
        raise ValueError("an app id has 16 bytes")
    return hmac.digest(app_id, entropy, "sha256")


def seed_fingerprint(entropy: bytes) -> bytes:
    """Return the 32-byte fingerprint of a seed, by which backups are told apart."""
    return hashlib.sha256(entropy + b"Fingerprint").digest()
