"""`primegap link`: a look at what goes over the link."""

from __future__ import annotations

from pathlib import Path

import click

from primegap.cli.output import command, emit, say


@click.group()
def link() -> None:
    """Look at what goes over the link."""


@link.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--page",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="OUT.html",
    help="Write the picture as a page instead.",
)
@click.option("--all", "every_record", is_flag=True, help="Draw every record of a long run.")
@command
def inspect(file: Path, *, page: Path | None, every_record: bool, as_json: bool) -> None:
    """Draw FILE as a sequence diagram.

    FILE is a trace of the link (JSON lines) or a Bluetooth capture (btsnoop), such as the
    `radio.btsnoop` that every demo leaves in its evidence folder. Shown is what everybody on the
    air can see: connections, handshakes, record numbers and sizes. What the records say is sealed.
    """
    from primegap.linktrace.errors import TraceTooLargeError
    from primegap.linktrace.reader import MAX_RECORDING_BYTES, read_recording_untrusted

    if file.stat().st_size > MAX_RECORDING_BYTES:
        raise TraceTooLargeError(f"a recording has at most {MAX_RECORDING_BYTES} bytes")
    story = read_recording_untrusted(file.read_bytes())
    if page is not None:
        from importlib.resources import files

        from primegap.linktrace.page import render_page

        look = (files("primegap.web") / "static" / "base.css").read_text(encoding="utf-8")
        html = render_page(story, title=file.name, look=look, every_record=every_record)
        page.write_text(html, encoding="utf-8")
        say(f"Page: {page}")
    if as_json:
        emit(story.to_json(), "", as_json=True)
    elif page is None:
        from rich.console import Console

        from primegap.linktrace.terminal import draw

        draw(story, Console(highlight=False), every_record=every_record)
