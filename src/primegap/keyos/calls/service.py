"""Calls of the companion: read here, handed to the app they are for, and answered by it.

This process holds no key. It reads route keys and frames of values, which anybody who is paired can
write; the link process, which holds the keys of the link, carries their bytes unread (L-10). The
body of a call goes on to the app undecoded. It waits while the device is locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Final

from primegap.keyos.api import calls, link, security
from primegap.keyos.calls.streams import CarriedStream, CarriedStreams
from primegap.keyos.errors import KeyosError, RequestError, Status
from primegap.keyos.messages import Empty
from primegap.quantumlink.aio.errors import RefusedError
from primegap.quantumlink.aio.server import Call, CallRouter, allow_all
from primegap.quantumlink.api import system
from primegap.quantumlink.api.bitcoin import MAX_PSBT_VALUE_BYTES
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.frames import ResetCode
from primegap.quantumlink.rpc import AppId, AppRouteKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process

MAX_WAITING_CALLS: Final = 32  # of one app that does not take them; further ones are refused
COMPANION_GONE: Final = "The companion is no longer there."


class OpenCall:
    """A call an app works on."""

    def __init__(self, call: Call, stream: CarriedStream, app_id: bytes) -> None:
        self.call = call
        self.stream = stream
        self.app_id = app_id
        self.instance = 0
        "The process that took it; 0 before one did."
        self.over = asyncio.Event()
        "The app has ended it."
        self.gone = asyncio.Event()
        "It is over, whoever ended it."
        self.for_good = True
        "Whether it will not be asked again because a session was lost."


class CompanionCalls:
    """Every call that is under way, and the apps that take calls."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.streams = CarriedStreams(process)
        self._router = CallRouter(self.streams, keys=AppRouteKey, authorise=allow_all)
        self._router.on_call(system.RequestPassportDetails.key, self._serve_details)
        self._waiting: dict[bytes, asyncio.Queue[calls.RemoteCall]] = {}
        "Calls to each app that takes calls, in order."
        self._calls: dict[int, OpenCall] = {}
        self._numbers = itertools.count(1)
        process.handle(calls.NextCall, self._next_call)
        process.handle(calls.Answer, self._answer)
        process.handle(calls.SendEvent, self._send_event)
        process.handle(calls.EndCall, self._end_call)
        process.handle(calls.WaitGone, self._wait_gone)

    async def _wait_unlocked(self) -> None:
        """Let calls wait while the device is locked: no app answers anything then (U-8)."""
        try:
            await self._process.call(security.WaitUnlocked())
        except KeyosError:
            raise RefusedError(ResetCode.LIMIT) from None

    async def _serve_details(self, call: Call) -> None:
        route = system.RequestPassportDetails
        route.request.decode_untrusted(await call.read_value(route.max_request_bytes))
        try:
            device = await self._process.call(link.GetIdentity(), link.DeviceIdentity)
        except KeyosError:
            raise RefusedError(ResetCode.INTERNAL) from None
        details = system.PassportDetailsResponse(
            device_name=device.name,
            model=system.PassportModel.PRIME,
            firmware_version=system.PassportFirmwareVersion(self._process.config["version"]),
            serial=system.PassportSerial(device.qid.hex()[:16].upper()),
            color=system.PassportColor.DARK,
            onboarding_complete=True,
        )
        await call.answer(route.answer.encode(details))

    def _register(self, app_id: bytes) -> None:
        async def serve(call: Call) -> None:
            await self._forward(call, app_id)

        self._router.on_scope(AppId(app_id), serve)

    async def _forward(self, call: Call, app_id: bytes) -> None:
        """Hand a call to its app and wait until the app has ended it."""
        body = await call.read_value(MAX_PSBT_VALUE_BYTES)
        await self._wait_unlocked()
        assert isinstance(call.key, AppRouteKey)
        stream = call.stream
        assert isinstance(stream, CarriedStream)
        number = next(self._numbers)
        qid = bytes(call.peer.qid)
        remote = calls.RemoteCall(number, call.key.route_id, qid, stream.pairing, body)
        opened = OpenCall(call, stream, app_id)
        self._calls[number] = opened
        try:
            self._waiting[app_id].put_nowait(remote)
            await opened.over.wait()
        except asyncio.QueueFull:
            raise RefusedError(ResetCode.LIMIT) from None
        finally:
            del self._calls[number]
            opened.for_good = stream.gone_for_good
            opened.gone.set()

    async def _next_call(self, caller: Caller, request: calls.NextCall) -> Message:
        waiting = self._waiting.get(caller.app_id)
        if waiting is None:
            waiting = self._waiting[caller.app_id] = asyncio.Queue(MAX_WAITING_CALLS)
            self._register(caller.app_id)
        for opened in self._calls.values():
            if opened.app_id == caller.app_id and opened.instance not in {0, caller.instance}:
                # Who took it has died with it. The companion asks again, the person is asked again.
                opened.call.reset(ResetCode.INTERNAL)
                opened.over.set()
        while True:
            remote = await waiting.get()
            taken = self._calls.get(remote.call)
            if taken is not None:  # the companion may have given up meanwhile
                taken.instance = caller.instance
                return remote

    def _find(self, caller: Caller, number: int) -> OpenCall:
        """Return a call that the calling process took; never one of another app (L-6)."""
        opened = self._calls.get(number)
        if opened is None or (opened.app_id, opened.instance) != (caller.app_id, caller.instance):
            raise RequestError(Status.NOT_FOUND, COMPANION_GONE)
        return opened

    async def _answer(self, caller: Caller, request: calls.Answer) -> Message:
        opened = self._find(caller, request.call)
        _check_body(request.body)
        try:
            with _while_it_waits():
                await opened.stream.write_last(request.body)
        finally:
            opened.over.set()  # what was not answered wholly is reset with that
        return Empty()

    async def _send_event(self, caller: Caller, request: calls.SendEvent) -> Message:
        opened = self._find(caller, request.call)
        _check_body(request.body)
        with _while_it_waits():
            await opened.call.send_event(request.body)
        return Empty()

    async def _wait_gone(self, caller: Caller, request: calls.WaitGone) -> Message:
        opened = self._find(caller, request.call)
        await opened.gone.wait()
        return calls.Gone(opened.for_good)

    async def _end_call(self, caller: Caller, request: calls.EndCall) -> Message:
        opened = self._find(caller, request.call)
        if not 0 <= request.code <= calls.CLEAN_END:
            raise RequestError(Status.MALFORMED, "reset code")
        try:
            with _while_it_waits():
                if request.code == calls.CLEAN_END:
                    opened.call.finish()
                else:
                    opened.call.reset(request.code)
        finally:
            opened.over.set()
        return Empty()


@contextlib.contextmanager
def _while_it_waits() -> Iterator[None]:
    """Tell the app when the companion has gone away under its answer."""
    try:
        yield
    except QuantumLinkError:
        raise RequestError(Status.NOT_FOUND, COMPANION_GONE) from None


def _check_body(body: bytes) -> None:
    if len(body) > MAX_PSBT_VALUE_BYTES:
        raise RequestError(Status.TOO_LARGE, "answer")


async def main(process: Process) -> None:
    """Entry of the process that reads calls."""
    served = CompanionCalls(process)
    process.serve()
    running = asyncio.ensure_future(served.streams.run())
    await process.wait()
    running.cancel()
