"""Collects what the tests marked `guarantee` tried, and reports it by id (`--guarantees FILE`).

A test says which properties it attacks and how:

    @pytest.mark.guarantee("P-1", "P-2", tried="ids of others, on own connections")
    def test_what_is_not_granted_is_denied(attempted: Attempted) -> None:
        ...
        attempted(len(answers))

`attempted` counts single attempts; a test that does not count is one attempt.
"""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from tests.guarantees.catalogue import KNOWN_BROKEN, LONG, NOT_BUILT, catalogue

Attempted = Callable[[int], None]

ABSENT: Final = "this kernel has no "
"How the reason of a skip begins when the machine is to blame; any other skip is a failure."
_MARKED: Final = "guarantee"
_COUNTED: Final = "attempts"
_EVIDENCE: Final = pytest.StashKey["Evidence"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("guarantees")
    group.addoption("--guarantees", metavar="FILE", help="report the guarantees; fail for gaps")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "guarantee(*ids, tried): attacks these properties of the operating model"
    )
    if config.getoption("--guarantees") and not hasattr(config, "workerinput"):
        config.stash[_EVIDENCE] = Evidence()
        config.pluginmanager.register(Reporter(config), "guarantees-reporter")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("guarantee"):
            item.user_properties.append((_MARKED, [list(mark.args), mark.kwargs["tried"]]))
    if config.getoption("--guarantees"):
        left_out = [item for item in items if item.get_closest_marker("guarantee") is None]
    else:
        left_out = [
            item
            for item in items
            if getattr(item, "originalname", "") in KNOWN_BROKEN or item.path.name in LONG
        ]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


@pytest.fixture
def attempted(request: pytest.FixtureRequest) -> Attempted:
    """Count attempts of a test that is marked `guarantee`."""

    def count(number: int) -> None:
        request.node.user_properties.append((_COUNTED, number))

    return count


@dataclass(slots=True)
class Entry:
    """What is known of one guarantee."""

    attempts: int = 0
    tried: dict[str, None] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)
    "Test -> passed, failed or skipped."
    absent: dict[str, None] = field(default_factory=dict)
    "Kernel features that are missing."


class Evidence:
    """Everything that the tests reported."""

    def __init__(self) -> None:
        self.entries: defaultdict[str, Entry] = defaultdict(Entry)

    def take(self, report: pytest.TestReport) -> None:
        """Note the outcome of one phase of one test."""
        marks: list[Any] = [value for name, value in report.user_properties if name == _MARKED]
        if report.when == "teardown" and report.passed:
            return
        counted = sum(int(str(n)) for name, n in report.user_properties if name == _COUNTED)
        for ids, tried in marks:
            for identifier in ids:
                self._note(self.entries[identifier], report, str(tried), counted or 1)

    @staticmethod
    def _note(entry: Entry, report: pytest.TestReport, tried: str, attempts: int) -> None:
        if report.skipped:
            entry.tests.setdefault(report.nodeid, "skipped")
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            reason = reason.removeprefix("Skipped: ")
            if reason.startswith(ABSENT):
                entry.absent[reason] = None
                entry.tests[report.nodeid] = "absent"
        elif report.failed:
            entry.tests[report.nodeid] = "failed"
            entry.tried[tried] = None
        elif report.when == "call":
            entry.tests.setdefault(report.nodeid, "passed")
            entry.tried[tried] = None
            entry.attempts += attempts

    def table(self) -> dict[str, dict[str, Any]]:
        """Return the report: id -> what was attempted, how often, with which result."""
        return {
            identifier: {
                "property": guarantee.property,
                "result": self.result(identifier),
                "attempts": self.entries[identifier].attempts,
                "attempted": list(self.entries[identifier].tried),
                "tests": self.entries[identifier].tests,
                "missing": NOT_BUILT.get(identifier),
                "absent": list(self.entries[identifier].absent),
            }
            for identifier, guarantee in catalogue().items()
        }

    def result(self, identifier: str) -> str:
        """Return `holds`, `broken`, `skipped`, `partly built`, `not built` or `untested`."""
        outcomes = set(self.entries[identifier].tests.values())
        if "failed" in outcomes:
            return "broken"
        if "skipped" in outcomes:
            return "skipped"
        if identifier in NOT_BUILT:
            return "partly built" if "passed" in outcomes else "not built"
        if "passed" in outcomes:
            return "holds"
        return "kernel lacks it" if "absent" in outcomes else "untested"


class Reporter:
    """Lives where the results come together: in the process that the user started."""

    def __init__(self, config: pytest.Config) -> None:
        self._evidence = config.stash[_EVIDENCE]
        self._file = Path(config.getoption("--guarantees"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._evidence.take(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        results = {row["result"] for row in self._evidence.table().values()}
        if session.exitstatus == 0 and not results <= {"holds", "kernel lacks it"}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        table = self._evidence.table()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        write = terminalreporter.write_line
        terminalreporter.section("guarantees")
        for identifier, row in table.items():
            what = "; ".join(row["attempted"]) or row["property"]
            head = f"{identifier:5} {row['result']:15} {row['attempts']:8}  "
            width = max(60, terminalreporter._tw.fullwidth)
            for line in textwrap.wrap(what, width, initial_indent=head, subsequent_indent=" " * 31):
                write(line)
            if row["missing"]:
                write(f"{'':31}missing: {row['missing']}")
            for reason in row["absent"]:
                write(f"{'':31}{reason}")
        counts: defaultdict[str, int] = defaultdict(int)
        for row in table.values():
            counts[row["result"]] += 1
        words = ", ".join(f"{number} {result}" for result, number in sorted(counts.items()))
        attempts = sum(row["attempts"] for row in table.values())
        write(f"{len(table)} guarantees, {attempts} attempts: {words}. See {self._file}.")
