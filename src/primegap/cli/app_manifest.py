"""`primegap app manifest`: what a manifest comes to on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from primegap.cli.output import command, emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.manifest import Row

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_WHEN: Final = {"allow": "yes", "ask": "asks first"}


@click.group()
def manifest() -> None:
    """Check manifests, and print what every process may send."""


@manifest.command()
@click.argument("file", type=FILE)
@command
def check(file: Path, *, as_json: bool) -> None:
    """Refuse FILE for every reason a device would, or print what it comes to.

    FILE is an app's `app.toml`, a bundle's `manifest.json` or a built-in `manifest.toml`.
    """
    from primegap.developer.rights import read_rights

    rows = read_rights(file)
    asked = sum(row.verdict.value == "ask" for row in rows)
    summary = f"{file.name} is valid: {len(rows)} messages, {asked} of them ask the person first."
    value = {"file": str(file), "messages": [_value(row) for row in rows]}
    emit(value, "\n".join([summary, *_lines(rows)]), as_json=as_json)


@manifest.command()
@click.argument("files", type=FILE, nargs=-1)
@click.option("--server", help="Only messages to this server.")
@command
def table(files: tuple[Path, ...], *, server: str | None, as_json: bool) -> None:
    """Print the effective table of a device: each message that can pass, by sender and server.

    With FILES, those of apps as if they were installed.
    """
    from primegap.developer.rights import all_rights

    rows = [row for row in all_rights(files) if server in (None, row.server)]
    emit({"messages": [_value(row) for row in rows]}, "\n".join(_lines(rows)), as_json=as_json)


def _value(row: Row) -> dict[str, Any]:
    return {
        "role": row.role,
        "server": row.server,
        "message": row.message,
        "id": row.message_id,
        "when": row.verdict.value,
        "group": row.group or "",
    }


def _lines(rows: Sequence[Row]) -> list[str]:
    cells = [("FROM", "TO", "ID", "MESSAGE", "MAY", "GROUP")]
    cells += [
        (r.role, r.server, str(r.message_id), r.message, _WHEN[r.verdict.value], r.group or "–")
        for r in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
