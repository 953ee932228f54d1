"""The gate in front of both pages: token, cookie, origin, host name, headers."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket

from primegap.web.security import TokenGate, security_headers

ORIGIN = "http://127.0.0.1:8521"
COOKIE = {"Cookie": "primegap-test=secret"}


async def anything(request: Request) -> Response:
    return PlainTextResponse("inside")


async def socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def refuse(status: int, code: str, hint: str) -> Response:
    return PlainTextResponse(f"{code}: {hint}", status)


def gated() -> Starlette:
    return Starlette(
        routes=[
            Route("/", anything, methods=["GET", "POST"]),
            Route("/static/file", anything),
            WebSocketRoute("/live", socket),
        ],
        middleware=[
            Middleware(security_headers),
            Middleware(TokenGate, token="secret", name="test", refuse=refuse),
        ],
    )


def client(**options: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=gated())
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN, **options)  # type: ignore[arg-type]


async def test_nothing_is_shown_without_the_token() -> None:
    async with client() as browser:
        answer = await browser.get("/")
    assert answer.status_code == 401
    assert answer.text == "token: Open the address that was printed at the start."


async def test_the_printed_address_sets_a_cookie_that_no_other_site_can_use() -> None:
    async with client() as browser:
        answer = await browser.get("/?token=secret")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("primegap-test=secret;")
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await browser.get("/")).text == "inside"


async def test_the_address_of_an_earlier_start_is_refused() -> None:
    async with client() as browser:
        answer = await browser.get("/?token=wrong")
        assert answer.status_code == 401
        assert "earlier start" in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer secret"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "secret"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({**COOKIE, "Origin": ORIGIN}, 200),
        (COOKIE, 401),
        ({**COOKIE, "Origin": "null"}, 401),
        ({**COOKIE, "Origin": "http://127.0.0.1:9000"}, 401),
        ({**COOKIE, "Origin": "https://127.0.0.1:8521"}, 401),
        ({**COOKIE, "Origin": "http://evil.example"}, 401),
        ({"Cookie": "primegap-other=secret", "Origin": ORIGIN}, 401),
        ({"Cookie": "primegap-test=wrong", "Origin": ORIGIN}, 401),
        ({"Cookie": "a=b; primegap-test=secret", "Origin": ORIGIN}, 200),
    ],
)
async def test_who_may_change_something(headers: dict[str, str], status: int) -> None:
    async with client(headers=headers) as browser:
        assert (await browser.post("/")).status_code == status


async def test_looking_needs_no_origin_but_never_a_foreign_one() -> None:
    async with client(headers=COOKIE) as browser:
        assert (await browser.get("/")).status_code == 200
        answer = await browser.get("/", headers={"Origin": "http://evil.example"})
        assert answer.status_code == 401


async def test_another_host_name_is_refused_even_with_the_token() -> None:
    async with client(headers={"Authorization": "Bearer secret"}) as browser:
        for host, status in (
            ("rebound.example:8521", 421),
            ("127.0.0.1.example", 421),
            ("", 421),
            ("localhost:1", 200),
            ("[::1]:1", 200),
        ):
            answer = await browser.get("/", headers={"Host": host})
            assert answer.status_code == status, host


async def test_files_of_the_page_are_open_and_every_answer_has_the_headers() -> None:
    async with client() as browser:
        answer = await browser.get("/static/file")
    assert answer.text == "inside"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("headers", "first"),
    [
        ({"cookie": "primegap-test=secret", "origin": ORIGIN}, "websocket.accept"),
        ({"cookie": "primegap-test=secret"}, "websocket.close"),
        ({"cookie": "primegap-test=secret", "origin": "http://evil.example"}, "websocket.close"),
        ({"origin": ORIGIN}, "websocket.close"),
    ],
)
async def test_a_socket_opens_only_for_our_own_page(headers: dict[str, str], first: str) -> None:
    assert (await open_socket(gated(), {"host": "127.0.0.1:8521", **headers}))[0] == first


async def open_socket(app: ASGIApp, headers: dict[str, str]) -> list[str]:
    sent: list[str] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "path": "/live",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [],
    }
    await app(scope, receive, send)
    return sent
