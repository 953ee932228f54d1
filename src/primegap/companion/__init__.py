"""Everything the phone app does, as a library: link, accounts, payments."""

from __future__ import annotations
