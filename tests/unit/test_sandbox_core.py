"""Core's accounts: what a caller has on its way, what a folder holds, what the journal takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.core.journal import LINES_AT_ONCE, Journal
from primegap.keyos.core.quota import MAX_FOLDER_BYTES, MAX_FOLDER_ENTRIES, Quotas, is_over
from primegap.keyos.core.router import (
    MAX_PENDING_PER_CALLER,
    MAX_REFUSED_KINDS,
    Router,
    ToClient,
    ToService,
)
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.frame import Frame, Kind

APP_SEED = 6  # os/security GetAppSeed, which the Bitcoin app may send


@pytest.fixture
def router() -> Router:
    router = Router(builtin_table())
    router.process_started("security")
    return router


def request(correlation: int) -> Frame:
    return Frame(kind=Kind.REQUEST, message_id=APP_SEED, correlation=correlation)


def cancel(correlation: int) -> Frame:
    return Frame(kind=Kind.CANCEL, correlation=correlation)


def delivered(actions: Sequence[object]) -> int:
    """Return the service's correlation of the one frame that goes to it."""
    (action,) = actions
    assert isinstance(action, ToService)
    return action.frame.correlation


def is_busy(actions: Sequence[object]) -> bool:
    (action,) = actions
    return isinstance(action, ToClient) and action.frame.words[0] == Status.BUSY


def test_a_cancelled_request_counts_until_the_service_has_answered_it(router: Router) -> None:
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    waiting = []
    for number in range(MAX_PENDING_PER_CALLER):
        waiting.append(delivered(router.client_frame(connection, request(number))))
        assert delivered(router.client_frame(connection, cancel(number))) == waiting[-1]
        assert router.client_frame(connection, cancel(number)) == []
    assert is_busy(router.client_frame(connection, request(1)))
    # An answer to a cancelled request goes nowhere, and makes room for one.
    answer = Frame(kind=Kind.ERROR, correlation=waiting[0], words=(Status.CANCELLED, 0, 0, 0))
    assert router.service_frame("security", answer) == []
    delivered(router.client_frame(connection, request(1)))
    assert is_busy(router.client_frame(connection, request(2)))


def test_a_new_connection_or_a_new_life_brings_no_room(router: Router) -> None:
    bitcoin = router.process_started("bitcoin")
    connection = router.open_connection(bitcoin, "os/security")
    waiting = [
        delivered(router.client_frame(connection, request(number)))
        for number in range(MAX_PENDING_PER_CALLER)
    ]
    router.connection_closed(connection)
    connection = router.open_connection(bitcoin, "os/security")
    assert is_busy(router.client_frame(connection, request(1)))
    router.process_gone(bitcoin)
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    assert is_busy(router.client_frame(connection, request(1)))
    for correlation in waiting:
        reply = Frame(kind=Kind.REPLY, correlation=correlation)
        assert router.service_frame("security", reply) == []
    delivered(router.client_frame(connection, request(1)))


def test_a_dead_service_wakes_only_those_who_still_wait(router: Router) -> None:
    security = router.process_started("security")
    connection = router.open_connection(router.process_started("bitcoin"), "os/security")
    router.client_frame(connection, request(1))
    router.client_frame(connection, request(2))
    router.client_frame(connection, cancel(1))
    woken = [a for a in router.process_gone(security) if isinstance(a, ToClient)]
    assert [action.frame.correlation for action in woken] == [2]


def test_the_count_of_refusals_does_not_grow_with_the_names(router: Router) -> None:
    bitcoin = router.process_started("bitcoin")
    connection = router.open_connection(bitcoin, "os/security")
    for number in range(2 * MAX_REFUSED_KINDS):
        with pytest.raises(RequestError):
            router.open_connection(bitcoin, f"os/name-{number}")
        frame = Frame(kind=Kind.REQUEST, message_id=1000 + number, correlation=1)
        assert len(router.client_frame(connection, frame)) == 1
    assert len(router.refused) <= MAX_REFUSED_KINDS


def test_the_journal_takes_a_burst_and_then_counts(capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(started_s=0.0)
    for _ in range(10 * LINES_AT_ONCE):
        journal.line("noisy", "x")
    journal.line("quiet", "heard\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}\n")
    lines = capsys.readouterr().err.splitlines()
    assert LINES_AT_ONCE <= len(lines) < 2 * LINES_AT_ONCE
    replacement = "\N{REPLACEMENT CHARACTER}"
    assert lines[-1].endswith(f"quiet     heard{replacement}[2J{replacement}{replacement}")


def test_a_folder_is_over_by_bytes_by_entries_or_when_it_hides(tmp_path: Path) -> None:
    assert not is_over(tmp_path / "not-there")
    assert not is_over(tmp_path)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(4 * MAX_FOLDER_BYTES)
    assert not is_over(tmp_path)  # holds nothing
    with sparse.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, MAX_FOLDER_BYTES + 4096)
    assert is_over(tmp_path)
    sparse.unlink()
    deep = tmp_path
    for number in range(64):
        deep /= f"{number}"
    deep.mkdir(parents=True)
    assert not is_over(tmp_path)
    for number in range(MAX_FOLDER_ENTRIES - 63):
        (deep / f"empty-{number}").touch()
    assert is_over(tmp_path)


def test_quotas_tell_what_changed(tmp_path: Path) -> None:
    quotas = Quotas({"one": tmp_path / "one", "two": tmp_path / "two"})
    assert quotas.check() == (set(), set())
    (tmp_path / "one").mkdir()
    for number in range(MAX_FOLDER_ENTRIES + 1):
        (tmp_path / f"one/{number}").touch()
    assert quotas.check() == ({"one"}, set())
    assert quotas.check() == (set(), set())
    (tmp_path / "one/0").unlink()
    assert quotas.check() == (set(), {"one"})
    assert quotas.over == set()
