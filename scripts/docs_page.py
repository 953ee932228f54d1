"""What the generators of reference pages share: write a page, or tell that it is out of date."""

from __future__ import annotations

import argparse
import html
import sys
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[1] / "docs"
NOTE: Final = "<!-- Written by `python -m scripts.{name}`: edit what it reads, not this page. -->"


def publish(page: str, name: str, text: str) -> None:
    """Write a page, or with `--check` end with status 1 unless it already says exactly this.

    Args:
        page: path below `docs/`.
        name: module of `scripts` that generates it.
        text: whole content, without the note that it is generated.
    """
    parser = argparse.ArgumentParser(prog=f"python -m scripts.{name}")
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    check = parser.parse_args().check
    path = DOCS / page
    content = f"{NOTE.format(name=name)}\n\n{text.strip()}\n"
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != content:
        sys.exit(f"docs/{page} is out of date. Run:  python -m scripts.{name}")


def cell(text: str) -> str:
    """Return a text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Return a text as code for one cell of a table.

    Readers of Markdown disagree about how a bar in a cell's code is written.
    """
    if "|" not in text:
        return f"`{text}`"
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def summary(documented: object) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((documented.__doc__ or "").strip().split("\n\n")[0].split())
