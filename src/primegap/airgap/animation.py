"""A message as the symbols to show, one after another, in any dialect. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from primegap.airgap.bbqr import BbqrEncoding, encode_bbqr
from primegap.airgap.capacity import MAX_QR_VERSION, alphanumeric_capacity, byte_capacity
from primegap.airgap.dialect import Container, Dialect, psbt_to_text
from primegap.airgap.errors import LocalAirgapError, TooLargeForQrError
from primegap.airgap.pmofn import encode_pmofn
from primegap.airgap.ur.encoder import UrEncoder
from primegap.airgap.ur.legacy import encode_legacy_ur
from primegap.airgap.ur.payload import bytes_to_ur, psbt_to_ur

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.airgap.density import Density
    from primegap.airgap.ur.message import Ur


class Animation:
    """An endless series of symbols.

    A UR goes on with mixed parts, so that a reader needs no particular one; the other dialects
    repeat their pieces.
    """

    def __init__(self, source: UrEncoder | list[str]) -> None:
        self._encoder = source if isinstance(source, UrEncoder) else None
        self._pieces = [] if isinstance(source, UrEncoder) else source
        self._next: Iterator[str] = itertools.cycle(self._pieces)

    @classmethod
    def of_ur(cls, ur: Ur, density: Density) -> Animation:
        """Return the symbols of a UR.

        Raises:
            TooLargeForQrError: more symbols than a person can wait for.
        """
        return cls(UrEncoder(ur.ur_type, ur.cbor, density.max_fragment_bytes))

    @classmethod
    def of_text(cls, text: str) -> Animation:
        """Return one symbol with a text and nothing around it.

        Raises:
            TooLargeForQrError: more than a symbol holds.
        """
        if len(text.encode()) > byte_capacity(MAX_QR_VERSION):
            raise TooLargeForQrError("more than one symbol holds")
        return cls([text])

    @classmethod
    def answer(cls, dialect: Dialect, psbt: bytes, density: Density) -> Animation:
        """Return the symbols of a PSBT in the dialect in which the request came.

        A plain PSBT that no longer fits one symbol becomes a UR of type `crypto-psbt`, which nearly
        every wallet reads.

        Args:
            dialect: `CodeReader.result.dialect`.
            psbt: binary.
            density: how much a symbol may hold.

        Raises:
            TooLargeForQrError: more symbols than a person can wait for.
            LocalAirgapError: not a PSBT, or a dialect that holds none.
        """
        version = density.qr_version
        match dialect.container:
            case Container.UR:
                return cls.of_ur(psbt_to_ur(psbt, dialect.kind), density)
            case Container.LEGACY_UR:
                return cls(encode_legacy_ur(bytes_to_ur(psbt), alphanumeric_capacity(version)))
            case Container.BBQR:
                encoding = BbqrEncoding.DEFLATE
                return cls(encode_bbqr(psbt, "P", encoding=encoding, max_version=version))
            case Container.PMOFN:
                text = psbt_to_text(psbt, dialect.kind)
                return cls(encode_pmofn(text, byte_capacity(version)))
            case Container.PLAIN if dialect.kind:
                text = psbt_to_text(psbt, dialect.kind)
                if len(text) <= byte_capacity(MAX_QR_VERSION):
                    return cls([text])
                return cls.of_ur(psbt_to_ur(psbt), density)
            case _:
                raise LocalAirgapError("a dialect that holds no PSBT")

    @property
    def frames_count(self) -> int:
        """Symbols that a reader which misses none has to see."""
        return len(self._pieces) if self._encoder is None else self._encoder.parts_count

    def next_frame(self) -> str:
        """Return the content of the next symbol."""
        return next(self._next) if self._encoder is None else self._encoder.next_part()

    def restart(self) -> None:
        """Go on with the first symbol."""
        if self._encoder is not None:
            self._encoder.restart()
        self._next = itertools.cycle(self._pieces)
