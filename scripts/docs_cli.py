"""Write docs/reference/cli.md from the commands themselves: `python -m scripts.docs_cli`.

With `--check` the page is only compared.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

import click
from scripts.docs_page import cell, code, publish

from primegap.cli.output import DIRECTORY_ENV
from primegap.cli.root import root

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "primegap"
HEAD: Final = f"""\
# Command line

Results go to standard output, words for people to standard error. Every command takes `--json` and
then prints one JSON object. A command that fails prints a sentence (with `--json` an object with
`error`, `message` and `hint`) and ends with status 1; one that is used in the wrong way ends with
status 2. The codes are listed under [Errors](errors.md).

Everything of one user lies below one data directory, each part in a folder of its own: `device/`,
`companion/`, `regtest/`, `air/`. Choose another one with `--data-dir` in front of the command, or
with the variable `{DIRECTORY_ENV}`.
"""


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command and of everything below it."""
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is None:
                raise SystemExit(f"{context.command_path} has no command {name}")
            yield from commands(below, click.Context(below, info_name=name, parent=context))


def page() -> str:
    """Return the page."""
    top = click.Context(root, info_name=NAME)
    parts = [HEAD]
    for context in commands(root, top):
        parts += _section(context)
    return "\n".join(parts)


def _section(context: click.Context) -> list[str]:
    command = context.command
    pieces = command.collect_usage_pieces(context)
    parts = [f"## {context.command_path}\n", f"{inspect.cleandoc(command.help or '')}\n"]
    parts.append(f"```text\n{' '.join([context.command_path, *pieces])}\n```\n")
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        links = (f"[`{name}`](#{_anchor(f'{context.command_path} {name}')})" for name in names)
        parts.append(f"Commands: {', '.join(links)}\n")
    found = [parameter.get_help_record(context) for parameter in command.params]
    records = [record for record in found if record is not None and record[1]]
    if records:
        parts.append("| Option | Meaning |\n| --- | --- |")
        parts += [f"| {code(names)} | {cell(text)} |" for names, text in records]
        parts.append("")
    return parts


def _anchor(heading: str) -> str:
    return heading.replace(" ", "-")


if __name__ == "__main__":
    publish("reference/cli.md", "docs_cli", page())
