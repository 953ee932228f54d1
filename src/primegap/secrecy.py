"""What everything that holds key material has in common."""

from __future__ import annotations

from typing import NoReturn


class NeverSerialised:
    """Mixin of everything that holds key material: refuses pickling and copying, hides its repr."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are never serialised")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
