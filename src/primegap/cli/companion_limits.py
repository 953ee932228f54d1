"""`primegap companion` `limits`, `propose-limits`, `audit-log`: what the device allows and did."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from primegap.cli.output import command, emit, say

if TYPE_CHECKING:
    from primegap.bitcoin.policy import Policy
    from primegap.cli.companion import Options
    from primegap.companion.companion import PolicyStatus


@click.command("propose-limits")
@click.option(
    "--scope",
    type=click.Choice(["companion", "account"]),
    default="companion",
    show_default=True,
    help="Whose payments: those this companion asks for, or all of the account.",
)
@click.option("--max-payment", metavar="BTC", help="Most that one payment may take, with its fee.")
@click.option("--max-window", metavar="BTC", help="Most within any stretch of --window.")
@click.option("--window", type=click.IntRange(1, 744), default=24, help="Hours. Default: 24.")
@click.option("--allow", "allowed", multiple=True, metavar="ADDRESS", help="Only these are paid.")
@click.option("--cool-down", type=click.IntRange(0, 744), default=0, help="Hours a new one waits.")
@click.option("--twice-above", metavar="BTC", help="Ask a second time above this amount.")
@click.option("--session", type=click.IntRange(1, 720), help="Minutes of signing without asking.")
@click.option("--session-payment", metavar="BTC", help="Most of one payment in a session.")
@click.option("--session-total", metavar="BTC", help="Most of all payments in a session.")
@click.pass_obj
@command
def propose_limits(
    options: Options,
    *,
    scope: str,
    max_payment: str | None,
    max_window: str | None,
    window: int,
    allowed: tuple[str, ...],
    cool_down: int,
    twice_above: str | None,
    session: int | None,
    session_payment: str | None,
    session_total: str | None,
    as_json: bool,
) -> None:
    """Propose limits for payments. They hold once the person has read and set them on the device.

    Without --session the person is asked for every payment. With it, the device signs payments to
    the --allow addresses without asking, in sessions that the person begins on the device.
    """
    from primegap.bitcoin.policy import Policy, Scope, Unattended
    from primegap.cli.companion import opened

    unattended = None
    if session is not None:
        if session_payment is None or session_total is None:
            raise click.UsageError("--session needs --session-payment and --session-total.")
        unattended = Unattended(
            session * 60, _amount(session_payment) or 0, _amount(session_total) or 0
        )
    elif session_payment is not None or session_total is not None:
        raise click.UsageError("--session-payment and --session-total belong to --session.")
    proposed = Policy(
        Scope(scope),
        max_payment=_amount(max_payment),
        max_window=_amount(max_window),
        window_s=window * 3600,
        allowed=allowed,
        cool_down_s=cool_down * 3600,
        confirm_twice_above=_amount(twice_above),
        unattended=unattended,
    )

    async def run() -> None:
        async with opened(options) as companion:
            say("Read the limits on the device and set them there.")
            await companion.propose_policy(proposed)

    asyncio.run(run())
    emit({"set": True, **_facts(proposed)}, "The limits are set.", as_json=as_json)


def _amount(text: str | None) -> int | None:
    from primegap.bitcoin.amounts import parse_amount

    return None if text is None else parse_amount(text)


@click.command()
@click.pass_obj
@command
def limits(options: Options, *, as_json: bool) -> None:
    """Show the limits that hold for this companion's payments, and how far they are used up."""
    from primegap.cli.companion import opened

    async def run() -> list[PolicyStatus]:
        async with opened(options) as companion:
            return await companion.policies()

    found = asyncio.run(run())
    listed = [
        {
            **_facts(item.policy),
            "spent": item.spent,
            "session_left_s": item.session_left_s,
            "session_left": item.session_left,
        }
        for item in found
    ]
    lines = [_text(facts) for facts in listed]
    text = "\n\n".join(lines) or "No limits are set: the person is asked for every payment."
    emit({"policies": listed}, text, as_json=as_json)


def _facts(policy: Policy) -> dict[str, Any]:
    import json

    facts: dict[str, Any] = json.loads(policy.encode())
    return facts


def _text(facts: dict[str, Any]) -> str:
    return "\n".join(
        f"{name.replace('_', ' '):<20} {_value(value)}" for name, value in facts.items()
    )


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, list):
        return " ".join(value) or "any"
    return "none" if value is None else str(value)


@click.command("audit-log")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write it here."
)
@click.pass_obj
@command
def audit_log(options: Options, *, output: Path | None, as_json: bool) -> None:
    """Fetch the device's audit log, check it, and that it goes on from the one fetched before."""
    from primegap.bitcoin.audit import verify_untrusted
    from primegap.cli.companion import opened

    async def run() -> bytes:
        async with opened(options) as companion:
            return await companion.fetch_audit_log()

    data = asyncio.run(run())
    if output is not None:
        output.write_bytes(data)
    verified = verify_untrusted(data)
    emit(
        {"valid": True, "key": verified.fingerprint, "last": verified.log.last},
        f"{verified.log.last} entries, valid. Key: {verified.fingerprint}",
        as_json=as_json,
    )
