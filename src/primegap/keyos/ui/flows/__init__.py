"""What the system itself shows, one module a flow: first start, lock, home, pairing."""

from __future__ import annotations
