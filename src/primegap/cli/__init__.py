"""The command line: thin. Results go to standard output, words for people to standard error."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `primegap`; names the missing extra instead of a traceback."""
    try:
        from primegap.cli.root import root
    except ModuleNotFoundError as error:
        sys.exit(f"primegap: {error.name} is missing. Run:  pip install 'primegap[all]'")
    root(prog_name="primegap")
