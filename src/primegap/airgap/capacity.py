"""How much a QR symbol holds at error correction L (ISO/IEC 18004, table 7)."""

from __future__ import annotations

from typing import Final

MAX_QR_VERSION: Final = 40

_ALPHANUMERIC: Final = (
    25, 47, 77, 114, 154, 195, 224, 279, 335, 395, 468, 535, 619, 667, 758, 854, 938, 1046, 1153,
    1249, 1352, 1460, 1588, 1704, 1853, 1990, 2132, 2223, 2369, 2520, 2677, 2840, 3009, 3183, 3351,
    3537, 3729, 3927, 4087, 4296,
)  # fmt: skip
_BYTES: Final = (
    17, 32, 53, 78, 106, 134, 154, 192, 230, 271, 321, 367, 425, 458, 520, 586, 644, 718, 792, 858,
    929, 1003, 1091, 1171, 1273, 1367, 1465, 1528, 1628, 1732, 1840, 1952, 2068, 2188, 2303, 2431,
    2563, 2699, 2809, 2953,
)  # fmt: skip


def alphanumeric_capacity(version: int) -> int:
    """Return how many upper-case letters and digits a symbol of `version`, 1 to 40, holds."""
    return _ALPHANUMERIC[version - 1]


def byte_capacity(version: int) -> int:
    """Return how many bytes, or other ASCII characters, a symbol of `version`, 1 to 40, holds."""
    return _BYTES[version - 1]
