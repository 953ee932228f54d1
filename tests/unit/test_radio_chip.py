"""The chip's application: the scenarios of section 15 that need no air."""

from __future__ import annotations

import pytest

from primegap.radio import nus
from primegap.radio.chip import (
    Advertising,
    ChipAction,
    ChipApplication,
    ChipIdentity,
    Notify,
)
from primegap.radio.messages import (
    ALL_CHANNELS_OFF,
    NO_RSSI,
    AckBtAddress,
    AckDeviceId,
    AckFirmwareVersion,
    AckState,
    AnyMessage,
    BootFirmware,
    ChallengeRequest,
    ChallengeResult,
    DisableChannels,
    Echo,
    EchoResponse,
    InappropriateMessage,
    Link,
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
    encode_message,
    parse_message_untrusted,
)

IDENTITY = ChipIdentity(bytes.fromhex("1122334455667788"), bytes.fromhex("c0ffee123456"))
SENT = SendDataResponse(SendResult.SENT)
FULL = SendDataResponse(SendResult.BUFFER_FULL)


def ask(chip: ChipApplication, request: AnyMessage) -> AnyMessage:
    answer = chip.receive_request(encode_message(request))
    assert answer is not None
    return parse_message_untrusted(answer)


def advertising(chip: ChipApplication) -> Advertising | None:
    return chip.advertising


def line_low(chip: ChipApplication) -> bool:
    return chip.line_low


@pytest.fixture
def chip() -> ChipApplication:
    return ChipApplication(IDENTITY)


@pytest.fixture
def linked(chip: ChipApplication) -> ChipApplication:
    """A chip with a phone that takes notifications."""
    ask(chip, Plain.ENABLE)
    chip.connected()
    chip.notifications_switched(True)
    return chip


def test_it_starts_dark_and_silent(chip: ChipApplication) -> None:
    assert ask(chip, Plain.GET_STATE) == AckState(State.DISABLED)
    assert ask(chip, Plain.GET_STATUS) == Status((Link.DISABLED, NO_RSSI), queue_overflow=False)
    assert advertising(chip) is None
    assert not line_low(chip)


def test_enable_and_disable(chip: ChipApplication) -> None:
    assert ask(chip, Plain.ENABLE) is Plain.ACK_ENABLE
    assert ask(chip, Plain.GET_STATE) == AckState(State.ENABLED)
    assert advertising(chip) == Advertising("Passport Prime", TxPower.ZERO, 0)
    assert ask(chip, Plain.ENABLE) is Plain.ACK_ENABLE
    chip.connected()
    assert advertising(chip) is None
    assert ask(chip, Plain.DISABLE) is Plain.ACK_DISABLE
    assert chip.take_actions() == [ChipAction.DISCONNECT]
    assert ask(chip, Plain.GET_STATUS) == Status((Link.DISABLED, NO_RSSI), queue_overflow=False)
    chip.disconnected()
    assert advertising(chip) is None


def test_a_connection_that_slips_in_while_switching_off_is_closed(chip: ChipApplication) -> None:
    ask(chip, Plain.ENABLE)
    ask(chip, Plain.DISABLE)
    chip.connected()
    assert chip.take_actions() == [ChipAction.DISCONNECT]


@pytest.mark.scenario("radio", 8)
def test_a_seventeenth_packet_is_dropped_and_counted_once(linked: ChipApplication) -> None:
    for number in range(17):
        assert linked.inbound_full is (number == 16)
        linked.write_received(bytes([number]))
        assert line_low(linked)
    status = ask(linked, Plain.GET_STATUS)
    assert status == Status((Link.CONNECTED, NO_RSSI), queue_overflow=True)
    status = ask(linked, Plain.GET_STATUS)
    assert status == Status((Link.CONNECTED, NO_RSSI), queue_overflow=False)
    for number in range(16):
        assert ask(linked, Plain.GET_RECEIVED_DATA) == ReceivedData(bytes([number]))
        assert line_low(linked)
    assert ask(linked, Plain.GET_RECEIVED_DATA) is Plain.NO_RECEIVED_DATA
    assert not line_low(linked)


def test_packets_of_an_old_connection_stay_readable(linked: ChipApplication) -> None:
    linked.write_received(b"old")
    linked.disconnected()
    assert advertising(linked) is not None
    linked.connected()
    assert ask(linked, Plain.GET_RECEIVED_DATA) == ReceivedData(b"old")


@pytest.mark.scenario("radio", 9)
def test_three_notifications_then_full_until_one_has_left(linked: ChipApplication) -> None:
    answers = [ask(linked, SendData(bytes([number]))) for number in range(4)]
    assert answers == [SENT, SENT, SENT, FULL]
    assert linked.take_actions() == [Notify(b"\x00"), Notify(b"\x01"), Notify(b"\x02")]
    linked.notification_released()
    assert ask(linked, SendData(b"again")) == SENT
    assert ask(linked, SendData(b"again")) == FULL


