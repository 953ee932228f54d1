"""Every numbered scenario of the specifications has a test that says so by its marker."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LISTS: Final = {
    "session": ("quantumlink-session.md", 10, 100),
    "wire": ("quantumlink-wire.md", 19, 15),
    "btp": ("btp.md", 10, 16),
    "radio": ("radio.md", 15, 17),
    "api": ("quantumlink-api.md", 8, 12),
}
"Name in the marker: specification, section of its list, and the last number, so none gets lost."
NUMBER: Final = re.compile(r"(?:^|(?<=[.;:] ))(\d{1,3})\. ", re.MULTILINE)
"At the beginning of a line, or behind another scenario on the same line."


def numbers_of(page: str, section: int) -> set[int]:
    """Return the numbers of the scenarios in a section."""
    text = (ROOT / "docs/spec" / page).read_text()
    body = re.split(rf"^## {section}\. .*$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    return {int(number) for number in NUMBER.findall(body)}


def marked() -> dict[str, set[int]]:
    """Return the numbers that markers of tests name."""
    found: dict[str, set[int]] = {name: set() for name in LISTS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        if "mark.scenario" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for decorator in node.decorator_list:
                if ast.unparse(decorator).startswith("pytest.mark.scenario("):
                    assert node.name.startswith("test_"), node.name
                    assert isinstance(decorator, ast.Call)
                    name, *numbers = (ast.literal_eval(value) for value in decorator.args)
                    assert numbers, f"{path.name}: {node.name} names no number"
                    found[name].update(numbers)
    return found


@pytest.mark.parametrize("name", LISTS)
def test_every_scenario_has_a_test(name: str) -> None:
    page, section, last = LISTS[name]
    numbers = numbers_of(page, section)
    assert numbers == set(range(1, last + 1))
    tested = marked()[name]
    assert sorted(numbers - tested) == [], "scenarios without a test"
    assert sorted(tested - numbers) == [], "markers of scenarios that are not listed"
