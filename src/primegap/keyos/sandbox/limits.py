"""Resource limits of a confined process (X-3); cgroup v2 comes on top where the system has it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
ADDRESS_SPACE: Final = 2048 * MIB  # interpreter, BDK and Argon2id's 64 MiB fit many times
FILE_SIZE: Final = 16 * MIB  # eight of the largest memory objects; a wallet's state is far smaller
OPEN_FILES: Final = {"app": 128, "radio": 128, "panel": 1024, "service": 1024}
"""With FILE_SIZE this also bounds an app's memory objects, which ADDRESS_SPACE does not see: 2 GiB.

Under one user id, the kernel refuses to pass on descriptors to whoever's limit is below the number
that all processes of the user have on the way: so no app can keep a service from answering."""
THREADS: Final = 64  # of one user id; asyncio's pool has at most 32
OOM_SCORE: Final = {"app": 900, "radio": 600, "panel": 300, "service": 300}
"Out of memory, the kernel ends apps first and core (0) last."

NICE: Final = {"app": 10, "radio": 0, "panel": 0, "service": 0}
"""Apps yield the processor to the system nine to one, however many threads they run (X-3).

Where the kernel shares its time among sessions first (autogroups), each process being a session of
its own, the whole session yields."""
AUTOGROUP_TRIES: Final = 5  # the kernel takes ten changes a second from an ordinary user


def yield_the_processor(profile: str) -> None:
    """Let the system's processes go first; needs /proc, so before the new root."""
    os.nice(NICE[profile])
    for _ in range(AUTOGROUP_TRIES if NICE[profile] else 0):
        try:
            Path("/proc/self/autogroup").write_text(str(NICE[profile]))
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return  # a kernel without them: the priority above is all it knows
        else:
            return


def prefer_as_oom_victim(profile: str) -> None:
    """Tell the kernel whom to end when memory runs out; needs /proc, so before the new root."""
    Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE[profile]))


def apply_limits(profile: str) -> None:
    """Set the limits; no core dump is ever written."""
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_NOFILE, OPEN_FILES[profile]),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_NPROC, THREADS),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(which)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (allowed, allowed))
