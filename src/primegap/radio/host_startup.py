"""The host driver's cold start: from a reset chip to a checked application (radio.md section 12).

A generator that yields requests and is sent answers; the scheduler owns pipe and time. A chip that
refuses or talks nonsense ends it with an error, and whoever supervises the chip starts it anew. A
chip that cannot prove that it is ours is never started: it stays in its bootloader, silent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator
from typing import TYPE_CHECKING, Final, TypeVar

from primegap.cosign import parse_header_untrusted
from primegap.quantumlink.secret import SecretBytes
from primegap.radio.chip_memory import (
    HEADER_BYTES,
    MAGIC,
    SECRET_BYTES,
    UNSEALED_RESULT,
    challenge_result,
)
from primegap.radio.crc32c import crc32c
from primegap.radio.errors import ChipNotTrustedError, ChipUpdateError, UnexpectedAnswerError
from primegap.radio.messages import (
    MAX_BLOCK_BYTES,
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
    Message,
    Plain,
    SealResult,
    State,
    Trust,
    WriteFirmwareBlock,
)
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.cosign import Header

UPDATE_ATTEMPTS: Final = 3
"""Updates tried in one start. A block goes where the one before ended, so a failed block spoils the
image and is not repeated alone, as section 9.4 tells of the reference: the update begins again."""
MAX_REFUSED_IMAGES: Final = 3
"Starts in a row whose fresh image was refused before no further one is written: flash wears out."
BOOT_POLLS: Final = 10
"Times the state is asked until the application runs."
NONCE_BYTES: Final = 8

M = TypeVar("M", bound=Message)
Steps = Generator[AnyMessage, AnyMessage, None]


class ChipBond(NeverSerialised):
    """What a host keeps about its chip, over the lives of both.

    Args:
        secret: 32 bytes that only this host and its chip know.
        sent: whether a chip was given it. Only ever one is: another chip is not trusted.
        on_sent: called when one was; whoever made the bond remembers it for ever.
    """

    def __init__(
        self, secret: bytes, *, sent: bool, on_sent: Callable[[], None] = lambda: None
    ) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"a challenge secret has {SECRET_BYTES} bytes")
        self._secret = SecretBytes(secret)
        self._sent = sent
        self._on_sent = on_sent
        self.refused_images = 0
        "Starts in a row in which the chip refused an image that was there or just written."

    @property
    def sent(self) -> bool:
        """Whether a chip was given the secret."""
        return self._sent

    def words(self) -> tuple[int, ...]:
        """Return the secret as ChallengeSet carries it."""
        secret = self._secret.reveal()
        return tuple(int.from_bytes(secret[at : at + 4], "little") for at in range(0, 32, 4))

    def forget_chip(self) -> None:
        """Let the next chip have the secret: a person said that it is ours.

        That alone makes no chip trusted. One that was given another secret keeps it for ever and
        goes on failing the challenge.
        """
        self._sent = False
        self.refused_images = 0

    def mark_sent(self) -> None:
        """Remember that a chip has the secret."""
        self._sent = True
        self._on_sent()

    def check(self, nonce: int, result: bytes, *, developer: bool = False) -> None:
        """Check a chip's answer to a challenge.

        Args:
            nonce: of the challenge.
            result: the answer.
            developer: the host itself runs developer firmware on the chip, which destroyed the
                secret; then the answers of a wiped chip count as well.

        Raises:
            ChipNotTrustedError: the chip does not know the secret.
        """
        expected = [challenge_result(self._secret.reveal(), nonce)]
        if developer:
            expected += [UNSEALED_RESULT, challenge_result(bytes(SECRET_BYTES), nonce)]
        if not any([hmac.compare_digest(result, one) for one in expected]):  # noqa: C419 - all of them, for even time
            raise ChipNotTrustedError("the chip failed the challenge")


def needed_trust(image: bytes) -> Trust:
    """Return what an image of ours needs to be started: Full if two keys signed it."""
    header = parse_header_untrusted(image, magic=MAGIC, header_bytes=HEADER_BYTES)
    return Trust.FULL if all(any(key) for key in header.keys) else Trust.DEVELOPER


def cold_start(bond: ChipBond, image: bytes, *, nonce: int) -> Steps:
    """Bring a chip from its bootloader into its application, checked.

    Args:
        bond: changed as the start goes on.
        image: header and application that the chip is to run.
        nonce: 64 random bits.

    Raises:
        ChipNotTrustedError: the chip failed the challenge; it was not started.
        ChipUpdateError: the chip does not take or not start the image.
        UnexpectedAnswerError: it answered something else.
    """
    header = parse_header_untrusted(image, magic=MAGIC, header_bytes=HEADER_BYTES)
    if _expect(AckState, (yield Plain.GET_STATE)).state is not State.FIRMWARE_UPGRADE:
        raise UnexpectedAnswerError("the chip did not start in its bootloader")
    _expect(AckBootloaderVersion, (yield Plain.GET_BOOTLOADER_VERSION))
    present = yield Plain.GET_IMAGE_VERSION
    if bond.refused_images >= MAX_REFUSED_IMAGES:
        raise ChipUpdateError("the chip has refused its image too often")
    if bond.refused_images or not _is_current(present, header):
        yield from _update(image)
    if not bond.sent:
        answer = _expect(AckChallengeSet, (yield ChallengeSet(bond.words())))
        if answer.result is SealResult.ERROR:
            raise UnexpectedAnswerError("the chip did not take its secret")
        bond.mark_sent()
    trust = needed_trust(image)
    proof = _expect(ChallengeResult, (yield ChallengeRequest(nonce)))
    bond.check(nonce, proof.result, developer=trust is Trust.DEVELOPER)
    started = yield BootFirmware(trust)
    digest = hashlib.sha256(image[HEADER_BYTES:]).digest()
    if started != AckVerifyFirmware(accepted=True, digest=digest):
        bond.refused_images += 1  # the next start writes the image anew
        raise ChipUpdateError("the chip did not start its image")
    bond.refused_images = 0
    for _ in range(BOOT_POLLS):
        state = _expect(AckState, (yield Plain.GET_STATE)).state
        if state is State.DISABLED:
            return
    raise UnexpectedAnswerError("the application does not run")


def _is_current(answer: AnyMessage, header: Header) -> bool:
    if answer is Plain.NO_COSIGN_HEADER:
        return False
    # A version that differs is replaced, newer or older: the chip knows no order of versions.
    return _expect(AckImageVersion, answer).version == header.version


def _update(image: bytes) -> Steps:
    for _ in range(UPDATE_ATTEMPTS):
        if (yield Plain.ERASE_FIRMWARE) is not Plain.ACK_ERASE_FIRMWARE:
            continue
        for index, start in enumerate(range(0, len(image), MAX_BLOCK_BYTES)):
            block = image[start : start + MAX_BLOCK_BYTES]
            answer = yield WriteFirmwareBlock(index, block)
            if answer != AckWithIdxCrc(index, crc32c(block)):
                break
        else:
            return
    raise ChipUpdateError("the chip did not take its image")


def _expect(kind: type[M], answer: AnyMessage) -> M:
    if not isinstance(answer, kind):
        raise UnexpectedAnswerError("answer does not fit")
    return answer
