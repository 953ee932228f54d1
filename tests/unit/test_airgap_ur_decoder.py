"""The reader of UR frames: verdicts, foreign messages, corrupt sets, limits."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from dataclasses import replace

import pytest

from primegap.airgap import (
    FRAMES_TO_OFFER_RESTART,
    PSBT_UR_TYPES,
    BytewordsError,
    CborError,
    CorruptSetError,
    FrameVerdict,
    LegacyUrError,
    OtherMessageError,
    UnexpectedUrTypeError,
    UrDecoder,
    UrEncoder,
    UrLimitError,
    UrPartError,
    UrPayloadError,
    UrTextError,
    bytes_from_ur,
    bytes_to_ur,
    is_ur_text,
    psbt_from_ur,
    psbt_to_ur,
)
from primegap.airgap.errors import RemoteAirgapError
from primegap.airgap.ur import (
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_READ_FRAGMENTS,
    Ur,
    decode_bytewords_untrusted,
    encode_bytewords,
)
from primegap.airgap.ur.cbor import encode_byte_string
from primegap.airgap.ur.part import Part, encode_part
from primegap.airgap.ur.text import format_ur_text

PSBT = b"psbt\xff" + bytes(range(256)) * 2
UR = psbt_to_ur(PSBT)
NEW, DUPLICATE, FOREIGN = FrameVerdict.NEW, FrameVerdict.DUPLICATE, FrameVerdict.FOREIGN
UNREADABLE, REFUSED, CORRUPT = (
    FrameVerdict.UNREADABLE,
    FrameVerdict.REFUSED,
    FrameVerdict.CORRUPT,
)


def frames(ur: Ur, count: int, *, size: int = 50, first: int = 1) -> list[str]:
    encoder = UrEncoder(ur.ur_type, ur.cbor, size, first_seq_num=first)
    return [encoder.next_part() for _ in range(count)]


def frame(part: Part, ur_type: str = "bytes") -> str:
    body = encode_bytewords(encode_part(part))
    return format_ur_text(ur_type, (part.seq_num, part.seq_len), body)


def single(ur_type: str, cbor: bytes) -> str:
    return format_ur_text(ur_type, None, encode_bytewords(cbor))


def error_of(decoder: UrDecoder, text: str) -> tuple[FrameVerdict, type[RemoteAirgapError] | None]:
    verdict, error = decoder.receive(text), decoder.last_error
    return verdict, None if error is None else type(error)


def test_a_message_from_its_plain_fragments_only() -> None:
    decoder = UrDecoder(PSBT_UR_TYPES)
    encoder = UrEncoder(UR.ur_type, UR.cbor, 50)
    assert decoder.progress.fraction == 0.0
    for number in range(1, encoder.parts_count + 1):
        assert decoder.result is None
        assert decoder.receive(encoder.next_part()) is NEW
        assert decoder.progress.rank == number
        assert decoder.progress.fraction == number / encoder.parts_count
        assert decoder.progress.message_bytes == len(UR.cbor)
    assert decoder.result == UR
    assert decoder.last_error is None


def test_frames_after_the_end_change_nothing() -> None:
    decoder = UrDecoder()
    for text in frames(UR, 40):
        decoder.receive(text)
    assert decoder.result == UR
    assert decoder.progress.frames == 40
    assert decoder.progress.last is DUPLICATE
    contradiction = Part(1, 11, len(UR.cbor), zlib.crc32(UR.cbor), bytes(47))
    assert decoder.receive(frame(contradiction, "crypto-psbt")) in {DUPLICATE, FOREIGN}
    assert decoder.result == UR


def test_a_repeated_or_dependent_frame_is_a_duplicate() -> None:
    decoder = UrDecoder()
    first, second = frames(UR, 2)
    assert [decoder.receive(text) for text in (first, first, second, first)] == [
        NEW,
        DUPLICATE,
        NEW,
        DUPLICATE,
    ]
    assert decoder.progress.rank == 2


def test_single_form_and_one_of_one() -> None:
    ur = psbt_to_ur(PSBT[:40])
    (text,) = frames(ur, 1)
    assert "/1-1/" not in text
    one = frame(Part(1, 1, len(ur.cbor), zlib.crc32(ur.cbor), ur.cbor), ur.ur_type)
    for form in (text, text.lower(), one, one.lower()):
        decoder = UrDecoder()
        assert decoder.receive(form) is NEW
        assert decoder.result == ur
        assert decoder.receive(form) is DUPLICATE


def test_the_same_message_in_both_forms_is_one_message() -> None:
    ur = psbt_to_ur(PSBT[:40])
    decoder = UrDecoder()
    decoder.receive(frames(ur, 1)[0])
    one = frame(Part(1, 1, len(ur.cbor), zlib.crc32(ur.cbor), ur.cbor), ur.ur_type)
    assert decoder.receive(one) is DUPLICATE


def test_foreign_frames_are_ignored() -> None:
    decoder = UrDecoder()
    other = frames(bytes_to_ur(bytes(300)), 20)
    for mine, foreign in zip(frames(UR, 30), other * 2, strict=False):
        decoder.receive(mine)
        assert decoder.receive(foreign) is FOREIGN
        assert isinstance(decoder.last_error, OtherMessageError)
        assert not decoder.offers_restart
    assert decoder.result == UR


def test_three_foreign_frames_in_a_row_offer_to_start_over() -> None:
    decoder = UrDecoder()
    mine = frames(UR, 3)
    other = bytes_to_ur(bytes(range(200)))
    others = frames(other, 30)
    decoder.receive(mine[0])
    for number in range(1, FRAMES_TO_OFFER_RESTART + 1):
        decoder.receive(others[number])
        assert decoder.offers_restart == (number == FRAMES_TO_OFFER_RESTART)
    offered = []
    for text in (mine[1], *others[1:4], "noise"):
        decoder.receive(text)
        offered.append(decoder.offers_restart)
    assert offered == [False, False, False, True, True]
    decoder.start_over()
    assert decoder.progress.rank == 1  # the frame that led to the offer is not lost
    for text in others[4:]:
        decoder.receive(text)
    assert decoder.result == other


def test_three_frames_of_different_messages_offer_nothing() -> None:
    decoder = UrDecoder()
    decoder.receive(frames(UR, 1)[0])
    for size in (100, 101, 102, 103):
        decoder.receive(frames(bytes_to_ur(bytes(size)), 1)[0])
    assert not decoder.offers_restart


def test_a_foreign_single_code_can_be_changed_over_to() -> None:
    decoder = UrDecoder()
    decoder.receive(frames(UR, 1)[0])
    other = bytes_to_ur(b"hello")
    for text in frames(other, FRAMES_TO_OFFER_RESTART):
        assert decoder.receive(text) is FOREIGN
    decoder.start_over()
    assert decoder.result == other


def test_starting_over_without_an_offer_forgets_all() -> None:
    decoder = UrDecoder()
    decoder.receive(frames(UR, 1)[0])
    decoder.receive(frames(bytes_to_ur(b"hello"), 1)[0])
    decoder.start_over()
    assert decoder.progress == UrDecoder().progress
    assert decoder.result is None


def test_a_finished_message_makes_way_for_another_on_request() -> None:
    decoder = UrDecoder()
    first, second = bytes_to_ur(b"one"), bytes_to_ur(b"two")
    decoder.receive(frames(first, 1)[0])
    for text in frames(second, 3):
        decoder.receive(text)
    assert decoder.result == first
    decoder.start_over()
    assert decoder.result == second


@pytest.mark.parametrize(
    "change",
    [
        {"message_bytes": 101},
        {"checksum": 5},
        {"data": bytes(26)},
        {"seq_len": 5},
    ],
    ids=str,
)
def test_any_difference_makes_another_message(change: dict[str, int]) -> None:
    decoder = UrDecoder()
    part = Part(1, 4, 100, 7, bytes(25))
    assert decoder.receive(frame(part)) is NEW
    assert decoder.receive(frame(replace(part, seq_num=2, **change))) is FOREIGN  # type: ignore[arg-type]
    assert decoder.receive(frame(replace(part, seq_num=2), "psbt")) is FOREIGN


def test_only_expected_types_are_read() -> None:
    decoder = UrDecoder(PSBT_UR_TYPES)
    text = single("crypto-seed", b"\xa0")
    assert error_of(decoder, text) == (REFUSED, UnexpectedUrTypeError)
    assert decoder.progress.rank == 0
    assert UrDecoder().receive(text) is NEW


def test_a_contradiction_drops_the_set() -> None:
    decoder = UrDecoder()
    part = Part(1, 4, 100, 7, bytes(25))
    decoder.receive(frame(part))
    decoder.receive(frame(replace(part, seq_num=2)))
    wrong = replace(part, data=bytes(24) + b"\1")
    assert error_of(decoder, frame(wrong)) == (CORRUPT, CorruptSetError)
    assert decoder.progress.needed == 0
    for text in frames(UR, 20):
        decoder.receive(text)
    assert decoder.result == UR


def test_a_wrong_checksum_drops_the_set() -> None:
    decoder = UrDecoder()
    message = encode_byte_string(bytes(48))
    parts = [Part(n + 1, 2, 50, 99, message[n * 25 : n * 25 + 25]) for n in range(2)]
    assert decoder.receive(frame(parts[0])) is NEW
    assert error_of(decoder, frame(parts[1])) == (CORRUPT, CorruptSetError)
    assert decoder.result is None


@pytest.mark.parametrize(("padding", "verdict"), [(b"\0", NEW), (b"\1", CORRUPT)])
def test_padding_is_zero(padding: bytes, verdict: FrameVerdict) -> None:
    message = encode_byte_string(bytes(47))  # 49 bytes
    checksum = zlib.crc32(message)
    decoder = UrDecoder()
    decoder.receive(frame(Part(1, 2, 49, checksum, message[:25])))
    assert decoder.receive(frame(Part(2, 2, 49, checksum, message[25:] + padding))) is verdict
    assert (decoder.result is None) == (verdict is CORRUPT)


@pytest.mark.parametrize(
    "cbor",
    [
        b"\x00\x00",  # two items
        b"\x41",  # ends early
        b"\x5f\x41\x00\xff",  # indefinite
        b"\x9f\xff",
        b"\x1c",  # reserved
        b"\xf8\x10",
        b"\x81" * 33 + b"\x00",  # too deep
        b"\x9b" + b"\xff" * 8,
        b"\xbb" + b"\xff" * 8,
    ],
    ids=bytes.hex,
)
def test_a_message_is_one_item(cbor: bytes) -> None:
    decoder = UrDecoder()
    assert error_of(decoder, single("bytes", cbor)) == (CORRUPT, CborError)


def test_depth_at_the_limit_is_read() -> None:
    assert UrDecoder().receive(single("x", b"\x81" * 32 + b"\x00")) is NEW
    assert UrDecoder().receive(single("x", b"\x81" * 31 + b"\xd8\x64\xf9\x00\x00")) is NEW


def test_too_many_items_are_refused() -> None:
    encoder = UrEncoder("x", b"\x99\xff\xff" + bytes(65_535), 1000)
    decoder = UrDecoder()
    while decoder.result is None:
        assert decoder.receive(encoder.next_part()) is NEW
    message = b"\x9a\x00\x01\x00\x00" + bytes(65_536)
    checksum = zlib.crc32(message)
    decoder = UrDecoder()
    padded = message.ljust(66 * 1000, b"\0")
    verdicts = [
        decoder.receive(
            frame(Part(n + 1, 66, len(message), checksum, padded[n * 1000 : n * 1000 + 1000]), "x")
        )
        for n in range(66)
    ]
    assert verdicts[-1] is CORRUPT
    assert isinstance(decoder.last_error, CborError)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", UrTextError),
        ("bitcoin:bc1q", UrTextError),
        ("ur:", UrTextError),
        ("ur:/aeae", UrTextError),
        ("ur:bytes", UrTextError),
        ("ur:bytes/", UrTextError),
        ("ur:by_tes/aeae", UrTextError),
        ("ur:" + "a" * 33 + "/aeae", UrTextError),
        ("ur:bytes/1-2/3-4/aeae", UrTextError),
        ("ur:bytes/0-2/aeae", UrTextError),
        ("ur:bytes/1-0/aeae", UrTextError),
        ("ur:bytes/01-2/aeae", UrTextError),
        ("ur:bytes/1-02/aeae", UrTextError),
        ("ur:bytes/-1-2/aeae", UrTextError),
        ("ur:bytes/+1-2/aeae", UrTextError),
        ("ur:bytes/1_0-2/aeae", UrTextError),
        ("ur:bytes/1-2-3/aeae", UrTextError),
        ("ur:bytes/4294967296-2/aeae", UrTextError),
        ("ur:bytes/1-/aeae", UrTextError),
        ("ur:bytes/hdae!e", UrTextError),
        (" ur:bytes/hdeyae", UrTextError),
        ("ur:bytes/hdeyae\n", UrTextError),
        ("ur:bytes/" + "a" * 4300, UrTextError),
        ("ur:bytes/\N{KELVIN SIGN}sksksksksks", UrTextError),
        ("ur:bytes/\N{ARABIC-INDIC DIGIT ONE}-2/aeae", UrTextError),
        ("ur:bytes/1of2/qqqq/qqqq", LegacyUrError),
        ("ur:bytes/q2q3", LegacyUrError),
        ("ur:bytes/aaa", BytewordsError),
        ("ur:bytes/aeae", BytewordsError),
        ("ur:bytes/aeaeaeaeaeae", BytewordsError),
        ("ur:bytes/zzzzzzzzzzzz", BytewordsError),
    ],
)
def test_unreadable_text(text: str, error: type[RemoteAirgapError]) -> None:
    decoder = UrDecoder()
    assert error_of(decoder, text) == (UNREADABLE, error)
    assert decoder.progress.last is UNREADABLE
    assert error.code
    assert error.hint.endswith(".")


def test_letters_that_become_ascii_in_lower_case_are_no_words() -> None:
    assert "\N{KELVIN SIGN}".lower() == "k"
    text = encode_bytewords(bytes(range(256)))
    assert "k" in text
    with pytest.raises(BytewordsError):
        decode_bytewords_untrusted(text.replace("k", "\N{KELVIN SIGN}"))


def test_ur_text_is_told_from_other_text() -> None:
    assert is_ur_text("UR:X/")
    assert is_ur_text("ur:")
    assert not is_ur_text("u")
    assert not is_ur_text("curl:")


@pytest.mark.parametrize(
    ("cbor", "error"),
    [
        (b"\x00", CborError),
        (b"\x84\x01\x02\x03\x04", CborError),
        (b"\x86\x01\x02\x03\x04\x41\x00\x00", CborError),
        (b"\x85\x01\x02\x03\x04\x41", CborError),
        (b"\x85\x01\x02\x03\x04\x41\x00\x00", CborError),
        (b"\x85\x01\x02\x03\x04\x61a", CborError),
        (b"\x85\x01\x02\x03\x20\x41\x00", CborError),
        (b"\x85\x01\x02", CborError),
        (b"\x85\x01\x02\x03\x19\x01", CborError),
        (b"\x9f\x01\x02\x03\x04\x41\x00\xff", CborError),
        (b"\x85\x00\x02\x01\x04\x41\x00", UrPartError),
        (b"\x85\x01\x00\x01\x04\x41\x00", UrPartError),
        (b"\x85\x01\x02\x01\x04\x40", UrPartError),
        (b"\x85\x1b\x00\x00\x00\x01\x00\x00\x00\x00\x02\x01\x04\x41\x00", UrPartError),
        (b"\x85\x01\x02\x02\x1b\x00\x00\x00\x01\x00\x00\x00\x00\x41\x00", UrPartError),
        (b"\x85\x03\x02\x02\x01\x41\x00", UrPartError),  # text says 1
        (b"\x85\x01\x03\x03\x01\x41\x00", UrPartError),  # text says 2
        (b"\x85\x01\x02\x01\x01\x41\x00", UrPartError),  # one fragment were enough
        (b"\x85\x01\x02\x03\x01\x41\x00", UrPartError),  # two are too few
        (b"\x85\x01\x02\x00\x01\x41\x00", UrPartError),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_malformed_parts(cbor: bytes, error: type[RemoteAirgapError]) -> None:
    text = format_ur_text("bytes", (1, 2), encode_bytewords(cbor))
    decoder = UrDecoder()
    assert error_of(decoder, text) == (UNREADABLE, error)
    assert decoder.progress.needed == 0


def test_heads_longer_than_necessary_are_read() -> None:
    cbor = b"\x85\x18\x01\x19\x00\x02\x1a\x00\x00\x00\x02\x18\x04\x58\x01\x00"
    assert UrDecoder().receive(format_ur_text("x", (1, 2), encode_bytewords(cbor))) is NEW


@pytest.mark.parametrize(
    "part",
    [
        Part(3_000_000_000, MAX_READ_FRAGMENTS + 1, 2 * MAX_READ_FRAGMENTS + 2, 1, bytes(2)),
        Part(3_000_000_000, 4_000_000_000, 4_000_000_000, 1, bytes(1)),
        Part(5, 2, 2 * MAX_FRAGMENT_BYTES + 1, 1, bytes(MAX_FRAGMENT_BYTES + 1)),
        Part(5, 1000, MAX_MESSAGE_BYTES + 1, 1, bytes(1049)),
        Part(5, 2, 1 << 63, 1, bytes(100)),
    ],
    ids=["fragments", "many fragments", "length", "message", "huge message"],
)
def test_limits_are_checked_before_anything_is_made(part: Part) -> None:
    text = frame(part)
    assert len(text) <= 4296
    UrDecoder().receive(text)
    decoder = UrDecoder()
    tracemalloc.start()
    try:
        started = time.perf_counter()
        assert error_of(decoder, text) == (REFUSED, UrLimitError)
        elapsed = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300_000
    assert elapsed < 0.05  # ordinarily far below a millisecond; generous for a busy machine


def test_everything_at_its_limit_is_read() -> None:
    length = MAX_MESSAGE_BYTES // MAX_READ_FRAGMENTS
    part = Part(4_000_000_000, MAX_READ_FRAGMENTS, MAX_MESSAGE_BYTES, 1, bytes(length))
    assert UrDecoder().receive(frame(part)) is NEW
    part = Part(7, 2, 2 * MAX_FRAGMENT_BYTES, 1, bytes(MAX_FRAGMENT_BYTES))
    assert UrDecoder().receive(frame(part)) is NEW


def test_short_checksums_only_where_something_else_guards_the_message() -> None:
    body = next(
        item
        for n in range(100_000)
        if zlib.crc32(item := encode_byte_string(b"psbt\xff" + n.to_bytes(4, "big"))) < 1 << 24
    )
    text = encode_bytewords(body)
    assert text[-8:-6] == "ae"
    short = text[:-8] + text[-6:]
    for ur_type in ("bytes", "psbt", "crypto-psbt"):
        assert UrDecoder().receive(f"ur:{ur_type}/{short}") is NEW
    for ur_type in ("crypto-seed", "hdkey"):
        assert UrDecoder().receive(f"ur:{ur_type}/{short}") is UNREADABLE


def test_payloads() -> None:
    for ur_type in PSBT_UR_TYPES:
        assert psbt_from_ur(psbt_to_ur(PSBT, ur_type)) == PSBT
    assert bytes_from_ur(bytes_to_ur(b"")) == b""
    with pytest.raises(UrPayloadError):
        psbt_from_ur(bytes_to_ur(b"psbt"))
    with pytest.raises(UrPayloadError):
        psbt_from_ur(Ur("crypto-seed", encode_byte_string(PSBT)))
    with pytest.raises(UrPayloadError):
        bytes_from_ur(UR)
    with pytest.raises(CborError):
        bytes_from_ur(Ur("bytes", b"\x61a"))


@pytest.mark.parametrize("tag", [b"\xd9\x01\x36", b"\xd9\x9d\x76"], ids=["310", "40310"])
@pytest.mark.parametrize("ur_type", ["psbt", "crypto-psbt"])
def test_tag_of_a_psbt_in_front(ur_type: str, tag: bytes) -> None:
    decoder = UrDecoder()
    for text in frames(Ur(ur_type, tag + UR.cbor), 20):
        decoder.receive(text)
    assert decoder.result is not None
    assert psbt_from_ur(decoder.result) == PSBT


def test_other_tags_and_envelopes_keep_theirs() -> None:
    for ur_type, cbor in (("psbt", b"\xd9\x01\x35\x40"), ("envelope", b"\xd8\xc8\x00")):
        decoder = UrDecoder()
        decoder.receive(single(ur_type, cbor))
        assert decoder.result == Ur(ur_type, cbor)


def test_nothing_read_is_shown_by_repr() -> None:
    assert "psbt" not in repr(bytes_to_ur(PSBT))
    assert "hdey" not in repr(Part(1, 1, 1, 1, b"hdey"))
