"""The reader of every kind of code, and answers in the dialect that was asked."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable

import pytest

from primegap.airgap import (
    DEFAULT_DENSITY,
    DENSITIES,
    FRAMES_TO_OFFER_RESTART,
    Animation,
    BbqrEncoding,
    BbqrError,
    BbqrReader,
    CodeReader,
    Container,
    CorruptSetError,
    Dialect,
    Expect,
    FrameVerdict,
    LocalAirgapError,
    NotAPsbtError,
    OtherMessageError,
    PieceError,
    PmofnReader,
    RemoteAirgapError,
    SeedQrError,
    TooLargeForQrError,
    UnexpectedUrTypeError,
    Ur,
    UrEncoder,
    alphanumeric_capacity,
    bytes_to_ur,
    encode_bbqr,
    encode_legacy_ur,
    encode_pmofn,
    psbt_to_ur,
)
from primegap.airgap.base43 import encode_base43
from primegap.airgap.bbqr import FILE_TYPES
from primegap.airgap.dialect import psbt_to_text

PSBT = b"psbt\xff" + bytes(range(256)) * 2 + b"\0"
OTHER = b"psbt\xff" + bytes(range(255, -1, -1)) * 2 + b"\0"

DIALECTS: dict[str, Callable[[bytes], list[str]]] = {
    "ur:crypto-psbt": lambda data: ur_texts(psbt_to_ur(data)),
    "ur:psbt": lambda data: ur_texts(psbt_to_ur(data, "psbt")),
    "ur:bytes": lambda data: ur_texts(bytes_to_ur(data)),
    "ur1:bytes": lambda data: encode_legacy_ur(bytes_to_ur(data), 200),
    "bbqr:P": lambda data: encode_bbqr(data, "P", encoding=BbqrEncoding.BASE32, max_version=7),
    "pmofn:base64": lambda data: encode_pmofn(base64.b64encode(data).decode(), 200),
    "pmofn:hex": lambda data: encode_pmofn(data.hex(), 200),
    "plain:base64": lambda data: [base64.b64encode(data).decode()],
    "plain:hex": lambda data: [data.hex()],
    "plain:base43": lambda data: [encode_base43(data)],
}
SERIES = [name for name in DIALECTS if not name.startswith("plain")]


def ur_texts(ur: Ur) -> list[str]:
    encoder = UrEncoder(ur.ur_type, ur.cbor, 60)
    return [encoder.next_part() for _ in range(encoder.parts_count)]


def read(reader: CodeReader, texts: list[str]) -> list[FrameVerdict]:
    return [reader.receive(text, text.encode()) for text in texts]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("expect", [Expect.PSBT, Expect.ANYTHING])
def test_a_psbt_is_answered_in_its_own_dialect(name: str, expect: Expect) -> None:
    reader = CodeReader(expect)
    texts = DIALECTS[name](PSBT)
    assert set(read(reader, texts)) == {FrameVerdict.NEW}
    assert reader.progress.fraction == 1.0
    assert reader.result is not None
    assert str(reader.result.dialect) == name
    assert reader.result.psbt() == PSBT
    assert read(reader, texts[:1]) == [FrameVerdict.DUPLICATE]

    animation = Animation.answer(reader.result.dialect, OTHER, DEFAULT_DENSITY)
    back = CodeReader(Expect.PSBT)
    first = animation.next_frame()
    animation.restart()
    for _ in range(animation.frames_count):
        back.receive(animation.next_frame())
    assert back.result is not None
    assert str(back.result.dialect) == name
    assert back.result.psbt() == OTHER
    if name.startswith(("plain", "pmofn", "bbqr", "ur1")):
        assert animation.next_frame() == first  # round and round


def test_a_binary_psbt_is_answered_in_hex() -> None:
    reader = CodeReader(Expect.PSBT)
    assert reader.receive(PSBT.decode("latin-1"), PSBT) is FrameVerdict.NEW
    assert reader.result is not None
    assert reader.result.dialect == Dialect(Container.PLAIN, "binary")
    assert Animation.answer(reader.result.dialect, PSBT, DEFAULT_DENSITY).next_frame() == (
        PSBT.hex().upper()
    )


def test_a_plain_answer_that_fits_no_symbol_becomes_a_ur() -> None:
    large = PSBT + bytes(3000)
    animation = Animation.answer(Dialect(Container.PLAIN, "base64"), large, DEFAULT_DENSITY)
    assert animation.next_frame().startswith("UR:CRYPTO-PSBT/1-")


@pytest.mark.parametrize("density", DENSITIES, ids=lambda density: density.name)
@pytest.mark.parametrize("name", SERIES)
def test_every_frame_fits_the_symbol_of_its_density(name: str, density: object) -> None:
    from primegap.airgap import Density
    from primegap.airgap.qr import qr_matrix

    assert isinstance(density, Density)
    container, kind = name.split(":")
    animation = Animation.answer(Dialect(Container(container), kind), OTHER * 5, density)
    for _ in range(animation.frames_count):
        assert qr_matrix(animation.next_frame()).version <= density.qr_version


@pytest.mark.parametrize("name", SERIES)
def test_other_codes_between_the_frames_do_not_disturb(name: str) -> None:
    reader = CodeReader(Expect.PSBT)
    strangers = [texts[0] for other, make in DIALECTS.items() if other != name
                 for texts in [make(OTHER)]]  # fmt: skip
    texts = DIALECTS[name](PSBT)
    reader.receive(texts[0])
    for text in texts[1:]:
        for stranger in strangers:
            assert reader.receive(stranger) is not FrameVerdict.NEW
            assert isinstance(reader.last_error, RemoteAirgapError)
        assert reader.receive(text) is FrameVerdict.NEW
    assert reader.result is not None
    assert reader.result.psbt() == PSBT


def test_a_person_may_change_over_to_a_message_of_another_kind() -> None:
    reader = CodeReader(Expect.PSBT)
    reader.receive(DIALECTS["bbqr:P"](PSBT)[0])
    others = DIALECTS["ur:crypto-psbt"](OTHER)
    for text in others[:2]:
        assert reader.receive(text) is FrameVerdict.FOREIGN
        assert not reader.offers_restart
    assert reader.receive(others[2]) is FrameVerdict.FOREIGN
    assert isinstance(reader.last_error, OtherMessageError)
    assert reader.offers_restart
    reader.start_over()
    assert (reader.progress.rank, reader.progress.needed) == (1, len(others))
    read(reader, others)
    assert reader.result is not None
    assert reader.result.psbt() == OTHER


def test_a_person_may_change_over_to_a_message_of_the_same_kind() -> None:
    reader = CodeReader(Expect.PSBT)
    reader.receive(DIALECTS["ur:crypto-psbt"](PSBT)[0])
    others = DIALECTS["ur:crypto-psbt"](OTHER)
    read(reader, others[:3])
    assert reader.offers_restart
    reader.start_over()
    read(reader, others)
    assert reader.result is not None
    assert reader.result.psbt() == OTHER


def test_what_is_refused_is_no_message_to_change_over_to() -> None:
    reader = CodeReader(Expect.PSBT)
    texts = DIALECTS["bbqr:P"](PSBT)
    reader.receive(texts[0])
    stranger = ur_texts(Ur("crypto-hdkey", b"\xa1\x01\xf5"))[0]
    for _ in range(FRAMES_TO_OFFER_RESTART + 1):
        assert reader.receive(stranger) is FrameVerdict.REFUSED
    assert not reader.offers_restart
    assert set(read(reader, texts[1:])) == {FrameVerdict.NEW}
    assert reader.result is not None


def test_what_is_expected_decides() -> None:
    digits = "0" * 47 + "3"
    anything = CodeReader()
    assert anything.receive(digits, digits.encode()) is FrameVerdict.NEW
    assert anything.result is not None
    assert anything.result.text() == digits  # not a seed, where nobody asked for one
    psbt = CodeReader(Expect.PSBT)
    assert psbt.receive("bc1qsomething") is FrameVerdict.UNREADABLE
    assert isinstance(psbt.last_error, NotAPsbtError)
    assert psbt.receive(ur_texts(Ur("crypto-hdkey", b"\xa1\x01\xf5"))[0]) is FrameVerdict.REFUSED
    assert isinstance(psbt.last_error, UnexpectedUrTypeError)
    assert psbt.result is None
    assert set(read(psbt, DIALECTS["ur:psbt"](PSBT))) == {FrameVerdict.NEW}
    seed = CodeReader(Expect.SEED)
    assert seed.receive("hello", b"hello") is FrameVerdict.UNREADABLE
    assert isinstance(seed.last_error, SeedQrError)
    assert seed.receive("2048" * 12) is FrameVerdict.UNREADABLE
    typed = CodeReader(ur_types={"crypto-account"})
    legacy = encode_legacy_ur(bytes_to_ur(PSBT), 200)
    assert typed.receive(legacy[0]) is FrameVerdict.REFUSED


def test_a_complete_message_of_another_kind_is_dropped_whole() -> None:
    reader = CodeReader(Expect.PSBT)
    for texts in (
        encode_pmofn("just words", 20),
        encode_bbqr(b"{}", "J"),
        ur_texts(bytes_to_ur(b"x")),
    ):
        assert read(reader, texts)[-1] is FrameVerdict.CORRUPT
        assert reader.result is None
        assert reader.progress.needed == 0
    assert read(reader, DIALECTS["pmofn:hex"](PSBT))[-1] is FrameVerdict.NEW


def test_bbqr_pieces_that_contradict_each_other() -> None:
    texts = encode_bbqr(PSBT, "P", encoding=BbqrEncoding.HEX, max_version=7)
    assert len(texts) > 2
    reader = BbqrReader()
    reader.receive(texts[0])
    changed = texts[0][:-2] + ("AA" if texts[0][-2:] != "AA" else "BB")
    assert reader.receive(changed) is FrameVerdict.CORRUPT
    assert isinstance(reader.last_error, CorruptSetError)
    for index, piece in ((0, texts[0][:-2]), (1, texts[1] + "00"), (len(texts) - 1, None)):
        reader = BbqrReader()
        verdict = None
        for at, text in enumerate(texts):
            longer = texts[0][:6] + text[6:8] + texts[0][8:] + "00"
            verdict = reader.receive((piece or longer) if at == index else text)
        assert verdict is FrameVerdict.CORRUPT
        assert isinstance(reader.last_error, BbqrError)


@pytest.mark.parametrize("text", ["B$HP0100ABC", "B$2P0100A", "B$2P0100AB", "B$2P01001AAAAAAA"])
def test_bbqr_that_is_not_whole_bytes(text: str) -> None:
    reader = BbqrReader()
    assert reader.receive(text) is FrameVerdict.CORRUPT
    assert isinstance(reader.last_error, BbqrError)


def test_bbqr_compression_is_bounded_and_exact() -> None:
    def message(deflated: bytes) -> BbqrReader:
        reader = BbqrReader()
        for text in encode_bbqr(deflated, "B", encoding=BbqrEncoding.BASE32, max_version=40):
            reader.receive(text.replace("B$2", "B$Z", 1))
        return reader

    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(bytes(10 << 20)) + deflater.flush()
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    good = deflater.compress(PSBT) + deflater.flush()
    assert (read_back := message(good).result) is not None
    assert read_back.data == PSBT
    for bad in (bomb, good[:-1], good + b"\0", b"\xff" * 40):
        reader = message(bad)
        assert reader.result is None
        assert isinstance(reader.last_error, BbqrError)


def test_pmofn_is_strict_about_its_numbers() -> None:
    for text in ("p0of2 a", "p3of2 a", "p1of2", "p1of2 ", "p01of2 a", "p1of1000 a", "p1of2 \u00e9"):
        reader = PmofnReader()
        assert reader.receive(text) is FrameVerdict.UNREADABLE, text
        assert isinstance(reader.last_error, PieceError)
    with pytest.raises(TooLargeForQrError):
        encode_pmofn("x" * 20_000, 25)
    for text, room in (("", 100), ("\u00e9", 100), ("x", 19)):
        with pytest.raises(LocalAirgapError):
            encode_pmofn(text, room)


def test_writers_refuse_what_no_reader_takes() -> None:
    with pytest.raises(TooLargeForQrError):
        encode_bbqr(bytes(300_000), "B", encoding=BbqrEncoding.HEX, max_version=5)
    for data, kind, version in ((b"", "P", 10), (b"x", "Q", 10), (b"x", "P", 4), (b"x", "P", 41)):
        with pytest.raises(LocalAirgapError):
            encode_bbqr(data, kind, max_version=version)
    with pytest.raises(LocalAirgapError):
        encode_legacy_ur(Ur("crypto-hdkey", b"\xa0"), 200)
    with pytest.raises(LocalAirgapError):
        Animation.answer(Dialect(Container.SEEDQR), PSBT, DEFAULT_DENSITY)
    with pytest.raises(LocalAirgapError):
        Animation.answer(Dialect(Container.PLAIN), PSBT, DEFAULT_DENSITY)


@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_bbqr_pieces_are_of_nearly_equal_length(file_type: str) -> None:
    for size in (1, 5, 700, 1331, 5000):
        texts = encode_bbqr(bytes(range(250)) * (size // 250) + b"x", file_type, max_version=10)
        lengths = [len(text) for text in texts]
        assert max(lengths) <= alphanumeric_capacity(10)
        assert len(set(lengths[:-1])) <= 1
        assert lengths[-1] <= lengths[0]


def test_secrets_do_not_appear_in_texts_about_them() -> None:
    reader = CodeReader(Expect.SEED)
    reader.receive("\0", bytes(range(16)))
    assert reader.result is not None
    assert bytes(range(16)).hex() not in repr(reader.result)
    assert "\\x05" not in repr(reader.result)


def test_hex_is_written_so_that_alphanumeric_mode_applies() -> None:
    assert psbt_to_text(PSBT, "hex") == PSBT.hex().upper()
