"""`python -m benchmarks [--only NAME]`: run, print a table, write `build/bench.json`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.figure import Figure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="one of: " + ", ".join(CASES))
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    if options.only is not None and options.only not in CASES:
        parser.error(f"no measurement {options.only!r}; there are: {', '.join(CASES)}")
    names = [options.only] if options.only is not None else list(CASES)
    figures: list[Figure] = []
    for name in names:
        sys.stderr.write(f"measuring {name} …\n")
        figures += CASES[name]()
    show(figures)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps([asdict(f) for f in figures], indent=1) + "\n")
    sys.stderr.write(f"written to {options.output}\n")
    return 0


def show(figures: list[Figure]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("figure", "ours", "unit", "against", "theirs", "ratio"):
        table.add_column(title, justify="right" if title in ("ours", "theirs", "ratio") else "left")
    for f in figures:
        table.add_row(
            f.name, f"{f.value:.4g}", f.unit, f.against, f"{f.against_value:.4g}", f"{f.ratio:.3g}"
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
