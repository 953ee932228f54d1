"""Picture files: whatever is in them, they are read or refused with the typed error."""

from __future__ import annotations

import contextlib
import io

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from primegap.airgap import QUIET_ZONE_MODULES, QrError
from primegap.airgap.qr import qr_matrix, scan_image, scan_picture


def picture(form: str, **options: object) -> bytes:
    matrix = qr_matrix("UR:BYTES/HDEYMEJTSWHH")
    side = (matrix.size, matrix.size)
    image = Image.frombytes("L", side, b"".join(matrix.rows)).point(lambda dark: 255 * (1 - dark))
    image = ImageOps.expand(image, QUIET_ZONE_MODULES, 255)
    out = io.BytesIO()
    image.resize((116, 116), Image.Resampling.NEAREST).save(out, form, **options)
    return out.getvalue()


SEEDS = (
    picture("PNG"),
    picture("PNG", optimize=True),
    picture("JPEG"),
    picture("JPEG", progressive=True, exif=Image.Exif()),
)


@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1),
    tail=st.binary(max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_read_or_refused(
    seed: bytes, changes: list[tuple[float, int]], cut: float, tail: bytes
) -> None:
    damaged = bytearray(seed)
    for where, value in changes:
        # Most of what can go wrong is in the first hundred bytes.
        damaged[int(where**3 * len(damaged))] = value
    with contextlib.suppress(QrError):
        scan_picture(bytes(damaged[: max(8, int(cut**0.2 * len(damaged)))]) + tail)


@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]), st.binary(max_size=200))
@settings(deadline=None)
def test_random_files_are_refused(signature: bytes, rest: bytes) -> None:
    with contextlib.suppress(QrError):
        assert scan_picture(signature + rest) == []


@given(st.binary(min_size=400, max_size=400))
def test_random_images_hold_no_codes(grey: bytes) -> None:
    assert scan_image(grey, 20, 20) == []


@given(st.binary(min_size=1, max_size=300) | st.text(min_size=1, max_size=100))
@settings(deadline=None)
def test_any_content_is_read_as_written(content: bytes | str) -> None:
    matrix = qr_matrix(content)
    side = matrix.size + 2 * QUIET_ZONE_MODULES
    image = Image.frombytes("L", (matrix.size,) * 2, b"".join(matrix.rows))
    image = ImageOps.expand(image.point(lambda dark: 255 * (1 - dark)), QUIET_ZONE_MODULES, 255)
    image = image.resize((side * 3, side * 3), Image.Resampling.NEAREST)
    (code,) = scan_image(image.tobytes(), *image.size)
    assert code.raw == (content.encode() if isinstance(content, str) else content)
