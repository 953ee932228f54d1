"""In the place of the app manager and the broker: the life of an installed app, step by step."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.hostile.raw import wait_for_file, write_report

from primegap.keyos.api.core import (
    AdmitApp,
    AnswerPermissionRequest,
    AppEvent,
    FirstScreen,
    GetSystemInfo,
    NamedMessages,
    NextAppEvent,
    NextPermissionRequest,
    OfferedMessage,
    OfferedServer,
    PermissionRequest,
    RemoveApp,
    RevokePermission,
    StopApp,
    SystemInfo,
)
from primegap.keyos.errors import RequestError

if TYPE_CHECKING:
    from primegap.keyos.messages import Request
    from primegap.keyos.process import Process

APP: Final = bytes(15) + b"\x77"
GROUP: Final = "device-secrets.app-scoped-seed"
CODE: Final = """
from tests.e2e.hostile import installed
MARK = {mark!r}
async def main(process):
    await installed.main(process, MARK, __file__)
"""


def image(mark: str) -> bytes:
    """Return the code of an app: a zip, large enough to travel as an object."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("thing/__init__.py", "")
        archive.writestr("thing/app.py", CODE.format(mark=mark))
        archive.comment = b" " * 5000
    return out.getvalue()


def admission(**changes: Any) -> AdmitApp:
    """Return the admission of the test's app."""
    fields: dict[str, Any] = {
        "app_id": APP,
        "role": "app-thing",
        "name": "Thing",
        "entry": "thing.app:main",
        "storage": True,
        "servers": (
            OfferedServer(
                "app/thing",
                (
                    OfferedMessage(
                        "Greet", 1, "app-management.app-channels", "thirdParty", "autoAllow"
                    ),
                ),
            ),
        ),
        "permissions": (NamedMessages("os/vault", ("Ping", "Hold")),),
    }
    fields.update(changes)
    return AdmitApp(**fields)


async def main(process: Process) -> None:
    """Go through the life of an installed app."""
    process.serve()

    async def attempt(request: Request) -> str:
        try:
            await process.call(request)
        except RequestError as error:
            return error.status.name
        return "ok"

    async def launch(app_id: bytes, code: bytes) -> str:
        try:
            await process.launch_app(app_id, code)
        except RequestError as error:
            return error.status.name
        return "ok"

    await process.call(FirstScreen())
    info = await process.call(GetSystemInfo(), SystemInfo)
    found: dict[str, Any] = {"level at once": info.level}
    found["not admitted"] = await launch(APP, image("none"))
    found["admissions"] = {
        "a server of the system": await attempt(
            admission(servers=(OfferedServer("os/thing", admission().servers[0].messages),))
        ),
        "a message for parts of the image": await attempt(
            admission(permissions=(NamedMessages("os/vault", ("Secret",)),))
        ),
        "no such message": await attempt(
            admission(permissions=(NamedMessages("os/vault", ("Nothing",)),))
        ),
        "no such server": await attempt(
            admission(permissions=(NamedMessages("os/hidden", ("Ping",)),))
        ),
        "a role of the system": await attempt(admission(role="vault")),
        "another role of the system": await attempt(admission(role="app")),
        "an id that is taken": await attempt(admission(app_id=bytes(15) + b"\x01")),
        "a short id": await attempt(admission(app_id=b"x")),
        "an entry that is code": await attempt(admission(entry="os.system('x'):main")),
    }
    found["admitted"] = await attempt(admission())
    found["admitted again"] = await attempt(admission())
    found["without an image"] = await launch(APP, b"")
    found["launched"] = await launch(APP, image("first"))
    found["launched again"] = await launch(APP, image("second"))
    info = await process.call(GetSystemInfo(), SystemInfo)
    found["level"] = info.level
    found["features"] = {f.feature: f.present for f in info.features}
    event = await process.call(NextAppEvent(), AppEvent)
    while event.app_id != APP:
        event = await process.call(NextAppEvent(), AppEvent)
    found["started"] = event.running
    write_report(found, "launch")

    # The app asks for what has to be granted: once it is, once it is taken back, then it is denied.
    prompts = []
    request = await process.call(NextPermissionRequest(), PermissionRequest)
    prompts.append([request.app_id == APP, request.name, request.subgroup])
    await process.call(AnswerPermissionRequest(request.number, allow=True))
    await wait_for_file("go-revoke")
    await process.call(RevokePermission(APP, GROUP))
    request = await process.call(NextPermissionRequest(), PermissionRequest)
    prompts.append([request.app_id == APP, request.name, request.subgroup])
    await process.call(AnswerPermissionRequest(request.number, allow=False))
    more = asyncio.create_task(process.call(NextPermissionRequest(), PermissionRequest))
    await wait_for_file("go-stop")
    write_report({"prompts": prompts, "asked again": more.done()}, "prompts")
    more.cancel()

    stopped = await attempt(StopApp(APP))
    event = await process.call(NextAppEvent(), AppEvent)
    while event.app_id != APP:
        event = await process.call(NextAppEvent(), AppEvent)
    found = {"stopped": stopped, "running": event.running}
    await asyncio.sleep(0.5)  # an app that came back would have come back by now
    info = await process.call(GetSystemInfo(), SystemInfo)
    found["came back"] = any(p.role == "app-thing" and p.running for p in info.processes)
    found["launched anew"] = await launch(APP, image("second"))
    await wait_for_file("go-remove")
    found["removed"] = await attempt(RemoveApp(APP))
    found["removed again"] = await attempt(RemoveApp(APP))
    found["part of the image"] = await attempt(RemoveApp(bytes(15) + b"\x01"))
    found["launched after that"] = await launch(APP, image("third"))
    write_report(found, "end")
    await wait_for_file("go-on-for-ever")
