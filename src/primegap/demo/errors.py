"""Why a demonstration ends early."""

from __future__ import annotations

from typing import ClassVar


class DemoError(Exception):
    """A step did not give what it must."""

    code: ClassVar[str] = "demo"
    hint: ClassVar[str] = (
        "The demonstration stopped. Its folder holds the journals and what was done."
    )
