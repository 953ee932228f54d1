"""QR symbols and picture files: what is drawn, and what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from primegap.airgap import (
    DENSITIES,
    Density,
    LocalAirgapError,
    PictureTooLargeError,
    QrError,
    RemoteAirgapError,
    TooLargeForQrError,
    UrEncoder,
)
from primegap.airgap.qr import (
    MAX_IMAGE_PIXELS,
    MAX_PICTURE_BYTES,
    ErrorCorrection,
    QrMatrix,
    qr_matrix,
    scan_image,
    scan_picture,
)
from primegap.airgap.ur.cbor import encode_byte_string

VECTORS = Path(__file__).parent.parent / "vectors" / "ur-vectors.json"
FINDER = ("1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111")
FORMAT_MASK = 0b101010000010010
LEVELS = {0b01: "L", 0b00: "M", 0b11: "Q", 0b10: "H"}  # ISO/IEC 18004, table 12


def bits(row: bytes) -> str:
    return "".join(map(str, row))


def draw(matrix: QrMatrix, scale: int = 4, quiet: int = 4) -> Image.Image:
    """Draw modules as a renderer does, without any help of the QR library."""
    side = matrix.size + 2 * quiet
    image = Image.new("L", (side, side), 255)
    for y, row in enumerate(matrix.rows):
        for x, dark in enumerate(row):
            if dark:
                image.putpixel((x + quiet, y + quiet), 0)
    return image.resize((side * scale, side * scale), Image.Resampling.NEAREST)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def scan(matrix: QrMatrix) -> list[tuple[str, bytes]]:
    image = draw(matrix)
    return [(c.text, c.raw) for c in scan_image(image.tobytes(), image.width, image.height)]


def png_of_size(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG whose head says what we like, however little follows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("level", ErrorCorrection)
@pytest.mark.parametrize("min_version", [1, 7, 40])
def test_symbols_are_built_as_the_standard_says(level: ErrorCorrection, min_version: int) -> None:
    matrix = qr_matrix("UR:X/AEAE", error_correction=level, min_version=min_version)
    assert matrix.version == min_version
    assert len(matrix.rows) == matrix.size == 17 + 4 * min_version
    assert {len(row) for row in matrix.rows} == {matrix.size}
    assert set().union(*matrix.rows) == {0, 1}
    for rows, columns in (
        (slice(7), slice(7)),
        (slice(7), slice(-7, None)),
        (slice(-7, None), slice(7)),
    ):
        assert tuple(bits(row[columns]) for row in matrix.rows[rows]) == FINDER
    row8 = matrix.rows[8]
    shown = int(bits(row8[:6] + row8[7:9] + matrix.rows[7][8:9]), 2) << 6
    shown |= int("".join(str(matrix.rows[y][8]) for y in (5, 4, 3, 2, 1, 0)), 2)
    assert LEVELS[(shown ^ FORMAT_MASK) >> 13] == level.value


def test_upper_case_and_digits_take_their_denser_modes() -> None:
    assert qr_matrix("A" * 224).version == 7
    assert qr_matrix("A" * 225).version == 8
    assert qr_matrix("a" * 224).version == 9
    assert qr_matrix("1" * 370).version == 7
    assert qr_matrix("A" * 4296).version == 40
    assert qr_matrix("1" * 7089).version == 40
    assert qr_matrix(bytes(2953)).version == 40


@pytest.mark.parametrize("content", ["A" * 4297, bytes(2954)])
def test_what_no_symbol_holds_is_refused(content: str | bytes) -> None:
    with pytest.raises(TooLargeForQrError):
        qr_matrix(content)


@pytest.mark.parametrize(("content", "version"), [("", 1), (b"", 1), ("A", 0), ("A", 41)])
def test_bad_arguments_are_refused(content: str | bytes, version: int) -> None:
    with pytest.raises(LocalAirgapError):
        qr_matrix(content, min_version=version)


def test_a_symbol_grows_beyond_the_version_asked_for() -> None:
    assert qr_matrix("A" * 300, min_version=3).version == 9


@pytest.mark.parametrize(
    "content",
    ["HELLO", "hello", "0123456789", "bitcoin:bc1q?label=Café ₿", "日本", "a\tb\r\nc", "A" * 4296],
)
def test_text_is_read_as_written(content: str) -> None:
    assert scan(qr_matrix(content)) == [(content, content.encode())]


@pytest.mark.parametrize(
    "content",
    [
        bytes(16),
        bytes(range(256)),
        b"\r\n\0\x1a",
        "é".encode(),
        b"\x93\xfa\x96\x7b",
        b"psbt\xff\x01",
    ],
    ids=bytes.hex,
)
def test_bytes_are_read_as_written(content: bytes) -> None:
    assert [raw for _, raw in scan(qr_matrix(content))] == [content]


def test_compact_seed_codes_have_the_published_sizes() -> None:
    rows = json.loads(VECTORS.read_text())["seedqr"]["rows"]
    sizes = {16: 21, 32: 25}  # no ECI in front, which would take the next size
    digits = {48: 25, 96: 29}
    for row in rows:
        compact = bytes.fromhex(row["compact_hex"])
        assert qr_matrix(compact).size == sizes[len(compact)]
        assert qr_matrix(row["seedqr_digits"]).size == digits[len(row["seedqr_digits"])]
        assert [raw for _, raw in scan(qr_matrix(compact))] == [compact]


@pytest.mark.parametrize("density", DENSITIES, ids=lambda density: density.name)
def test_every_frame_of_a_density_fits_its_version(density: Density) -> None:
    cbor = encode_byte_string(bytes(density.max_fragment_bytes * 1024 - 5))
    encoder = UrEncoder(
        "account-descriptor", cbor, density.max_fragment_bytes, first_seq_num=65_535
    )
    assert (encoder.parts_count, encoder.fragment_bytes) == (1024, density.max_fragment_bytes)
    longest = encoder.next_part()
    assert qr_matrix(longest).version == density.qr_version
    encoder.restart()
    assert (
        qr_matrix(encoder.next_part(), min_version=density.qr_version).version == density.qr_version
    )


def test_all_codes_of_an_image_are_read() -> None:
    sheet = Image.new("L", (480, 800), 255)
    for number in range(6):
        sheet.paste(draw(qr_matrix(f"CODE {number}")), (number % 2 * 200 + 20, number // 2 * 200))
    codes = scan_image(memoryview(sheet.tobytes()), *sheet.size)
    assert sorted(code.text for code in codes) == [f"CODE {number}" for number in range(6)]


def test_an_image_without_codes() -> None:
    assert scan_image(bytes(480 * 800), 480, 800) == []
    assert scan_image(b"\xff", 1, 1) == []


@pytest.mark.parametrize(
    ("grey", "width", "height"),
    [
        (b"", 0, 0),
        (bytes(10), 3, 3),
        (bytes(9), -3, -3),
        (bytes(MAX_IMAGE_PIXELS + 1), MAX_IMAGE_PIXELS + 1, 1),
    ],
    ids=["empty", "wrong", "negative", "large"],
)
def test_images_are_checked(grey: bytes, width: int, height: int) -> None:
    with pytest.raises(LocalAirgapError):
        scan_image(grey, width, height)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"])
def test_pictures_of_every_kind_are_read(mode: str) -> None:
    image = draw(qr_matrix("KIND"))
    if mode == "I;16":
        wide = b"".join(bytes([value, value]) for value in image.tobytes())
        image = Image.frombytes("I;16", image.size, wide)
    elif mode == "PA":
        image = image.convert("P")
        image.info["transparency"] = bytes([255] * 256)
    else:
        image = image.convert(mode)
    assert [code.text for code in scan_picture(encoded(image))] == ["KIND"]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}], ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_files_are_read(mode: str, options: dict[str, object]) -> None:
    image = draw(qr_matrix("JPEG")).convert(mode)
    assert [c.text for c in scan_picture(encoded(image, "JPEG", **options))] == ["JPEG"]


def test_transparent_parts_are_white() -> None:
    grey = draw(qr_matrix("GLASS"))
    image = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), mask=grey.point(lambda value: 255 - value))
    assert [code.text for code in scan_picture(encoded(image))] == ["GLASS"]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_telephone_picture_is_searched_at_half_size(form: str) -> None:
    image = Image.new("RGB", (4032, 3024), "grey")
    image.paste(draw(qr_matrix("LARGE"), 30), (900, 900))
    assert [code.text for code in scan_picture(encoded(image, form))] == ["LARGE"]


def test_a_picture_of_the_largest_size_is_still_searched() -> None:
    assert scan_picture(encoded(Image.new("L", (4097, 4095), 255))) == []


@pytest.mark.parametrize(
    ("width", "height"),
    [(8193, 1), (1, 8193), (4097, 4096), (2**31 - 1, 2**31 - 1), (100_000, 100_000)],
)
def test_pictures_that_inflate_are_refused_before_they_do(width: int, height: int) -> None:
    bomb = png_of_size(width, height, bytes(5_000_000))
    assert len(bomb) < 10_000
    started = time.perf_counter()
    with pytest.raises(PictureTooLargeError):
        scan_picture(bomb)
    assert time.perf_counter() - started < 0.5


def test_more_pixel_data_than_the_head_says_are_ignored() -> None:
    assert scan_picture(png_of_size(10, 10, bytes(20_000_000))) == []


def test_a_jpeg_of_many_passes_is_refused() -> None:
    image = encoded(Image.new("L", (64, 64)), "JPEG", progressive=True)
    scan_at = image.rindex(b"\xff\xda")
    bomb = image[:scan_at] + image[scan_at:-2] * 200 + image[-2:]
    with pytest.raises(PictureTooLargeError, match="passes"):
        scan_picture(bomb)


def test_a_long_file_is_refused() -> None:
    with pytest.raises(PictureTooLargeError, match="bytes"):
        scan_picture(bytes(MAX_PICTURE_BYTES + 1))


@pytest.mark.parametrize(
    "picture",
    [
        b"",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        encoded(Image.new("L", (50, 50)))[:-30],
        encoded(Image.new("L", (50, 50)), "JPEG")[:300],
        encoded(Image.new("L", (50, 50)), "BMP"),
        encoded(Image.new("L", (50, 50)), "TIFF"),
        png_of_size(0, 10),
        png_of_size(10, 10, bytes(20)),
    ],
    ids=range(11),
)
def test_other_files_are_refused(picture: bytes) -> None:
    with pytest.raises(QrError) as caught:
        scan_picture(picture)
    assert isinstance(caught.value, RemoteAirgapError)
    assert caught.value.code == "picture-unreadable"
    assert caught.value.hint.endswith(".")


def test_a_chunk_of_compressed_text_is_bounded() -> None:
    text = b"k\0\0" + zlib.compress(bytes(8_000_000), 9)
    crc = zlib.crc32(b"zTXt" + text).to_bytes(4, "big")
    image = encoded(draw(qr_matrix("TEXT")))
    bomb = image[:33] + len(text).to_bytes(4, "big") + b"zTXt" + text + crc + image[33:]
    started = time.perf_counter()
    with pytest.raises(QrError):
        scan_picture(bomb)
    assert time.perf_counter() - started < 1


def test_nothing_read_is_shown_by_repr() -> None:
    (code,) = scan_picture(encoded(draw(qr_matrix("SECRET"))))
    assert "SECRET" not in repr(code)
    assert "\\x01" not in repr(qr_matrix("SECRET"))


def test_libraries_are_loaded_late() -> None:
    """Device processes count start-up milliseconds."""
    script = """
import sys
def heavy():
    roots = {name.split(".")[0] for name in sys.modules}
    return sorted(roots & {"PIL", "zxingcpp", "numpy", "cbor2"})
import primegap.airgap, primegap.airgap.qr as qr
print(heavy())
matrix = qr.qr_matrix("A")
qr.scan_image(bytes(100), 10, 10)
print(heavy())
qr.preload()
print(heavy())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout.splitlines() == ["[]", "['zxingcpp']", "['PIL', 'zxingcpp']"]
