"""Which guarantees there are: read from the specification, so that none can be forgotten."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SPEC: Final = ROOT / "docs/spec/keyos-model.md"
_SECTION: Final = re.compile(r"^## 14\. .*?^## 15\. ", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(r"^\| ([A-Z]+-\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)

OTHER_GROUPS: Final = ("B", "K")
"Update and backup: they come with their own mechanisms."

NOT_BUILT: Final[dict[str, str]] = {}
"What is missing, by id. An id here may have tests of a part of it. `make guarantees` fails for it."

KNOWN_BROKEN: Final[dict[str, str]] = {}
"""Tests that fail because a mechanism is missing or wrong, and what that is.

They run, and fail, in `make guarantees` only."""


LONG: Final = ("test_siege.py",)
"Modules for `make guarantees` only: two cores that others use too do not suffice for them."


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One row of the specification."""

    id: str
    property: str
    test: str
    "The specification's idea of a test."


def catalogue() -> dict[str, Guarantee]:
    """Return every guarantee that this suite has to prove, in the order of the specification."""
    section = _SECTION.search(SPEC.read_text(encoding="utf-8"))
    assert section is not None, "the specification has no section 14"
    rows = [Guarantee(*row) for row in _ROW.findall(section[0])]
    assert len({row.id for row in rows}) == len(rows), "an id stands twice in the specification"
    return {row.id: row for row in rows if row.id.split("-")[0] not in OTHER_GROUPS}


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that is marked with guarantees, found in its source."""

    path: str
    "Below the root of the tree."
    name: str
    ids: tuple[str, ...]
    tried: str


def proofs() -> list[Proof]:
    """Find every test function with the mark `guarantee`, without running anything."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "pytest.mark.guarantee" in text:
            found += list(_marked(ast.parse(text), str(path.relative_to(ROOT))))
    return found


def _marked(tree: ast.Module, path: str) -> Iterator[Proof]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.guarantee":
                ids = tuple(ast.literal_eval(argument) for argument in mark.args)
                named = {word.arg: word.value for word in mark.keywords}
                assert set(named) == {"tried"}, f"{path}: {node.name} does not say what it tries"
                yield Proof(path, node.name, ids, ast.literal_eval(named["tried"]))
