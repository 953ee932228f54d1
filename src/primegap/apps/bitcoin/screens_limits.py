"""Screens of policies and of the audit log, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.apps.bitcoin.screens import BACK, CONFIRM, HOLD_MS, OK, REJECT
from primegap.bitcoin.amounts import Satoshi, format_sats
from primegap.bitcoin.audit import fingerprint
from primegap.bitcoin.policy import Scope, format_time
from primegap.keyos.ui.screen import (
    Address,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Icon,
    Item,
    Qr,
    Row,
    Screen,
    Text,
    TextStyle,
)

if TYPE_CHECKING:
    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.policy import Policies, Policy, Session, SetPolicy

LOG: Final = "log"
SHOW: Final = "show"
CARD: Final = "card"
REMOVE: Final = "remove"
BEGIN: Final = "begin"
END: Final = "end"
RENEW: Final = "renew"
POLICY: Final = "policy-"
"In front of the position of a policy."
_SCOPES: Final = {
    Scope.COMPANION: "This companion’s requests",
    Scope.ACCOUNT: "All payments of the account",
}


def limits(policies: Policies) -> Screen:
    """What is in force, and the log."""
    choices = [
        Choice(f"{POLICY}{position}", f"Policy {position + 1}", _SCOPES[item.policy.scope])
        for position, item in enumerate(policies.items)
    ]
    nothing = () if choices else (Text("No limits are set. You are asked for every payment."),)
    return Screen(
        id="limits",
        title="Limits and log",
        items=(
            *nothing,
            ChoiceList((*choices, Choice(LOG, "Audit log", "What was confirmed and refused"))),
            Text("A companion proposes limits; you set them here.", style=TextStyle.MUTED),
        ),
        buttons=(Button(BACK, "Back"),),
    )


def policy_proposed(policy: Policy, account: Account, companion: str) -> Screen:
    """Ask whether a policy shall be in force."""
    return _confirmation(
        "policy-proposed",
        "Set these limits?",
        (
            Row("Account", f"{account.name} ({account.network.value})"),
            Row("Proposed by companion", companion),
            *rows(policy),
            Text(
                "They take the place of those that the companion proposed before.",
                style=TextStyle.MUTED,
            ),
        ),
        "Hold to set",
    )


def policy_details(item: SetPolicy, spent: int, session: Session | None, left_s: int) -> Screen:
    """One policy in force."""
    items = rows(item.policy)
    if item.policy.max_window is not None:
        items.append(Row("Used up now", format_sats(Satoshi(spent))))
    act: tuple[Button, ...] = ()
    if session is not None:
        items.append(Row("A session runs", f"{format_time(left_s)} left"))
        items.append(Row("Left in it", format_sats(Satoshi(session.left))))
        act = (Button(END, "End session"),)
    elif item.policy.unattended is not None:
        act = (Button(BEGIN, "Session"),)
    return Screen(
        id="policy",
        title="Limits",
        items=tuple(items),
        buttons=(Button(BACK, "Back"), Button(REMOVE, "Remove"), *act),
    )


def remove_policy(item: SetPolicy) -> Screen:
    """Ask before limits are removed."""
    return _confirmation(
        "policy-remove",
        "Remove these limits?",
        (*rows(item.policy), Text("Payments are no longer held to them.")),
        "Hold to remove",
    )


def begin_session(item: SetPolicy) -> Screen:
    """Ask before payments are signed without asking."""
    quick = item.policy.unattended
    assert quick is not None
    return _confirmation(
        "session",
        "Sign without asking?",
        (
            Text(
                "Until the session ends, the companion gets signatures WITHOUT YOU, within these "
                "limits. Locking the device ends it at once.",
                style=TextStyle.DANGER,
            ),
            Row("For", format_time(quick.session_s)),
            Row("Each payment, with fee", f"up to {format_sats(Satoshi(quick.max_payment))}"),
            Row("Altogether", f"up to {format_sats(Satoshi(quick.max_total))}"),
            *(Address("Only to", address) for address in item.policy.allowed),
        ),
        "Hold to begin",
    )


def renew_record() -> Screen:
    """Ask before the record is begun anew."""
    return _confirmation(
        "record-renew",
        "Renew the record?",
        (
            Icon("cross"),
            Text(
                "The record of limits, payments and confirmations was removed or put back to an "
                "earlier state. If you did not do that, somebody had access to the storage.",
                style=TextStyle.DANGER,
            ),
            Text("A new record begins without limits, and says so in its first entry."),
        ),
        "Hold to renew",
    )


def log(key: bytes, last: int, first: int) -> Screen:
    """The audit log."""
    sealed = () if first == 1 else (Row("Sealed off", f"1 to {first - 1}"),)
    return Screen(
        id="audit-log",
        title="Audit log",
        items=(
            Row("Entries", f"{last - first + 1}" if last else "none"),
            *sealed,
            Row("Key", fingerprint(key)),
            Text("Compare the key with what the verifier prints.", style=TextStyle.MUTED),
            ChoiceList(
                (
                    Choice(SHOW, "Show as a code", "For the camera of another device", icon="qr"),
                    Choice(CARD, "Write to the card", "As audit.log"),
                )
            ),
        ),
        buttons=(Button(BACK, "Back"),),
    )


def log_code(part: str, min_version: int) -> Screen:
    """One frame of the audit log."""
    return Screen(
        id="audit-log-code",
        title="Audit log",
        items=(Qr(part, "Scan until it is complete", min_version=min_version),),
        buttons=(Button(OK, "Done", style=ButtonStyle.PRIMARY),),
    )


def second_question(amount: int, account: Account) -> Screen:
    """Ask again about a large payment."""
    return _confirmation(
        "second-question",
        "Really sign it?",
        (
            Text("This payment is above the amount from which you want to be asked twice."),
            Row("Leaves this account", format_sats(Satoshi(amount))),
            Row("Account", f"{account.name} ({account.network.value})"),
        ),
        "Hold to sign",
    )


def rows(policy: Policy) -> list[Item]:
    """Return a policy in full."""
    items: list[Item] = [Row("For", _SCOPES[policy.scope])]
    items.append(Row("One payment, with fee", _limit(policy.max_payment)))
    items.append(Row(f"Within {format_time(policy.window_s)}", _limit(policy.max_window)))
    wait = format_time(policy.cool_down_s) if policy.cool_down_s else "no"
    items.append(Row("New addresses wait", wait))
    twice = policy.confirm_twice_above
    above = "never" if twice is None else f"above {format_sats(Satoshi(twice))}"
    items.append(Row("Asked twice", above))
    if policy.allowed:
        items += [Address("May be paid", address) for address in policy.allowed]
    else:
        items.append(Row("May be paid", "any address"))
    quick = policy.unattended
    if quick is None:
        items.append(Row("Without asking you", "never"))
    else:
        items += [
            Text(
                "Allows signing WITHOUT ASKING, in sessions that you begin.",
                style=TextStyle.WARNING,
            ),
            Row("A session lasts", format_time(quick.session_s)),
            Row("One payment in it", f"up to {format_sats(Satoshi(quick.max_payment))}"),
            Row("All payments in it", f"up to {format_sats(Satoshi(quick.max_total))}"),
        ]
    return items


def _limit(amount: int | None) -> str:
    return "no limit" if amount is None else f"up to {format_sats(Satoshi(amount))}"


def _confirmation(screen_id: str, title: str, items: tuple[Item, ...], label: str) -> Screen:
    return Screen(
        id=screen_id,
        title=title,
        items=items,
        buttons=(
            Button(REJECT, "Cancel", style=ButtonStyle.SECONDARY),
            Button(CONFIRM, label, style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )
