"""Pages of payments: composing, signing over the link or by QR codes, sending."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from primegap.airgap import DEFAULT_DENSITY, DEFAULT_FRAME_PERIOD_MS, DENSITIES, Density
from primegap.companion.companion import COMPOSED
from primegap.companion.errors import PaymentError
from primegap.web.companion_desk import OUR_ERRORS, Problem, problem_of
from primegap.web.companion_drawing import MAX_PICTURES, Pages, guarded, see, svg, wants_json, went
from primegap.web.companion_forms import SendForm, read_form, read_pictures
from primegap.web.companion_scan import NOTHING, read_codes

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_FRAME: Final = (1 << 32) - 1
MAX_RECIPIENT_CHARACTERS: Final = 4096
ANIMATION_FRAMES: Final = 3  # for each fragment of the message, for readers that miss some
MAX_ANIMATION_FRAMES: Final = 96
ANIMATION_MODULE_PX: Final = 6


class PaymentPages(Pages):
    """Handlers of `/send` and `/payments/…`."""

    def routes(self) -> list[Route]:
        """Return where the handlers are."""
        one = "/payments/{txid}"
        return [
            Route("/send", self.send),
            Route("/send", self.compose, methods=["POST"]),
            Route("/send/picture", self.recipient_picture, methods=["POST"]),
            Route(one, self.payment),
            Route(f"{one}/sign", self.sign, methods=["POST"]),
            Route(f"{one}/send", self.broadcast, methods=["POST"]),
            Route(f"{one}/stop", self.stop, methods=["POST"]),
            Route(f"{one}/give-up", self.give_up, methods=["POST"]),
            Route(f"{one}/qr", self.qr),
            Route(f"{one}/frames/{{number:int}}.svg", self.frame),
            Route(f"{one}/animation.png", self.animation),
            Route(f"{one}/picture", self.signed_picture, methods=["POST"]),
        ]

    # -- send -----------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        """The form for a payment."""
        form = SendForm(recipient=request.query_params.get("to", "")[:MAX_RECIPIENT_CHARACTERS])
        return self.page(request, "send", form=form)

    async def compose(self, request: Request) -> Response:
        """Compose what the form says, or show what is wrong with it."""
        fields = await read_form(request)
        form = SendForm(
            recipient=fields.get("recipient", ""),
            amount=fields.get("amount", ""),
            fee_rate=fields.get("fee_rate", ""),
        )
        if not form.check(self.companion.network):
            return self.page(request, "send", status=422, form=form)
        rate = form.rate or self.desk.fee_rate
        try:
            payment = await self.companion.compose(form.address, form.sat, rate)
        except OUR_ERRORS as error:
            return self.page(request, "send", status=422, form=form, refused=problem_of(error))
        self.desk.changed()
        return see(f"/payments/{payment.txid}")

    @guarded
    async def recipient_picture(self, request: Request) -> Response:
        """Read the recipient off a picture."""
        for picture in await read_pictures(request, 1):
            for code in await read_codes(picture):
                text = code.text
                if wants_json(request):
                    return JSONResponse(
                        {"verdict": "read", "text": text[:MAX_RECIPIENT_CHARACTERS]}
                    )
                return self.page(request, "send", form=SendForm(recipient=text))
        if wants_json(request):
            return JSONResponse({"verdict": "nothing", "hint": NOTHING})
        refused = Problem("nothing", NOTHING)
        return self.page(request, "send", status=422, form=SendForm(), refused=refused)

    # -- payments -------------------------------------------------------------------------------

    async def payment(self, request: Request) -> Response:
        """One payment or transaction and its course."""
        return self.page(request, "payment", txid=request.path_params["txid"])

    @guarded
    async def sign(self, request: Request) -> Response:
        """Have the device sign over the link."""
        self.desk.sign(request.path_params["txid"])
        return see(_payment_path(request))

    @guarded
    async def broadcast(self, request: Request) -> Response:
        """Send a signed payment to the network."""
        self.desk.send(request.path_params["txid"])
        return see(_payment_path(request))

    async def stop(self, request: Request) -> Response:
        """Stop waiting; the stage that was reached stays."""
        await self.desk.stop(request.path_params["txid"])
        return see(_payment_path(request))

    @guarded
    async def give_up(self, request: Request) -> Response:
        """Forget a payment that was not sent."""
        await self.desk.give_up(request.path_params["txid"])
        return see("/")

    # -- payments by QR -------------------------------------------------------------------------

    async def qr(self, request: Request, refused: Problem | None = None) -> Response:
        """Signing by QR codes: the animated code, and the way back."""
        txid = request.path_params["txid"]
        payment = self.desk.payment(txid)
        if payment is None or payment.stage != COMPOSED:
            return see(f"/payments/{txid}")
        return self.page(
            request,
            "qr",
            txid=txid,
            status=200 if refused is None else 422,
            density=_density(request).name,
            period_ms=DEFAULT_FRAME_PERIOD_MS,
            refused=refused,
        )

    @guarded
    async def frame(self, request: Request) -> Response:
        """One frame of the animated code; any number is good, there is no last one."""
        from primegap.airgap.qr import qr_matrix

        payment = self.desk.payment(request.path_params["txid"])
        number = request.path_params["number"]
        if payment is None or not 1 <= number <= MAX_FRAME:
            raise HTTPException(404, "This payment is not known here.")
        density = _density(request)
        encoder = self.companion.payment_encoder(payment, density.max_fragment_bytes, first=number)
        return svg(qr_matrix(encoder.next_part(), min_version=density.qr_version))

    @guarded
    async def animation(self, request: Request) -> Response:
        """The animated code as one picture that repeats, for browsers without scripts."""
        from primegap.airgap.drawing import qr_animation
        from primegap.airgap.qr import qr_matrix

        payment = self.desk.payment(request.path_params["txid"])
        if payment is None:
            raise HTTPException(404, "This payment is not known here.")
        density = _density(request)
        encoder = self.companion.payment_encoder(payment, density.max_fragment_bytes)
        count = min(encoder.parts_count * ANIMATION_FRAMES, MAX_ANIMATION_FRAMES)
        frames = [
            qr_matrix(encoder.next_part(), min_version=density.qr_version) for _ in range(count)
        ]
        picture = await asyncio.to_thread(
            qr_animation, frames, ANIMATION_MODULE_PX, DEFAULT_FRAME_PERIOD_MS
        )
        return Response(picture, media_type="image/png", headers={"Cache-Control": "no-store"})

    @guarded
    async def signed_picture(self, request: Request) -> Response:
        """Take pictures of the device's answer."""
        txid = request.path_params["txid"]
        verdict, fraction, hint = "nothing", 0.0, NOTHING
        try:
            for picture in await read_pictures(request, MAX_PICTURES):
                scan = await self.desk.scan_signed(txid, picture)
                verdict, fraction, hint = scan.verdict, scan.fraction, scan.hint
                if scan.psbt is not None:
                    return went(request, f"/payments/{txid}")
        except OUR_ERRORS as error:
            if wants_json(request) or isinstance(error, PaymentError):
                raise
            return await self.qr(request, problem_of(error))
        if wants_json(request):
            return JSONResponse({"verdict": verdict, "fraction": fraction, "hint": hint})
        return await self.qr(request, Problem(verdict, hint) if hint else None)


def _payment_path(request: Request) -> str:
    return f"/payments/{request.path_params['txid']}"


def _density(request: Request) -> Density:
    wanted = request.query_params.get("density")
    return next((item for item in DENSITIES if item.name == wanted), DEFAULT_DENSITY)
