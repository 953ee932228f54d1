"""BTP: the examples and limits of the specification that the vectors do not spell out."""

from __future__ import annotations

from random import Random

import pytest

from primegap import btp
from primegap.btp import (
    BtpVersion,
    Chunker,
    ChunkTooSmallError,
    Dechunker,
    RecordSizeError,
    RemoteBtpError,
    StaleSequenceError,
    UnsupportedVersionError,
    packet_version,
)


@pytest.mark.scenario("btp", 8)
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


@pytest.mark.scenario("btp", 6)
def test_a_record_of_whole_packets_has_no_extra_packet() -> None:
    assert len(Chunker().chunk(bytes(2 * btp.PAYLOAD_BYTES))) == 2


@pytest.mark.scenario("btp", 1)
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


@pytest.mark.scenario("btp", 2, 7)
def test_a_record_of_66_packets_in_reverse_order() -> None:
    record = bytes(i % 256 for i in range(65 * btp.PAYLOAD_BYTES + 17))
    packets = Chunker().chunk(record)
    assert len(packets) == 66
    receiver = Dechunker()
    out = [receiver.receive(packet, now_s=0.0) for packet in reversed(packets)]
    assert out == [None] * 65 + [record]


@pytest.mark.scenario("btp", 3)
def test_records_on_both_sides_of_the_wrap_interleave() -> None:
    chunker = Chunker(65_535)
    old, new = bytes(300), b"n" * 300
    first, last = chunker.chunk(old), chunker.chunk(new)
    receiver = Dechunker()
    steps = [first[0], first[0], last[1], first[1], last[0]]
    assert [receiver.receive(one, now_s=0.0) for one in steps] == [None, None, None, old, new]


@pytest.mark.scenario("btp", 4)
def test_a_sender_that_started_over_is_heard_after_the_time_out() -> None:
    receiver = Dechunker(0.010)
    for sequence in (20_000, 20_001):
        receiver.receive(Chunker(sequence).chunk(bytes(300))[0], now_s=0.0)
    (packet,) = Chunker(0).chunk(b"again")
    with pytest.raises(StaleSequenceError):
        receiver.receive(packet, now_s=0.009)
    assert receiver.receive(packet, now_s=0.010) == b"again"


@pytest.mark.scenario("btp", 5)
def test_a_packet_cut_by_one_byte_is_too_small() -> None:
    first, second = Chunker().chunk(bytes(300))
    receiver = Dechunker()
    for packet, cut in ((first, -1), (second, -1 - (btp.PACKET_BYTES - 8 - 64))):
        with pytest.raises(ChunkTooSmallError):
            receiver.receive(packet[:cut], now_s=0.0)


@pytest.mark.scenario("btp", 11)
def test_a_record_between_two_open_ones_is_stale_and_a_newer_one_takes_a_place() -> None:
    receiver = Dechunker()
    packets = {number: Chunker(number).chunk(bytes(300)) for number in (10, 15, 20, 21)}
    receiver.receive(packets[10][0], now_s=0.0)
    receiver.receive(packets[20][0], now_s=0.0)
    with pytest.raises(StaleSequenceError):
        receiver.receive(packets[15][0], now_s=0.0)
    receiver.receive(packets[21][0], now_s=0.0)
    with pytest.raises(StaleSequenceError):
        receiver.receive(packets[10][1], now_s=0.0)
    assert receiver.receive(packets[20][1], now_s=0.0) == bytes(300)
    assert receiver.receive(packets[21][1], now_s=0.0) == bytes(300)


@pytest.mark.scenario("btp", 13)
def test_ten_thousand_random_packets() -> None:
    chance = Random(13)
    receiver, refused = Dechunker(), 0
    for number in range(10_000):
        packet = bytearray(chance.randbytes(chance.choice((3, 8, 100, 244))))
        if len(packet) >= 8 and chance.random() < 0.9:
            packet[2], packet[3], packet[6], packet[7] = chance.randrange(4), 0, 0, 0xB2
        try:
            receiver.receive(bytes(packet), now_s=number / 1000)
        except RemoteBtpError:
            refused += 1
        assert receiver.open_records <= btp.MAX_OPEN_RECORDS
    assert 0 < refused < 10_000


@pytest.mark.scenario("btp", 1, 16)
def test_packets_of_both_versions_on_one_link_are_told_apart() -> None:
    packets = Chunker(3).chunk(bytes(700))
    old = [bytes(7) + b"\x00" + bytes(236), bytes(7) + b"\x00" + bytes(5)]
    receiver = Dechunker()
    mixed = [old[0], packets[0], packets[1], old[1], packets[2]]
    assert [packet_version(packet) for packet in mixed] == [
        BtpVersion.V1,
        BtpVersion.V2,
        BtpVersion.V2,
        BtpVersion.V1,
        BtpVersion.V2,
    ]
    out = [
        receiver.receive(packet, now_s=0.0)
        for packet in mixed
        if packet_version(packet) is BtpVersion.V2
    ]
    assert out == [None, None, bytes(700)]


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
