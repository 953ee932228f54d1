"""Reading pictures that a person holds up: single codes, and the device's animated code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from primegap.airgap import (
    PSBT_UR_TYPES,
    FrameVerdict,
    RemoteAirgapError,
    UrDecoder,
    UrTextError,
    psbt_from_ur,
)

NOTHING: Final = "No QR code in this picture. Hold the whole code up, straight and sharp."


@dataclass(frozen=True, slots=True)
class Scan:
    """What came of one picture."""

    verdict: str
    "`nothing`, `new`, `duplicate`, `foreign`, `unreadable`, `refused`, `corrupt` or `complete`."
    fraction: float = 0.0
    "How much of the message is read, 0.0 to 1.0."
    hint: str = ""
    "A sentence for the person; empty when all is well."
    psbt: bytes | None = field(default=None, repr=False)
    "The message, once it is complete."


async def read_codes(picture: bytes) -> list[str]:
    """Return the texts of the QR codes in a PNG or JPEG file, at most a few.

    Raises:
        QrError: the file cannot be read.
    """
    from primegap.airgap.qr import scan_picture

    return [code.text for code in await asyncio.to_thread(scan_picture, picture)]


class Scanner:
    """Collects the frames of one signed payment from pictures, in any order."""

    def __init__(self) -> None:
        self._decoder = UrDecoder(PSBT_UR_TYPES)

    @property
    def fraction(self) -> float:
        """How much of the message is read, 0.0 to 1.0."""
        return self._decoder.progress.fraction

    async def look(self, picture: bytes) -> Scan:
        """Take one picture.

        Raises:
            QrError: the file cannot be read.
        """
        texts = await read_codes(picture)
        if not texts:
            return Scan("nothing", self.fraction, NOTHING)
        return self.take(texts)

    def take(self, texts: list[str]) -> Scan:
        """Take the texts of the codes in one picture."""
        verdict = FrameVerdict.UNREADABLE
        for text in texts:
            verdict = self._decoder.receive(text)
            if self._decoder.result is not None:
                return self._complete()
        if self._decoder.offers_restart:
            self._decoder.start_over()  # nothing else is waited for here
            return Scan("new", self.fraction)
        error = self._decoder.last_error
        hint = "" if error is None else _hint(error)
        return Scan(verdict.value, self.fraction, hint)

    def _complete(self) -> Scan:
        ur = self._decoder.result
        assert ur is not None
        self._decoder = UrDecoder(PSBT_UR_TYPES)
        try:
            return Scan("complete", 1.0, psbt=psbt_from_ur(ur))
        except RemoteAirgapError as error:
            return Scan("refused", 0.0, error.hint)


def _hint(error: RemoteAirgapError) -> str:
    if type(error) is UrTextError:
        return "This is not the code of a signed payment. Scan what the device shows after signing."
    return error.hint
