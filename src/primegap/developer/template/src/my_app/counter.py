"""What the app does, without screens and devices."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 999_999


@dataclass(frozen=True)
class Counter:
    """A number from 0 to MOST."""

    value: int = 0

    def up(self) -> Counter:
        """Return the next number; it stops at MOST."""
        return Counter(min(self.value + 1, MOST))

    def encode(self) -> bytes:
        """Return what is stored."""
        return str(self.value).encode()

    @classmethod
    def decode(cls, data: bytes | None) -> Counter:
        """Return what was stored; whatever makes no sense is a new beginning."""
        text = (data or b"").decode(errors="replace")
        return cls(min(int(text), MOST)) if text.isdecimal() and len(text) < 10 else cls()
