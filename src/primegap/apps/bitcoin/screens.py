"""The app's screens, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.airgap.density import DENSITIES, Density
from primegap.apps.bitcoin.store import FRAME_PERIODS_MS
from primegap.bitcoin.amounts import format_fee_rate
from primegap.bitcoin.review_values import (
    ChangeOutput,
    ExternalOutput,
    OpReturnOutput,
    OwnReceiveOutput,
    Severity,
)
from primegap.keyos.card import file_choices
from primegap.keyos.ui.screen import (
    Address,
    Amount,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Icon,
    Item,
    Progress,
    Qr,
    Row,
    Screen,
    Text,
    TextStyle,
    untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.exports.keys import Slot
    from primegap.bitcoin.review_values import Review, ReviewedOutput
    from primegap.keyos.card import FoundFile

RECEIVE: Final = "receive"
CHECK: Final = "check"
SIGN: Final = "sign"
LIMITS: Final = "limits"
SIGN_CARD: Final = "sign-card"
CONNECT: Final = "connect"
SIGN_MORE: Final = "sign-more"
MESSAGE: Final = "message"
NEXT: Final = "next"
SAVE: Final = "save"
SINGLE: Final = "single"
MULTISIG: Final = "multisig"
LEAVE: Final = "leave"
CANCEL: Final = "cancel"
DONE: Final = "done"
OK: Final = "ok"
CONFIRM: Final = "confirm"
REJECT: Final = "reject"
ADJUST: Final = "adjust"
BACK: Final = "back"
DOTS: Final = "dots"
PERIOD: Final = "period"
MENU: Final = frozenset({RECEIVE, CHECK, SIGN, SIGN_MORE, CONNECT, LIMITS})
HOLD_MS: Final = 1500
PERIODS: Final = dict(
    zip(
        FRAME_PERIODS_MS,
        (
            "Short: eight a second",
            "Four a second",
            "Long: two a second",
            "Very long: one a second",
        ),
        strict=True,
    )
)
"Milliseconds for which a code of an animation is shown, and their names."
_DENSITY_NAMES: Final = (
    "Largest: the easiest to read",
    "Large",
    "Middle",
    "Small",
    "Smallest: the quickest",
)
_STYLES: Final = {
    Severity.NOTICE: TextStyle.MUTED,
    Severity.CAUTION: TextStyle.WARNING,
    Severity.DANGER: TextStyle.DANGER,
}


def menu(account: Account) -> Screen:
    """First screen of the app."""
    return Screen(
        id="bitcoin",
        title="Bitcoin",
        items=(
            Row("Account", f"{account.name} ({account.network.value})"),
            ChoiceList(
                (
                    Choice(RECEIVE, "Receive", icon="coin"),
                    Choice(CHECK, "Check an address", icon="qr"),
                    Choice(SIGN, "Sign by QR code", icon="key"),
                    Choice(SIGN_MORE, "Sign something else", icon="key"),
                    Choice(CONNECT, "Connect a wallet", icon="phone"),
                    Choice(LIMITS, "Limits and log", icon="shield"),
                ),
            ),
        ),
        buttons=(Button(LEAVE, "Home", style=ButtonStyle.SECONDARY),),
    )


def sign_more() -> Screen:
    """What can be signed beside a payment in QR codes."""
    return Screen(
        id="sign-more",
        title="Sign something else",
        items=(
            ChoiceList(
                (
                    Choice(SIGN_CARD, "A payment from the card", icon="key"),
                    Choice(MESSAGE, "A message", icon="key"),
                ),
            ),
        ),
        buttons=(Button(LEAVE, "Back", style=ButtonStyle.SECONDARY),),
    )


def receive(account: Account, address: str, index: int) -> Screen:
    """One address of the account."""
    return Screen(
        id="receive",
        title=f"Address {index}",
        items=(
            Qr(address.upper(), "Scan to pay"),
            Address(f"{account.name}, receive {index}", address),
        ),
        buttons=(
            Button(LEAVE, "Back", style=ButtonStyle.SECONDARY),
            Button(NEXT, "Next", style=ButtonStyle.SECONDARY),
        ),
    )


def scanning(title: str, text: str, fraction: float | None) -> Screen:
    """The camera looks for codes."""
    return Screen(
        id="scanning",
        title=title,
        items=(Icon("qr"), Text(text), Progress("Scanning", fraction)),
        buttons=(Button(CANCEL, "Cancel", style=ButtonStyle.SECONDARY),),
    )


def address_ours(account: Account, address: str, chain: str, index: int) -> Screen:
    """A scanned address belongs to the account."""
    return Screen(
        id="address-ours",
        title="This address is yours",
        items=(
            Icon("check"),
            Address(f"{account.name}, {chain} {index}", address),
            Text("Compare it with the one on the other screen.", style=TextStyle.MUTED),
        ),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def address_foreign(text: str) -> Screen:
    """A scanned address was not found in the account."""
    return Screen(
        id="address-foreign",
        title="Not your address",
        items=(
            Icon("cross"),
            Text("It is not among the first addresses of this account. Do not receive on it."),
            Row("Scanned", untrusted(text)),
        ),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def problem(title: str, text: str) -> Screen:
    """Something could not be done."""
    return Screen(
        id="bitcoin-problem",
        title=title,
        items=(Icon("cross"), Text(text)),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def share_account(account: Account, companion: str) -> Screen:
    """Ask before an account is shown to the companion."""
    return Screen(
        id="share-account",
        title="Share this account?",
        items=(
            Row("Account", account.name),
            Row("Network", account.network.value),
            Row("Path", account.keys[0].path),
            Row("Master fingerprint", account.keys[0].fingerprint.upper()),
            Row("Companion", companion),
            Text(
                "The companion will see all addresses and amounts of this account. It cannot spend."
            ),
        ),
        buttons=(
            Button(REJECT, "Reject", style=ButtonStyle.SECONDARY),
            Button(CONFIRM, "Hold to share", style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def review_payment(review: Review, account: Account) -> Screen:
    """What a transaction does, from the very values whose digest is confirmed."""
    items: list[Item] = []
    for output in review.outputs:
        items += _output(output, review)
    items.append(Amount("Fee", review.fee, review.network))
    items.append(Row("Fee rate", format_fee_rate(review.fee_rate_sat_per_kvb)))
    items.append(Amount("Leaves this account", review.leaving, review.network))
    for change in review.outputs:
        if isinstance(change, ChangeOutput):
            items.append(Amount("Change, proved to be yours", change.amount, review.network))
            items.append(Address(f"Change {change.index}", change.address))
    items.append(Row("From", f"{account.name}, {_coins(len(review.own_inputs))}"))
    items += [Text(w.kind.hint, style=_STYLES[w.kind.severity]) for w in review.warnings]
    return Screen(
        id="review",
        title="Move to yourself?" if review.is_self_send else "Sign this payment?",
        items=tuple(items),
        buttons=(
            Button(REJECT, "Reject", style=ButtonStyle.SECONDARY),
            Button(CONFIRM, "Hold to sign", style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def _coins(count: int) -> str:
    return "1 coin" if count == 1 else f"{count} coins"


def _output(output: ReviewedOutput, review: Review) -> list[Item]:
    match output:
        case ExternalOutput():
            return [
                Amount("Send", output.amount, review.network, emphasised=True),
                Address("To", output.address),
            ]
        case OwnReceiveOutput():
            return [
                Amount("To yourself", output.amount, review.network, emphasised=True),
                Address(f"Receive {output.index}", output.address),
            ]
        case OpReturnOutput():
            return [
                Amount("In a data output", output.amount, review.network),
                Row("Data", untrusted(output.data.text or output.data.raw.hex())),
            ]
        case ChangeOutput():
            return []  # after the fee, once it is clear what leaves


def shown_qr(title: str, part: str, frames: int, density: Density, *, save: bool = False) -> Screen:
    """One frame of what leaves by code."""
    extra = (Button(SAVE, "To the card"),) if save else ()
    if frames > 1:
        extra = (Button(ADJUST, "Adjust"), *extra)
    return Screen(
        id="signed-qr",
        title=title,
        items=(
            Qr(
                part,
                "Scan this with your wallet",
                min_version=density.qr_version if frames > 1 else 1,
            ),
        ),
        buttons=(*extra, Button(DONE, "Done", style=ButtonStyle.PRIMARY)),
    )


def adjust_qr(density: Density, period_ms: int) -> Screen:
    """How the animation is shown; each choice goes on to its next value."""
    dots = _DENSITY_NAMES[DENSITIES.index(density)]
    return Screen(
        id="adjust-qr",
        title="How the code is shown",
        items=(
            Text("A camera that does not read it needs larger dots, or more time."),
            ChoiceList(
                (
                    Choice(DOTS, "Size of the dots", dots, icon="qr"),
                    Choice(PERIOD, "Time for each code", PERIODS[period_ms]),
                )
            ),
            Text("Touch a line to change it.", style=TextStyle.MUTED),
        ),
        buttons=(Button(BACK, "Back"),),
    )


def choose_file(title: str, files: Sequence[FoundFile]) -> Screen:
    """Files on the card: their names are whoever's wrote them."""
    return Screen(
        id="choose-payment",
        title=title,
        items=(file_choices(files, paths=True),),
        buttons=(Button(BACK, "Back", style=ButtonStyle.SECONDARY),),
    )


