"""What the system itself shows, one module a flow: first start, lock, home, pairing, settings."""

from __future__ import annotations
