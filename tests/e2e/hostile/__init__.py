"""Code of hostile roles, run inside the sandbox, and the small device that runs them."""

from __future__ import annotations
