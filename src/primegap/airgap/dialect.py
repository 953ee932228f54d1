"""In which of the field's dialects a message came, so that it is answered in the same one.

Pure. Section numbers are those of uniform-resources.md.
"""

from __future__ import annotations

import base64
import binascii
import enum
from dataclasses import dataclass, field

from primegap.airgap.base43 import decode_base43_untrusted, encode_base43
from primegap.airgap.errors import Base43Error, NotAPsbtError, NotTextError
from primegap.airgap.ur.payload import PSBT_MAGIC


class Container(enum.Enum):
    """How a message travels."""

    UR = "ur"
    LEGACY_UR = "ur1"
    BBQR = "bbqr"
    PMOFN = "pmofn"
    PLAIN = "plain"
    "One symbol with nothing around the message."
    SEEDQR = "seedqr"
    COMPACT_SEEDQR = "compact-seedqr"


@dataclass(frozen=True, slots=True)
class Dialect:
    """A container and what it says about its content."""

    container: Container
    kind: str = ""
    """Type of the UR, file type of the BBQr; for plain and pMofN how a PSBT is written: `binary`,
    `hex`, `base64` or `base43`, and empty for other text."""

    def __str__(self) -> str:
        """Return the name for a person or a program, such as `ur:crypto-psbt`."""
        return f"{self.container.value}:{self.kind}" if self.kind else self.container.value


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it was read."""

    dialect: Dialect
    content: bytes = field(repr=False)
    """The bytes that were meant: a binary PSBT, text in UTF-8, entropy; the CBOR of a UR whose
    type is not a byte string."""

    def psbt(self) -> bytes:
        """Return the binary PSBT; only its first bytes are looked at.

        Raises:
            NotAPsbtError: it is something else.
        """
        if not self.content.startswith(PSBT_MAGIC):
            raise NotAPsbtError("no PSBT inside")
        return self.content

    def text(self) -> str:
        """Return the text.

        Raises:
            NotTextError: it is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise NotTextError("not UTF-8") from None


def psbt_from_text(text: str) -> tuple[str, bytes] | None:
    """Return how a PSBT is written in `text` (`hex`, `base64`, `base43`) and the binary PSBT.

    None when it is no PSBT. Base43 is tried last, and only what begins as a PSBT is taken.
    """
    text = text.strip()
    if not text.isascii():
        return None
    try:
        if text[:10].lower() == "70736274ff":
            return "hex", binascii.unhexlify(text)
        if text.startswith("cHNid"):
            return "base64", base64.b64decode(text, validate=True)
    except ValueError:
        return None
    try:
        data = decode_base43_untrusted(text)
    except Base43Error:
        return None
    return ("base43", data) if data.startswith(PSBT_MAGIC) else None


def psbt_to_text(psbt: bytes, kind: str) -> str:
    """Return a PSBT as `hex`, `base64` or `base43`; a `binary` one is answered in hex.

    Many readers turn the bytes of a symbol into text and spoil them (airgap.md section 5.1).
    """
    if kind == "base64":
        return base64.b64encode(psbt).decode()
    if kind == "base43":
        return encode_base43(psbt)
    return psbt.hex().upper()
