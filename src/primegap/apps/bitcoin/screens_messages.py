"""Screens of signed messages, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.apps.bitcoin.screens import BACK, CANCEL, CONFIRM, HOLD_MS, OK, REJECT
from primegap.bitcoin.messages import MessageForm
from primegap.keyos.ui.screen import (
    Address,
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
    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.message_requests import SignedMessage
    from primegap.bitcoin.messages import MessageReview

SCAN: Final = "scan"
CARD: Final = "card"
_LINE_BYTES: Final = 240  # with spaces between them they fit one text
_FORMS: Final = {
    MessageForm.BIP137: "BIP-137",
    MessageForm.SIMPLE: "BIP-322 simple",
    MessageForm.FULL: "BIP-322 full",
}


def sources(name: str) -> Screen:
    """Where the message comes from."""
    return Screen(
        id="message-source",
        title="Sign a message",
        items=(
            ChoiceList(
                (
                    Choice(SCAN, "Scan a code", "signmessage …", icon="qr"),
                    Choice(CARD, "From the card", name),
                )
            ),
        ),
        buttons=(Button(BACK, "Back"),),
    )


def scanning() -> Screen:
    """The camera looks for a request."""
    return Screen(
        id="message-scanning",
        title="Sign a message",
        items=(Icon("qr"), Text("Hold the request’s code up."), Progress("Scanning", None)),
        buttons=(Button(CANCEL, "Cancel"),),
    )


def review_message(review: MessageReview, account: Account) -> Screen:
    """Every byte that is signed, and with which address."""
    items: list[Item] = []
    if review.text is not None:
        # In a frame of its own, so that no text in it passes for one of the device's.
        items.append(Text(review.text, style=TextStyle.WARNING))
    else:
        shown = review.message.decode("utf-8", "replace")
        items += [
            Text(
                "This message has characters that look like others or cannot be seen. "
                "These are its bytes:",
                style=TextStyle.WARNING,
            ),
            *(
                Text(review.message[start : start + _LINE_BYTES].hex(" "))
                for start in range(0, len(review.message), _LINE_BYTES)
            ),
            Row("Looks like", untrusted(shown)),
        ]
    items += [
        Row("Bytes", str(len(review.message))),
        Address("Signed by", review.address),
        Row("Account", f"{account.name} ({account.network.value})"),
        Row("Form", _FORMS[review.form]),
        Text(
            "A signature says that you agree to the message. It moves no coins.",
            style=TextStyle.MUTED,
        ),
    ]
    return Screen(
        id="review-message",
        title="Sign this message?",
        items=tuple(items),
        buttons=(
            Button(REJECT, "Reject", style=ButtonStyle.SECONDARY),
            Button(CONFIRM, "Hold to sign", style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def signature(signed: SignedMessage) -> Screen:
    """The signature as a code."""
    return Screen(
        id="message-signature",
        title="Signed",
        items=(Qr(signed.signature, "Scan the signature"), Address("By", signed.address)),
        buttons=(Button(OK, "Done", style=ButtonStyle.PRIMARY),),
    )
