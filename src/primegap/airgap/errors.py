"""Errors of the air gap, split by who is at fault.

Everything that comes from a code, a picture or a card raises a `RemoteAirgapError` and nothing
else. Messages never repeat what was read.
"""

from __future__ import annotations

from typing import ClassVar


class AirgapError(Exception):
    """Root of every error raised in `primegap.airgap`."""

    code: ClassVar[str] = "airgap"
    "Stable public code: JSON output, logs, documentation."
    hint: ClassVar[str] = "Something went wrong with the QR code."
    "A sentence for a person."


class LocalAirgapError(AirgapError):
    """Our own caller broke a rule, which is a bug."""

    code = "airgap-misuse"
    hint = "The program tried to write a code in a way that is not allowed."


class TooLargeForQrError(LocalAirgapError):
    """The content does not fit a symbol, or not a number of symbols a person can show."""

    code = "qr-too-large"
    hint = "This is too large for QR codes. Use a file instead."


class CardNamesUsedUpError(LocalAirgapError):
    """Every number is in a file's name already."""

    code = "card-names-used-up"
    hint = "The card holds 999 files of this name. Remove some."


class RemoteAirgapError(AirgapError):
    """What was read is not usable."""

    code = "airgap-input"
    hint = "The code that was read is not valid."


class RefusedCodeError(RemoteAirgapError):
    """What was read is well-formed, and not taken all the same."""

    code = "airgap-refused"
    hint = "This QR code is not taken here."


class UrTextError(RemoteAirgapError):
    """The text does not have the form of a UR."""

    code = "ur-text"
    hint = "This QR code is not of the kind that is read here."


class LegacyUrError(UrTextError):
    """The text is a UR of version 1."""

    code = "ur-legacy"
    hint = "This QR code uses an old format. Choose UR 2 in the other wallet."


class LegacyUrPartError(RemoteAirgapError):
    """A UR of version 1 is malformed, or its checksum or digest does not match."""

    code = "ur-legacy-part"
    hint = "A QR code was damaged on the way."


class BbqrError(RemoteAirgapError):
    """A BBQr symbol is malformed, or the message it completes is."""

    code = "bbqr"
    hint = "This BBQr code is malformed, or was damaged on the way."


class PieceError(RemoteAirgapError):
    """A numbered piece (`p1of3 …`) is malformed."""

    code = "piece"
    hint = "This QR code is not of the kind that is read here."


class Base43Error(RemoteAirgapError):
    """The text is not base43."""

    code = "base43"
    hint = "This QR code is not of the kind that is read here."


class SeedQrError(RemoteAirgapError):
    """The code does not hold a seed."""

    code = "seedqr"
    hint = "This QR code holds no seed of 12 or 24 words."


class BytewordsError(RemoteAirgapError):
    """A word is unknown, the text is too short, or the checksum does not match."""

    code = "ur-bytewords"
    hint = "A QR code was damaged on the way."


class CborError(RemoteAirgapError):
    """The CBOR is not one well-formed item of definite length, or too deep or too long."""

    code = "ur-cbor"
    hint = "The message in the QR code is malformed."


class UrPartError(RemoteAirgapError):
    """The numbers of a part contradict each other."""

    code = "ur-part"
    hint = "A QR code of this series is malformed."


class UrLimitError(RefusedCodeError):
    """The message announced is larger than what is read from codes."""

    code = "ur-limit"
    hint = "This message is too large to be read from QR codes. Use a file instead."


class UnexpectedUrTypeError(RefusedCodeError):
    """The type of the UR is not one of those asked for."""

    code = "ur-unexpected-type"
    hint = "This QR code holds something other than what is needed here."


class OtherMessageError(RemoteAirgapError):
    """The frame belongs to another message than the one being read."""

    code = "ur-other-message"
    hint = "This QR code belongs to another message."


class CorruptSetError(RemoteAirgapError):
    """The parts collected contradict each other; all of them were dropped."""

    code = "ur-corrupt"
    hint = "The QR codes that were read do not belong together. Reading starts over."


class UrPayloadError(RemoteAirgapError):
    """The message is not of the kind its type promises."""

    code = "ur-payload"
    hint = "The message in the QR code is not what it says it is."


class PrivateKeyInUrError(UrPayloadError):
    """A private key stands where a public one is wanted."""

    code = "ur-private-key"
    hint = "This QR code holds a private key. Never show it to anything but your signing device."


class NotAPsbtError(RemoteAirgapError):
    """The message is complete, and is no PSBT."""

    code = "not-a-psbt"
    hint = "This QR code holds no PSBT."


class NotTextError(RemoteAirgapError):
    """The message is complete, and is no text."""

    code = "not-text"
    hint = "This QR code holds no text."


class QrError(RemoteAirgapError):
    """A picture cannot be decoded."""

    code = "picture-unreadable"
    hint = "The picture cannot be read. Use a PNG, JPEG or GIF file."


class PictureTooLargeError(QrError):
    """A picture has more bytes or pixels than are looked at."""

    code = "picture-too-large"
    hint = "The picture is too large."


class ArchiveError(RemoteAirgapError):
    """A file is no 7-Zip archive, is damaged, or uses what is not read here."""

    code = "archive-unreadable"
    hint = "The file is no backup that can be read. It may be damaged."


class ArchiveCodeError(RemoteAirgapError):
    """The archive does not open with this backup code."""

    code = "archive-code"
    hint = "The backup does not open with this code. Check the digits."


class FirmwareFileError(RemoteAirgapError):
    """A file is no firmware image of the reference device's form, or nobody approved signed it."""

    code = "firmware-file"
    hint = "This is no firmware for the device, or it is not signed by its makers."


class ChallengeRefusedError(RemoteAirgapError):
    """A supply-chain challenge is malformed, or the server did not sign it; it is not answered."""

    code = "supply-chain-challenge"
    hint = "This is no question of the server that checks devices."
