"""Parsers and machines of the radio under hostile bytes and events."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from primegap.radio.chip import (
    INBOUND_PACKETS,
    LINE_HIGH,
    LINE_LOW,
    OUTBOUND_PACKETS,
    Chip,
    ChipApplication,
    ChipIdentity,
    Notify,
)
from primegap.radio.chip_memory import ChipMemory
from primegap.radio.errors import MessageError
from primegap.radio.firmware import TEST_SIGNERS, bundled_image
from primegap.radio.h4 import H4Parser
from primegap.radio.host_scheduler import ChipDied, ChipNotTrusted, HostScheduler
from primegap.radio.host_startup import ChipBond
from primegap.radio.messages import (
    MAX_MESSAGE_BYTES,
    Plain,
    ReceivedData,
    SendData,
    encode_message,
    parse_message_untrusted,
)

likely_messages = st.tuples(st.integers(0, 9), st.integers(0, 28), st.binary(max_size=60)).map(
    lambda parts: bytes(parts[:2]) + parts[2]
)
hci_packets = st.one_of(
    st.tuples(st.just(1), st.binary(min_size=2, max_size=2), st.binary(max_size=255)).map(
        lambda p: bytes([p[0]]) + p[1] + bytes([len(p[2])]) + p[2]
    ),
    st.tuples(st.just(4), st.binary(min_size=1, max_size=1), st.binary(max_size=255)).map(
        lambda p: bytes([p[0]]) + p[1] + bytes([len(p[2])]) + p[2]
    ),
    st.tuples(st.just(2), st.binary(min_size=2, max_size=2), st.binary(max_size=300)).map(
        lambda p: bytes([p[0]]) + p[1] + len(p[2]).to_bytes(2, "little") + p[2]
    ),
)


@given(data=st.binary(max_size=300) | likely_messages)
def test_a_message_parses_or_raises_only_the_remote_error(data: bytes) -> None:
    try:
        message = parse_message_untrusted(data)
    except MessageError:
        return
    assert parse_message_untrusted(encode_message(message)) == message


@given(
    events=st.lists(
        st.sampled_from(["connected", "disconnected", "on", "off", "write", "released"])
        | likely_messages
        | st.binary(max_size=300)
        | st.sampled_from([encode_message(Plain.ENABLE), encode_message(SendData(b"x"))]),
        max_size=80,
    )
)
def test_the_chip_survives_anything_within_its_limits(events: list[str | bytes]) -> None:
    chip = ChipApplication(ChipIdentity(bytes(8), bytes(6)))
    under_way = received = 0
    for event in events:
        match event:
            case bytes():
                answer = chip.receive_request(event)
                if answer is not None:
                    assert len(answer) <= MAX_MESSAGE_BYTES
                    parse_message_untrusted(answer)
            case "connected":
                chip.connected()
                under_way = 0
            case "disconnected":
                chip.disconnected()
                under_way = 0
            case "on" | "off":
                chip.notifications_switched(event == "on")
            case "write":
                chip.write_received(b"packet")
                assert chip.line_low
            case _:
                chip.notification_released()
                under_way = max(0, under_way - 1)
        under_way += sum(isinstance(action, Notify) for action in chip.take_actions())
        assert under_way <= OUTBOUND_PACKETS
    get = encode_message(Plain.GET_RECEIVED_DATA)
    while chip.receive_request(get) != encode_message(Plain.NO_RECEIVED_DATA):
        received += 1
    assert received <= INBOUND_PACKETS
    assert not chip.line_low


@given(
    datagrams=st.lists(
        st.tuples(
            st.binary(max_size=300)
            | likely_messages
            | st.sampled_from([LINE_LOW, LINE_HIGH, encode_message(ReceivedData(b"packet"))]),
            st.floats(0, 2),
        ),
        max_size=60,
    ),
    honest_answers=st.integers(0, 8),
)
def test_the_host_survives_any_chip_or_gives_it_up(
    datagrams: list[tuple[bytes, float]], honest_answers: int
) -> None:
    now_s = 0.0
    memory = ChipMemory.erased()
    memory.write_image(0, bundled_image())
    real = Chip(ChipIdentity(bytes(8), bytes(6)), memory, known_keys=TEST_SIGNERS)
    bond = ChipBond(bytes(range(32)), sent=False)
    scheduler = HostScheduler(bond, bundled_image(), rng=bytes, now_s=now_s)
    for _ in range(honest_answers):  # it turns hostile in its cold start, or when it runs
        for request in scheduler.take_requests():
            answer = real.receive_request(request)
            assert answer is not None
            scheduler.receive(answer, now_s=now_s)
    scheduler.send(b"packet", now_s=now_s)
    dead = False
    for datagram, wait_s in datagrams:
        now_s += wait_s
        events = [
            *scheduler.receive(datagram, now_s=now_s),
            *scheduler.on_timeout(now_s=now_s),
        ]
        assert not (dead and events)
        dead = dead or any(isinstance(event, ChipDied | ChipNotTrusted) for event in events)
        assert len(scheduler.take_requests()) <= 2
        assert (scheduler.next_timeout_s() is None) is dead


@given(packets=st.lists(hci_packets, max_size=8), cuts=st.lists(st.integers(0, 2500), max_size=8))
def test_cuts_in_a_stream_of_hci_packets_do_not_matter(
    packets: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(packets)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parser = H4Parser()
    out = [
        packet
        for start, end in itertools.pairwise(places)
        for packet in parser.feed(stream[start:end])
    ]
    assert out == packets
    assert parser.rest == b""


@given(packets=st.lists(hci_packets, max_size=4), junk=st.binary(min_size=1, max_size=40))
def test_an_unknown_packet_type_breaks_a_stream_for_good(packets: list[bytes], junk: bytes) -> None:
    parser = H4Parser()
    assert parser.feed(b"".join(packets) + b"\x7f" + junk) == packets
    assert parser.broken
    assert parser.rest == b"\x7f" + junk
    assert parser.feed(b"\x01\x03\x0c\x00") == []
