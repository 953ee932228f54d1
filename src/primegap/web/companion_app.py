"""The companion's web page: what the person sees and does, on the loopback, behind a token.

Pages are drawn by the server and work without scripts. With them, one WebSocket for each open page
carries the regions that changed, and pictures can be dropped, pasted or taken with the camera.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketDisconnect

from primegap.bitcoin.address_uri import format_payment_request
from primegap.companion.errors import PairingCodeError, StateError
from primegap.web.companion_desk import OUR_ERRORS, CompanionDesk, Problem, problem_of
from primegap.web.companion_drawing import (
    MAX_PICTURES,
    PAGES,
    Pages,
    asked_amount,
    guarded,
    see,
    svg,
    wants_json,
    went,
)
from primegap.web.companion_forms import limit_body, read_form, read_pictures
from primegap.web.companion_payments import PaymentPages
from primegap.web.companion_scan import NOTHING, read_codes
from primegap.web.companion_views import render
from primegap.web.security import STATIC, TokenGate, security_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from primegap.companion.companion import Companion

MAX_BODY_BYTES: Final = 48 << 20  # six pictures of the largest size at once
MAX_SOCKETS: Final = 32


def build_app(companion: Companion, *, token: str) -> Starlette:
    """Return the page of a companion as an ASGI application.

    The companion stays the caller's: its link and its syncing run while the application's lifespan
    lasts, and the caller closes it afterwards.
    """
    desk = CompanionDesk(companion)
    page = AccountPages(desk)
    live = LiveRegions(page)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with desk.running():
            yield

    return Starlette(
        routes=[
            *page.routes(),
            *PaymentPages(desk).routes(),
            WebSocketRoute("/live/{page}", live.follow),
            WebSocketRoute("/live/{page}/{txid}", live.follow),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: page.http_problem, StateError: _damaged},
        middleware=[
            Middleware(security_headers),
            Middleware(TokenGate, token=token, name="companion", refuse=_locked),
            Middleware(limit_body, max_bytes=MAX_BODY_BYTES),
        ],
    )


def _locked(status: int, code: str, hint: str) -> Response:
    context = {"heading": "This page is locked", "hint": hint}
    return HTMLResponse(render("closed.html", context), status)


async def _damaged(request: Request, error: Exception) -> Response:
    """Say that nothing can be shown, since the companion's own files cannot be read."""
    assert isinstance(error, StateError)
    context = {"heading": "The companion cannot go on", "hint": f"{error}. {error.hint}"}
    return HTMLResponse(render("closed.html", context), 500)


