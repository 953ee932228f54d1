"""The root command. Groups are imported when they are used: the command line starts fast."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

import click
from typing_extensions import override

from primegap.cli.output import DIRECTORY_ENV, Settings, command, default_data_dir, emit

LAZY: Final = {
    "air": "primegap.cli.air:air",
    "app": "primegap.cli.app:app",
    "audit": "primegap.cli.audit:audit",
    "bbqr": "primegap.cli.codes:bbqr",
    "companion": "primegap.cli.companion:companion",
    "demo": "primegap.cli.demo:demo",
    "device": "primegap.cli.device:device",
    "link": "primegap.cli.link:link",
    "message": "primegap.cli.message:message",
    "qr": "primegap.cli.codes:qr",
    "regtest": "primegap.cli.regtest:regtest",
    "ur": "primegap.cli.codes:ur",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LAZY])

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = LAZY.get(cmd_name)
        if target is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = target.partition(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=DIRECTORY_ENV,
    default=None,
    help="Where everything is kept. Default: the XDG data directory.",
)
@click.pass_context
def root(ctx: click.Context, data_dir: Path | None) -> None:
    """A signing device, its companion, and the link between them."""
    ctx.obj = Settings(data_dir if data_dir is not None else default_data_dir())


@root.command()
@command
def version(*, as_json: bool) -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    number = installed("primegap")
    emit({"version": number}, f"primegap {number}", as_json=as_json)
