"""Every dialect under loss, repetition, disorder and damage."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.airgap import (
    BbqrEncoding,
    BbqrReader,
    CodeReader,
    Expect,
    FrameVerdict,
    LegacyUrReader,
    PmofnReader,
    bytes_from_ur,
    bytes_to_ur,
    decode_seedqr_untrusted,
    encode_bbqr,
    encode_legacy_ur,
    encode_pmofn,
    encode_seedqr,
)
from primegap.airgap.base43 import ALPHABET, decode_base43_untrusted, encode_base43

MESSAGES = st.binary(min_size=1, max_size=3000)


@given(MESSAGES, st.sampled_from(BbqrEncoding), st.integers(5, 40), st.randoms())
def test_bbqr_round_trip_in_any_order(
    data: bytes, encoding: BbqrEncoding, version: int, chance: random.Random
) -> None:
    texts = encode_bbqr(data, "B", encoding=encoding, max_version=version)
    shown = texts * 2
    chance.shuffle(shown)
    reader = BbqrReader()
    for text in shown:
        assert reader.receive(text) in {FrameVerdict.NEW, FrameVerdict.DUPLICATE}
    assert reader.result is not None
    assert reader.result.data == data


@given(MESSAGES, st.integers(120, 1000), st.randoms())
def test_ur_1_round_trip_in_any_order(data: bytes, room: int, chance: random.Random) -> None:
    texts = encode_legacy_ur(bytes_to_ur(data), room)
    assert max(map(len, texts)) <= room
    chance.shuffle(texts)
    reader = LegacyUrReader()
    for text in texts:
        assert reader.receive(text) is FrameVerdict.NEW
    assert reader.result is not None
    assert bytes_from_ur(reader.result) == data


@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=2000), st.integers(20, 300))
def test_pmofn_round_trip(text: str, room: int) -> None:
    reader = PmofnReader()
    for piece in reversed(encode_pmofn(text, max(room, 10 + len(text) // 900))):
        assert reader.receive(piece) is FrameVerdict.NEW
    assert reader.result == text


@given(st.binary(max_size=300))
def test_base43_round_trip(data: bytes) -> None:
    assert decode_base43_untrusted(encode_base43(data)) == data


@given(st.text(ALPHABET, max_size=60))
def test_base43_of_any_text_is_the_only_one_of_its_bytes(text: str) -> None:
    assert encode_base43(decode_base43_untrusted(text)) == text


@given(st.sampled_from([16, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_seedqr_round_trip(entropy: bytes) -> None:
    assert decode_seedqr_untrusted(encode_seedqr(entropy)) == entropy


MAKERS = (
    lambda data: encode_bbqr(data, "P", encoding=BbqrEncoding.BASE32, max_version=6),
    lambda data: encode_legacy_ur(bytes_to_ur(data), 180),
    lambda data: encode_pmofn(data.hex(), 120),
)


@settings(deadline=None)
@given(st.binary(min_size=100, max_size=500), st.sampled_from(MAKERS), st.data())
def test_a_damaged_character_never_makes_another_message_of_a_guarded_kind(
    data: bytes, make: object, choices: st.DataObject
) -> None:
    """UR 1 has a digest. BBQr and pMofN have none: what they hold must have a check of its own."""
    assert callable(make)
    texts: list[str] = make(b"psbt\xff" + data)
    index = choices.draw(st.integers(0, len(texts) - 1))
    at = choices.draw(st.integers(0, len(texts[index]) - 1))
    letter = choices.draw(st.characters(max_codepoint=127))
    texts[index] = texts[index][:at] + letter + texts[index][at + 1 :]
    reader = CodeReader(Expect.PSBT)
    for text in texts:
        assert reader.receive(text) in FrameVerdict
    if texts[0][:3].lower() == "ur:" and reader.result is not None:
        assert reader.result.content == b"psbt\xff" + data


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=100),
            st.from_regex(r"\AB\$[HZ2][A-Z][0-9A-Z]{4}[0-9A-Z]{0,40}\Z"),
            st.from_regex(r"\Ap[0-9]{1,3}of[0-9]{1,3} .{0,20}\Z"),
            st.from_regex(r"\A[uU][rR]:bytes/([0-9]{1,3}of[0-9]{1,3}/)?[a-z0-9]{0,80}\Z"),
            st.from_regex(r"\A[0-9]{48}\Z"),
        ),
        max_size=12,
    ),
    st.sampled_from(Expect),
    st.binary(max_size=40),
)
def test_no_text_at_all_makes_a_reader_fail(texts: list[str], expect: Expect, raw: bytes) -> None:
    reader = CodeReader(expect)
    for text in texts:
        verdict = reader.receive(text, raw)
        good = verdict in {FrameVerdict.NEW, FrameVerdict.DUPLICATE}
        assert good == (reader.last_error is None)
        progress = reader.progress
        assert 0 <= progress.rank <= max(progress.needed, 0)
        if reader.offers_restart:
            reader.start_over()