class AccountPages(Pages):
    """Handlers of everything but payments: overview, device, account, receiving."""

    def routes(self) -> list[Route]:
        """Return where the handlers are."""
        return [
            Route("/", self.overview),
            Route("/history", self.history),
            Route("/sync", self.sync, methods=["POST"]),
            Route("/pair", self.pair),
            Route("/pair", self.start_pairing, methods=["POST"]),
            Route("/pair/picture", self.pairing_picture, methods=["POST"]),
            Route("/pair/cancel", self.cancel_pairing, methods=["POST"]),
            Route("/unpair", self.unpair, methods=["POST"]),
            Route("/account", self.account),
            Route("/account/share", self.share, methods=["POST"]),
            Route("/account/cancel", self.cancel_sharing, methods=["POST"]),
            Route("/receive", self.receive),
            Route("/receive/qr.svg", self.receive_qr),
        ]

    # -- overview and history -------------------------------------------------------------------

    async def overview(self, request: Request) -> Response:
        """The first page."""
        return self.page(request, "overview")

    async def history(self, request: Request) -> Response:
        """All transactions."""
        return self.page(request, "history")

    async def sync(self, request: Request) -> Response:
        """Look at the chain now."""
        self.desk.sync_soon()
        return see("/")

    # -- device ---------------------------------------------------------------------------------

    async def pair(self, request: Request) -> Response:
        """The device's page: pairing, or what is paired."""
        return self.page(request, "pair")

    async def start_pairing(self, request: Request) -> Response:
        """Pair by the text of a code."""
        code = (await read_form(request)).get("code", "")
        try:
            await self.desk.start_pairing(code)
        except OUR_ERRORS as error:
            return self.page(request, "pair", status=422, refused=problem_of(error))
        return see("/pair")

    @guarded
    async def pairing_picture(self, request: Request) -> Response:
        """Pair by pictures of a code."""
        texts = [
            code.text
            for picture in await read_pictures(request, MAX_PICTURES)
            for code in await read_codes(picture)
        ]
        if not texts and wants_json(request):
            return JSONResponse({"verdict": "nothing", "hint": NOTHING})
        if not texts:
            problem = Problem("nothing", NOTHING)
            return self.page(request, "pair", status=422, refused=problem)
        try:
            await self.desk.start_pairing(texts[0])
        except PairingCodeError as error:
            if wants_json(request):
                raise
            return self.page(request, "pair", status=422, refused=problem_of(error))
        return went(request, "/pair")

    async def cancel_pairing(self, request: Request) -> Response:
        """Stop pairing."""
        await self.desk.cancel_pairing()
        return see("/pair")

    @guarded
    async def unpair(self, request: Request) -> Response:
        """Forget the device."""
        await self.desk.unpair()
        return see("/pair")

    # -- account --------------------------------------------------------------------------------

    async def account(self, request: Request) -> Response:
        """The account's public keys."""
        return self.page(request, "account")

    async def share(self, request: Request) -> Response:
        """Ask the device to share its account."""
        self.desk.start_sharing()
        return see("/account")

    async def cancel_sharing(self, request: Request) -> Response:
        """Stop waiting for the account."""
        await self.desk.cancel_sharing()
        return see("/account")

    # -- receive --------------------------------------------------------------------------------

    async def receive(self, request: Request) -> Response:
        """The next address."""
        return self.page(request, "receive")

    @guarded
    async def receive_qr(self, request: Request) -> Response:
        """The payment request for it as a QR code."""
        from primegap.airgap.qr import qr_matrix

        wallet = self.desk.wallet
        if wallet is None:
            raise HTTPException(404, "There is no address yet.")
        amount = asked_amount(request.query_params.get("amount", ""))
        text = format_payment_request(wallet.address.address, amount)
        # In capitals the code is smaller; names of parameters do not stand them.
        return svg(qr_matrix(text.upper() if amount is None else text))


class LiveRegions:
    """Sends to each open page what changed on it."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._sockets = 0

    async def follow(self, socket: WebSocket) -> None:
        """Send the regions of one open page as they change."""
        name, txid = socket.path_params["page"], socket.path_params.get("txid", "")
        if self._sockets >= MAX_SOCKETS or name not in PAGES:
            await socket.close(1013)
            return
        self._sockets += 1
        try:
            await socket.accept()
            query = dict(socket.query_params)
            async with asyncio.TaskGroup() as both:
                sender = both.create_task(self._send_regions(socket, name, txid, query))
                with contextlib.suppress(WebSocketDisconnect, KeyError):
                    while True:
                        await socket.receive_text()  # pages say nothing; this waits for the end
                sender.cancel()
        finally:
            self._sockets -= 1

    async def _send_regions(
        self, socket: WebSocket, name: str, txid: str, query: dict[str, str]
    ) -> None:
        sent: dict[str, str] = {}
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                news = self._pages.desk.news
                context = self._pages.context(name, txid, query)
                if context is None:
                    return  # given up: the page says what it last knew
                parts = []
                for region in ("link", *PAGES[name].regions):
                    drawn = render(f"regions/{region}.html", context)
                    if sent.get(region) != drawn:
                        sent[region] = drawn
                        parts.append(
                            f'<hx-partial hx-target="#region-{region}" hx-swap="innerMorph">'
                            f"{drawn}</hx-partial>"
                        )
                if parts:
                    await socket.send_text("".join(parts))
                await news.wait()
