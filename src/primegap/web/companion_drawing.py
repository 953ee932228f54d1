"""Drawing the companion's pages: templates filled with what the desk knows, and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from primegap.bitcoin.address_uri import format_payment_request
from primegap.bitcoin.amounts import Satoshi, parse_amount
from primegap.bitcoin.errors import BitcoinError
from primegap.web.companion_desk import OUR_ERRORS, CompanionDesk, Problem, problem_of
from primegap.web.companion_views import (
    awaits_block,
    everywhere,
    overview,
    payment_view,
    render,
    rows,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from primegap.airgap.qr import QrMatrix

MAX_PICTURES: Final = 64  # in one form


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its parts that change while it is open."""

    template: str
    tab: str
    regions: tuple[str, ...]


PAGES: Final = {
    "overview": Page(
        "overview.html",
        "Overview",
        ("start", "balance", "unsent", "recent", "device", "chain"),
    ),
    "pair": Page("pair.html", "Device", ("pairing",)),
    "account": Page("account.html", "Device", ("sharing",)),
    "receive": Page("receive.html", "Receive", ("receive",)),
    "send": Page("send.html", "Send", ("funds", "fee")),
    "history": Page("history.html", "History", ("history", "chain")),
    "payment": Page("payment.html", "History", ("payment", "giveup")),
    "qr": Page("qr.html", "History", ("scan",)),
    "problem": Page("problem.html", "", ()),
}

_HTTP_HINTS: Final = {
    404: "There is nothing at this address.",
    405: "This cannot be done here.",
    413: "This is too large.",
}


def guarded(
    handler: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request], Awaitable[Response]]:
    """Show what the companion refuses, with its hint, instead of failing."""

    async def run(pages: Pages, request: Request) -> Response:
        try:
            return await handler(pages, request)
        except OUR_ERRORS as error:
            return pages.refuse(request, problem_of(error))

    return run


class Pages:
    """What all handlers of one companion's pages share."""

    def __init__(self, desk: CompanionDesk) -> None:
        self.desk = desk
        self.companion = desk.companion

    def context(self, name: str, txid: str, query: dict[str, str]) -> dict[str, Any] | None:
        """Return what a page is filled with; None when what it is about is not known."""
        desk = self.desk
        context = {**everywhere(desk), "refused": None}
        match name:
            case "overview":
                context |= overview(desk)
            case "pair":
                context["pairing"] = desk.pairing
            case "account":
                context["sharing"] = desk.sharing
                context["key"] = self.companion.account_key()
            case "receive":
                context |= self._receive_context(query.get("amount", ""))
            case "send":
                context["fee_estimate"] = desk.fee_rate
            case "history":
                context["rows"] = rows(desk)
            case "payment" | "qr":
                view = payment_view(desk, txid)
                if view is None:
                    return None
                context |= view
        return context

    def page(
        self, request: Request, name: str, *, status: int = 200, txid: str = "", **extra: Any
    ) -> Response:
        """Draw a page.

        Raises:
            HTTPException: what it is about is not known.
        """
        context = self.context(name, txid, dict(request.query_params))
        if context is None:
            raise HTTPException(404, "This payment is not known here.")
        page = PAGES[name]
        live = f"/live/{name}/{txid}" if txid else f"/live/{name}"
        context |= {
            "tab": page.tab,
            "live": f"{live}?{request.url.query}" if request.url.query else live,
            "waiting": self._waits(name, txid),
            **extra,
        }
        headers = {"Cache-Control": "no-store"}
        return HTMLResponse(render(page.template, context), status, headers)

    def _waits(self, name: str, txid: str) -> bool:
        """Whether a page without scripts has to look again by itself."""
        if name == "payment" and awaits_block(self.desk, txid):
            return True
        jobs = {
            "pair": self.desk.pairing,
            "account": self.desk.sharing,
            "payment": self.desk.jobs.get(txid),
        }
        job = jobs.get(name)
        return job is not None and job.running

    def refuse(self, request: Request, problem: Problem, *, status: int = 409) -> Response:
        """Tell why something was not done: as JSON to a script, as a page to a person."""
        if wants_json(request):
            body = {"verdict": "refused", "code": problem.code, "hint": problem.hint}
            return JSONResponse(body, status)
        back = "/" + request.url.path.strip("/").rpartition("/")[0]
        return self.page(
            request, "problem", status=status, heading="Not done", refused=problem, back=back
        )

    async def http_problem(self, request: Request, error: Exception) -> Response:
        """Show a wrong address, or a request that does not hold."""
        assert isinstance(error, HTTPException)
        problem = Problem("http", _HTTP_HINTS.get(error.status_code, error.detail))
        if wants_json(request):
            return self.refuse(request, problem, status=error.status_code)
        return self.page(
            request,
            "problem",
            status=error.status_code,
            heading="Not found" if error.status_code == 404 else "Not done",
            refused=problem,
            back="/",
        )

    def _receive_context(self, asked: str) -> dict[str, Any]:
        wallet = self.desk.wallet
        amount, error = None, ""
        try:
            amount = asked_amount(asked)
        except BitcoinError as refused:
            error = refused.hint
        return {
            "ask": "" if amount is None else asked.strip(),
            "ask_text": asked,
            "ask_error": error,
            "request": ""
            if wallet is None
            else format_payment_request(wallet.address.address, amount),
            "incoming": [row for row in rows(self.desk) if row.delta > 0 and row.state == "wait"],
        }


def wants_json(request: Request) -> bool:
    """Whether a script of ours asks, not a person."""
    return "application/json" in request.headers.get("accept", "")


def see(path: str) -> Response:
    """Send the browser on after a form, so that a reload does nothing twice."""
    return RedirectResponse(path, status_code=303)


def went(request: Request, path: str) -> Response:
    """The same after a picture, which a script may have sent."""
    if wants_json(request):
        return JSONResponse({"verdict": "complete", "fraction": 1.0, "go": path})
    return see(path)


def asked_amount(text: str) -> Satoshi | None:
    """Read the optional amount of a request; nothing and zero ask for none.

    Raises:
        AmountFormatError: not an amount.
    """
    text = text.strip()
    return (parse_amount(text) or None) if text else None


def svg(matrix: QrMatrix) -> Response:
    """Answer with a QR code."""
    from primegap.airgap.drawing import qr_svg

    headers = {"Cache-Control": "no-store"}
    return Response(qr_svg(matrix), media_type="image/svg+xml", headers=headers)
