"""QuantumLink v2: the post-quantum link between a device and its companion, pure (no I/O)."""

from __future__ import annotations