def saved(paths: Sequence[str]) -> Screen:
    """What was written to the card."""
    return Screen(
        id="saved",
        title="On the card",
        items=(Icon("check"), *(Row("File", untrusted(path)) for path in paths)),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def choose_wallet() -> Screen:
    """Which wallet is to be told."""
    from primegap.bitcoin.exports.wallets import WALLETS

    return Screen(
        id="choose-wallet",
        title="Connect a wallet",
        items=(
            Text("It will see all addresses and amounts. It cannot spend."),
            ChoiceList(tuple(Choice(wallet.id, wallet.title) for wallet in WALLETS)),
        ),
        buttons=(Button(BACK, "Back", style=ButtonStyle.SECONDARY),),
    )


def single_or_multisig(title: str) -> Screen:
    """Whether this device signs alone."""
    return Screen(
        id="single-or-multisig",
        title=title,
        items=(
            ChoiceList(
                (
                    Choice(SINGLE, "This device alone", "The usual account"),
                    Choice(MULTISIG, "With other signers", "Keys for a multisig wallet"),
                )
            ),
        ),
        buttons=(Button(BACK, "Back", style=ButtonStyle.SECONDARY),),
    )


def choose_kind(slots: Sequence[Slot]) -> Screen:
    """Which kind of addresses."""
    from primegap.bitcoin.exports.keys import Slot

    names = {
        Slot.P2WPKH: "Native segwit",
        Slot.P2SH_P2WPKH: "Nested segwit",
        Slot.P2PKH: "Legacy",
    }
    return Screen(
        id="choose-kind",
        title="Kind of addresses",
        items=(ChoiceList(tuple(Choice(slot.value, names[slot], slot.value) for slot in slots)),),
        buttons=(Button(BACK, "Back", style=ButtonStyle.SECONDARY),),
    )


def choose_medium(title: str) -> Screen:
    """By code or by card."""
    return Screen(
        id="choose-medium",
        title=title,
        items=(
            ChoiceList(
                (
                    Choice("code", "QR code", "The wallet scans it", icon="qr"),
                    Choice("card", "microSD card", "The wallet opens a file"),
                )
            ),
        ),
        buttons=(Button(BACK, "Back", style=ButtonStyle.SECONDARY),),
    )


def offer_check(title: str) -> Screen:
    """After a wallet was told: compare one address before coins are sent to it."""
    return Screen(
        id="offer-check",
        title="Compare an address",
        items=(
            Icon("qr"),
            Text("Have the wallet show its first address for receiving, and compare it here."),
            Row("Wallet", title),
        ),
        buttons=(
            Button(BACK, "Later", style=ButtonStyle.SECONDARY),
            Button(CHECK, "Scan it", style=ButtonStyle.PRIMARY),
        ),
    )
