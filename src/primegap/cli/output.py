"""One way to print results and failures, for people and for programs."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

EXIT_FAILED: Final = 1
DIRECTORY_ENV: Final = "PRIMEGAP_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command shares."""

    data_dir: Path
    "Everything of this user: `device/`, `companion/`, `regtest/`, `air/`."

    @property
    def device(self) -> Path:
        """Data directory of the device."""
        return self.data_dir / "device"

    @property
    def companion(self) -> Path:
        """Data directory of the companion."""
        return self.data_dir / "companion"

    @property
    def regtest(self) -> Path:
        """Data directory of the private chain."""
        return self.data_dir / "regtest"

    @property
    def air(self) -> Path:
        """Folder with the two sockets of the virtual air."""
        return self.data_dir / "air"


def default_data_dir() -> Path:
    """Return the XDG data directory of primegap."""
    import platformdirs

    return Path(platformdirs.user_data_dir("primegap"))


def emit(value: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result: one JSON object, or the text for people."""
    click.echo(json.dumps(value) if as_json else text)


def say(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    click.echo(text, err=True)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--json`, and turn our errors into one line, or one JSON object, and status 1.

    Every error of ours has a `code` for programs and a `hint` for people; anything else is a
    fault of the program and shows as one.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            code, hint = getattr(error, "code", None), getattr(error, "hint", None)
            if not isinstance(code, str) or not isinstance(hint, str):
                raise
            if kwargs["as_json"]:
                click.echo(json.dumps({"error": code, "message": str(error), "hint": hint}))
            else:
                say(f"primegap: {error}.\n{hint}")
            sys.exit(EXIT_FAILED)

    return run
