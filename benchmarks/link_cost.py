"""Where the time of a record goes: the same transfer under the profiler, by stage."""

from __future__ import annotations

import cProfile
import os
import statistics
import time
from operator import itemgetter
from pathlib import PurePath
from types import CodeType

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from benchmarks.figure import Figure, figure
from benchmarks.link_goodput import MOVED_BYTES, RECORD_BODY, move, move_bare
from primegap.quantumlink import NATIVE

ROUNDS = 5
STAGES = {
    "envelope": ("records", "session_keys", "symmetric"),
    "frames": ("frames", "codec", "acks"),
    "streams": ("streams", "stream", "send_buffer", "receive_buffer", "flow"),
    "packing": ("packer",),
    "acks-and-loss": ("ack_tracker", "ranges", "recovery", "congestion", "rtt", "record_size"),
    "session": ("session", "sessions", "replay"),
    "engine": ("engine", "backoff", "handshaking"),
    "harness": ("link_goodput",),
}
"Modules of each stage. What they call of the interpreter's own counts where it is called."
_STAGE_OF = {module: stage for stage, modules in STAGES.items() for module in modules}


def record_cost() -> list[Figure]:
    """Microseconds of each stage for one record, both sides together, measured without profiler.

    The AEAD is timed alone; the profiler tells how the rest divides. It makes code of many small
    calls look a little dearer than it is.
    """
    records = MOVED_BYTES / RECORD_BODY
    whole = statistics.median(move(NATIVE, MOVED_BYTES) for _ in range(ROUNDS)) / records
    cipher = ChaCha20Poly1305(os.urandom(32))
    aead = statistics.median(move_bare(cipher, MOVED_BYTES) for _ in range(ROUNDS)) / records
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    move(NATIVE, MOVED_BYTES)
    profile.disable()
    spent = _by_stage(profile)
    scale = (whole - aead) / sum(spent.values())
    costs = {"aead": aead} | {stage: part * scale for stage, part in spent.items()}
    return [
        figure(f"link-cost-{stage}", cost * 1e6, "µs", "a whole record", whole * 1e6)
        for stage, cost in sorted(costs.items(), key=itemgetter(1), reverse=True)
    ]


def _by_stage(profile: cProfile.Profile) -> dict[str, float]:
    spent = dict.fromkeys(STAGES, 0.0)
    for entry in profile.getstats():
        stage = _stage_of(entry.code)
        if stage is None:
            continue  # counted at its callers
        spent[stage] += entry.inlinetime
        for called in entry.calls or ():
            if _stage_of(called.code) is None and "aead" not in str(called.code):
                spent[stage] += called.inlinetime
    return spent


def _stage_of(code: CodeType | str) -> str | None:
    """Return the stage of a function of ours, None for one of the interpreter or a library."""
    if isinstance(code, str):
        return None
    return _STAGE_OF.get(PurePath(code.co_filename).stem)
