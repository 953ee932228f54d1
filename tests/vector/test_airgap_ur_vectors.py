"""Uniform Resources against the published vectors (tests/vectors/ur-vectors.json)."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from primegap.airgap import (
    AirgapError,
    BytewordsError,
    FrameVerdict,
    LegacyUrError,
    UrDecoder,
    UrEncoder,
    psbt_from_ur,
    psbt_to_ur,
)
from primegap.airgap.ur import BytewordsStyle, decode_bytewords_untrusted, encode_bytewords
from primegap.airgap.ur.cbor import encode_byte_string
from primegap.airgap.ur.fragments import choose_fragments, fragment_length
from primegap.airgap.ur.part import Part, encode_part, parse_part_untrusted
from primegap.airgap.ur.text import parse_ur_text_untrusted
from primegap.airgap.ur.words import WORDS
from primegap.airgap.ur.xoshiro import AliasSampler, Xoshiro256, draw_degree, shuffle

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "ur-vectors.json").read_text()
)
DESCRIPTORS = VECTORS["output_descriptor_v3"]["rows"]


def wolf(count: int) -> bytes:
    return Xoshiro256(b"Wolf").next_data(count)


def read(*texts: str) -> UrDecoder:
    decoder = UrDecoder()
    for text in texts:
        decoder.receive(text)
    return decoder


def single(ur_type: str, cbor: bytes) -> str:
    return UrEncoder(ur_type, cbor, 2100).next_part().lower()


def test_the_words_are_the_published_ones() -> None:
    text = "".join(f"{word}\n" for word in WORDS)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("59a1ed91")
    assert len({word[0] + word[3] for word in WORDS}) == 256


@pytest.mark.parametrize("row", VECTORS["crc32"])
def test_crc_is_the_common_one_in_big_endian(row: dict[str, Any]) -> None:
    data = row["ascii"].encode() if "ascii" in row else wolf(row["make_message_len"])
    assert decode_bytewords_untrusted(encode_bytewords(data)) == data
    assert zlib.crc32(data).to_bytes(4, "big").hex() == row["crc_hex"]
    words = encode_bytewords(data, BytewordsStyle.STANDARD).split(" ")[-4:]
    assert bytes(WORDS.index(word) for word in words).hex() == row["crc_hex"]


@pytest.mark.parametrize("style", BytewordsStyle)
@pytest.mark.parametrize("row", VECTORS["bytewords"]["valid"])
def test_bytewords(row: dict[str, str], style: BytewordsStyle) -> None:
    body, text = bytes.fromhex(row["hex"]), row[style.name.lower()]
    assert encode_bytewords(body, style) == text
    assert decode_bytewords_untrusted(text, style) == body
    assert decode_bytewords_untrusted(text.upper(), style) == body


@pytest.mark.parametrize("row", VECTORS["bytewords"]["invalid"])
def test_bad_bytewords_are_refused(row: dict[str, str]) -> None:
    with pytest.raises(BytewordsError):
        decode_bytewords_untrusted(row["text"], BytewordsStyle[row["style"].upper()])


@pytest.mark.parametrize("row", VECTORS["xoshiro256starstar"])
def test_generator(row: dict[str, Any]) -> None:
    seed = row["seed_ascii"].encode() if "seed_ascii" in row else bytes.fromhex(row["seed_hex"])
    generator = Xoshiro256(seed)
    match row["op"]:
        case "next % 100":
            assert [generator.next() % 100 for _ in row["out"]] == row["out"]
        case "next_int(1,10)":
            assert [generator.next_int(1, 10) for _ in row["out"]] == row["out"]
        case "next_data(20)":
            assert generator.next_data(20).hex() == row["hex"]
        case other:
            pytest.fail(f"unknown operation {other}")


def test_sampler() -> None:
    row = VECTORS["random_sampler"]
    sampler, generator = AliasSampler(row["probs"]), Xoshiro256(row["seed_ascii"].encode())
    assert [sampler.draw(generator) for _ in row["out"]] == row["out"]


def test_shuffle() -> None:
    row = VECTORS["shuffle"]
    items, generator = row["items"], Xoshiro256(row["seed_ascii"].encode())
    out = [
        [items[index] for index in shuffle(generator, len(items), len(items))] for _ in row["out"]
    ]
    assert out == row["out"]


def test_degrees_with_a_new_generator_each() -> None:
    row = VECTORS["choose_degree"]
    out = [
        draw_degree(Xoshiro256(f"Wolf-{n}".encode()), row["seq_len"])
        for n in range(1, len(row["out"]) + 1)
    ]
    assert out == row["out"]


def test_degrees_from_one_generator() -> None:
    row = VECTORS["choose_degree_stream"]
    generator = Xoshiro256(row["seed_ascii"].encode())
    drawn = [draw_degree(generator, row["seq_len"]) for _ in range(1000)]
    assert [drawn.count(n) for n in range(1, row["seq_len"] + 1)] == row["counts_degree_1_to_11"]


def test_choice_of_fragments() -> None:
    row = VECTORS["choose_fragments"]
    checksum = int(row["checksum_hex"], 16)
    for seq_num, indexes in row["rows"]:
        assert sorted(choose_fragments(seq_num, row["seq_len"], checksum)) == sorted(indexes)


@pytest.mark.parametrize("row", VECTORS["find_fragment_length"])
def test_fragment_length(row: dict[str, int]) -> None:
    assert fragment_length(row["message_len"], row["max"], row["min"]) == row["out"]


def test_partition() -> None:
    row = VECTORS["partition"]
    assert fragment_length(1024, row["max"], row["min"]) == row["fragment_len"]
    joined = bytes.fromhex("".join(row["fragments_hex"]))
    assert joined.rstrip(b"\0") == wolf(1024).rstrip(b"\0")
    assert len(joined) == len(row["fragments_hex"]) * row["fragment_len"]


def test_part_cbor() -> None:
    row = VECTORS["part_cbor"]
    part = Part(
        row["seq_num"],
        row["seq_len"],
        row["message_len"],
        int(row["checksum_hex"], 16),
        bytes.fromhex(row["data_hex"]),
    )
    assert encode_part(part).hex() == row["cbor_hex"]
    assert parse_part_untrusted(bytes.fromhex(row["cbor_hex"])) == part


def test_parts_of_a_raw_message() -> None:
    """These parts carry 256 bytes that are no CBOR, so the pieces are put together here."""
    row = VECTORS["fountain_parts"]
    message = wolf(256)
    length = fragment_length(len(message), row["max_fragment_len"], row["min_fragment_len"])
    assert zlib.crc32(message) == row["checksum"]
    count = -(-len(message) // length)
    padded = message.ljust(count * length, b"\0")
    for seq_num, expected in enumerate(row["cbor_hex"], start=1):
        data = 0
        for index in choose_fragments(seq_num, count, row["checksum"]):
            data ^= int.from_bytes(padded[index * length : (index + 1) * length], "big")
        part = Part(seq_num, count, len(message), row["checksum"], data.to_bytes(length, "big"))
        assert encode_part(part).hex() == expected
        assert parse_part_untrusted(bytes.fromhex(expected)) == part


def test_single_part() -> None:
    row = VECTORS["ur_single"]
    cbor = encode_byte_string(wolf(50))
    assert single(row["type"], cbor) == row["ur"]
    result = read(row["ur"]).result
    assert result is not None
    assert (result.ur_type, result.cbor) == (row["type"], cbor)


def test_twenty_parts_written() -> None:
    row = VECTORS["ur_multi"]
    encoder = UrEncoder(row["type"], encode_byte_string(wolf(256)), row["max_fragment_len"])
    assert [encoder.next_part() for _ in row["parts"]] == [part.upper() for part in row["parts"]]


@pytest.mark.parametrize("first", [0, 5, 11])
def test_parts_read_from_any_start(first: int) -> None:
    row = VECTORS["ur_multi"]
    decoder = read(*row["parts"][first:], *row["parts"][:first])
    assert decoder.result is not None
    assert decoder.result.cbor == encode_byte_string(wolf(256))
    assert decoder.progress.fraction == 1.0


def test_large_message_from_mixed_parts_only() -> None:
    row = VECTORS["ur_multi_large"]
    cbor = encode_byte_string(wolf(32767))
    encoder = UrEncoder(
        row["type"], cbor, row["max_fragment_len"], first_seq_num=row["first_seq_num"]
    )
    decoder = UrDecoder()
    while decoder.result is None:
        assert decoder.receive(encoder.next_part()) in {FrameVerdict.NEW, FrameVerdict.DUPLICATE}
    assert decoder.result.cbor == cbor
    assert decoder.progress.frames < 2 * encoder.parts_count


@pytest.mark.parametrize("row", VECTORS["registry"], ids=lambda row: f"{row['type']}")
def test_registered_types(row: dict[str, Any]) -> None:
    cbor = bytes.fromhex(row["cbor_hex"])
    decoder = read(row["ur"])
    assert decoder.result is not None
    assert (decoder.result.ur_type, decoder.result.cbor) == (row["type"], cbor)
    assert single(row["type"], cbor) == row["ur"].lower()


@pytest.mark.parametrize("row", DESCRIPTORS, ids=range(len(DESCRIPTORS)))
def test_own_tag_in_front_is_dropped(row: dict[str, str]) -> None:
    untagged = bytes.fromhex(row["untagged_cbor_hex"])
    for text in (row["ur"], single("output-descriptor", bytes.fromhex(row["tagged_cbor_hex"]))):
        result = read(text).result
        assert result is not None
        assert result.cbor == untagged


def test_a_checksum_with_a_leading_zero_is_read() -> None:
    row = VECTORS["crc_edge"]["leading_zero_crc"]
    frame = parse_ur_text_untrusted(row["ur"])
    assert frame.numbers == (row["seq_num"], row["seq_len"])
    part = parse_part_untrusted(decode_bytewords_untrusted(frame.body))
    assert (part.seq_num, part.seq_len) == (row["seq_num"], row["seq_len"])
    assert (part.message_bytes, part.checksum) == (row["message_len"], row["checksum"])
    assert len(part.data) == row["fragment_len"]
    # Written again, the checksum has all its four bytes.
    assert encode_bytewords(encode_part(part)) == frame.body
    assert zlib.crc32(encode_part(part)).to_bytes(4, "big").hex() == row["crc_hex"]


def test_a_checksum_without_its_leading_zero_is_read_where_allowed() -> None:
    row = VECTORS["crc_edge"]["variable_width_crc_as_emitted_by_old_python_ports"]
    result = read(row["ur"]).result
    assert result is not None
    assert result.cbor.hex() == row["body_cbor_hex"]
    assert single("bytes", result.cbor) == row["correct_ur"]
    with pytest.raises(BytewordsError):
        decode_bytewords_untrusted(parse_ur_text_untrusted(row["ur"]).body)


def test_one_psbt_in_both_forms() -> None:
    row = VECTORS["psbt_same_payload"]
    psbt = bytes.fromhex(row["psbt_hex"])
    for texts in ([row["ur_single"]], row["ur_multi"]):
        decoder = read(*texts)
        assert decoder.result is not None
        assert psbt_from_ur(decoder.result) == psbt
    ur = psbt_to_ur(psbt)
    assert single(ur.ur_type, ur.cbor) == row["ur_single"].lower()


def test_version_1_is_recognised() -> None:
    row = VECTORS["ur1_legacy"]["multi"]
    for text in (*row["parts"], row["single"]):
        with pytest.raises(LegacyUrError):
            parse_ur_text_untrusted(text)
        assert read(text.upper()).last_error is not None


def test_other_formats_are_no_ur() -> None:
    others = [row["seedqr_digits"] for row in VECTORS["seedqr"]["rows"]]
    others += VECTORS["psbt_same_payload"]["pMofN_of_base58"]
    for text in others:
        with pytest.raises(AirgapError):
            parse_ur_text_untrusted(text)
