"""UR: whatever the channel does, messages come out whole or not at all."""

from __future__ import annotations

import contextlib
import random
import zlib

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from primegap.airgap import (
    BytewordsError,
    CborError,
    FrameVerdict,
    RemoteAirgapError,
    UrDecoder,
    UrEncoder,
    bytes_from_ur,
    bytes_to_ur,
)
from primegap.airgap.ur import BytewordsStyle, decode_bytewords_untrusted, encode_bytewords
from primegap.airgap.ur.assembly import Assembly
from primegap.airgap.ur.cbor import check_item_untrusted, encode_byte_string
from primegap.airgap.ur.fragments import choose_fragments, fragment_length
from primegap.airgap.ur.limits import (
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_READ_FRAGMENTS,
)
from primegap.airgap.ur.part import (
    Part,
    check_part_limits,
    encode_part,
    parse_part_untrusted,
)
from primegap.airgap.ur.text import format_ur_text, parse_ur_text_untrusted

GOOD = {FrameVerdict.NEW, FrameVerdict.DUPLICATE}
sizes = st.integers(10, 400)
# From the first part, from a mixed one, and across the wrap of the 32-bit counter.
starts = st.sampled_from([1, 2, 7, 1000, 2**32 - 5])


def message(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def big(number: int) -> bytes:
    return number.to_bytes(4, "big")


@given(
    size=st.integers(1, 5000),
    fragment=sizes,
    first=starts,
    loss=st.floats(0, 0.9),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None)
def test_loss_order_and_duplicates_do_not_matter(
    size: int, fragment: int, first: int, loss: float, seed: int
) -> None:
    rnd = random.Random(seed)
    payload = message(size, seed)
    ur = bytes_to_ur(payload)
    encoder = UrEncoder(ur.ur_type, ur.cbor, fragment, first_seq_num=first)
    decoder = UrDecoder({"bytes"})
    ranks = []
    window: list[str] = []
    for _ in range(40 * encoder.parts_count + 400):
        if decoder.result is not None:
            break
        window.append(encoder.next_part())
        if len(window) < 8:
            continue
        text = window.pop(rnd.randrange(8))
        if rnd.random() < loss:
            continue
        for repeated in [text] * rnd.choice((1, 1, 1, 2)):
            assert decoder.receive(repeated) in GOOD
        ranks.append(decoder.progress.rank)
    assert decoder.result is not None
    assert bytes_from_ur(decoder.result) == payload
    assert ranks == sorted(ranks)
    assert decoder.progress.rank == encoder.parts_count


@given(seed=st.integers(0, 1 << 30), fragment=st.integers(20, 120))
@settings(deadline=None)
def test_two_messages_alternating(seed: int, fragment: int) -> None:
    wanted, other = bytes_to_ur(message(900, seed)), bytes_to_ur(message(900, seed + 1))
    encoders = [UrEncoder(ur.ur_type, ur.cbor, fragment) for ur in (wanted, other)]
    decoder = UrDecoder()
    while decoder.result is None:
        assert decoder.receive(encoders[0].next_part()) in GOOD
        assert decoder.receive(encoders[1].next_part()) is FrameVerdict.FOREIGN
    assert decoder.result == wanted


@given(seed=st.integers(0, 1 << 30), flips=st.integers(1, 3), rate=st.floats(0.05, 0.9))
@settings(max_examples=50, deadline=None)
def test_wrong_letters_never_give_a_wrong_message(seed: int, flips: int, rate: float) -> None:
    rnd = random.Random(seed)
    ur = bytes_to_ur(message(400, seed))
    encoder = UrEncoder(ur.ur_type, ur.cbor, 60)
    decoder = UrDecoder({"bytes"})
    for _ in range(120):
        letters = list(encoder.next_part())
        if rnd.random() < rate:
            for _ in range(flips):
                letters[rnd.randrange(len(letters))] = rnd.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        decoder.receive("".join(letters))
        if decoder.result is not None:
            assert decoder.result == ur


class StepwiseReduction:
    """The decoder most libraries have, after section 7.1; it serves as a second opinion."""

    def __init__(self, seq_len: int) -> None:
        self.seq_len = seq_len
        self.solved: dict[int, int] = {}
        self.mixed: dict[frozenset[int], int] = {}

    def add(self, indexes: frozenset[int], data: int) -> None:
        queue = [(indexes, data)]
        while queue:
            indexes, data = queue.pop()
            for index in list(indexes):
                if len(indexes) > 1 and index in self.solved:
                    indexes, data = indexes - {index}, data ^ self.solved[index]
            for other, other_data in self.mixed.items():
                if other < indexes:
                    indexes, data = indexes - other, data ^ other_data
            if len(indexes) > 1:
                queue += self._reduce(indexes, data)
                self.mixed[indexes] = data
            elif not indexes <= self.solved.keys():
                self.solved[min(indexes)] = data
                queue += self._reduce(indexes, data)

    def _reduce(self, indexes: frozenset[int], data: int) -> list[tuple[frozenset[int], int]]:
        smaller = [
            (other - indexes, other_data ^ data)
            for other, other_data in self.mixed.items()
            if indexes < other
        ]
        self.mixed = {key: value for key, value in self.mixed.items() if not indexes < key}
        for other, other_data in [item for item in smaller if len(item[0]) > 1]:
            self.mixed[other] = other_data
        return [item for item in smaller if len(item[0]) == 1]


@given(
    size=st.integers(20, 600),
    fragment=st.integers(10, 40),
    loss=st.floats(0, 0.8),
    first=st.sampled_from([1, 50, 3000]),
    seed=st.integers(0, 1 << 30),
)
@settings(max_examples=60, deadline=None)
def test_elimination_is_never_later_than_stepwise_reduction(
    size: int, fragment: int, loss: float, first: int, seed: int
) -> None:
    rnd = random.Random(seed)
    cbor = encode_byte_string(message(size, seed))
    length = fragment_length(len(cbor), fragment)
    count = -(-len(cbor) // length)
    checksum = zlib.crc32(cbor)
    padded = cbor.ljust(count * length, b"\0")
    stepwise = StepwiseReduction(count)
    assembly: Assembly | None = None
    for seq_num in range(first, first + 20 * count + 50):
        if rnd.random() < loss:
            continue
        indexes = frozenset(choose_fragments(seq_num, count, checksum))
        data = 0
        for index in indexes:
            data ^= int.from_bytes(padded[index * length : (index + 1) * length], "big")
        part = Part(seq_num, count, len(cbor), checksum, data.to_bytes(length, "big"))
        assembly = assembly or Assembly(part)
        assembly.add(part)
        stepwise.add(indexes, data)
        if len(stepwise.solved) == count:
            assert assembly.is_complete
        assert assembly.rank >= len(stepwise.solved)
        if assembly.is_complete:
            assert assembly.message() == cbor
            break


@given(
    st.text(max_size=200)
    | st.from_regex(r"(?i)ur:[a-z-]{1,9}/([0-9]+-[0-9]+/)?[a-z]*", fullmatch=True)
)
@example("ur:a/1-1/\N{KELVIN SIGN}")
@settings(deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    decoder = UrDecoder()
    verdict = decoder.receive(text)
    assert (decoder.last_error is None) == (verdict in GOOD)
    try:
        parse_ur_text_untrusted(text)
    except RemoteAirgapError:
        assert verdict is not FrameVerdict.NEW


numbers = st.integers(0, 2**64 - 1) | st.integers(0, 40)


@given(st.tuples(numbers, numbers, numbers, numbers), st.binary(max_size=60), st.booleans())
@settings(deadline=None)
def test_any_part_keeps_within_the_limits(
    fields: tuple[int, int, int, int], data: bytes, agree: bool
) -> None:
    part = Part(*fields, data)
    shown = (fields[0], fields[1]) if agree else (1, 1)
    decoder = UrDecoder()
    text = format_ur_text("bytes", shown, encode_bytewords(encode_part(part)))
    if decoder.receive(text) in GOOD:
        assert part.seq_len <= MAX_READ_FRAGMENTS
        assert part.message_bytes <= MAX_MESSAGE_BYTES
        assert part.message_bytes <= part.seq_len * len(data)
        assert decoder.progress.needed == part.seq_len
    else:
        assert decoder.progress.needed == 0


@given(st.integers(1, MAX_READ_FRAGMENTS), st.integers(1, MAX_FRAGMENT_BYTES), st.data())
@settings(max_examples=50, deadline=None)
def test_consistent_parts_pass_the_check(count: int, length: int, data: st.DataObject) -> None:
    size = data.draw(st.integers((count - 1) * length + 1, count * length))
    part = Part(1, count, size, 0, bytes(length))
    if size <= MAX_MESSAGE_BYTES:
        check_part_limits(part)
    else:
        with pytest.raises(RemoteAirgapError):
            check_part_limits(part)


cbor_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.binary()
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.integers(0, 300), inner, max_size=5)
        | st.builds(cbor2.CBORTag, st.integers(40_000, 50_000), inner)
    ),
    max_leaves=12,
)


