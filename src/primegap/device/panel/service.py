"""The panel process: serves `hw/panel` to the system and the page to a browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from primegap.device.panel.port import DeveloperPort
from primegap.device.panel.state import PanelState
from primegap.keyos.api import panel as api
from primegap.keyos.messages import Empty, Message

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process


def offer(process: Process, state: PanelState, port: DeveloperPort) -> None:
    """Answer `hw/panel` with the display, touch panel and port that these stand for."""

    async def show_frame(caller: Caller, request: api.ShowFrame) -> Message:
        return await state.show(request)

    async def next_touch(caller: Caller, request: api.NextTouch) -> Message:
        return await state.next_touch()

    async def next_picture(caller: Caller, request: api.NextPicture) -> Message:
        return await state.next_picture()

    async def picture_read(caller: Caller, request: api.PictureRead) -> Message:
        state.picture_read(request.number, request.verdict)
        return Empty()

    async def next_app_job(caller: Caller, request: api.NextAppJob) -> Message:
        return await port.next_job()

    async def app_job_done(caller: Caller, request: api.AppJobDone) -> Message:
        port.done(request.number, request.answer)
        return Empty()

    process.handle(api.ShowFrame, show_frame)
    process.handle(api.NextTouch, next_touch)
    process.handle(api.NextPicture, next_picture)
    process.handle(api.PictureRead, picture_read)
    process.handle(api.NextAppJob, next_app_job)
    process.handle(api.AppJobDone, app_job_done)


async def main(process: Process) -> None:
    """Entry of the panel process: the display works at once, the page a moment later."""
    state = PanelState()
    port = DeveloperPort()
    offer(process, state, port)
    process.serve()
    page = process.take_socket("page")
    await state.wait_for(lambda frame: True, timeout_s=60)

    import uvicorn

    from primegap.device.panel.server import build_app, connection_limits

    app = build_app(state, port, token=process.config["token"], automation=process.development)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=1 << 20,
            server_header=False,
            date_header=False,
            **connection_limits(),
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[page]))
    await process.wait()
    serving.cancel()
