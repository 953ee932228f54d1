"""The panel's HTTP side: the page that shows the trusted screen, and the automation API.

Everything needs the token of this start: as `Authorization: Bearer …`, or as the cookie that
`/?token=…` sets. Automation exists only on a development device; on any other its paths are not
there at all. It can do what a finger and a camera picture can do, and nothing more: it reads the
screen as data, touches places on it, and holds pictures up.

The paths below `/developer` stand for the port that a developer's computer is plugged into. They
are there on every device; the device refuses unless the person has switched developer mode on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from primegap.device.errors import AutomationError, DeveloperPortError
from primegap.device.panel.automation import PRESS_WAIT_S, Automation
from primegap.device.panel.state import MAX_PICTURE_BYTES, MAX_WATCHERS
from primegap.keyos.api.panel import INSTALL, LIST, REMOVE
from primegap.keyos.bundle.archive import MAX_BUNDLE_BYTES
from primegap.web.device_page import device_page
from primegap.web.security import STATIC, TokenGate, connection_limits, security_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import HTTPConnection, Request

    from primegap.device.panel.port import DeveloperPort
    from primegap.device.panel.state import PanelState

__all__ = ["build_app", "connection_limits"]

MAX_JSON_BYTES: Final = 16 << 10
MAX_WAIT_S: Final = 120.0
DEFAULT_WAIT_S: Final = 10.0


def _error(status: int, code: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": code, "hint": hint}, status_code=status)


def build_app(state: PanelState, port: DeveloperPort, *, token: str, automation: bool) -> Starlette:
    """Return the ASGI application of the panel."""
    panel = _Panel(state, port, automation=Automation(state))
    routes = [
        Route("/", panel.page),
        Route("/screen.png", panel.screen_png),
        Route("/picture", panel.picture, methods=["POST"]),
        Route("/developer/apps", panel.list_apps, methods=["GET"]),
        Route("/developer/apps", panel.install_app, methods=["POST"]),
        Route("/developer/apps/{name}", panel.remove_app, methods=["DELETE"]),
        WebSocketRoute("/live", panel.live),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    if automation:
        routes.append(
            Mount(
                "/api/v1",
                routes=[
                    Route("/screen", panel.screen),
                    Route("/screen.png", panel.screen_png),
                    Route("/wait", panel.wait, methods=["POST"]),
                    Route("/press", panel.press, methods=["POST"]),
                    Route("/type", panel.type_text, methods=["POST"]),
                    Route("/touch", panel.touch, methods=["POST"]),
                    Route("/scan", panel.scan, methods=["POST"]),
                    WebSocketRoute("/events", panel.events),
                ],
            )
        )
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(security_headers),
            Middleware(TokenGate, token=token, name="device", refuse=_error),
        ],
    )


def _guarded(
    handler: Callable[[_Panel, Request], Awaitable[Response]],
) -> Callable[[_Panel, Request], Awaitable[Response]]:
    """Turn refusals of the automation into one JSON shape."""

    async def run(panel: _Panel, request: Request) -> Response:
        try:
            return await handler(panel, request)
        except AutomationError as error:
            return _error(409, error.code, f"{error}.")
        except DeveloperPortError as error:
            return _error(503, error.code, error.hint)
        except TimeoutError:
            return _error(408, "timeout", "The screen did not come in time.")

    return run


class _Panel:
    """Handlers of one panel."""

    def __init__(self, state: PanelState, port: DeveloperPort, *, automation: Automation) -> None:
        self._state = state
        self._port = port
        self._automation = automation
        self._watchers = 0

    # -- page -----------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        return device_page()

    async def screen_png(self, request: Request) -> Response:
        png = self._state.png()
        if not png:
            return _error(503, "dark", "The display is still dark.")
        return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})

    @_guarded
    async def picture(self, request: Request) -> Response:
        image = await _body(request, MAX_PICTURE_BYTES)
        verdict = await self._state.hold_up_picture(image)
        return JSONResponse({"verdict": verdict})

    async def live(self, socket: WebSocket) -> None:
        """Frames out (binary PNG), touches in (JSON)."""
        async with self._watching(socket) as welcome:
            if not welcome:
                return
            sender = asyncio.create_task(self._send_frames(socket))
            try:
                while True:
                    message = await socket.receive_json()
                    touch = _touch(message)
                    if touch is not None:
                        self._state.touch(*touch)
            except (WebSocketDisconnect, ValueError, KeyError, RecursionError):
                pass
            finally:
                sender.cancel()

    async def _send_frames(self, socket: WebSocket) -> None:
        number = -1
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                frame = await self._state.next_frame(number)
                number = frame.number
                await socket.send_bytes(self._state.png())

    @contextlib.asynccontextmanager
    async def _watching(self, socket: WebSocket) -> Any:
        if self._watchers >= MAX_WATCHERS:
            await socket.close(1013)
            yield False
            return
        self._watchers += 1
        await socket.accept()
        try:
            yield True
        finally:
            self._watchers -= 1

    # -- the developer's port ---------------------------------------------------------------------

    @_guarded
    async def list_apps(self, request: Request) -> Response:
        return await self._job(LIST, b"")

    @_guarded
    async def install_app(self, request: Request) -> Response:
        return await self._job(INSTALL, await _body(request, MAX_BUNDLE_BYTES))

    @_guarded
    async def remove_app(self, request: Request) -> Response:
        return await self._job(REMOVE, str(request.path_params["name"]).encode())

    async def _job(self, kind: str, data: bytes) -> Response:
        answer = await self._port.ask(kind, data)
        return JSONResponse(answer, status_code=409 if "error" in answer else 200)

    # -- automation -----------------------------------------------------------------------------

    @_guarded
    async def screen(self, request: Request) -> Response:
        return JSONResponse(self._automation.screen())

    @_guarded
    async def wait(self, request: Request) -> Response:
        body = await _json(request)
        screen, target = body.get("screen"), body.get("target")
        if not (isinstance(screen, str | None) and isinstance(target, str | None)):
            raise AutomationError("a wait has screen and target (texts), and timeout_s (seconds)")
        await self._automation.wait(
            screen=screen, target=target, timeout_s=_timeout_s(body, DEFAULT_WAIT_S)
        )
        return JSONResponse(self._automation.screen())

    @_guarded
    async def press(self, request: Request) -> Response:
        body = await _json(request)
        await self._automation.press(
            _text(body, "target"), timeout_s=_timeout_s(body, PRESS_WAIT_S)
        )
        return JSONResponse(self._automation.screen())

    @_guarded
    async def type_text(self, request: Request) -> Response:
        body = await _json(request)
        await self._automation.type(_text(body, "text"), timeout_s=_timeout_s(body, PRESS_WAIT_S))
        return JSONResponse(self._automation.screen())

    @_guarded
    async def touch(self, request: Request) -> Response:
        touch = _touch(await _json(request))
        if touch is None:
            raise AutomationError("a touch has phase (down, move, up), x and y")
        self._state.touch(*touch)
        return JSONResponse({})

    @_guarded
    async def scan(self, request: Request) -> Response:
        image = await _body(request, MAX_PICTURE_BYTES)
        verdict = await self._state.hold_up_picture(image)
        return JSONResponse({"verdict": verdict})

    async def events(self, socket: WebSocket) -> None:
        """One JSON object a frame: the screen as data."""
        async with self._watching(socket) as welcome:
            if not welcome:
                return
            number = -1
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                while True:
                    frame = await self._state.next_frame(number)
                    number = frame.number
                    await socket.send_json(self._automation.screen())


def _touch(message: Any) -> tuple[str, int, int] | None:
    if not isinstance(message, dict):
        return None
    phase, x, y = message.get("phase"), message.get("x"), message.get("y")
    if phase not in ("down", "move", "up") or type(x) is not int or type(y) is not int:
        return None
    return phase, max(-1, min(x, 4096)), max(-1, min(y, 4096))


async def _body(request: HTTPConnection, limit: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():  # type: ignore[attr-defined]
        data += chunk
        if len(data) > limit:
            raise AutomationError(f"the body is larger than {limit} bytes")
    return bytes(data)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise AutomationError(f"{name} is a text")
    return value


def _timeout_s(body: dict[str, Any], default: float) -> float:
    timeout_s = body.get("timeout_s", default)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s >= 0:
        raise AutomationError("timeout_s is a number of seconds, 0 or more")
    return min(float(timeout_s), MAX_WAIT_S)


async def _json(request: Request) -> dict[str, Any]:
    import json

    data = await _body(request, MAX_JSON_BYTES)
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise AutomationError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise AutomationError("the body is not a JSON object")
    return body