@given(cbor_values, st.binary(min_size=1, max_size=3))
@settings(deadline=None)
def test_what_another_library_writes_is_one_item(value: object, rest: bytes) -> None:
    data = cbor2.dumps(value)
    check_item_untrusted(data)
    for wrong in (data[:-1], data + rest):
        with pytest.raises(CborError):
            check_item_untrusted(wrong)


@given(st.binary(max_size=80))
@settings(deadline=None)
def test_any_bytes_are_one_item_or_refused(data: bytes) -> None:
    with contextlib.suppress(CborError):
        check_item_untrusted(data)


@given(st.binary(max_size=120))
@settings(deadline=None)
def test_any_bytes_are_a_part_or_refused(data: bytes) -> None:
    try:
        part = parse_part_untrusted(data)
    except RemoteAirgapError:
        return
    assert parse_part_untrusted(encode_part(part)) == part


@given(st.binary(min_size=1, max_size=300), st.sampled_from(BytewordsStyle))
@settings(deadline=None)
def test_bytewords_round_trip(body: bytes, style: BytewordsStyle) -> None:
    text = encode_bytewords(body, style)
    for form in (text, text.upper(), text.title()):
        assert decode_bytewords_untrusted(form, style) == body
        assert decode_bytewords_untrusted(form, style, allow_short_crc=True) == body


@given(st.binary(min_size=1, max_size=40), st.integers(0, 1), st.binary(min_size=2, max_size=3))
@settings(deadline=None)
def test_random_short_tails_are_refused(body: bytes, skip: int, tail: bytes) -> None:
    whole = encode_bytewords(body + tail)[skip:-8]
    with pytest.raises(BytewordsError):
        decode_bytewords_untrusted(whole, allow_short_crc=True)
