"""The companion's web page: what the person sees and does, on the loopback, behind a token.

Pages are drawn by the server and work without scripts. With them, one WebSocket for each open page
carries the regions that changed, and pictures can be dropped, pasted or taken with the camera.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketDisconnect

from primegap.airgap import DEFAULT_FRAME_PERIOD_MS, DENSITIES, Density
from primegap.bitcoin.address_uri import format_payment_request
from primegap.bitcoin.amounts import Satoshi, parse_amount
from primegap.bitcoin.errors import BitcoinError
from primegap.companion.companion import COMPOSED
from primegap.companion.errors import PairingCodeError, PaymentError
from primegap.web.companion_desk import OUR_ERRORS, CompanionDesk, Problem, problem_of
from primegap.web.companion_forms import SendForm, limit_body, read_form, read_pictures
from primegap.web.companion_scan import NOTHING, read_codes
from primegap.web.companion_views import everywhere, overview, payment_view, render, rows
from primegap.web.security import STATIC, TokenGate, security_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from primegap.companion.companion import Companion

MAX_BODY_BYTES: Final = 48 << 20  # six pictures of the largest size at once
MAX_PICTURES: Final = 64
MAX_SOCKETS: Final = 32
MAX_FRAME: Final = (1 << 32) - 1
ANIMATION_FRAMES: Final = 3  # for each fragment of the message, for readers that miss some
MAX_ANIMATION_FRAMES: Final = 96
ANIMATION_MODULE_PX: Final = 6


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


def build_app(companion: Companion, *, token: str) -> Starlette:
    """Return the page of a companion as an ASGI application.

    The companion stays the caller's: its link and its syncing run while the application's lifespan
    lasts, and the caller closes it afterwards.
    """
    desk = CompanionDesk(companion)
    page = _CompanionPage(desk)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with desk.running():
            yield

    routes = [
        Route("/", page.overview),
        Route("/pair", page.pair),
        Route("/pair", page.start_pairing, methods=["POST"]),
        Route("/pair/picture", page.pairing_picture, methods=["POST"]),
        Route("/pair/cancel", page.cancel_pairing, methods=["POST"]),
        Route("/unpair", page.unpair, methods=["POST"]),
        Route("/account", page.account),
        Route("/account/share", page.share, methods=["POST"]),
        Route("/account/cancel", page.cancel_sharing, methods=["POST"]),
        Route("/receive", page.receive),
        Route("/receive/qr.svg", page.receive_qr),
        Route("/send", page.send),
        Route("/send", page.compose, methods=["POST"]),
        Route("/send/picture", page.recipient_picture, methods=["POST"]),
        Route("/history", page.history),
        Route("/sync", page.sync, methods=["POST"]),
        Route("/payments/{txid}", page.payment),
        Route("/payments/{txid}/sign", page.sign, methods=["POST"]),
        Route("/payments/{txid}/send", page.broadcast, methods=["POST"]),
        Route("/payments/{txid}/stop", page.stop, methods=["POST"]),
        Route("/payments/{txid}/give-up", page.give_up, methods=["POST"]),
        Route("/payments/{txid}/qr", page.qr),
        Route("/payments/{txid}/frames/{number:int}.svg", page.frame),
        Route("/payments/{txid}/animation.png", page.animation),
        Route("/payments/{txid}/picture", page.signed_picture, methods=["POST"]),
        WebSocketRoute("/live/{page}", page.live),
        WebSocketRoute("/live/{page}/{txid}", page.live),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: page.http_problem},
        middleware=[
            Middleware(security_headers),
            Middleware(TokenGate, token=token, name="companion", refuse=_locked),
            Middleware(limit_body, max_bytes=MAX_BODY_BYTES),
        ],
    )


def _locked(status: int, code: str, hint: str) -> Response:
    return HTMLResponse(render("closed.html", {"hint": hint}), status)


def _guarded(
    handler: Callable[[_CompanionPage, Request], Awaitable[Response]],
) -> Callable[[_CompanionPage, Request], Awaitable[Response]]:
    """Show what the companion refuses, with its hint, instead of failing."""

    async def run(page: _CompanionPage, request: Request) -> Response:
        try:
            return await handler(page, request)
        except OUR_ERRORS as error:
            return page.refuse(request, problem_of(error))

    return run


class _CompanionPage:
    """Handlers of one companion's page."""

    def __init__(self, desk: CompanionDesk) -> None:
        self._desk = desk
        self._companion = desk.companion
        self._sockets = 0

    # -- drawing --------------------------------------------------------------------------------

    def _context(self, name: str, txid: str, query: dict[str, str]) -> dict[str, Any] | None:
        """Return what a page is filled with; None when what it is about is not known."""
        desk = self._desk
        context = {**everywhere(desk), "refused": None}
        match name:
            case "overview":
                context |= overview(desk)
            case "pair":
                context["pairing"] = desk.pairing
            case "account":
                context["sharing"] = desk.sharing
                context["key"] = self._companion.account_key()
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

    def _page(
        self, request: Request, name: str, *, status: int = 200, txid: str = "", **extra: Any
    ) -> Response:
        context = self._context(name, txid, dict(request.query_params))
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
        jobs = {
            "pair": self._desk.pairing,
            "account": self._desk.sharing,
            "payment": self._desk.jobs.get(txid),
        }
        job = jobs.get(name)
        return job is not None and job.running

    def refuse(self, request: Request, problem: Problem, *, status: int = 409) -> Response:
        """Tell why something was not done: as JSON to a script, as a page to a person."""
        if _wants_json(request):
            body = {"verdict": "refused", "code": problem.code, "hint": problem.hint}
            return JSONResponse(body, status)
        back = "/" + request.url.path.strip("/").rpartition("/")[0]
        return self._page(
            request, "problem", status=status, heading="Not done", refused=problem, back=back
        )

    async def http_problem(self, request: Request, error: Exception) -> Response:
        """Show a wrong address, or a request that does not hold."""
        assert isinstance(error, HTTPException)
        problem = Problem("http", _HTTP_HINTS.get(error.status_code, error.detail))
        if _wants_json(request):
            return self.refuse(request, problem, status=error.status_code)
        return self._page(
            request,
            "problem",
            status=error.status_code,
            heading="Not found" if error.status_code == 404 else "Not done",
            refused=problem,
            back="/",
        )

    # -- overview and history -------------------------------------------------------------------

    async def overview(self, request: Request) -> Response:
        return self._page(request, "overview")

    async def history(self, request: Request) -> Response:
        return self._page(request, "history")

    async def sync(self, request: Request) -> Response:
        self._desk.sync_soon()
        return _see("/")

    # -- device ---------------------------------------------------------------------------------

    async def pair(self, request: Request) -> Response:
        return self._page(request, "pair")

    async def start_pairing(self, request: Request) -> Response:
        code = (await read_form(request)).get("code", "")
        try:
            await self._desk.start_pairing(code)
        except OUR_ERRORS as error:
            return self._page(request, "pair", status=422, refused=problem_of(error))
        return _see("/pair")

    @_guarded
    async def pairing_picture(self, request: Request) -> Response:
        texts = [
            text
            for picture in await read_pictures(request, MAX_PICTURES)
            for text in await read_codes(picture)
        ]
        if not texts and _wants_json(request):
            return JSONResponse({"verdict": "nothing", "hint": NOTHING})
        if not texts:
            problem = Problem("nothing", NOTHING)
            return self._page(request, "pair", status=422, refused=problem)
        try:
            await self._desk.start_pairing(texts[0])
        except PairingCodeError as error:
            if _wants_json(request):
                raise
            return self._page(request, "pair", status=422, refused=problem_of(error))
        return _went(request, "/pair")

    async def cancel_pairing(self, request: Request) -> Response:
        await self._desk.cancel_pairing()
        return _see("/pair")

    @_guarded
    async def unpair(self, request: Request) -> Response:
        await self._desk.unpair()
        return _see("/pair")

    # -- account --------------------------------------------------------------------------------

    async def account(self, request: Request) -> Response:
        return self._page(request, "account")

    async def share(self, request: Request) -> Response:
        self._desk.start_sharing()
        return _see("/account")

    async def cancel_sharing(self, request: Request) -> Response:
        await self._desk.cancel_sharing()
        return _see("/account")

    # -- receive --------------------------------------------------------------------------------

    def _receive_context(self, asked: str) -> dict[str, Any]:
        wallet = self._desk.wallet
        amount, error = None, ""
        try:
            amount = _asked_amount(asked)
        except BitcoinError as refused:
            error = refused.hint
        return {
            "ask": "" if amount is None else asked.strip(),
            "ask_text": asked,
            "ask_error": error,
            "request": ""
            if wallet is None
            else format_payment_request(wallet.address.address, amount),
            "incoming": [row for row in rows(self._desk) if row.delta > 0 and row.state == "wait"],
        }

    async def receive(self, request: Request) -> Response:
        return self._page(request, "receive")

    @_guarded
    async def receive_qr(self, request: Request) -> Response:
        from primegap.airgap.qr import qr_matrix

        wallet = self._desk.wallet
        if wallet is None:
            raise HTTPException(404, "There is no address yet.")
        amount = _asked_amount(request.query_params.get("amount", ""))
        text = format_payment_request(wallet.address.address, amount)
        # In capitals the code is smaller; names of parameters do not stand them.
        return _svg(qr_matrix(text.upper() if amount is None else text))

    # -- send -----------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        form = SendForm(recipient=request.query_params.get("to", "")[:4096])
        return self._page(request, "send", form=form)

    async def compose(self, request: Request) -> Response:
        fields = await read_form(request)
        form = SendForm(
            recipient=fields.get("recipient", ""),
            amount=fields.get("amount", ""),
            fee_rate=fields.get("fee_rate", ""),
        )
        if not form.check(self._companion.network):
            return self._page(request, "send", status=422, form=form)
        rate = form.rate or self._desk.fee_rate
        try:
            payment = await self._companion.compose(form.address, form.sat, rate)
        except OUR_ERRORS as error:
            return self._page(request, "send", status=422, form=form, refused=problem_of(error))
        self._desk.changed()
        return _see(f"/payments/{payment.txid}")

    @_guarded
    async def recipient_picture(self, request: Request) -> Response:
        for picture in await read_pictures(request, 1):
            for text in await read_codes(picture):
                if _wants_json(request):
                    return JSONResponse({"verdict": "read", "text": text[:4096]})
                return self._page(request, "send", form=SendForm(recipient=text[:4096]))
        if _wants_json(request):
            return JSONResponse({"verdict": "nothing", "hint": NOTHING})
        refused = Problem("nothing", NOTHING)
        return self._page(request, "send", status=422, form=SendForm(), refused=refused)

    # -- payments -------------------------------------------------------------------------------

    async def payment(self, request: Request) -> Response:
        return self._page(request, "payment", txid=request.path_params["txid"])

    @_guarded
    async def sign(self, request: Request) -> Response:
        self._desk.sign(request.path_params["txid"])
        return _see(_payment_path(request))

    @_guarded
    async def broadcast(self, request: Request) -> Response:
        self._desk.send(request.path_params["txid"])
        return _see(_payment_path(request))

    async def stop(self, request: Request) -> Response:
        await self._desk.stop(request.path_params["txid"])
        return _see(_payment_path(request))

    @_guarded
    async def give_up(self, request: Request) -> Response:
        await self._desk.give_up(request.path_params["txid"])
        return _see("/")

    # -- payments by QR -------------------------------------------------------------------------

    async def qr(self, request: Request, refused: Problem | None = None) -> Response:
        txid = request.path_params["txid"]
        payment = self._desk.payment(txid)
        if payment is None or payment.stage != COMPOSED:
            return _see(f"/payments/{txid}")
        return self._page(
            request,
            "qr",
            txid=txid,
            status=200 if refused is None else 422,
            density=_density(request).name,
            period_ms=DEFAULT_FRAME_PERIOD_MS,
            refused=refused,
        )

    @_guarded
    async def frame(self, request: Request) -> Response:
        """One frame of the animated code; any number is good, there is no last one."""
        from primegap.airgap.qr import qr_matrix

        payment = self._desk.payment(request.path_params["txid"])
        number = request.path_params["number"]
        if payment is None or not 1 <= number <= MAX_FRAME:
            raise HTTPException(404, "This payment is not known here.")
        density = _density(request)
        encoder = self._companion.payment_encoder(payment, density.max_fragment_bytes, first=number)
        return _svg(qr_matrix(encoder.next_part(), min_version=density.qr_version))

    @_guarded
    async def animation(self, request: Request) -> Response:
        """The animated code as one picture that repeats, for browsers without scripts."""
        from primegap.airgap.qr import qr_matrix
        from primegap.companion.pictures import qr_animation

        payment = self._desk.payment(request.path_params["txid"])
        if payment is None:
            raise HTTPException(404, "This payment is not known here.")
        density = _density(request)
        encoder = self._companion.payment_encoder(payment, density.max_fragment_bytes)
        count = min(encoder.parts_count * ANIMATION_FRAMES, MAX_ANIMATION_FRAMES)
        frames = [
            qr_matrix(encoder.next_part(), min_version=density.qr_version) for _ in range(count)
        ]
        picture = await asyncio.to_thread(
            qr_animation, frames, ANIMATION_MODULE_PX, DEFAULT_FRAME_PERIOD_MS
        )
        return Response(picture, media_type="image/png", headers={"Cache-Control": "no-store"})

    @_guarded
    async def signed_picture(self, request: Request) -> Response:
        txid = request.path_params["txid"]
        verdict, fraction, hint = "nothing", 0.0, NOTHING
        try:
            for picture in await read_pictures(request, MAX_PICTURES):
                scan = await self._desk.scan_signed(txid, picture)
                verdict, fraction, hint = scan.verdict, scan.fraction, scan.hint
                if scan.psbt is not None:
                    return _went(request, f"/payments/{txid}")
        except OUR_ERRORS as error:
            if _wants_json(request) or isinstance(error, PaymentError):
                raise
            return await self.qr(request, problem_of(error))
        if _wants_json(request):
            return JSONResponse({"verdict": verdict, "fraction": fraction, "hint": hint})
        return await self.qr(request, Problem(verdict, hint) if hint else None)

    # -- live -----------------------------------------------------------------------------------

    async def live(self, socket: WebSocket) -> None:
        """Send the regions of one open page as they change."""
        name, txid = socket.path_params["page"], socket.path_params.get("txid", "")
        if self._sockets >= MAX_SOCKETS or name not in PAGES:
            await socket.close(1013)
            return
        self._sockets += 1
        await socket.accept()
        query = dict(socket.query_params)
        sender = asyncio.create_task(self._send_regions(socket, name, txid, query))
        try:
            while True:
                await socket.receive_text()  # pages say nothing; this waits for the end
        except (WebSocketDisconnect, KeyError):
            pass
        finally:
            self._sockets -= 1
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send_regions(
        self, socket: WebSocket, name: str, txid: str, query: dict[str, str]
    ) -> None:
        sent: dict[str, str] = {}
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                news = self._desk.news
                context = self._context(name, txid, query)
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


_HTTP_HINTS: Final = {
    404: "There is nothing at this address.",
    405: "This cannot be done here.",
    413: "This is too large.",
}


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _see(path: str) -> Response:
    """Send the browser on after a form, so that a reload does nothing twice."""
    return RedirectResponse(path, status_code=303)


def _went(request: Request, path: str) -> Response:
    """The same after a picture, which a script may have sent."""
    if _wants_json(request):
        return JSONResponse({"verdict": "complete", "fraction": 1.0, "go": path})
    return _see(path)


def _payment_path(request: Request) -> str:
    return f"/payments/{request.path_params['txid']}"


def _density(request: Request) -> Density:
    wanted = request.query_params.get("density", "medium")
    return next((item for item in DENSITIES if item.name == wanted), DENSITIES[2])


def _asked_amount(text: str) -> Satoshi | None:
    """Read the optional amount of a request; nothing and zero ask for none."""
    text = text.strip()
    return (parse_amount(text) or None) if text else None


def _svg(matrix: Any) -> Response:
    from primegap.companion.pictures import qr_svg

    headers = {"Cache-Control": "no-store"}
    return Response(qr_svg(matrix), media_type="image/svg+xml", headers=headers)
