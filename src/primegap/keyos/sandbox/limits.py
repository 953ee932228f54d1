"""Resource limits of a confined process (X-3); cgroup v2 comes on top where the system has it."""

from __future__ import annotations

import resource
from typing import Final

MIB: Final = 1 << 20
ADDRESS_SPACE: Final = 2048 * MIB  # interpreter, BDK and Argon2id's 64 MiB fit many times
OPEN_FILES: Final = 256
FILE_SIZE: Final = 64 * MIB


def apply_limits() -> None:
    """Set the limits; no core dump is ever written."""
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(which, (value, value))
