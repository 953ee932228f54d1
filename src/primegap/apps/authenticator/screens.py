"""The app's screens, as data. Names come from scanned codes and are marked as text from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.apps.authenticator.otp import OtpKind, grouped
from primegap.keyos.ui.screen import (
    Button,
    ButtonStyle,
    Icon,
    Item,
    OneTimeCode,
    Progress,
    Row,
    Screen,
    Text,
    TextStyle,
    untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.apps.authenticator.otp import Account
    from primegap.keyos.ui.screen import Label

ADD: Final = "add"
LEAVE: Final = "leave"
CANCEL: Final = "cancel"
KEEP: Final = "keep"
DELETE: Final = "delete"
CONFIRM: Final = "confirm"
NEXT: Final = "next"
BACK: Final = "back"
OK: Final = "ok"
ACCOUNT: Final = "account:"
HOLD_MS: Final = 1200
_SHOWN_NAME: Final = 60


def _service(account: Account) -> Label:
    return untrusted(account.issuer or account.name, _SHOWN_NAME)


def _user(account: Account) -> Label:
    return untrusted(account.name, _SHOWN_NAME) if account.issuer and account.name else ""


def _code(account: Account, number: int, unix_ms: int) -> OneTimeCode:
    """The entry of an account: its code and time, or nothing before a HOTP code was asked for."""
    timed = account.kind is OtpKind.TOTP
    return OneTimeCode(
        f"{ACCOUNT}{number}",
        _service(account),
        _user(account),
        grouped(account.code_at(unix_ms // 1000)) if timed else "",
        account.remaining_at(unix_ms) if timed else None,
    )


def codes(accounts: Sequence[Account], unix_ms: int) -> Screen:
    """Every account with its present code."""
    items: tuple[Item, ...]
    if accounts:
        items = tuple(_code(account, n, unix_ms) for n, account in enumerate(accounts))
    else:
        items = (
            Icon("key"),
            Text("Codes for your logins", style=TextStyle.HEADING),
            Text("When a service offers an authenticator app, scan the QR code it shows."),
            Text(
                "The secrets stay on this device, under a key made from your seed.",
                style=TextStyle.MUTED,
            ),
        )
    return Screen(
        id="authenticator",
        title="Codes",
        items=items,
        buttons=(
            Button(LEAVE, "Home", style=ButtonStyle.SECONDARY),
            Button(ADD, "Add by QR", style=ButtonStyle.SECONDARY),
        ),
    )


def account(shown: Account, unix_ms: int, hotp_code: str = "") -> Screen:
    """One account: its code, its facts, and the way out of it."""
    code = _code(shown, 0, unix_ms)
    if shown.kind is OtpKind.HOTP:
        code = OneTimeCode(
            code.id, code.label, code.detail, grouped(hotp_code) if hotp_code else "", None
        )
    made_from = f"time, every {shown.period_s} s" if shown.kind is OtpKind.TOTP else "counter"
    buttons = [
        Button(BACK, "Back", style=ButtonStyle.SECONDARY),
        Button(DELETE, "Delete", style=ButtonStyle.SECONDARY),
    ]
    if shown.kind is OtpKind.HOTP:
        buttons.append(Button(NEXT, "Next code", style=ButtonStyle.PRIMARY))
    return Screen(
        id="account",
        title="Account",
        items=(
            code,
            Row("Made from", made_from),
            Row("Digits", str(shown.digits)),
            Row("Hash", shown.algorithm.value),
        ),
        buttons=tuple(buttons),
    )


def scanning() -> Screen:
    """While the camera looks."""
    return Screen(
        id="otp-scanning",
        title="Add an account",
        items=(
            Icon("qr"),
            Text("Hold up the QR code that the service shows."),
            Progress("Looking for a code", None),
        ),
        buttons=(Button(CANCEL, "Cancel", style=ButtonStyle.SECONDARY),),
    )


def keep(found: Account) -> Screen:
    """What a scanned code would add."""
    items: list[Item] = [Icon("key"), Row("Service", _service(found))]
    if _user(found):
        items.append(Row("Account", _user(found)))
    kind = "By time" if found.kind is OtpKind.TOTP else "By counter"
    items.append(Row("Codes", f"{kind}, {found.digits} digits"))
    return Screen(
        id="keep-account",
        title="Keep this account?",
        items=tuple(items),
        buttons=(
            Button(CANCEL, "Discard", style=ButtonStyle.SECONDARY),
            Button(KEEP, "Keep", style=ButtonStyle.PRIMARY),
        ),
    )


def confirm_delete(shown: Account) -> Screen:
    """Ask before a secret is gone for good."""
    items: list[Item] = [Row("Service", _service(shown))]
    if _user(shown):
        items.append(Row("Account", _user(shown)))
    items.append(
        Text(
            "Its codes end for good. Switch them off at the service first, or you may lock "
            "yourself out.",
            style=TextStyle.WARNING,
        )
    )
    return Screen(
        id="delete-account",
        title="Delete this account?",
        items=tuple(items),
        buttons=(
            Button(BACK, "Keep it", style=ButtonStyle.SECONDARY),
            Button(CONFIRM, "Hold to delete", style=ButtonStyle.DANGER, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def problem(text: str) -> Screen:
    """Something did not work."""
    return Screen(
        id="otp-problem",
        title="That did not work",
        items=(Icon("cross"), Text(text)),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )
