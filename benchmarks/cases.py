"""All measurements by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.crypto import handshake, sealing
from benchmarks.link import goodput, handshakes, memory, paced
from benchmarks.strangers import flood
from benchmarks.system import demo_steps, device_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figure import Figure

CASES: dict[str, Callable[[], list[Figure]]] = {
    "device-start": device_start,
    "handshake": handshake,
    "sealing": sealing,
    "link-goodput": goodput,
    "link-paced": paced,
    "link-handshakes": handshakes,
    "link-memory": memory,
    "link-flood": flood,
    "demo": demo_steps,
}
