"""What the writing side refuses: frames and numbers that must not leave this machine."""

from __future__ import annotations

import pytest

from primegap.quantumlink import (
    MAX_RECORD_SIZE,
    REFERENCE,
    Ack,
    AckBuilder,
    AckRangesError,
    BodyBuilder,
    Close,
    CloseCode,
    Frame,
    InvalidPayloadError,
    LocalError,
    Ping,
    Qid,
    ResetCode,
    ResetTarget,
    SecretBytes,
    SessionSealer,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    Unpair,
    encode_frame,
    parse_frames_untrusted,
    session_overhead,
)
from primegap.quantumlink.codec import MAX_U32, MAX_U64, put_byte_string, put_varint, varint_size
from primegap.quantumlink.frames import DATA_OVERHEAD, OPEN_OVERHEAD
from primegap.quantumlink.kem import MlKem1024


@pytest.mark.parametrize("value", [-1, 2**64, 2**70])
def test_numbers_beyond_64_bits_are_not_written(value: int) -> None:
    with pytest.raises(LocalError):
        put_varint(value)
    frames: list[Frame] = [
        StreamWindow(0, value),
        StreamReset(0, ResetTarget.BOTH, value),
        Close(value),
        StreamData(value, 0, False, None, b""),
        Ack(((value, value),)),
    ]
    for frame in frames:
        with pytest.raises(LocalError):
            encode_frame(frame)


def test_acks_name_what_is_wrong_with_them() -> None:
    with pytest.raises(AckRangesError):
        AckBuilder().add(0, 2**64)
    with pytest.raises(AckRangesError):
        AckBuilder().add(-1, 0)
    builder = AckBuilder()
    assert builder.add(2**64 - 1, 2**64 - 1)
    assert builder.ranges == ((2**64 - 1, 2**64 - 1),)


def test_opening_is_written_at_the_beginning_only() -> None:
    opening = StreamOpening(1, 1, b"")
    encode_frame(StreamData(0, 0, False, opening, b""))
    with pytest.raises(LocalError):
        encode_frame(StreamData(0, 1, False, opening, b""))


@pytest.mark.parametrize("windows", [(2**32, 0), (0, 2**32)])
def test_windows_of_an_opening_are_32_bits(windows: tuple[int, int]) -> None:
    with pytest.raises(LocalError):
        encode_frame(StreamData(0, 0, False, StreamOpening(*windows, b""), b""))
    at_most = StreamOpening(2**32 - 1, 2**32 - 1, b"")
    encode_frame(StreamData(0, 0, False, at_most, b""))


class Endless(bytes):
    """Says that it has 4 GiB, without having them."""

    def __len__(self) -> int:
        return 2**32


def test_byte_strings_are_shorter_than_4_gib() -> None:
    with pytest.raises(LocalError):
        put_byte_string(Endless())


def test_codes_nobody_has_named_survive() -> None:
    for code in (10, 2**64 - 1):
        frame = StreamReset(3, ResetTarget.RETURN, code)
        assert list(parse_frames_untrusted(encode_frame(frame))) == [frame]
    for code in (3, 2**64 - 1):
        assert list(parse_frames_untrusted(encode_frame(Close(code)))) == [Close(code)]
    assert StreamReset(3, ResetTarget.RETURN, 7).code == ResetCode.TIMEOUT
    assert Close(1).code == CloseCode.PROTOCOL


def test_payloads_stay_out_of_the_printed_form() -> None:
    data = StreamData(1, 0, True, StreamOpening(1, 2, b"secret header"), b"secret payload")
    assert "secret" not in repr(data)


@pytest.mark.scenario("wire", 15)
def test_sizes_told_ahead_are_those_of_the_bytes() -> None:
    """We tell three: of a number, of a record around its body, and the most of a frame's own."""
    largest = StreamOpening(MAX_U32, MAX_U32, b"header")
    frames: list[Frame] = [
        Ping(),
        Ack(((150, 163), (105, 110), (100, 100))),
        StreamData(MAX_U64, 0, True, largest, b"payload"),
        StreamWindow(7, 2**40),
        StreamReset(7, ResetTarget.BOTH, MAX_U64),
        Close(CloseCode.TIMEOUT),
        Unpair(),
    ]
    sealer = SessionSealer(REFERENCE, SecretBytes(bytes(32)), Qid(bytes(16)), Qid(b"\1" * 16))
    for seq in (0, 127, 128, 16_384, 2**40):
        builder = BodyBuilder(seq)
        for frame in frames:
            assert builder.append(frame)
        record = sealer.seal(seq, builder.body())
        assert len(record) == session_overhead(seq) + len(builder.body())
        assert len(record) == MAX_RECORD_SIZE - builder.remaining
    assert len(encode_frame(frames[2])) <= 1 + OPEN_OVERHEAD + len(b"header" + b"payload")
    no_opening = StreamData(MAX_U64, MAX_U64, True, None, b"payload")
    assert len(encode_frame(no_opening)) <= 1 + DATA_OVERHEAD + len(b"payload")


def test_varint_size_grows_with_seven_bits() -> None:
    assert [varint_size(v) for v in (0, 127, 128, 16383, 16384, 2**63, 2**64 - 1)] == [
        1, 1, 2, 2, 3, 10, 10,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1120, 1567, 1569])
def test_ml_kem_1024_refuses_other_lengths(size: int) -> None:
    private_key, _ = MlKem1024().keygen(bytes(64))
    with pytest.raises(InvalidPayloadError):
        private_key.decapsulate(bytes(size))
    with pytest.raises(InvalidPayloadError):
        MlKem1024().encapsulate(bytes(size))
