"""The chip's bootloader, without pipe and process (radio.md sections 6.2, 9 and 10).

It runs after every reset and waits for commands; it never starts the application by itself. What it
changes lies in a `ChipMemory`, which outlives it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from primegap.cosign import (
    Header,
    ImageError,
    Signers,
    parse_header_untrusted,
    verify_image_untrusted,
)
from primegap.radio.chip_memory import HEADER_BYTES, IMAGE_BYTES, MAGIC
from primegap.radio.crc32c import crc32c
from primegap.radio.messages import (
    AckBootloaderVersion,
    AckChallengeSet,
    AckImageVersion,
    AckState,
    AckVerifyFirmware,
    AckWithIdxCrc,
    AnyMessage,
    BootFirmware,
    ChallengeRequest,
    ChallengeResult,
    ChallengeSet,
    FirmwareOutOfBounds,
    InappropriateMessage,
    NackWithIdx,
    Plain,
    State,
    Trust,
    WriteFirmwareBlock,
    is_application_request,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from primegap.radio.chip_memory import ChipMemory

BOOTLOADER_VERSION: Final = "3.0.3"


class Bootloader:
    """State machine of the bootloader for one life of a chip.

    Args:
        memory: what the chip keeps over resets.
        known_keys: compressed public keys of those who may sign firmware.
        as_4_0_0: answer challenges without looking at the seal, as the shipped version.
    """

    def __init__(
        self, memory: ChipMemory, *, known_keys: Collection[bytes], as_4_0_0: bool = False
    ) -> None:
        self._memory = memory
        self._known_keys = known_keys
        self._as_4_0_0 = as_4_0_0
        self._cursor = 0
        self.finished = False
        "The application was started: requests are for it from now on."

    def carry_out(self, request: AnyMessage) -> AnyMessage | None:
        """Carry out one request; None for messages that are ignored silently, and for Reset."""
        match request:
            case Plain.GET_STATE:
                return AckState(State.FIRMWARE_UPGRADE)
            case Plain.GET_BOOTLOADER_VERSION:
                return AckBootloaderVersion(BOOTLOADER_VERSION)
            case Plain.GET_IMAGE_VERSION:
                header = self._header()
                return Plain.NO_COSIGN_HEADER if header is None else AckImageVersion(header.version)
            case Plain.ERASE_FIRMWARE:
                self._memory.erase_image()
                self._cursor = 0
                return Plain.ACK_ERASE_FIRMWARE
            case WriteFirmwareBlock():
                return self._write(request)
            case ChallengeSet():
                secret = b"".join(word.to_bytes(4, "little") for word in request.words)
                return AckChallengeSet(self._memory.set_secret(secret))
            case ChallengeRequest():
                result = self._memory.answer_challenge(request.nonce, as_4_0_0=self._as_4_0_0)
                return ChallengeResult(result)
            case BootFirmware():
                return self._boot(request.trust)
            case _ if is_application_request(request):
                return InappropriateMessage(State.FIRMWARE_UPGRADE)
            case _:
                return None

    def _header(self) -> Header | None:
        try:
            header = parse_header_untrusted(
                self._memory.image, magic=MAGIC, header_bytes=HEADER_BYTES
            )
        except ImageError:
            return None
        return header if header.size_bytes == IMAGE_BYTES - HEADER_BYTES else None

    def _write(self, request: WriteFirmwareBlock) -> AnyMessage:
        # The block's number is only echoed: blocks go where the one before ended.
        if self._cursor >= IMAGE_BYTES:
            return FirmwareOutOfBounds(request.index)
        if not self._memory.write_image(self._cursor, request.block):
            return NackWithIdx(request.index)
        self._cursor += len(request.block)
        return AckWithIdxCrc(request.index, crc32c(request.block))

    def _boot(self, trust: Trust) -> AnyMessage:
        if self._header() is None:
            return Plain.NO_COSIGN_HEADER
        image = self._memory.image
        digest = hashlib.sha256(image[HEADER_BYTES:]).digest()
        try:
            signers = verify_image_untrusted(
                image, known_keys=self._known_keys, magic=MAGIC, header_bytes=HEADER_BYTES
            )
        except ImageError:
            return AckVerifyFirmware(accepted=False, digest=digest)
        if trust is Trust.FULL and signers is not Signers.FULL:
            return AckVerifyFirmware(accepted=False, digest=digest)
        if trust is Trust.DEVELOPER:
            self._memory.wipe_secret()  # whatever the signatures say
        self.finished = True
        return AckVerifyFirmware(accepted=True, digest=digest)
