"""`primegap audit`: check the audit log of a device, without a device."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from primegap.cli.output import command, emit

if TYPE_CHECKING:
    from primegap.bitcoin.audit import Entry

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """The audit log of a device: what was confirmed, refused and allowed."""


@audit.command()
@click.argument("file", type=FILE)
@click.option("--key", help="Fingerprint of the log's key, as the device shows it.")
@click.option("--extends", type=FILE, help="An earlier export that FILE must go on from.")
@click.option("--entries", "show", is_flag=True, help="Print the entries too.")
@command
def verify(file: Path, key: str | None, extends: Path | None, *, show: bool, as_json: bool) -> None:
    """Check the chain and the signature of an exported log; status 1 when it does not hold.

    Without --key the log vouches only for itself: compare the fingerprint with the device's screen.
    """
    from primegap.bitcoin.audit import check_extends, verify_untrusted

    verified = verify_untrusted(_read(file), key_fingerprint=key)
    if extends is not None:
        check_extends(verify_untrusted(_read(extends)), verified)
    log = verified.log
    result = {
        "valid": True,
        "key": verified.fingerprint,
        "key_checked": key is not None,
        "extends_checked": extends is not None,
        "first": log.first,
        "last": log.last,
        "chain": log.head.hex(),
        "exported": verified.time_s,
    }
    if show or as_json:
        result["entries"] = [
            {"n": e.number, "time": e.time_s, "kind": e.kind, **e.facts} for e in log.read()
        ]
    text = [
        f"Valid: entries {log.first} to {log.last}, signed {_date(verified.time_s)}.",
        f"Key: {verified.fingerprint}"
        + ("" if key is not None else " (compare it with the device's screen)"),
    ]
    if log.first > 1:
        text.append(f"Entries 1 to {log.first - 1} were sealed off and are in earlier exports.")
    if extends is not None:
        text.append("It goes on from the earlier export.")
    if show:
        text += map(_line, log.read())
    emit(result, "\n".join(text), as_json=as_json)


def _read(file: Path) -> bytes:
    from primegap.bitcoin.audit import MAX_LOG_BYTES

    with file.open("rb") as opened:
        return opened.read(MAX_LOG_BYTES + 1)


def _line(entry: Entry) -> str:
    facts = ", ".join(f"{name} {_plain(value)}" for name, value in entry.facts.items())
    return f"{entry.number:>6}  {_date(entry.time_s)}  {entry.kind}  {facts}".rstrip()


def _plain(value: object) -> str:
    """Write a value so that nothing in it acts on a terminal."""
    text = " ".join(value) if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else "�" for c in text)


def _date(time_s: int) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "at no time"
