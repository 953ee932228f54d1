"""A seed in the vault, as if the device had been set up long ago."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from primegap.keyos.security.vault import SoftwareVault

PIN: Final = "271828"
ENTROPY: Final = bytes(range(16))


def store_seed(data: Path, *, pin: str = PIN, entropy: bytes = ENTROPY) -> SoftwareVault:
    """Store a seed in a device's data directory; return its vault."""
    folder = data / "security"
    folder.mkdir(parents=True, exist_ok=True)
    vault = SoftwareVault(folder, rng=os.urandom)
    vault.seal(pin, bytes(64) + entropy)
    return vault
