"""CRC-32C (Castagnoli), which the bootloader answers every block with (radio.md section 9.4)."""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # 0x1EDC6F41, bits reversed


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_row(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """Return the checksum, 32 bits."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
