"""The writer of UR frames, and the density table."""

from __future__ import annotations

import pytest

import primegap.airgap
import primegap.airgap.ur
from primegap.airgap import (
    DEFAULT_DENSITY,
    DEFAULT_FRAME_PERIOD_MS,
    DENSITIES,
    MAX_FRAME_PERIOD_MS,
    MIN_FRAME_PERIOD_MS,
    QUIET_ZONE_MODULES,
    SCREEN_WIDTH_PX,
    LocalAirgapError,
    TooLargeForQrError,
    UrDecoder,
    UrEncoder,
    psbt_to_ur,
)
from primegap.airgap.ur import MAX_MESSAGE_BYTES, MAX_WRITTEN_FRAGMENTS, Ur
from primegap.airgap.ur.cbor import encode_byte_string, encode_head
from primegap.airgap.ur.fragments import fragment_length

CBOR = encode_byte_string(bytes(range(200)))


def test_parts_never_end_and_differ() -> None:
    encoder = UrEncoder("bytes", CBOR, 20)
    parts = [encoder.next_part() for _ in range(200)]
    assert len(set(parts)) == 200
    assert all(part == part.upper() for part in parts)


def test_a_single_part_repeats() -> None:
    encoder = UrEncoder("bytes", CBOR, 300)
    assert (encoder.parts_count, encoder.fragment_bytes) == (1, len(CBOR))
    assert encoder.next_part() == encoder.next_part()


def test_restart_begins_with_part_one() -> None:
    encoder = UrEncoder("bytes", CBOR, 20)
    first = encoder.next_part()
    encoder.next_part()
    encoder.restart()
    assert encoder.next_part() == first


def test_numbers_wrap_to_one() -> None:
    encoder = UrEncoder("bytes", CBOR, 20, first_seq_num=2**32 - 2)
    numbers = [encoder.next_part().split("/")[1].split("-")[0] for _ in range(4)]
    assert numbers == ["4294967294", "4294967295", "1", "2"]
    assert encoder.seq_num == 3


@pytest.mark.parametrize("size", [1, 9, 10, 11, 19])
def test_short_messages_are_one_fragment(size: int) -> None:
    assert fragment_length(size, 10) == size


def test_the_writer_advises_a_file_for_long_messages() -> None:
    cbor = encode_byte_string(bytes(MAX_WRITTEN_FRAGMENTS * 50 - 3))
    assert UrEncoder("bytes", cbor, 50).parts_count == MAX_WRITTEN_FRAGMENTS
    with pytest.raises(TooLargeForQrError, match="fragments"):
        UrEncoder("bytes", encode_byte_string(bytes(MAX_WRITTEN_FRAGMENTS * 50 - 2)), 50)


@pytest.mark.parametrize("size", [0, 9, 2101])
def test_fragment_size_is_bounded(size: int) -> None:
    with pytest.raises(LocalAirgapError):
        UrEncoder("bytes", CBOR, size)


@pytest.mark.parametrize("first", [0, 2**32])
def test_first_number_is_bounded(first: int) -> None:
    with pytest.raises(LocalAirgapError):
        UrEncoder("bytes", CBOR, 20, first_seq_num=first)


@pytest.mark.parametrize(
    ("ur_type", "cbor"),
    [
        ("", b"\x00"),
        ("Bytes", b"\x00"),
        ("a/b", b"\x00"),
        ("a" * 33, b"\x00"),
        ("bytes", b""),
        ("bytes", b"\x00\x00"),
        ("bytes", encode_byte_string(bytes(MAX_MESSAGE_BYTES))),
    ],
    ids=range(7),
)
def test_only_well_formed_messages_are_written(ur_type: str, cbor: bytes) -> None:
    with pytest.raises(LocalAirgapError):
        Ur(ur_type, cbor)


def test_only_psbts_are_written_as_psbts() -> None:
    with pytest.raises(LocalAirgapError):
        psbt_to_ur(b"hello")
    with pytest.raises(LocalAirgapError):
        psbt_to_ur(b"psbt\xff", "crypto-seed")


@pytest.mark.parametrize("bits", [0, 5, 8, 16, 32, 63])
def test_heads_are_shortest(bits: int) -> None:
    number = 1 << bits
    expected = {0: 1, 5: 2, 8: 3, 16: 5, 32: 9, 63: 9}[bits]
    assert len(encode_head(0, number)) == expected


def test_a_head_holds_64_bits() -> None:
    with pytest.raises(OverflowError):
        encode_head(0, 1 << 64)


def test_densities_use_the_screen_fully() -> None:
    assert len(DENSITIES) >= 5
    for density in DENSITIES:
        assert density.module_px >= 4
        larger = 17 + 4 * (density.qr_version + 1) + 2 * QUIET_ZONE_MODULES
        assert SCREEN_WIDTH_PX // larger < density.module_px
    sizes = [density.max_fragment_bytes for density in DENSITIES]
    assert sizes == sorted(set(sizes))
    assert DEFAULT_DENSITY in DENSITIES
    assert MIN_FRAME_PERIOD_MS < DEFAULT_FRAME_PERIOD_MS < MAX_FRAME_PERIOD_MS


@pytest.mark.parametrize("density", DENSITIES, ids=lambda density: density.name)
def test_densities_work(density: primegap.airgap.Density) -> None:
    encoder = UrEncoder("bytes", CBOR, density.max_fragment_bytes)
    decoder = UrDecoder()
    while decoder.result is None:
        decoder.receive(encoder.next_part())
    assert decoder.result.cbor == CBOR


@pytest.mark.parametrize("package", [primegap.airgap, primegap.airgap.ur], ids=["airgap", "ur"])
def test_public_names_are_documented(package: object) -> None:
    names: list[str] = vars(package)["__all__"]
    assert names == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    for name in names:
        value = vars(package)[name]
        if callable(value):
            assert value.__doc__
