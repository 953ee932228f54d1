"""BTP: the examples and limits of the specification that the vectors do not spell out."""

from __future__ import annotations

import pytest

from primegap import btp
from primegap.btp import Chunker, Dechunker, RecordSizeError, UnsupportedVersionError


def test_examples_of_section_3_1() -> None:
    (only,) = Chunker().chunk(b"\x01")
    assert only == bytes.fromhex("00000000010000b201") + bytes(235)

    first, second = Chunker(0x1234).chunk(bytes(i % 256 for i in range(300)))
    assert first.startswith(bytes.fromhex("341200002c0100b20001"))
    assert second.startswith(bytes.fromhex("341201002c0100b2eced"))
    assert second.endswith(bytes([43]) + bytes(172))

    packets = Chunker(7).chunk(bytes(btp.MAX_RECORD_BYTES))
    assert len(packets) == 556
    assert packets[-1].startswith(bytes.fromhex("07002b02000002b2"))
    assert {len(packet) for packet in packets} == {btp.PACKET_BYTES}


@pytest.mark.parametrize("size", [0, btp.MAX_RECORD_BYTES + 1])
def test_a_record_outside_the_limits_is_not_sent(size: int) -> None:
    chunker = Chunker(5)
    with pytest.raises(RecordSizeError):
        chunker.chunk(bytes(size))
    assert chunker.next_sequence == 5


def test_a_record_of_whole_packets_has_no_extra_packet() -> None:
    assert len(Chunker().chunk(bytes(2 * btp.PAYLOAD_BYTES))) == 2


def test_a_version_1_packet_reaches_no_slot() -> None:
    receiver = Dechunker()
    packet = bytearray(Chunker().chunk(b"x")[0])
    packet[7] = 0
    with pytest.raises(UnsupportedVersionError) as caught:
        receiver.receive(bytes(packet), now_s=0.0)
    assert caught.value.detail == {"tag": 0}
    assert receiver.open_records == 0


def test_the_time_out_is_reached_exactly_at_its_end() -> None:
    first, second = Chunker(9).chunk(bytes(300))
    for wait_s, completes in ((4.999, True), (5.0, False)):
        receiver = Dechunker()
        assert receiver.receive(first, now_s=100.0) is None
        assert (receiver.receive(second, now_s=100.0 + wait_s) is not None) is completes


def test_clear_forgets_partial_records() -> None:
    receiver = Dechunker()
    first, second = Chunker().chunk(bytes(300))
    receiver.receive(first, now_s=0.0)
    assert receiver.open_records == 1
    receiver.clear()
    assert receiver.open_records == 0
    assert receiver.receive(second, now_s=0.0) is None


def test_errors_carry_stable_codes_and_words_for_people() -> None:
    errors = [
        value
        for value in vars(btp).values()
        if isinstance(value, type) and issubclass(value, btp.BtpError)
    ]
    assert len({error.code for error in errors}) == len(errors)
    assert all(error.hint.endswith(".") for error in errors)
