"""Attacks on the panel's door: every path with every kind of body, sockets, too many of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import cbor2
import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primegap.device.panel.port import DeveloperPort
from primegap.device.panel.server import build_app, connection_limits
from primegap.device.panel.state import MAX_PICTURE_BYTES, MAX_TOUCHES, PanelState
from primegap.keyos.api.panel import ShowFrame, Target
from primegap.web.connections import MAX_CONNECTIONS

TOKEN: Final = "t" * 32
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}
BASE: Final = "http://127.0.0.1:1"
PATHS: Final = ("/wait", "/press", "/type", "/touch", "/scan")
AWKWARD: Final = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"1e999",
    b"NaN",
    b'"text"',
    b"[" * 16000,
    b'{"a":' * 3000,
    b"{" * 100,
    b"1" * 16000,
    b'{"target": NaN, "timeout_s": NaN, "screen": "x"}',
    b'{"screen": "x", "timeout_s": "soon"}',
    b'{"screen": "x", "timeout_s": null}',
    b'{"screen": "x", "timeout_s": -1e308}',
    b'{"screen": ["x"], "timeout_s": 0}',
    b'{"target": {"a": [1]}, "text": ["1"], "timeout_s": 0}',
    b'{"text": "\\ud800"}',
    b'{"target": "\\ud800"}',
    b'{"phase": "down", "x": 1e400, "y": 0}',
    b'{"phase": "down", "x": true, "y": 0}',
    b'{"phase": ["down"], "x": 0, "y": 0}',
    b'{"phase": "up", "x": -99999999999999999999999, "y": 99999999999999999999999999}',
    bytes(20_000),
)


def frame(number: int = 1) -> ShowFrame:
    tree = cbor2.dumps({"id": "home", "title": "Home"})
    target = Target("ok", 0, 0, 10, 10, 0, False, "OK")
    return ShowFrame(number, 2, 2, bytes(12), tree, 0, 1, (target,), 0)


@pytest.fixture
async def state() -> PanelState:
    made = PanelState()
    await made.show(frame())
    return made


def browser(
    state: PanelState, headers: dict[str, str] | None = None, *, automation: bool = True
) -> httpx.AsyncClient:
    """A client that passes on every exception that a handler lets out."""
    app = build_app(state, DeveloperPort(), token=TOKEN, automation=automation)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


async def test_no_body_of_any_kind_makes_a_handler_fail(
    state: PanelState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primegap.device.panel.state.TAKE_TIMEOUT_S", 0.01)
    monkeypatch.setattr("primegap.device.panel.server.MAX_WAIT_S", 0.01)
    async with browser(state, BEARER) as client:
        for path in (*(f"/api/v1{path}" for path in PATHS), "/picture"):
            for body in AWKWARD:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        answer = await client.post(path, content=body)
                        assert answer.status_code in (200, 408, 409), (path, body[:40])
            too_much = await client.post(path, content=bytes(MAX_PICTURE_BYTES + 1))
            assert too_much.status_code == 409
        for path in ("/", "/screen.png", "/api/v1/screen", "/api/v1/screen.png"):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
                answer = await client.request(method, path)
                assert answer.status_code in (200, 405), (method, path)


async def test_a_dark_display_fails_nobody() -> None:
    dark = PanelState()
    async with browser(dark, BEARER) as client:
        for path in ("/screen.png", "/api/v1/screen", "/api/v1/screen.png"):
            assert (await client.get(path)).status_code in (409, 503)
        for path in PATHS:
            body = {"target": "ok", "text": "1", "screen": "x", "timeout_s": 0}
            answer = await client.post(f"/api/v1{path}", json=body)
            assert answer.status_code in (200, 408, 409), path


VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES: Final = st.sampled_from(["screen", "target", "text", "phase", "x", "y", "timeout_s", "a"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS[1:]), body=st.dictionaries(NAMES, VALUES, max_size=5))
def test_random_json_is_done_or_refused(path: str, body: dict[str, Any]) -> None:
    async def run() -> None:
        state = PanelState()
        await state.show(frame())
        async with browser(state, BEARER) as client:
            content = json.dumps(body).encode()
            answer = await client.post(f"/api/v1{path}", content=content)
            assert answer.status_code in (200, 408, 409)

    body.pop("text", None)  # typing takes its time; its texts are tried above
    body = {k: v for k, v in body.items() if (k, v) != ("target", "ok")}
    if path != "/scan":
        asyncio.run(run())


# -- sockets -------------------------------------------------------------------------------------


class Spoken:
    """One WebSocket, driven at the ASGI seam."""

    def __init__(self, path: str, headers: dict[str, str]) -> None:
        self.scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "ws",
            "query_string": b"",
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            "subprotocols": [],
            "extensions": {},
        }
        self.said: list[dict[str, Any]] = []
        self.to_say: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.to_say.put_nowait({"type": "websocket.connect"})

    async def run(self, app: Any) -> None:
        async def send(message: dict[str, Any]) -> None:
            self.said.append(message)

        await app(self.scope, self.to_say.get, send)

    @property
    def opened(self) -> bool:
        return self.said[:1] != [] and self.said[0]["type"] == "websocket.accept"


HOST: Final = {"Host": "127.0.0.1:1"}


async def test_no_message_on_a_socket_makes_it_fail(state: PanelState) -> None:
    app = build_app(state, DeveloperPort(), token=TOKEN, automation=True)
    for path in ("/live", "/api/v1/events"):
        for body in AWKWARD:
            spoken = Spoken(path, {**HOST, **BEARER})
            for message in (
                {"type": "websocket.receive", "text": body.decode("utf-8", "replace")},
                {"type": "websocket.receive", "bytes": body},
            ):
                spoken.to_say.put_nowait(message)
            spoken.to_say.put_nowait({"type": "websocket.disconnect", "code": 1006})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await spoken.run(app)  # raises what the handler lets out
            assert spoken.opened


async def test_a_socket_that_floods_touches_fills_nothing(state: PanelState) -> None:
    app = build_app(state, DeveloperPort(), token=TOKEN, automation=False)
    spoken = Spoken("/live", {**HOST, **BEARER})
    for _ in range(20 * MAX_TOUCHES):
        text = '{"phase": "move", "x": 1, "y": 1}'
        spoken.to_say.put_nowait({"type": "websocket.receive", "text": text})
    spoken.to_say.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(20):
        await spoken.run(app)
    assert len(state._touches) == MAX_TOUCHES


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "evil.example", **BEARER},
        {**HOST, "Authorization": "Bearer wrong"},
        {**HOST, "Cookie": f"primegap-device={TOKEN}"},
        {**HOST, "Cookie": f"primegap-device={TOKEN}", "Origin": "http://evil.example"},
        {**HOST, "Cookie": f"primegap-device={TOKEN}", "Origin": "http://127.0.0.1:2"},
        {**HOST, "Cookie": f"primegap-device={TOKEN}", "Origin": "null"},
        {**HOST, "Cookie": f"primegap-companion={TOKEN}", "Origin": BASE},
    ],
)
async def test_no_socket_opens_for_another_site(state: PanelState, headers: dict[str, str]) -> None:
    app = build_app(state, DeveloperPort(), token=TOKEN, automation=True)
    for path in ("/live", "/api/v1/events", "/static/live", "/static/../live", "/static/"):
        spoken = Spoken(path, headers)
        await spoken.run(app)
        assert not spoken.opened
        assert len(state._touches) == 0


# -- what another site, or no site, gets ---------------------------------------------------------


@pytest.mark.guarantee("U-4", tried="the panel's page without its secret")
async def test_without_the_token_nothing_is_shown_touched_or_scanned(state: PanelState) -> None:
    foreign: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"primegap-device={TOKEN}", "Origin": "http://evil.example"},
        {"Cookie": f"primegap-device={TOKEN}", "Origin": "http://127.0.0.1:2"},
        {"Cookie": "primegap-device="},
    )
    paths = ("/", "/screen.png", "/picture", "/live", "/api/v1/screen", "/api/v1/touch")
    sneaky = ("/static/../screen.png", "/static/%2e%2e/screen.png", "//screen.png", "/static/..")
    async with browser(state) as client:
        for headers in foreign:
            for path in (*paths, *sneaky):
                for method in ("GET", "POST"):
                    body = b'{"phase": "down", "x": 1, "y": 1}' if method == "POST" else b""
                    answer = await client.request(method, path, headers=headers, content=body)
                    assert answer.status_code in (401, 404, 405), (method, path)
                    assert b"PNG" not in answer.content
        answer = await client.get("/screen.png", headers={**BEARER, "Host": "evil.example"})
        assert answer.status_code == 421
    assert len(state._touches) == 0


@pytest.mark.guarantee("U-4", "M-3", tried="every automation call on an ordinary device")
async def test_an_ordinary_device_has_no_automation(state: PanelState) -> None:
    async with browser(state, BEARER, automation=False) as client:
        for path in (*PATHS, "/screen", "/screen.png", "/events"):
            for method in ("GET", "POST"):
                answer = await client.request(method, f"/api/v1{path}")
                assert answer.status_code == 404
        assert (await client.get("/screen.png")).status_code == 200


# -- too many ------------------------------------------------------------------------------------


@pytest.fixture
async def served(state: PanelState, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """The page on a real port, as the panel process serves it."""
    monkeypatch.setattr("primegap.web.connections.REQUEST_TIMEOUT_S", 0.5)
    listening = socket.create_server(("127.0.0.1", 0))
    app = build_app(state, DeveloperPort(), token=TOKEN, automation=True)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, lifespan="off", ws="websockets-sansio", **connection_limits()
        )
    )
    serving = asyncio.create_task(server._serve(sockets=[listening]))
    yield listening.getsockname()[1]
    server.should_exit = True
    server.force_exit = True
    await serving


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def test_whoever_has_the_token_gets_in_past_a_crowd_that_says_nothing(served: int) -> None:
    crowd = [await connect(served) for _ in range(3 * MAX_CONNECTIONS)]
    async with httpx.AsyncClient(headers=BEARER) as client:
        answer = await client.get(f"http://127.0.0.1:{served}/api/v1/screen", timeout=5)
    assert answer.json()["screen"]["id"] == "home"
    ends = await asyncio.gather(*(reader.read() for reader, _ in crowd), return_exceptions=True)
    assert len(ends) == len(crowd)  # all were closed: at once, or when their time was over
    for _, writer in crowd:
        writer.close()


async def test_half_a_request_is_cut_off_and_a_socket_is_not(served: int) -> None:
    reader, writer = await connect(served)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    opened, upgrade = await connect(served)
    upgrade.write(
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{served}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    assert b"101" in await opened.readline()
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(3):
            await reader.read()
    await asyncio.sleep(0.5)
    assert not opened.at_eof()
    for end in (writer, upgrade):
        end.close()


async def test_a_press_waits_for_its_target_but_not_for_ever(state: PanelState) -> None:
    """A device at work shows no targets for a moment; a finger that gave up there would race."""
    async with browser(state, BEARER) as client:
        late = {"target": "late", "timeout_s": 0}
        answer = await client.post("/api/v1/press", json=late)
        assert answer.status_code == 409
        assert "'late'" in answer.json()["hint"]
        press = asyncio.create_task(client.post("/api/v1/press", json=late | {"timeout_s": 10}))
        await asyncio.sleep(0.05)
        assert not press.done()
        shown = frame(2)
        await state.show(replace(shown, targets=(replace(shown.targets[0], id="late"),)))
        phases = [(await state.next_touch()).phase for _ in range(2)]
        assert phases == ["down", "up"]
        assert (await press).status_code == 200
