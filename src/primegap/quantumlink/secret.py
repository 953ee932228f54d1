"""Secret bytes that do not print, pickle or copy themselves; wiping is best effort in Python."""

from __future__ import annotations

from hmac import compare_digest

from primegap.quantumlink.errors import LocalError
from primegap.secrecy import NeverSerialised


class SecretBytes(NeverSerialised):
    """Key material in one buffer of our own, which `wipe` overwrites and empties."""

    __slots__ = ("_buf",)
    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __init__(self, value: bytes | bytearray) -> None:
        self._buf = bytearray(value)

    def __repr__(self) -> str:
        return f"<SecretBytes {len(self._buf)} bytes>"

    def __len__(self) -> int:
        return len(self._buf)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and compare_digest(self._buf, other._buf)

    def reveal(self) -> bytes:
        """Return the bytes, as a copy the caller keeps only as long as it must.

        Raises:
            LocalError: the secret was wiped.
        """
        if not self._buf:
            raise LocalError("a wiped secret was asked for")
        return bytes(self._buf)

    def wipe(self) -> None:
        """Overwrite the buffer with zeros, then empty it."""
        self._buf[:] = bytes(len(self._buf))
        self._buf.clear()
