"""What every page has in common: headers, the token gate, places of files."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC: Final = Path(__file__).parent / "static"
TEMPLATES: Final = Path(__file__).parent / "templates"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # Not `no-referrer`: with it browsers hide the origin of our own forms too.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)
LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
EARLIER_START: Final = "This address belongs to an earlier start."
NOT_OPENED: Final = "Open the address that was printed at the start."


def security_headers(app: ASGIApp) -> ASGIApp:
    """Add the headers to every answer, and refuse host names that are not the loopback's.

    The check of the host name keeps a foreign page from reaching us under its own name (DNS
    rebinding).
    """

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if host.rsplit(":", 1)[0] not in LOOPBACK_HOSTS:
            from starlette.responses import PlainTextResponse

            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("Unknown host.", 421)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await app(scope, receive, send_with_headers)

    return run


def connection_limits() -> dict[str, Any]:
    """Return the options of uvicorn that bound connections (see `web.connections`)."""
    from primegap.web.connections import BACKLOG, BoundedProtocol

    return {"http": BoundedProtocol, "backlog": BACKLOG}


class TokenGate:
    """Lets through only requests that carry the token of this start.

    The token comes as `Authorization: Bearer …`, or as the cookie that `/?token=…` sets. Whoever
    uses the cookie to change something, or to open a socket, must come from our own origin:
    another site cannot, and neither can another port of this machine.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, name: str, refuse: Callable[[int, str, str], Response]
    ) -> None:
        """Stand in front of `app`.

        Args:
            app: what is behind the gate.
            token: secret of this start.
            name: of the page; cookies do not tell ports apart, so each page has one of its own.
            refuse: makes the answer from status, code and a sentence for the person.
        """
        self._app = app
        self._token = token.encode()
        self._cookie = f"primegap-{name}"
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request or socket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif (
            scope["type"] == "http" and scope["path"] == "/" and b"token=" in scope["query_string"]
        ):
            await self._open(scope, receive, send)
        elif self._is_open(scope) or self._allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._refuse(401, "token", NOT_OPENED)(scope, receive, send)

    @staticmethod
    def _is_open(scope: Scope) -> bool:
        """Whether it is a file that is the same on every machine."""
        return scope["type"] == "http" and str(scope["path"]).startswith("/static/")

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exchange the token in the address for the cookie, so that it does not stay there."""
        from starlette.requests import Request
        from starlette.responses import RedirectResponse

        response: Response
        if self._is_token(Request(scope).query_params.get("token", "")):
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(
                self._cookie, self._token.decode(), httponly=True, samesite="strict", path="/"
            )
        else:
            response = self._refuse(401, "token", EARLIER_START)
        await response(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        bearer = headers.get(b"authorization", b"").decode("latin-1")
        # A page of another site cannot set this header.
        if bearer.startswith("Bearer ") and self._is_token(bearer.removeprefix("Bearer ")):
            return True
        origin = headers.get(b"origin")
        if origin is None:
            if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
                return False
        elif origin != b"http://" + headers.get(b"host", b""):
            return False
        return self._has_cookie(headers.get(b"cookie", b"").decode("latin-1"))

    def _has_cookie(self, header: str) -> bool:
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie and self._is_token(value):
                return True
        return False

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token)
