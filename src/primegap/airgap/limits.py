"""What is read from codes at most, whatever the format."""

from __future__ import annotations

from typing import Final

MAX_SYMBOL_CHARACTERS: Final = 4296
"Alphanumeric characters in the largest QR symbol."
MAX_SYMBOL_DIGITS: Final = 7089
"Digits in the largest QR symbol, the most characters of any kind."
MAX_SERIES_CHARACTERS: Final = 1295 * MAX_SYMBOL_CHARACTERS
"Characters of all pieces of a message: the most that BBQr can number, 5.6 million."
MAX_INFLATED_BYTES: Final = 4 << 20
"A message after decompression; a symbol can hold a bomb a thousand times its size."
