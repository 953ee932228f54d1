"""Reading pictures that a person holds up: single codes, and the device's animated code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.airgap import CodeReader, Expect, FrameVerdict, NotAPsbtError, RemoteAirgapError

if TYPE_CHECKING:
    from primegap.airgap.qr import ScannedCode

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


async def read_codes(picture: bytes, *, quick: bool = False) -> list[ScannedCode]:
    """Return the QR codes in a PNG, JPEG or GIF file, at most a few.

    Raises:
        QrError: the file cannot be read.
    """
    from primegap.airgap.qr import scan_picture

    return await asyncio.to_thread(scan_picture, picture, quick=quick)


class Scanner:
    """Collects the frames of one signed payment from pictures, in any order."""

    def __init__(self) -> None:
        self._reader = CodeReader(Expect.PSBT)

    @property
    def fraction(self) -> float:
        """How much of the message is read, 0.0 to 1.0."""
        return self._reader.progress.fraction

    async def look(self, picture: bytes) -> Scan:
        """Take one picture.

        Raises:
            QrError: the file cannot be read.
        """
        codes = await read_codes(picture, quick=True)
        if not codes:
            return Scan("nothing", self.fraction, NOTHING)
        verdict = FrameVerdict.UNREADABLE
        for code in codes:
            verdict = self._reader.receive(code.text, code.raw)
            if self._reader.result is not None:
                psbt = self._reader.result.psbt()
                self._reader = CodeReader(Expect.PSBT)
                return Scan("complete", 1.0, psbt=psbt)
        if self._reader.offers_restart:
            self._reader.start_over()  # nothing else is waited for here
            return Scan("new", self.fraction)
        error = self._reader.last_error
        return Scan(verdict.value, self.fraction, "" if error is None else _hint(error))


def _hint(error: RemoteAirgapError) -> str:
    if type(error) is NotAPsbtError:
        return "This is not the code of a signed payment. Scan what the device shows after signing."
    return error.hint
