"""The audit log: what was noted stays noted, and whatever is changed in an export shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from primegap.bitcoin import audit
from primegap.bitcoin.audit import (
    MAX_ENTRIES,
    AuditKey,
    AuditKeyError,
    AuditLog,
    AuditLogError,
    AuditRewrittenError,
    AuditSignatureError,
    check_extends,
    verify_untrusted,
)
from primegap.cli.root import root

if TYPE_CHECKING:
    from pathlib import Path

KEY = AuditKey(bytes(32))
OTHER = AuditKey(bytes([1]) * 32)


def log_of(count: int, log: AuditLog | None = None) -> AuditLog:
    """Return a log with so many more entries."""
    log = AuditLog() if log is None else log
    for number in range(count):
        facts: dict[str, audit.Value] = {"amount": log.last * 10 + number, "to": ["bcrt1q", "x"]}
        log = log.adding("payment-confirmed", facts, now_s=1000 + log.last)
    return log


LONG = log_of(MAX_ENTRIES + 1)


def test_an_export_verifies_and_says_what_was_noted() -> None:
    log = log_of(3)
    verified = verify_untrusted(KEY.export(log, now_s=5000))
    assert verified.log == log
    assert [e.number for e in verified.log.read()] == [1, 2, 3]
    assert verified.key == KEY.public
    assert verified.time_s == 5000


def test_an_empty_log_verifies() -> None:
    assert verify_untrusted(KEY.export(AuditLog(), now_s=1)).log.last == 0


def test_a_clock_that_is_set_back_stands_still() -> None:
    log = log_of(2).adding("policy-set", {}, now_s=5)
    assert [e.time_s for e in log.read()] == [1000, 1001, 1001]


def test_a_full_log_seals_its_oldest_entries_off_and_says_so() -> None:
    assert len(LONG.entries) <= MAX_ENTRIES
    assert LONG.first == audit.SEALED_AT_ONCE + 1
    sealed = next(e for e in LONG.read() if e.kind == audit.LOG_SEALED)
    assert sealed.facts == {"through": LONG.first - 1, "chain": LONG.before.hex()}
    assert verify_untrusted(KEY.export(LONG, now_s=9000)).log == LONG


def test_every_changed_byte_is_noticed() -> None:
    data = KEY.export(log_of(2), now_s=5000)
    for position in range(len(data)):
        for flip in (1, 0x20):
            changed = bytearray(data)
            changed[position] ^= flip
            with pytest.raises(AuditLogError):
                verify_untrusted(bytes(changed))


def test_entries_cannot_be_left_out_moved_or_doubled() -> None:
    lines = KEY.export(log_of(4), now_s=5000).splitlines(keepends=True)
    for altered in (
        lines[:1] + lines[2:],  # the first entry is gone
        lines[:-2] + lines[-1:],  # the last one
        lines[:2] + lines[3:],
        [lines[0], lines[2], lines[1], *lines[3:]],
        [*lines[:2], lines[1], *lines[2:]],
        lines[:-1],
        lines[1:],
    ):
        with pytest.raises(AuditLogError):
            verify_untrusted(b"".join(altered))


def test_a_beginning_cannot_be_cut_off_even_with_the_key() -> None:
    """Only a seal in the chain lets a log begin later than with its first entry."""
    log = log_of(4)
    before = audit.chain(audit.START, log.entries[0])
    cut = AuditLog(log.entries[1:], 2, before, log.head, log.time_s)
    with pytest.raises(AuditLogError, match="sealed"):
        verify_untrusted(KEY.export(cut, now_s=5000))


def test_another_key_is_noticed() -> None:
    log = log_of(1)
    ours, theirs = KEY.export(log, now_s=5), OTHER.export(log, now_s=5)
    with pytest.raises(AuditKeyError):
        verify_untrusted(theirs, key_fingerprint=audit.fingerprint(KEY.public))
    verify_untrusted(ours, key_fingerprint=audit.fingerprint(KEY.public).lower())
    with pytest.raises(AuditSignatureError):
        verify_untrusted(ours.replace(KEY.public.hex().encode(), OTHER.public.hex().encode()))


def test_a_later_export_goes_on_from_an_earlier_one() -> None:
    first = log_of(3)
    early = verify_untrusted(KEY.export(first, now_s=5000))
    late = verify_untrusted(KEY.export(log_of(2, first), now_s=6000))
    check_extends(early, late)
    check_extends(early, early)
    with pytest.raises(AuditRewrittenError):  # an old one put in its place
        check_extends(late, early)
    other = first.adding("policy-set", {}, now_s=5500)
    with pytest.raises(AuditRewrittenError):
        check_extends(late, verify_untrusted(KEY.export(log_of(4, other), now_s=9000)))
    with pytest.raises(AuditKeyError):
        check_extends(early, verify_untrusted(OTHER.export(first, now_s=5000)))


def test_an_export_goes_on_over_a_seal() -> None:
    full = log_of(MAX_ENTRIES)
    early = verify_untrusted(KEY.export(full, now_s=9000))
    check_extends(early, verify_untrusted(KEY.export(log_of(3, full), now_s=9500)))
    short = verify_untrusted(KEY.export(log_of(3), now_s=9000))
    late = verify_untrusted(KEY.export(LONG, now_s=9500))
    with pytest.raises(AuditLogError, match="neither"):
        check_extends(short, late)


def test_the_command_verifies_a_file(tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    log = log_of(2)
    early.write_bytes(KEY.export(log, now_s=5000))
    late.write_bytes(KEY.export(log_of(1, log), now_s=6000))
    run = CliRunner().invoke
    found = run(root, ["audit", "verify", str(late), "--extends", str(early), "--json"])
    assert found.exit_code == 0, found.output
    result = json.loads(found.output)
    assert result["valid"]
    assert result["last"] == 3
    assert len(result["entries"]) == 3
    plain = run(root, ["audit", "verify", str(late), "--entries", "--key", result["key"]])
    assert plain.exit_code == 0
    assert plain.output.startswith("Valid: entries 1 to 3")
    late.write_bytes(late.read_bytes().replace(b"bcrt1q", b"bcrt1p", 1))
    broken = run(root, ["audit", "verify", str(late), "--json"])
    assert broken.exit_code == 1
    assert json.loads(broken.output)["error"] == "audit-log"
