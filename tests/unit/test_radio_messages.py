"""Messages between host and chip: the byte examples of section 6.3 and the limits."""

from __future__ import annotations

import dataclasses

import pytest

from primegap.radio import errors, messages
from primegap.radio.errors import MessageError, MessageSizeError
from primegap.radio.messages import (
    AckFirmwareVersion,
    AckState,
    AckWithIdxCrc,
    AnyMessage,
    BootFirmware,
    ChallengeRequest,
    ChallengeSet,
    DisableChannels,
    Echo,
    InappropriateMessage,
    Link,
    Message,
    Plain,
    PostcardError,
    PostcardFault,
    ReceivedData,
    SendData,
    SendDataResponse,
    SendResult,
    SetDeviceName,
    SetTxPower,
    State,
    Status,
    Trust,
    TxPower,
    WriteFirmwareBlock,
    encode_message,
    parse_message_untrusted,
)
from primegap.radio.postcard import varint

PACKET = bytes(range(244))
BLOCK = bytes(range(256))
NAME = "Passport Prime (12AB)"

EXAMPLES: list[tuple[AnyMessage, str]] = [
    (Plain.RESET, "02"),
    (Plain.GET_STATE, "03"),
    (AckState(State.FIRMWARE_UPGRADE), "04 02"),
    (ChallengeRequest(0), "05 00"),
    (ChallengeRequest(0x0123456789ABCDEF), "05 ef9bafcdf8acd19101"),
    (PostcardError(PostcardFault.DESER), "07 00"),
    (InappropriateMessage(State.DISABLED), "08 01"),
    (DisableChannels(0x20 | 0x40), "00 00 60"),
    (Status((Link.CONNECTED, -40), queue_overflow=True), "00 08 02 d8 01"),
    (
        Status((Link.WAITING_FOR_CONNECTION, messages.NO_RSSI), queue_overflow=False),
        "00 08 01 00",
    ),
    (SendData(b"hello"), "00 09 05 68656c6c6f"),
    (SendData(PACKET), "00 09 f401" + PACKET.hex()),
    (SendDataResponse(SendResult.SENT), "00 0a 00"),
    (AckFirmwareVersion("v1.2.3"), "00 0f 06 76312e322e33"),
    (SetTxPower(TxPower.PLUS_4), "00 12 08"),
    (SetDeviceName(NAME), "00 18 15 50617373706f7274205072696d6520283132414229"),
    (Echo(b"abc"), "00 1a 03 616263"),
    (WriteFirmwareBlock(0xFFFFFFFF, BLOCK), "01 09 ffffffff0f 8002" + BLOCK.hex()),
    (AckWithIdxCrc(0xFFFFFFFF, 0xFFFFFFFF), "01 08 ffffffff0f ffffffff0f"),
    (BootFirmware(Trust.FULL), "01 12 00"),
    (BootFirmware(Trust.DEVELOPER), "01 12 01"),
]


@pytest.mark.scenario("radio", 1)
@pytest.mark.parametrize(("message", "data"), EXAMPLES, ids=[str(m)[:40] for m, _ in EXAMPLES])
def test_byte_examples_hold_in_both_directions(message: AnyMessage, data: str) -> None:
    assert encode_message(message) == bytes.fromhex(data)
    assert parse_message_untrusted(bytes.fromhex(data)) == message


def test_the_challenge_secret_of_section_10_travels_as_eight_varints() -> None:
    secret = bytes(range(32))
    words = tuple(int.from_bytes(secret[at : at + 4], "little") for at in range(0, 32, 4))
    data = encode_message(ChallengeSet(words))
    assert data.startswith(bytes.fromhex("01 10 80828818 848a9838"))
    assert len(data) == 38
    assert parse_message_untrusted(data) == ChallengeSet(words)


@pytest.mark.scenario("radio", 1)
def test_every_number_that_is_not_listed_is_refused() -> None:
    listed = {0: set(range(28)), 1: set(range(19))}
    filler = bytes(300)
    for top in range(256):
        if top not in {*range(9)}:
            with pytest.raises(MessageError):
                parse_message_untrusted(varint(top) + filler)
    for top, numbers in listed.items():
        for number in range(256):
            data = varint(top) + varint(number) + filler
            if number in numbers:
                parse_message_untrusted(data)
            else:
                with pytest.raises(MessageError):
                    parse_message_untrusted(data)


def test_bytes_after_a_message_are_ignored() -> None:
    assert parse_message_untrusted(bytes.fromhex("00 03 ff ff")) is Plain.ENABLE


@pytest.mark.parametrize(
    "data",
    [
        "",
        "00",
        "00 09 05 6865",  # ends inside a field
        "00 09 f501" + "00" * 245,  # a packet of 245 bytes
        "00 18 20" + "61" * 32,  # a name of 32 bytes
        "00 18 02 c328",  # not UTF-8
        "00 08 01 02",  # truth value 2
        "00 08 03 00",  # link state 3
        "04 04",  # state 4
        "05 ffffffffffffffffff02",  # above 64 bits
        "05 80808080808080808080 01",  # eleven bytes
        "01 08 ffffffff10 00",  # above 32 bits
    ],
)
def test_malformed_bytes_raise_only_the_remote_error(data: str) -> None:
    with pytest.raises(MessageError):
        parse_message_untrusted(bytes.fromhex(data))


def test_numbers_may_be_spelt_longer_than_needed() -> None:
    assert parse_message_untrusted(bytes.fromhex("80 00 83 00")) is Plain.ENABLE


@pytest.mark.parametrize(
    "message",
    [
        SendData(bytes(245)),
        ReceivedData(bytes(245)),
        SetDeviceName("x" * 32),
        ChallengeRequest(1 << 64),
        ChallengeRequest(-1),
        ChallengeSet((1,) * 7),
        DisableChannels(256),
        WriteFirmwareBlock(0, bytes(257)),
        Status((Link.CONNECTED, -129), queue_overflow=False),
    ],
)
def test_values_outside_their_limits_are_not_sent(message: Message) -> None:
    with pytest.raises(MessageSizeError):
        encode_message(message)


def test_payloads_do_not_show_in_text() -> None:
    for message in (SendData(b"payload"), ReceivedData(b"payload"), Echo(b"payload")):
        assert "payload" not in repr(message)
        assert dataclasses.is_dataclass(message)


def test_errors_have_codes_of_their_own_and_hints() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RadioError)
    ]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.hint.endswith(".") for kind in kinds)
