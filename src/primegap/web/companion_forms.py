"""What a person writes into the forms: read within limits, checked, explained field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException

from primegap.bitcoin.address_uri import parse_payment_request
from primegap.bitcoin.amounts import Satoshi, format_btc, parse_amount
from primegap.bitcoin.errors import BitcoinError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from primegap.bitcoin.networks import Network

MAX_FORM_BYTES: Final = 16 << 10
MAX_FIELDS: Final = 16
MAX_FEE_RATE: Final = 25_000  # sat/vB, as the wallet's


def limit_body(app: ASGIApp, *, max_bytes: int) -> ASGIApp:
    """Cut off requests that are longer than anything that is sent here."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise HTTPException(413, "This is too large.")
            return message

        await app(scope, counted, send)

    return run


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of an ordinary form.

    Raises:
        HTTPException: too large, or not a form.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_FORM_BYTES:
            raise HTTPException(413, "This form is too large.")
    try:
        text = data.decode()
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise HTTPException(400, "This is not a form.") from None
    return dict(fields)


async def read_pictures(request: Request, limit: int) -> list[bytes]:
    """Return the pictures of a form with files, or the one that is the body itself.

    Raises:
        HTTPException: malformed.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await request.body()
        return [body] if body else []
    async with request.form(max_files=limit, max_fields=1) as form:
        files = [item for item in form.getlist("picture") if not isinstance(item, str)]
        contents = [await file.read() for file in files]
    return [content for content in contents if content]


@dataclass(slots=True)
class SendForm:
    """The form for a payment: what was written, and what is wrong with it."""

    recipient: str = ""
    amount: str = ""
    fee_rate: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    "By field; the empty name is the form as a whole."
    address: str = ""
    sat: int = 0
    rate: int | None = None
    "In sat/vB; None leaves it to the estimate."

    def check(self, network: Network) -> bool:
        """Read the fields; tell whether they make a payment."""
        requested = self._read_recipient(network)
        self._read_amount(requested)
        self._read_fee_rate()
        return not self.errors

    def _read_recipient(self, network: Network) -> Satoshi | None:
        text = self.recipient.strip()
        if not text:
            self.errors["recipient"] = "Whom do you want to pay? Enter an address."
            return None
        try:
            request = parse_payment_request(text, network)
        except BitcoinError as error:
            self.errors["recipient"] = error.hint
            return None
        self.address = request.address
        return request.amount

    def _read_amount(self, requested: Satoshi | None) -> None:
        text = self.amount.strip().replace(" ", "").replace("\u202f", "")
        if not text and requested is not None:
            self.sat, self.amount = requested, _plain(requested)
            return
        if not text:
            self.errors["amount"] = "How much? Write for example 0.01."
            return
        try:
            self.sat = parse_amount(text)
        except BitcoinError as error:
            self.errors["amount"] = error.hint
            return
        if self.sat == 0:
            self.errors["amount"] = "The amount must be more than nothing."
        elif requested is not None and requested != self.sat:
            asked = _plain(requested)
            self.errors["amount"] = (
                f"The payment request asks for {asked}. Leave this empty to pay it."
            )

    def _read_fee_rate(self) -> None:
        text = self.fee_rate.strip()
        if not text:
            return
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_FEE_RATE):
            self.errors["fee_rate"] = f"A whole number from 1 to {MAX_FEE_RATE}."
            return
        self.rate = int(text)


def _plain(amount: Satoshi) -> str:
    return format_btc(amount, grouped=False, unit="").rstrip("0").rstrip(".")
