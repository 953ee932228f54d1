"""The bootloader: updates, signatures, trust and the challenge (radio.md sections 9, 10 and 15)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from primegap.cosign import (
    ImageError,
    Signers,
    parse_header_untrusted,
    sign_image,
    verify_image_untrusted,
)
from primegap.radio.chip import Chip, ChipAction, ChipIdentity
from primegap.radio.chip_memory import (
    EMPTY,
    HEADER_BYTES,
    IMAGE_BYTES,
    MAGIC,
    MEMORY_BYTES,
    SEALED,
    UNSEALED_RESULT,
    WIPED,
    ChipMemory,
    challenge_result,
)
from primegap.radio.crc32c import crc32c
from primegap.radio.firmware import (
    TEST_SIGNERS,
    build_image,
    bundled_image,
    open_signers,
    unsigned_image,
)
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
    PostcardError,
    PostcardFault,
    ReceivedData,
    SealResult,
    SendData,
    State,
    Trust,
    WriteFirmwareBlock,
    encode_message,
    parse_message_untrusted,
)

IDENTITY = ChipIdentity(bytes(8), bytes.fromhex("c0ffee123456"))
SECRET = bytes(range(32))
NONCE = 0x0123456789ABCDEF
BLOCKS = 188
STRANGER = ec.derive_private_key(7, ec.SECP256K1())


def words(secret: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(secret[at : at + 4], "little") for at in range(0, 32, 4))


def ask(chip: Chip, request: AnyMessage) -> AnyMessage:
    answer = chip.receive_request(encode_message(request))
    assert answer is not None
    return parse_message_untrusted(answer)


def start(memory: ChipMemory, *, as_4_0_0: bool = False) -> Chip:
    return Chip(IDENTITY, memory, known_keys=TEST_SIGNERS, as_4_0_0=as_4_0_0)


def memory_with(image: bytes) -> ChipMemory:
    memory = ChipMemory.erased()
    assert memory.write_image(0, image)
    return memory


def signed(*signers: ec.EllipticCurvePrivateKey | None) -> bytes:
    header, binary = unsigned_image()
    return sign_image(header, binary, signers)


FIRST, SECOND = open_signers()


def test_the_bundled_image_is_what_the_open_signers_sign() -> None:
    assert bundled_image() == build_image()
    assert len(bundled_image()) == IMAGE_BYTES == BLOCKS * 256
    signers = verify_image_untrusted(
        bundled_image(), known_keys=TEST_SIGNERS, magic=MAGIC, header_bytes=HEADER_BYTES
    )
    assert signers is Signers.FULL


@pytest.mark.scenario("radio", 3)
def test_a_fresh_chip_waits_in_the_bootloader() -> None:
    chip = start(ChipMemory.erased())
    assert ask(chip, Plain.GET_STATE) == AckState(State.FIRMWARE_UPGRADE)
    assert ask(chip, Plain.GET_BOOTLOADER_VERSION) == AckBootloaderVersion("3.0.3")
    assert ask(chip, Plain.GET_IMAGE_VERSION) is Plain.NO_COSIGN_HEADER
    assert ask(chip, BootFirmware(Trust.FULL)) is Plain.NO_COSIGN_HEADER
    for request in (Plain.ENABLE, SendData(b"x"), Plain.GET_FIRMWARE_VERSION):
        assert ask(chip, request) == InappropriateMessage(State.FIRMWARE_UPGRADE)
    for answer in (Plain.ACK_ENABLE, ReceivedData(b"x"), AckState(State.ENABLED)):
        assert chip.receive_request(encode_message(answer)) is None
    for junk in (b"", b"\x09", b"\x01\x13", b"\x01\x12\x02"):
        assert chip.receive_request(junk) == encode_message(PostcardError(PostcardFault.DESER))
    assert chip.receive_request(encode_message(Plain.RESET)) is None
    assert chip.application.take_actions() == [ChipAction.RESET]


@pytest.mark.scenario("radio", 3)
def test_an_update_and_a_start() -> None:
    memory = memory_with(build_image("3.9.9"))
    chip = start(memory)
    assert ask(chip, Plain.GET_IMAGE_VERSION) == AckImageVersion("3.9.9")
    assert ask(chip, Plain.ERASE_FIRMWARE) is Plain.ACK_ERASE_FIRMWARE
    image = bundled_image()
    for index in range(BLOCKS):
        block = image[256 * index :][:256]
        answer = ask(chip, WriteFirmwareBlock(index, block))
        assert answer == AckWithIdxCrc(index, crc32c(block))
    assert ask(chip, WriteFirmwareBlock(188, bytes(256))) == FirmwareOutOfBounds(188)
    assert ask(chip, Plain.GET_IMAGE_VERSION) == AckImageVersion("4.0.0")
    digest = hashlib.sha256(image[HEADER_BYTES:]).digest()
    assert ask(chip, BootFirmware(Trust.FULL)) == AckVerifyFirmware(True, digest)
    assert ask(chip, Plain.GET_STATE) == AckState(State.DISABLED)
    wrong = InappropriateMessage(State.DISABLED)
    assert ask(chip, Plain.ERASE_FIRMWARE) == wrong
    assert ask(start(memory), Plain.GET_STATE) == AckState(State.FIRMWARE_UPGRADE)


def test_blocks_go_to_the_cursor_and_flash_is_not_written_twice() -> None:
    memory = ChipMemory.erased()
    chip = start(memory)
    assert ask(chip, WriteFirmwareBlock(99, b"\xf0" * 8)) == AckWithIdxCrc(99, crc32c(b"\xf0" * 8))
    assert ask(chip, WriteFirmwareBlock(0, bytes(6))) == NackWithIdx(0)
    assert memory.image.startswith(b"\xf0" * 8 + b"\xff")
    again = start(memory)  # the cursor is lost, the flash is not
    ask(again, WriteFirmwareBlock(0, b"\x3c" * 8))
    assert memory.image.startswith(b"\x30" * 8 + b"\xff")


def test_an_erase_keeps_the_end_of_the_radio_stack() -> None:
    buffer = bytearray(b"\x5a" * MEMORY_BYTES)
    memory = ChipMemory(memoryview(buffer))
    memory.erase_image()
    assert buffer[:0x400] == b"\x5a" * 0x400
    assert memory.image == b"\xff" * IMAGE_BYTES
    assert buffer[-36:] == b"\x5a" * 36


@pytest.mark.scenario("radio", 4)
def test_one_known_signature_needs_developer_and_costs_the_secret() -> None:
    memory = memory_with(signed(FIRST))
    assert ask(start(memory), ChallengeSet(words(SECRET))) == AckChallengeSet(SealResult.SEALED)
    answer = ask(start(memory), BootFirmware(Trust.FULL))
    assert isinstance(answer, AckVerifyFirmware)
    assert not answer.accepted
    assert memory.seal == SEALED
    chip = start(memory)
    answer = ask(chip, BootFirmware(Trust.DEVELOPER))
    assert isinstance(answer, AckVerifyFirmware)
    assert answer.accepted
    assert memory.seal == WIPED
    assert ask(chip, ChallengeRequest(NONCE)) == ChallengeResult(UNSEALED_RESULT)
    again = start(memory, as_4_0_0=True)
    assert ask(again, ChallengeSet(words(SECRET))) == AckChallengeSet(SealResult.NOT_ALLOWED)
    zeros = challenge_result(bytes(32), NONCE)
    assert ask(again, ChallengeRequest(NONCE)) == ChallengeResult(zeros)


def test_developer_wipes_even_under_a_full_image_and_leaves_an_empty_chip_alone() -> None:
    memory = memory_with(bundled_image())
    ask(start(memory), BootFirmware(Trust.DEVELOPER))
    assert memory.seal == EMPTY
    ask(start(memory), ChallengeSet(words(SECRET)))
    ask(start(memory), BootFirmware(Trust.DEVELOPER))
    assert memory.seal == WIPED


@pytest.mark.scenario("radio", 5)
@pytest.mark.guarantee("A-2", tried="one key twice, known key alone in slot 2, slots swapped")
@pytest.mark.parametrize(
    ("image", "signers"),
    [
        (signed(FIRST, SECOND), Signers.FULL),
        (signed(SECOND, FIRST), Signers.FULL),
        (signed(FIRST, None), Signers.PARTIAL),
        (signed(None, STRANGER), Signers.THIRD_PARTY),
    ],
)
def test_who_signed(image: bytes, signers: Signers) -> None:
    assert (
        verify_image_untrusted(
            image, known_keys=TEST_SIGNERS, magic=MAGIC, header_bytes=HEADER_BYTES
        )
        is signers
    )


def flipped(image: bytes, at: int) -> bytes:
    return image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]


def high_s(image: bytes) -> bytes:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = order - int.from_bytes(image[111:143])
    return image[:111] + s.to_bytes(32) + image[143:]


@pytest.mark.scenario("radio", 5)
@pytest.mark.guarantee("A-1", tried="every malformed header")
@pytest.mark.parametrize(
    "image",
    [
        signed(),
        signed(FIRST, FIRST),
        signed(FIRST, STRANGER),
        signed(STRANGER, FIRST),
        signed(STRANGER),
        signed(None, FIRST),
        flipped(bundled_image(), 4),
        flipped(bundled_image(), 46),
        flipped(bundled_image(), 100),
        flipped(bundled_image(), 239),
        flipped(bundled_image(), 255),
        flipped(bundled_image(), IMAGE_BYTES - 1),
        high_s(bundled_image()),
        bundled_image()[:79] + bytes(64) + bundled_image()[143:],
        bundled_image()[:46] + bytes(33) + bundled_image()[79:],
    ],
)
def test_refused_images(image: bytes) -> None:
    with pytest.raises(ImageError):
        verify_image_untrusted(
            image, known_keys=TEST_SIGNERS, magic=MAGIC, header_bytes=HEADER_BYTES
        )
    memory = memory_with(image)
    for trust in Trust:
        chip = start(memory)
        answer = ask(chip, BootFirmware(trust))
        if isinstance(answer, AckVerifyFirmware):
            assert not answer.accepted
        else:
            assert answer is Plain.NO_COSIGN_HEADER
        assert ask(chip, Plain.GET_STATE) == AckState(State.FIRMWARE_UPGRADE)


@pytest.mark.scenario("radio", 5)
def test_a_size_that_is_not_the_whole_area_is_no_header() -> None:
    header, binary = unsigned_image()
    short = sign_image(replace(header, size_bytes=47_871), binary[:-1], open_signers())
    memory = memory_with(short + b"\xff")
    assert ask(start(memory), BootFirmware(Trust.DEVELOPER)) is Plain.NO_COSIGN_HEADER
    assert ask(start(memory), Plain.GET_IMAGE_VERSION) is Plain.NO_COSIGN_HEADER


@pytest.mark.parametrize(
    "text", [b"4.0.0\0x".ljust(20, b"\0"), b"\xff".ljust(20, b"\0")], ids=["tail", "utf-8"]
)
def test_broken_text_is_no_header(text: bytes) -> None:
    image = bundled_image()
    with pytest.raises(ImageError):
        parse_header_untrusted(
            image[:22] + text + image[42:], magic=MAGIC, header_bytes=HEADER_BYTES
        )


@pytest.mark.scenario("radio", 6)
@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_secrets_that_are_none(secret: bytes) -> None:
    memory = ChipMemory.erased()
    assert ask(start(memory), ChallengeSet(words(secret))) == AckChallengeSet(SealResult.ERROR)
    assert memory.seal == EMPTY


@pytest.mark.scenario("radio", 6, 7)
def test_the_challenge_in_bootloader_and_application() -> None:
    memory = memory_with(bundled_image())
    chip = start(memory)
    assert ask(chip, ChallengeRequest(NONCE)) == ChallengeResult(UNSEALED_RESULT)
    legacy = ask(start(memory, as_4_0_0=True), ChallengeRequest(NONCE))
    assert legacy == ChallengeResult(challenge_result(b"\xff" * 32, NONCE))
    assert ask(chip, ChallengeSet(words(SECRET))) == AckChallengeSet(SealResult.SEALED)
    assert ask(chip, ChallengeSet(words(SECRET))) == AckChallengeSet(SealResult.NOT_ALLOWED)
    proof = ChallengeResult(challenge_result(SECRET, NONCE))
    assert ask(chip, ChallengeRequest(NONCE)) == proof
    ask(chip, BootFirmware(Trust.FULL))
    assert ask(chip, Plain.GET_STATE) == AckState(State.DISABLED)
    assert ask(chip, ChallengeRequest(NONCE)) == proof


def test_a_memory_of_another_size_or_read_only_is_refused() -> None:
    for buffer in (memoryview(bytearray(7)), memoryview(bytes(MEMORY_BYTES))):
        with pytest.raises(ValueError, match="writable buffer"):
            ChipMemory(buffer)
