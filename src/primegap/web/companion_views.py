"""How the companion's pages look at things: templates, and the values they are filled with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from primegap.bitcoin.amounts import Satoshi, format_btc, format_fee_rate, format_sats
from primegap.companion.companion import BROADCAST, COMPOSED, SIGNED
from primegap.companion.errors import PaymentError
from primegap.web.security import TEMPLATES

if TYPE_CHECKING:
    from primegap.companion.state import Payment
    from primegap.companion.wallet import HistoryEntry
    from primegap.web.companion_desk import CompanionDesk

RECENT: Final = 5
SETTLED: Final = 6  # confirmations after which nobody counts any more
_TYPOGRAPHY: Final = str.maketrans({" ": "\u202f", "-": "\u2212"})
"A narrow space that does not break, and a minus sign."


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates; everything that is put into them is escaped."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES / "companion"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["btc"] = btc
    made.filters["sats"] = sats
    made.filters["when"] = when
    made.filters["iso"] = iso
    made.filters["grouped"] = grouped
    made.filters["fee_rate"] = format_fee_rate
    return made


def render(name: str, context: dict[str, Any]) -> str:
    """Fill one template."""
    return environment().get_template(name).render(context)


def btc(amount: int) -> str:
    """Write an amount in bitcoin, its digits in groups, without a unit."""
    return format_btc(Satoshi(amount), unit="").translate(_TYPOGRAPHY)


def sats(amount: int) -> str:
    """Write an amount in satoshis."""
    return format_sats(Satoshi(amount)).translate(_TYPOGRAPHY)


def when(time_s: int) -> str:
    """Write a moment in local time, as this machine's owner reads it."""
    return time.strftime("%-d %b %Y, %H:%M", time.localtime(time_s))


def iso(time_s: int) -> str:
    """Write a moment for machines."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))


def grouped(text: str) -> list[str]:
    """Cut an address into groups of four, as the device shows it."""
    return [text[at : at + 4] for at in range(0, len(text), 4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the history."""

    txid: str
    title: str
    delta: int
    time_s: int | None
    status: str
    state: str
    "`good`, `wait` or `todo`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a payment."""

    title: str
    state: str
    "`done`, `now` or `todo`."
    detail: str = ""


def rows(desk: CompanionDesk) -> list[Row]:
    """Return payments that are not sent yet, then the account's transactions, newest first."""
    unsent = [
        Row(
            txid=payment.txid,
            title="Payment",
            delta=-(payment.amount + payment.fee),
            time_s=payment.created_s,
            status="Signed, not sent" if payment.stage == SIGNED else "Not signed yet",
            state="todo",
        )
        for payment in desk.companion.unfinished()
    ]
    history = () if desk.wallet is None else desk.wallet.history
    made_s = {payment.txid: payment.created_s for payment in desk.companion.payments()}
    return unsent + [_row(entry, made_s.get(entry.txid)) for entry in history]


def _row(entry: HistoryEntry, made_s: int | None) -> Row:
    return Row(
        txid=entry.txid,
        title="Received" if entry.delta >= 0 else "Sent",
        delta=entry.delta,
        time_s=made_s if entry.time_s is None else entry.time_s,
        status=_confirmations(entry),
        state="wait" if entry.height is None else "good",
    )


def _confirmations(entry: HistoryEntry) -> str:
    if entry.height is None:
        return "Waiting for a block"
    if entry.confirmations >= SETTLED:
        return "Confirmed"
    return f"Confirmed in {entry.confirmations} block{'s' * (entry.confirmations != 1)}"


def everywhere(desk: CompanionDesk) -> dict[str, Any]:
    """Return what every page shows."""
    companion = desk.companion
    accounts = companion.accounts()
    return {
        "network": companion.network,
        "unit": companion.network.currency,
        "device": companion.device,
        "connected": companion.connected,
        "fingerprint": companion.fingerprint,
        "link_problem": desk.link_problem,
        "account": accounts[0] if accounts else None,
        "wallet": desk.wallet,
        "synced": desk.synced,
        "sync_problem": desk.sync_problem,
        "server": companion.electrum_url or "",
    }


def overview(desk: CompanionDesk) -> dict[str, Any]:
    """Return what the first page shows."""
    found = rows(desk)
    return {
        "rows": found[:RECENT],
        "more": len(found) > RECENT,
        "unsent": [row for row in found if row.state == "todo"],
    }


def payment_view(desk: CompanionDesk, txid: str) -> dict[str, Any] | None:
    """Return what the page of one transaction shows; None when it is not known."""
    payment = desk.payment(txid)
    entry = None if desk.wallet is None else desk.wallet.find(txid)
    if payment is None and entry is None:
        return None
    review, problem = None, ""
    if payment is not None:
        try:
            review = desk.companion.review(payment)
        except PaymentError as error:
            problem = error.hint
    job = desk.jobs.get(txid)
    return {
        "txid": txid,
        "payment": payment,
        "entry": entry,
        "review": review,
        "warnings": [] if review is None else [warning.kind for warning in review.warnings],
        "review_problem": problem,
        "job": job,
        "stages": stages(payment, entry),
        "scanned": desk.scanned(txid),
        "settled": entry is not None and entry.confirmations >= SETTLED,
    }


def awaits_block(desk: CompanionDesk, txid: str) -> bool:
    """Whether a transaction is on its way and in no block yet."""
    payment = desk.payment(txid)
    entry = None if desk.wallet is None else desk.wallet.find(txid)
    if entry is not None:
        return entry.height is None
    return payment is not None and payment.stage == BROADCAST


def stages(payment: Payment | None, entry: HistoryEntry | None) -> list[Stage]:
    """Return the course of a transaction: what is done, what goes on, what is to come."""
    if payment is None:
        assert entry is not None
        titles = ["Seen", "Confirmed"] if entry.delta >= 0 else ["Sent", "Confirmed"]
        reached = 1 if entry.height is None else 2
    else:
        titles = ["Composed", "Signed", "Sent", "Confirmed"]
        reached = {COMPOSED: 1, SIGNED: 2, BROADCAST: 3}[payment.stage]
        if entry is not None:
            reached = 3 if entry.height is None else 4
    details = {"Confirmed": "" if entry is None or entry.height is None else _confirmations(entry)}
    return [
        Stage(
            title=title,
            state="done" if index < reached else "now" if index == reached else "todo",
            detail=details.get(title, ""),
        )
        for index, title in enumerate(titles)
    ]
