"""Loads the plugin that collects evidence for the guarantees, whatever part of the suite runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest

LONGEST_FIRST: Final = (
    "e2e/test_walking_kills",
    "e2e/test_walking_hostile",
    "guarantees/test_secrets",
    "guarantees/test_kills",
    "e2e/test_walking_bad_input",
    "guarantees/",
    "e2e/",
    "adversary/",
    "unit/test_trust",
    "meta/",
)
"Files in the order in which workers take them, so that none works alone in the end."

pytest_plugins = ("tests.guarantees.plugin",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring long files forward; within a file the order stays random."""

    def place(item: pytest.Item) -> int:
        found = (n for n, part in enumerate(LONGEST_FIRST) if f"tests/{part}" in str(item.path))
        return next(found, len(LONGEST_FIRST))

    items.sort(key=place)
