"""What a chip keeps over resets: flash and configuration memory (radio.md sections 3, 9 and 10).

Bits go from 1 to 0 only, until a page of the flash is erased; the configuration memory never is.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from primegap.radio.messages import SealResult

PAGE_BYTES: Final = 4096
PAGES_ADDRESS: Final = 0x1B000
"First page that an erase covers. Its first KiB is the end of the radio stack."
IMAGE_ADDRESS: Final = 0x1B400
IMAGE_END: Final = 0x27000
IMAGE_BYTES: Final = IMAGE_END - IMAGE_ADDRESS
"Header and application: 48 128 bytes, never fewer."
MAGIC: Final = b"blef"
"First bytes of a Bluetooth firmware."
HEADER_BYTES: Final = 256
"Size of its cosign2 header."
SECRET_BYTES: Final = 32
EMPTY, SEALED, WIPED = 0xFFFFFFFF, 0x5A5A5A5A, 0x42424242
"Values of the seal word; each has only bits that the one before has."
UNSEALED_RESULT: Final = b"\xff" * 32
"Answer to a challenge of a chip that has no secret, or no longer."

_PAGES_BYTES: Final = IMAGE_END - PAGES_ADDRESS
_IMAGE: Final = IMAGE_ADDRESS - PAGES_ADDRESS
_SECRET: Final = _PAGES_BYTES
_SEAL: Final = _SECRET + SECRET_BYTES
MEMORY_BYTES: Final = _SEAL + 4
"Pages 0x1B000 to 0x27000, then the challenge secret, then the seal word."


class ChipMemory:
    """The memory in one writable buffer of MEMORY_BYTES, which may be a mapped file.

    Every change is complete in the buffer when the method returns, and may be cut off anywhere.
    """

    def __init__(self, buffer: memoryview) -> None:
        if len(buffer) != MEMORY_BYTES or buffer.readonly:
            raise ValueError(f"a chip's memory is a writable buffer of {MEMORY_BYTES} bytes")
        self._buffer = buffer

    @classmethod
    def erased(cls) -> ChipMemory:
        """Return the memory of a chip fresh from the factory."""
        return cls(memoryview(bytearray(b"\xff" * MEMORY_BYTES)))

    # -- flash ------------------------------------------------------------------------------------

    @property
    def image(self) -> bytes:
        """Header and application, or whatever lies there."""
        return bytes(self._buffer[_IMAGE:_PAGES_BYTES])

    def erase_image(self) -> None:
        """Erase the pages; the end of the radio stack in the first of them is written back."""
        stack_end = bytes(self._buffer[:_IMAGE])
        for page in range(0, _PAGES_BYTES, PAGE_BYTES):
            self._buffer[page : page + PAGE_BYTES] = b"\xff" * PAGE_BYTES
        self._buffer[:_IMAGE] = stack_end

    def write_image(self, offset: int, data: bytes) -> bool:
        """Write words into the image area; tell whether the flash took them."""
        if len(data) % 4 or offset + len(data) > IMAGE_BYTES:
            return False
        self._clear_bits(_IMAGE + offset, data)
        return True

    def _clear_bits(self, start: int, data: bytes) -> None:
        part = self._buffer[start : start + len(data)]
        kept = int.from_bytes(part) & int.from_bytes(data)
        part[:] = kept.to_bytes(len(data))

    # -- challenge --------------------------------------------------------------------------------

    @property
    def seal(self) -> int:
        """EMPTY, SEALED or WIPED."""
        return int.from_bytes(self._buffer[_SEAL:MEMORY_BYTES], "little")

    def set_secret(self, secret: bytes) -> SealResult:
        """Take the challenge secret, once for life."""
        if self.seal != EMPTY:
            return SealResult.NOT_ALLOWED
        if secret in {bytes(SECRET_BYTES), b"\xff" * SECRET_BYTES}:
            return SealResult.ERROR
        self._clear_bits(_SECRET, secret)
        if self._secret() != secret:
            return SealResult.ERROR
        self._clear_bits(_SEAL, SEALED.to_bytes(4, "little"))
        return SealResult.SEALED

    def wipe_secret(self) -> None:
        """Destroy the secret, if there is one, for good."""
        if self.seal == SEALED:
            self._clear_bits(_SECRET, bytes(SECRET_BYTES))
            self._clear_bits(_SEAL, WIPED.to_bytes(4, "little"))

    def answer_challenge(self, nonce: int, *, as_4_0_0: bool = False) -> bytes:
        """Return the proof of knowing the secret.

        Args:
            nonce: 64 bits.
            as_4_0_0: do as the shipped version, which never looks at the seal.
        """
        if self.seal != SEALED and not as_4_0_0:
            return UNSEALED_RESULT
        return challenge_result(self._secret(), nonce)

    def _secret(self) -> bytes:
        return bytes(self._buffer[_SECRET:_SEAL])


def challenge_result(secret: bytes, nonce: int) -> bytes:
    """Return what a chip with this secret answers: HMAC-SHA-256 over the nonce, big endian."""
    return hmac.digest(secret, nonce.to_bytes(8), hashlib.sha256)
