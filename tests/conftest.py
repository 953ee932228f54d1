"""Loads the plugin that collects evidence for the guarantees, whatever part of the suite runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest

LONGEST_FIRST: Final = (
    "e2e/test_walking_bad_input",
    "e2e/test_browser_pages",
    "e2e/test_walking_kills",
    "adversary/",
    "e2e/test_trust_device",
    "e2e/test_walking_hostile",
    "unit/test_trust_pairing",
    "unit/test_apps_service",
    "guarantees/test_secrets",
    "guarantees/test_kills",
    "e2e/",
    "guarantees/",
    "interop/test_radio_processes",
    "unit/test_trust",
    "unit/test_device_switches",
    "unit/test_core_model",
    "property/test_screen_properties",
    "meta/",
    "interop/",
)
"Files in the order in which workers take them, so that none works alone in the end."

pytest_plugins = ("tests.guarantees.plugin",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring long files forward; within a file the order stays random."""

    def place(item: pytest.Item) -> int:
        found = (n for n, part in enumerate(LONGEST_FIRST) if f"tests/{part}" in str(item.path))
        return next(found, len(LONGEST_FIRST))

    items.sort(key=place)
