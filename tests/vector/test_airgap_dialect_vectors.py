"""BBQr, SeedQR, UR 1, pMofN and base43 against published messages (ur-vectors.json)."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from primegap.airgap import (
    BbqrEncoding,
    BbqrReader,
    CodeReader,
    Container,
    Expect,
    FrameVerdict,
    LegacyUrReader,
    SeedQrError,
    alphanumeric_capacity,
    byte_capacity,
    bytes_from_ur,
    bytes_to_ur,
    decode_compact_seedqr_untrusted,
    decode_seedqr_untrusted,
    encode_bbqr,
    encode_legacy_ur,
    encode_pmofn,
    encode_seedqr,
)
from primegap.airgap.base43 import ALPHABET, decode_base43_untrusted, encode_base43
from primegap.airgap.qr import qr_matrix
from primegap.airgap.ur.legacy import decode_bc32_untrusted, encode_bc32

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "ur-vectors.json").read_text()
)
BBQR = VECTORS["bbqr"]
SEEDS = [*VECTORS["seedqr"]["rows"], *VECTORS["seedqr"]["edge"]]
LEGACY = VECTORS["ur1_legacy"]
SAME = VECTORS["psbt_same_payload"]
PSBT = bytes.fromhex(SAME["psbt_hex"])


@pytest.mark.parametrize("row", BBQR["rows"], ids=lambda row: row["type"] + row["encoding"])
def test_bbqr_messages_are_read_in_any_order(row: dict[str, Any]) -> None:
    reader = BbqrReader()
    for text in reversed(row["parts"]):
        assert reader.receive(text) is FrameVerdict.NEW
    assert reader.result is not None
    assert (reader.result.file_type, reader.result.encoding.value) == (row["type"], row["encoding"])
    assert reader.result.data.hex() == row["raw_hex"]


@pytest.mark.parametrize("row", BBQR["base32_nopad"], ids=lambda row: row["text"])
def test_bbqr_base32_has_no_padding(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["hex"])
    assert encode_bbqr(data, "B", encoding=BbqrEncoding.BASE32) == [f"B$2B0100{row['text']}"]


@pytest.mark.parametrize("row", BBQR["invalid"], ids=lambda row: row["why"])
def test_bbqr_headers_that_are_none(row: dict[str, Any]) -> None:
    assert BbqrReader().receive(row["text"]) is FrameVerdict.UNREADABLE


@pytest.mark.parametrize("row", BBQR["rows"][:2], ids=["one", "five"])
def test_bbqr_is_written_with_a_window_that_small_devices_have(row: dict[str, Any]) -> None:
    texts = encode_bbqr(bytes.fromhex(row["raw_hex"]), "P")
    body = "".join(text[8:] for text in texts)
    inflater = zlib.decompressobj(-10)  # the strictest reader: a window of 1 KiB
    data = inflater.decompress(base64.b32decode(body + "=" * (-len(body) % 8)))
    assert data.hex() == row["raw_hex"]
    assert inflater.eof


@pytest.mark.parametrize("row", SEEDS, ids=lambda row: row["mnemonic"].split()[0])
def test_seedqr_both_forms(row: dict[str, Any]) -> None:
    entropy = bytes.fromhex(row["compact_hex"])
    assert encode_seedqr(entropy) == row["seedqr_digits"]
    assert decode_seedqr_untrusted(row["seedqr_digits"]) == entropy
    assert decode_compact_seedqr_untrusted(entropy) == entropy
    for text, raw in ((row["seedqr_digits"], row["seedqr_digits"].encode()), ("\0", entropy)):
        reader = CodeReader(Expect.SEED)
        assert reader.receive(text, raw) is FrameVerdict.NEW
        assert reader.result is not None
        assert reader.result.content == entropy
    wrong = str(int(row["seedqr_digits"][-1]) ^ 1)
    with pytest.raises(SeedQrError):
        decode_seedqr_untrusted(row["seedqr_digits"][:-1] + wrong)


@pytest.mark.parametrize("row", LEGACY["bc32"], ids=lambda row: row["text"][:6])
def test_bc32(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["hex"])
    assert encode_bc32(data) == row["text"]
    assert decode_bc32_untrusted(row["text"]) == data


def test_ur_1_in_pieces_and_in_one() -> None:
    row = LEGACY["multi"]
    cbor = bytes.fromhex(row["payload_cbor_hex"])
    for texts in (row["parts"][::-1], [text.upper() for text in row["parts"]], [row["single"]]):
        reader = LegacyUrReader()
        for text in texts:
            assert reader.receive(text) is FrameVerdict.NEW
        assert reader.result is not None
        assert reader.result.cbor == cbor
        assert bytes_from_ur(reader.result) == PSBT
    longest = max(len(text) for text in row["parts"])
    written = encode_legacy_ur(bytes_to_ur(PSBT), longest + 4)  # room for 999of999
    assert [text.lower() for text in written] == row["parts"]
    assert encode_legacy_ur(bytes_to_ur(PSBT), 4296) == [row["single"].upper()]


def test_ur_1_with_one_bit_of_the_digest_changed() -> None:
    row = LEGACY["multi"]
    digest = row["digest_bc32"]
    wrong = ("w" if digest[3] != "w" else "q").join((digest[:3], digest[4:]))
    reader = LegacyUrReader()
    verdicts = [reader.receive(text.replace(digest, wrong)) for text in row["parts"]]
    assert verdicts[-1] is FrameVerdict.CORRUPT
    assert reader.result is None


def test_pmofn_as_another_signer_writes_it() -> None:
    reader = CodeReader()
    for text in SAME["pMofN_of_base58"]:
        assert reader.receive(text) is FrameVerdict.NEW
    assert reader.result is not None
    assert reader.result.dialect.container is Container.PMOFN
    assert reader.result.text() == SAME["base58"]
    pieces = sorted(SAME["pMofN_of_base58"])
    assert "".join(p.split(" ")[1] for p in encode_pmofn(SAME["base58"], 160)) == SAME["base58"]
    assert pieces[0].startswith("p1of3 ")


@pytest.mark.parametrize("row", VECTORS["base43"]["rows"], ids=lambda row: row["hex"])
def test_base43(row: dict[str, Any]) -> None:
    assert VECTORS["base43"]["alphabet"] == ALPHABET
    assert encode_base43(bytes.fromhex(row["hex"])) == row["text"]
    assert decode_base43_untrusted(row["text"]).hex() == row["hex"]


@pytest.mark.parametrize("version", [1, 2, 5, 7, 9, 10, 13, 17, 23, 26, 27, 33, 40])
def test_capacities_are_those_of_symbols(version: int) -> None:
    for letter, capacity in (("A", alphanumeric_capacity), ("a", byte_capacity)):
        assert qr_matrix(letter * capacity(version)).version == version
        if version < 40:
            assert qr_matrix(letter * (capacity(version) + 1)).version == version + 1
