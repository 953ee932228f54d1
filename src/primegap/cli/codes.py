"""`primegap ur`, `primegap bbqr` and `primegap qr`: messages as codes, without a device.

Made for pipes: one code is one line, `-` is standard input, results go to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from primegap.airgap.density import (
    DEFAULT_DENSITY,
    DEFAULT_FRAME_PERIOD_MS,
    DENSITIES,
    MAX_FRAME_PERIOD_MS,
    MIN_FRAME_PERIOD_MS,
    Density,
)
from primegap.cli.code_messages import (
    CodeInputError,
    animation_of,
    content_of,
    is_text,
    present,
    psbt_in,
    read_lines,
    read_pictures,
)
from primegap.cli.output import command, emit, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.airgap import Animation
    from primegap.airgap.qr import QrMatrix

FRAME_MODULE_PX: Final = 6

_BY_NAME: Final = {density.name: density for density in DENSITIES}

SOURCE: Final = click.argument("source", type=click.File("rb"), default="-", metavar="[FILE]")
DENSITY: Final = click.option(
    "--density",
    type=click.Choice(list(_BY_NAME)),
    default=DEFAULT_DENSITY.name,
    show_default=True,
    help="How much a symbol holds: coarse is easy to scan, dense is quick.",
)
PERIOD: Final = click.option(
    "--period-ms",
    type=click.IntRange(MIN_FRAME_PERIOD_MS, MAX_FRAME_PERIOD_MS),
    default=DEFAULT_FRAME_PERIOD_MS,
    show_default=True,
    help="How long each symbol is shown.",
)
OUTPUT: Final = click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write the message into this file."
)
PICTURES: Final = click.argument(
    "pictures", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
EXPECT: Final = click.option(
    "--expect",
    type=click.Choice(["anything", "psbt"]),
    default="anything",
    show_default=True,
    help="Refuse everything else.",
)


# -- ur -------------------------------------------------------------------------------------------


@click.group()
def ur() -> None:
    """Uniform Resources: messages as animated codes that miss no frame."""


TYPE: Final = click.option(
    "--type",
    "ur_type",
    default="auto",
    show_default="crypto-psbt for a PSBT, else bytes",
    help="Type of the UR. For types without a rule of their own, FILE holds the CBOR.",
)


def _lines(animation: Animation, parts: int | None) -> Iterator[str]:
    count = animation.frames_count if parts is None else parts
    shown = 0
    while count == 0 or shown < count:
        yield animation.next_frame()
        shown += 1


@ur.command("encode")
@SOURCE
@TYPE
@DENSITY
@click.option("--parts", type=click.IntRange(0), help="How many parts; 0 goes on for ever.")
@command
def ur_encode(
    source: BinaryIO, *, ur_type: str, density: str, parts: int | None, as_json: bool
) -> None:
    """Print the parts of a message, a line each.

    FILE holds a PSBT (binary, hex or base64), a descriptor, a text or CBOR; standard input by
    default. The first round holds the plain parts; those after it are mixtures, so that a reader
    that missed some needs no particular one.
    """
    animation = animation_of(content_of(source), ur_type, _BY_NAME[density])
    lines = _lines(animation, parts)
    if as_json:
        if parts == 0:
            raise click.UsageError("--json needs an end: leave out --parts 0.")
        emit({"needed": animation.frames_count, "parts": list(lines)}, "", as_json=True)
        return
    for line in lines:
        click.echo(line)


@ur.command("decode")
@SOURCE
@EXPECT
@OUTPUT
@command
def ur_decode(source: BinaryIO, *, expect: str, output: Path | None, as_json: bool) -> None:
    """Put a message together from the texts of codes, a line each, in any order.

    Every dialect is understood: UR 2 and 1, BBQr, pMofN, base43, and plain codes.
    """
    present(read_lines(source, expect), output, as_json=as_json)


@ur.command("show")
@SOURCE
@TYPE
@DENSITY
@PERIOD
@click.option("--rounds", type=click.IntRange(1), help="Stop after so many rounds.")
@command
def ur_show(
    source: BinaryIO,
    *,
    ur_type: str,
    density: str,
    period_ms: int,
    rounds: int | None,
    as_json: bool,
) -> None:
    """Show a message as an animation in the terminal, until Ctrl-C."""
    animation = animation_of(content_of(source), ur_type, _BY_NAME[density])
    shown = _animate(animation, _BY_NAME[density], period_ms, rounds)
    if as_json:
        emit({"needed": animation.frames_count, "shown": shown}, "", as_json=True)


def _animate(animation: Animation, density: Density, period_ms: int, rounds: int | None) -> int:
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from primegap.airgap.drawing import qr_text
    from primegap.airgap.qr import qr_matrix

    count = animation.frames_count
    end = None if rounds is None else rounds * count
    console = Console(stderr=True, highlight=False)
    shown = 0
    side = qr_matrix("A", min_version=density.qr_version).size + 8
    if console.is_terminal and (console.width < side or console.height < side // 2 + 2):
        raise CodeInputError(
            f"the terminal has {console.width} x {console.height} characters, the codes need "
            f"{side} x {side // 2 + 2}: choose a coarser --density or a smaller font"
        )
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while end is None or shown < end:
                matrix = qr_matrix(
                    animation.next_frame(),
                    min_version=1 if count == 1 else density.qr_version,
                )
                shown += 1
                caption = f"\n{(shown - 1) % count + 1} / {count}" if count > 1 else ""
                live.update(Text(qr_text(matrix) + caption, "white on black"), refresh=True)
                time.sleep(period_ms / 1000)
    except KeyboardInterrupt:
        pass
    return shown


@ur.command("scan")
@PICTURES
@EXPECT
@OUTPUT
@command
def ur_scan(pictures: tuple[Path, ...], *, expect: str, output: Path | None, as_json: bool) -> None:
    """Read a message off pictures: PNG, JPEG, GIF, or folders of them."""
    from primegap.airgap import CodeReader, Expect

    reader = CodeReader(Expect(expect))

    def seen(text: str, raw: bytes) -> bool:
        reader.receive(text, raw)
        return reader.result is not None

    read_pictures(pictures, seen)
    present(reader, output, as_json=as_json)


# -- bbqr -----------------------------------------------------------------------------------------


@click.group()
def bbqr() -> None:
    """BBQr: messages as numbered codes, all of which are needed."""


@bbqr.command("encode")
@SOURCE
@click.option(
    "--type",
    "file_type",
    type=click.Choice(["auto", *"PTJCUBX"]),
    default="auto",
    show_default="P for a PSBT, U for text, else B",
    help="File type.",
)
@click.option("--hex", "in_hex", is_flag=True, help="Write hex instead of compressed base32.")
@DENSITY
@command
def bbqr_encode(
    source: BinaryIO, *, file_type: str, in_hex: bool, density: str, as_json: bool
) -> None:
    """Print the codes of a message, a line each."""
    from primegap.airgap import BbqrEncoding, encode_bbqr

    data = content_of(source)
    psbt = psbt_in(data)
    if file_type == "auto":
        file_type = "P" if psbt is not None else "U" if is_text(data) else "B"
    if file_type == "P":
        if psbt is None:
            raise CodeInputError("this is not a PSBT")
        data = psbt
    encoding = BbqrEncoding.HEX if in_hex else BbqrEncoding.DEFLATE
    version = _BY_NAME[density].qr_version
    parts = encode_bbqr(data, file_type, encoding=encoding, max_version=version)
    emit({"needed": len(parts), "parts": parts}, "\n".join(parts), as_json=as_json)


bbqr.add_command(ur_decode, "decode")


# -- qr -------------------------------------------------------------------------------------------


@click.group()
def qr() -> None:
    """QR symbols: draw texts, read pictures."""


@qr.command("draw")
@SOURCE
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="A .png, .gif, .svg or .pdf file, or a folder for a .png each. Default: the terminal.",
)
@click.option("--title", default="", help="Printed on a PDF.")
@PERIOD
@command
def qr_draw(
    source: BinaryIO, *, output: Path | None, title: str, period_ms: int, as_json: bool
) -> None:
    """Draw each line of FILE as a symbol, all of one size.

    Several lines make an animation: `primegap ur encode FILE | primegap qr draw -o out.gif`.
    """
    from primegap.airgap.drawing import qr_text
    from primegap.airgap.qr import qr_matrix

    lines = content_of(source).decode("utf-8", "replace").splitlines()
    texts = [line for line in lines if line]
    if not texts:
        raise CodeInputError("there is nothing to draw")
    matrices = [qr_matrix(text) for text in texts]
    version = max(matrix.version for matrix in matrices)
    matrices = [qr_matrix(text, min_version=version) for text in texts]
    if output is None:
        if not as_json:
            click.echo("\n\n".join(qr_text(matrix) for matrix in matrices))
    else:
        _write(output, matrices, title or output.stem, period_ms)
        say(f"{len(matrices)} symbols of version {version}: {output}")
    if as_json:
        emit({"symbols": len(matrices), "version": version}, "", as_json=True)


def _write(output: Path, matrices: list[QrMatrix], title: str, period_ms: int) -> None:
    from primegap.airgap.drawing import qr_animation, qr_gif, qr_png, qr_sheet, qr_svg

    count = len(matrices)
    match output.suffix.lower():
        case ".png" if count == 1:
            output.write_bytes(qr_png(matrices[0], FRAME_MODULE_PX))
        case ".png":
            output.write_bytes(qr_animation(matrices, FRAME_MODULE_PX, period_ms))
        case ".gif":
            output.write_bytes(qr_gif(matrices, FRAME_MODULE_PX, period_ms))
        case ".svg" if count == 1:
            output.write_text(qr_svg(matrices[0]), encoding="utf-8")
        case ".pdf":
            captions = [f"{number} / {count}" for number in range(1, count + 1)]
            printable = title.encode("ascii", "replace").decode()
            output.write_bytes(qr_sheet(matrices, captions, printable))
        case "":
            output.mkdir(parents=True, exist_ok=True)
            for number, matrix in enumerate(matrices, 1):
                name = f"code-{number:0{len(str(count))}}.png"
                (output / name).write_bytes(qr_png(matrix, FRAME_MODULE_PX))
        case _:
            raise CodeInputError("the output is no .png, .gif, .svg (one symbol), .pdf or folder")


@qr.command("scan")
@PICTURES
@command
def qr_scan(pictures: tuple[Path, ...], *, as_json: bool) -> None:
    """Print the text of every code in pictures: PNG, JPEG, GIF, or folders of them."""
    texts: list[str] = []

    def seen(text: str, raw: bytes) -> bool:
        del raw
        if text not in texts:
            texts.append(text)
        return False

    looked_at = read_pictures(pictures, seen)
    if not texts and not as_json:
        say("No QR code in the pictures." if looked_at else "No pictures.")
        sys.exit(1)
    emit({"pictures": looked_at, "codes": texts}, "\n".join(texts), as_json=as_json)
