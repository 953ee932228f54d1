"""QR codes as pictures: another program reads from them what was put in."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from tests.bitcoin_kit import funded_wallet
from tests.web_kit import picture, pictures_of, read_svg

from primegap.airgap import FrameVerdict, RemoteAirgapError
from primegap.airgap.drawing import qr_animation, qr_png, qr_svg, qr_text
from primegap.airgap.qr import qr_matrix, scan_image, scan_picture
from primegap.web.companion_scan import NOTHING, Scanner

TEXTS = ["A", "BITCOIN:BCRT1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KYGT080", "lower case, ünïcode ✓"]


@pytest.mark.parametrize("text", TEXTS)
def test_svg_and_png_are_read_back(text: str) -> None:
    matrix = qr_matrix(text)
    assert read_svg(qr_svg(matrix)) == text
    for module_px in (1, 3, 8):
        (code,) = scan_picture(qr_png(matrix, module_px))
        assert code.text == text


def test_an_animated_png_shows_its_frames_in_order() -> None:
    texts = [f"FRAME {number}" for number in range(5)]
    matrices = [qr_matrix(text, min_version=4) for text in texts]
    animation = Image.open(io.BytesIO(qr_animation(matrices, 5, 250)))
    assert getattr(animation, "n_frames", 1) == 5
    read = []
    for number in range(5):
        animation.seek(number)
        assert animation.info["duration"] == 250
        grey = animation.convert("L")
        read += [code.text for code in scan_image(grey.tobytes(), *grey.size)]
    assert read == texts


def test_a_terminal_shows_a_code_that_can_be_read() -> None:
    lines = qr_text(qr_matrix("TERMINAL")).splitlines()
    upper, lower = {"█": 255, "▀": 255, "▄": 0, " ": 0}, {"█": 255, "▀": 0, "▄": 255, " ": 0}
    rows = [bytes(half[mark] for mark in line) for line in lines for half in (upper, lower)]
    image = Image.frombytes("L", (len(rows[0]), len(rows)), b"".join(rows))
    large = image.resize((image.width * 6, image.height * 6), Image.Resampling.NEAREST)
    (code,) = scan_image(large.tobytes(), *large.size)
    assert code.text == "TERMINAL"


# --- pictures that come back -------------------------------------------------------------------


@pytest.fixture(scope="module")
def psbt() -> bytes:
    return funded_wallet().pay(30_000)


async def test_a_scanner_takes_frames_in_any_order(psbt: bytes) -> None:
    scanner = Scanner()
    *first, last = reversed(pictures_of(psbt))
    assert len(first) > 1
    for number, frame in enumerate(first, 1):
        scan = await scanner.look(frame)
        assert (scan.verdict, scan.psbt) == (FrameVerdict.NEW.value, None)
        assert scan.fraction == scanner.fraction == number / (len(first) + 1)
    assert (await scanner.look(first[0])).verdict == "duplicate"
    scan = await scanner.look(last)
    assert (scan.verdict, scan.fraction, scan.psbt) == ("complete", 1.0, psbt)


async def test_other_codes_are_explained_and_change_nothing(psbt: bytes) -> None:
    scanner = Scanner()
    frames = pictures_of(psbt)
    await scanner.look(frames[0])
    before = scanner.fraction
    for text, verdict in (
        ("https://example.com", "unreadable"),
        ("UR:CRYPTO-SEED/OYADGDIYWLAMAEJSZSWDWYTLTIFEENFTLNMNWKBDHNSSRO", "refused"),
    ):
        scan = await scanner.look(picture(text))
        assert scan.verdict == verdict
        assert scan.hint
    scan = await scanner.look(qr_png_of_nothing())
    assert (scan.verdict, scan.hint) == ("nothing", NOTHING)
    with pytest.raises(RemoteAirgapError):
        await scanner.look(b"not a picture")
    assert scanner.fraction == before


async def test_another_payment_takes_over_when_it_goes_on(psbt: bytes) -> None:
    scanner = Scanner()
    await scanner.look(pictures_of(psbt)[0])
    other = funded_wallet().pay(45_000)
    found = None
    for frame in pictures_of(other) * 3:
        found = (await scanner.look(frame)).psbt or found
    assert found == other


def qr_png_of_nothing() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64), 255).save(file, "PNG")
    return file.getvalue()
