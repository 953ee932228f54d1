"""What a reader takes and a writer gives at most (uniform-resources.md section 8)."""

from __future__ import annotations

from typing import Final

MAX_TYPE_CHARACTERS: Final = 32
"The longest type in use has 21."
MAX_SEQ_NUM: Final = (1 << 32) - 1
"Part numbers are 32 bits wide."
MAX_READ_FRAGMENTS: Final = 2048
"Every frame costs time in proportion to this before anything is proven about it."
MAX_WRITTEN_FRAGMENTS: Final = 1024
"Four minutes at four frames a second; beyond that a file serves better."
MAX_FRAGMENT_BYTES: Final = 2100
"What the largest QR symbol holds."
MAX_MESSAGE_BYTES: Final = 1 << 20
"Bounds the reader's memory to twice this."
