"""Forks children that work on a vault until they are killed; driven by test_vault_crashes.

Each line on standard input makes a child, whose process id is printed; the next line is read when
the child is dead.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from primegap.keyos.security import vault as vault_module
from primegap.keyos.security.sealing import VaultError
from primegap.keyos.security.vault import SoftwareVault

PINS = ("271828", "314159")
SECRET = bytes(range(96))


def work(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    vault = SoftwareVault(folder, rng=os.urandom)
    vault.recover()
    while True:
        step = rng.choice((0, 0, 1, 1, 1, 2))
        try:
            if not vault.state().sealed:
                vault.seal(PINS[0], SECRET)
            elif step == 0:
                vault.unseal(PINS[0])
            elif step == 1:
                vault.reseal(PINS[0], PINS[1])
                vault.reseal(PINS[1], PINS[0])
            else:
                vault.wipe()
        except VaultError:
            vault.unseal(PINS[1])
            vault.reseal(PINS[1], PINS[0])


def main() -> None:
    vault_module.ARGON2_MEMORY_KIB = 64  # type: ignore[misc]
    vault_module.ARGON2_ITERATIONS = 1  # type: ignore[misc]
    from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401 - before the forks
    from cryptography.hazmat.primitives.kdf import argon2, hkdf  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            work(Path(sys.argv[1]), int(line))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
