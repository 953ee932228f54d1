"""All measurements by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.calls import routed_calls, sealed_call
from benchmarks.codes import end_to_end, qr_read, ur_frames, ur_throughput
from benchmarks.crypto import handshake, sealing
from benchmarks.link_air import emulated, paced
from benchmarks.link_cost import record_cost
from benchmarks.link_goodput import goodput
from benchmarks.link_setup import handshakes, memory
from benchmarks.signing import against_bdk, against_embit, growth
from benchmarks.strangers import flood
from benchmarks.system import app_launch, demo_steps, device_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figure import Figure

CASES: dict[str, Callable[[], list[Figure]]] = {
    "device-start": device_start,
    "app-launch": app_launch,
    "routed-calls": routed_calls,
    "handshake": handshake,
    "sealing": sealing,
    "link-goodput": goodput,
    "link-cost": record_cost,
    "link-paced": paced,
    "link-emulated": emulated,
    "link-handshakes": handshakes,
    "link-memory": memory,
    "link-flood": flood,
    "ur-frames": ur_frames,
    "ur-throughput": ur_throughput,
    "ur-seconds": end_to_end,
    "qr-read": qr_read,
    "sealed-call-vs-socketpair": sealed_call,
    "sign-vs-embit": against_embit,
    "sign-vs-bdk": against_bdk,
    "sign-growth": growth,
    "demo": demo_steps,
}