@pytest.mark.scenario("radio", 9)
def test_nothing_is_sent_without_connection_or_notifications(chip: ChipApplication) -> None:
    assert ask(chip, SendData(b"x")) == FULL
    ask(chip, Plain.ENABLE)
    assert ask(chip, SendData(b"x")) == FULL
    chip.connected()
    assert ask(chip, SendData(b"x")) == FULL
    chip.notifications_switched(True)
    assert ask(chip, SendData(b"x")) == SENT
    chip.notifications_switched(False)
    assert ask(chip, SendData(b"x")) == FULL
    assert chip.take_actions() == [Notify(b"x")]


def test_a_new_connection_starts_with_an_empty_stack(linked: ChipApplication) -> None:
    for _ in range(3):
        ask(linked, SendData(b"x"))
    linked.disconnected()
    linked.connected()
    linked.notifications_switched(True)
    assert ask(linked, SendData(b"x")) == SENT


@pytest.mark.scenario("radio", 10)
def test_packets_of_244_bytes_pass_and_of_245_do_not(linked: ChipApplication) -> None:
    assert ask(linked, SendData(bytes(244))) == SENT
    answer = linked.receive_request(bytes.fromhex("00 09 f501") + bytes(245))
    assert answer == encode_message(PostcardError(PostcardFault.DESER))


@pytest.mark.scenario("radio", 13)
def test_disconnect_is_always_acknowledged(linked: ChipApplication) -> None:
    assert ask(linked, Plain.DISCONNECT) is Plain.ACK_DISCONNECT
    assert linked.take_actions() == [ChipAction.DISCONNECT]
    linked.disconnected()
    assert ask(linked, Plain.DISCONNECT) is Plain.ACK_DISCONNECT
    assert linked.take_actions() == []


@pytest.mark.scenario("radio", 12)
def test_settings_change_what_is_advertised(chip: ChipApplication) -> None:
    ask(chip, Plain.ENABLE)
    assert ask(chip, SetDeviceName("Passport Prime (12AB)")) is Plain.ACK_SET_DEVICE_NAME
    assert ask(chip, SetTxPower(TxPower.PLUS_4)) is Plain.ACK_TX_POWER
    assert ask(chip, DisableChannels(0x20)) is Plain.ACK_DISABLE_CHANNELS
    wanted = Advertising("Passport Prime (12AB)", TxPower.PLUS_4, 0x20)
    assert advertising(chip) == wanted
    assert ask(chip, DisableChannels(ALL_CHANNELS_OFF)) is Plain.NACK_DISABLE_CHANNELS
    assert advertising(chip) == wanted


def test_values_are_told(chip: ChipApplication) -> None:
    assert ask(chip, Plain.GET_BT_ADDRESS) == AckBtAddress(IDENTITY.address)
    assert ask(chip, Plain.GET_DEVICE_ID) == AckDeviceId(IDENTITY.device_id)
    assert ask(chip, Plain.GET_FIRMWARE_VERSION) == AckFirmwareVersion("4.0.0")
    assert ask(chip, Echo(b"abc")) == EchoResponse(b"abc")


def test_a_chip_without_a_secret_answers_challenges_with_ones(chip: ChipApplication) -> None:
    assert ask(chip, ChallengeRequest(7)) == ChallengeResult(b"\xff" * 32)


def test_messages_for_others_are_inappropriate(chip: ChipApplication) -> None:
    wrong = InappropriateMessage(State.DISABLED)
    assert ask(chip, BootFirmware(Trust.FULL)) == wrong
    assert ask(chip, Plain.ERASE_FIRMWARE) == wrong
    assert ask(chip, Plain.ACK_ENABLE) == wrong
    ask(chip, Plain.ENABLE)
    assert ask(chip, ReceivedData(b"x")) == InappropriateMessage(State.ENABLED)


@pytest.mark.scenario("radio", 14)
def test_reset_has_no_answer(chip: ChipApplication) -> None:
    for prepare in (Plain.DISABLE, Plain.ENABLE):  # a bootloader is reset in its own tests
        ask(chip, prepare)
        chip.take_actions()
        assert chip.receive_request(encode_message(Plain.RESET)) is None
        assert chip.take_actions() == [ChipAction.RESET]


def test_signal_strength_is_smoothed(linked: ChipApplication) -> None:
    seen = []
    for sample_dbm in (-40, -80, -80, -40):
        linked.rssi_sampled(sample_dbm)
        status = ask(linked, Plain.GET_STATUS)
        assert isinstance(status, Status)
        seen.append(status.connection[1])
    assert seen == [-40, -45, -49, -47]


def test_advertising_bytes_of_section_8_2() -> None:
    assert nus.advertising_data() == bytes.fromhex(
        "020106 1107 9ecadc240ee5a9e093f3a3b50100406e 0908 50617373706f7274"
    )
    assert nus.scan_response("Passport Prime") == bytes.fromhex("0f09 50617373706f7274205072696d65")
    assert nus.scan_response("Passport Prime (12AB)") == bytes.fromhex(
        "1609 50617373706f7274205072696d6520283132414229"
    )


@pytest.mark.parametrize("name", ["x" * 30, "x" * 31, "ü" * 15])
def test_a_name_that_does_not_fit_is_shortened(name: str) -> None:
    response = nus.scan_response(name)
    assert len(response) <= nus.MAX_SCAN_RESPONSE_BYTES
    assert response[0] == len(response) - 1
    assert response[1] == 0x08
    assert name.startswith(response[2:].decode())
