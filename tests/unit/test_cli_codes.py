"""`primegap ur`, `bbqr` and `qr`, run as a person would in a shell."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from primegap.airgap.qr import scan_picture
from primegap.cli.root import root

PSBT = b"psbt\xff" + bytes(range(256)) * 5 + b"\0"
DESCRIPTOR = (
    "wsh(sortedmulti(1,xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Z"
    "z8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB/<0;1>/*,"
    "03acd484e2f0c7f65309ad178a9f559abde09796974c57e714c35f110dfc27ccbe))"
)


def run(*words: str | Path, given: bytes | str | None = None, status: int = 0) -> Result:
    result = CliRunner().invoke(root, [str(word) for word in words], input=given)
    assert result.exit_code == status, result.output + repr(result.exception)
    return result


def test_a_psbt_through_pipes_in_disorder(tmp_path: Path) -> None:
    lines = run("ur", "encode", "--parts", "40", given=PSBT.hex()).stdout.splitlines()
    assert all(line.startswith("UR:CRYPTO-PSBT/") for line in lines)
    random.Random(7).shuffle(lines)
    back = run("ur", "decode", "--expect", "psbt", given="\n".join(lines))
    assert base64.b64decode(back.stdout) == PSBT
    run("ur", "decode", "-o", tmp_path / "out.psbt", given="\n".join(lines))
    assert (tmp_path / "out.psbt").read_bytes() == PSBT
    value = json.loads(run("ur", "decode", "--json", given="\n".join(lines)).stdout)
    assert (value["dialect"], value["bytes"]) == ("ur:crypto-psbt", len(PSBT))


@pytest.mark.parametrize("output", ["codes.gif", "codes.png", "folder", "codes.pdf"])
def test_pictures_that_can_be_read_again(tmp_path: Path, output: str) -> None:
    lines = run("ur", "encode", "--density", "coarse", given=PSBT).stdout
    run("qr", "draw", "-o", tmp_path / output, given=lines)
    if output.endswith(".pdf"):
        if shutil.which("pdftoppm") is None:
            pytest.skip("needs pdftoppm of poppler-utils")
        command = ["pdftoppm", "-r", "150", "-png", str(tmp_path / output), str(tmp_path / "page")]
        subprocess.run(command, check=True)
        pages = sorted(tmp_path.glob("page*.png"))
        assert pages
        assert base64.b64decode(run("ur", "scan", *pages).stdout) == PSBT
        return
    assert base64.b64decode(run("ur", "scan", tmp_path / output).stdout) == PSBT
    seen = json.loads(run("qr", "scan", "--json", tmp_path / output).stdout)
    assert sorted(seen["codes"]) == sorted(lines.split())


def test_bbqr_and_its_own_reader() -> None:
    lines = run("bbqr", "encode", "--density", "light", given=PSBT).stdout
    assert lines.startswith("B$ZP")
    assert base64.b64decode(run("bbqr", "decode", given=lines).stdout) == PSBT
    text = run("bbqr", "encode", "--hex", given="some text").stdout
    assert text.startswith("B$HU0100")
    assert run("bbqr", "decode", given=text).stdout == "some text\n"


def test_a_descriptor_in_both_generations() -> None:
    for ur_type in ("crypto-output", "output-descriptor"):
        lines = run("ur", "encode", "--type", ur_type, given=DESCRIPTOR).stdout
        assert run("ur", "decode", given=lines).stdout.strip() == DESCRIPTOR


def test_one_symbol_in_the_terminal_and_as_svg(tmp_path: Path) -> None:
    drawn = run("qr", "draw", given="HELLO").stdout
    assert set(drawn) <= set("█▀▄ \n")
    run("qr", "draw", "-o", tmp_path / "one.svg", given="HELLO")
    assert (tmp_path / "one.svg").read_text().startswith("<svg")
    run("qr", "draw", "-o", tmp_path / "one.png", given="HELLO")
    (code,) = scan_picture((tmp_path / "one.png").read_bytes())
    assert code.text == "HELLO"


def test_show_stops_after_its_rounds() -> None:
    result = run(
        "ur", "show", "--rounds", "1", "--period-ms", "100", "--density", "dense", "--json",
        given=PSBT,
    )  # fmt: skip
    value = json.loads(result.stdout)
    assert value["shown"] == value["needed"] > 1


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    lines = run("ur", "encode", given=PSBT).stdout.splitlines()
    some = "\n".join(lines[:2])
    told = run("ur", "decode", given=some, status=1)
    assert f"{len(lines) - 2} of {len(lines)} codes are missing" in told.stderr
    assert json.loads(run("ur", "decode", "--json", given=some, status=1).stdout)["error"] == (
        "code-incomplete"
    )
    assert "no code" in run("ur", "decode", given="\n", status=1).stderr
    told = run("ur", "decode", "--expect", "psbt", given="hello", status=1)
    assert "no PSBT" in told.stderr
    assert "not a PSBT" in run("ur", "encode", "--type", "psbt", given="x", status=1).stderr
    assert "nothing to encode" in run("ur", "encode", given="", status=1).stderr
    assert "not a PSBT" in run("bbqr", "encode", "--type", "P", given="x", status=1).stderr
    assert ".gif" in run("qr", "draw", "-o", tmp_path / "x.bmp", given="A", status=1).stderr
    blank = tmp_path / "blank.png"
    Image.new("L", (50, 50), 255).save(blank)
    assert "No QR code" in run("qr", "scan", blank, status=1).stderr
    broken = tmp_path / "broken.png"
    broken.write_bytes(blank.read_bytes()[:40])
    assert "picture" in run("qr", "scan", broken, status=1).stderr
    assert "file" in run("ur", "encode", given=bytes(3 << 20), status=1).stderr
