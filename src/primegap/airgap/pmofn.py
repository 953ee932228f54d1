"""`pMofN`: text in numbered pieces, as Specter, Krux and SeedSigner write it.

`p<M>of<N> <piece>`, M from 1, one space (uniform-resources.md section 13). Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from primegap.airgap.errors import LocalAirgapError, PieceError, TooLargeForQrError
from primegap.airgap.limits import MAX_SERIES_CHARACTERS, MAX_SYMBOL_DIGITS
from primegap.airgap.reader import Format, Frame, FrameReader, Pieces

MAX_PIECES: Final = 999
"Krux writes 99 at most; a person does not wait for a thousand that must all be seen."

_FORM: Final = re.compile(r"p([1-9][0-9]{0,2})of([1-9][0-9]{0,2}) (.+)", re.DOTALL)
_LONGEST_HEADER: Final = len("p999of999 ")


def is_pmofn_text(text: str) -> bool:
    """Tell whether `text` is a numbered piece."""
    return _FORM.fullmatch(text[: _LONGEST_HEADER + 1]) is not None


def encode_pmofn(text: str, max_characters: int) -> list[str]:
    """Return `text` in pieces of about equal length.

    Args:
        text: ASCII, not empty.
        max_characters: longest text of a symbol, 20 or more.

    Raises:
        LocalAirgapError: empty, not ASCII, or `max_characters` out of range.
        TooLargeForQrError: more than 999 pieces.
    """
    room = max_characters - _LONGEST_HEADER
    if not text or not text.isascii() or room < _LONGEST_HEADER:
        raise LocalAirgapError("not ASCII, empty, or too little room")
    count = -(-len(text) // room)
    if count > MAX_PIECES:
        raise TooLargeForQrError("more pieces than a person can wait for")
    length = -(-len(text) // count)
    pieces = [text[at : at + length] for at in range(0, len(text), length)]
    return [f"p{number}of{len(pieces)} {piece}" for number, piece in enumerate(pieces, 1)]


@dataclass(frozen=True, slots=True)
class _Piece:
    index: int
    count: int
    text: str = field(repr=False)


class PmofnFormat(Format[_Piece, str]):
    """The pieces of one text. Nothing names a message but the number of its pieces."""

    def __init__(self) -> None:
        self._pieces = Pieces(1, 0)

    @override
    def parse(self, text: str, raw: bytes) -> Frame[_Piece]:
        if len(text) > MAX_SYMBOL_DIGITS or not text.isascii():
            raise PieceError("not ASCII, or longer than a QR symbol holds")
        match = _FORM.fullmatch(text)
        if match is None:
            raise PieceError("not a numbered piece")
        number, count = int(match[1]), int(match[2])
        if number > count:
            raise PieceError("a number beyond the last")
        return Frame(count, _Piece(number - 1, count, match[3]))

    @override
    def begin(self, part: _Piece) -> None:
        self._pieces = Pieces(part.count, MAX_SERIES_CHARACTERS)

    @override
    def take(self, part: _Piece) -> bool:
        return self._pieces.add(part.index, part.text)

    @override
    def complete(self) -> str | None:
        joined = self._pieces.joined()
        return None if joined is None else "".join(joined)

    @override
    def size(self) -> tuple[int, int, int]:
        return self._pieces.rank, self._pieces.count, 0


class PmofnReader(FrameReader[_Piece, str]):
    """Collects the pieces of one text."""

    def __init__(self) -> None:
        super().__init__(PmofnFormat())
