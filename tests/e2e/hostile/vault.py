"""A service that writes down every datagram that reaches it, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.hostile.vault_api import (
    Big,
    Blob,
    Hold,
    Log,
    Misbehave,
    Number,
    Ping,
    Release,
    Take,
    Text,
)

from primegap.keyos.frame import CALLER, Frame, Kind, encode_frame, parse_caller
from primegap.keyos.frame import parse_frame_untrusted as parse_frame

if TYPE_CHECKING:
    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process


class Vault:
    """The service."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.seen: Counter[tuple[str, str, int]] = Counter()
        self.instances: dict[str, set[int]] = {}
        self.held: list[asyncio.Future[int]] = []
        self.cancelled = 0
        receive = process._receive_request

        def note(data: bytes, fds: list[int]) -> None:
            caller, frame = parse_caller(data), parse_frame(data[CALLER.size :])
            self.seen[caller.app_id.hex(), frame.kind.name, frame.message_id] += 1
            self.instances.setdefault(caller.app_id.hex(), set()).add(caller.instance)
            receive(data, fds)

        process._receive_request = note  # type: ignore[method-assign]
        process.handle(Ping, self.ping)
        process.handle(Hold, self.hold)
        process.handle(Big, self.big)
        process.handle(Take, self.take)
        process.handle(Log, self.log)
        process.handle(Release, self.release)
        process.handle(Misbehave, self.misbehave)

    async def ping(self, caller: Caller, request: Ping) -> Number:
        del request
        return Number(caller.instance)

    async def hold(self, caller: Caller, request: Hold) -> Number:
        del request
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.held.append(future)
        try:
            await future
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Number(caller.instance)

    async def big(self, caller: Caller, request: Big) -> Blob:
        del caller
        return Blob(bytes(request.size))

    async def take(self, caller: Caller, request: Take) -> Number:
        del caller
        return Number(len(request.value))

    async def log(self, caller: Caller, request: Log) -> Text:
        del caller, request
        seen = [[*key, count] for key, count in self.seen.items()]
        instances = {app: sorted(numbers) for app, numbers in self.instances.items()}
        return Text(json.dumps({"seen": seen, "instances": instances, "cancelled": self.cancelled}))

    async def release(self, caller: Caller, request: Release) -> Number:
        del caller, request
        waiting = [future for future in self.held if not future.done()]
        for future in waiting:
            future.set_result(0)
        self.held.clear()
        return Number(len(waiting))

    async def misbehave(self, caller: Caller, request: Misbehave) -> Number:
        del caller
        service = self.process._service
        assert service is not None
        sock = service._sock
        match request.how:
            case "die":
                os._exit(3)
            case "hang up":
                service.close()
                await asyncio.Event().wait()
            case "break the channel":
                sock.send(bytes(8000))
                await asyncio.Event().wait()
            case "unsealed answer":
                self.answer_unsealed()
                await asyncio.Event().wait()
            case "answer strangers":
                for correlation in set(range(5000)) - set(self.process._running):
                    with contextlib.suppress(BlockingIOError):
                        sock.send(encode_frame(Frame(kind=Kind.REPLY, correlation=correlation)))
            case "ask":
                for kind in (Kind.REQUEST, Kind.CANCEL, Kind.CONNECT, Kind.LOG, Kind.READY):
                    sock.send(encode_frame(Frame(kind=kind, message_id=2, correlation=1)))
            case "stop reading":
                time.sleep(1)  # it is meant to be deaf
        return Number(0)

    def answer_unsealed(self) -> None:
        import array
        import socket

        sock = self.process._service._sock  # type: ignore[union-attr]
        descriptor = os.memfd_create("open")
        os.write(descriptor, b"x" * 5000)
        for correlation in self.process._running:
            frame = Frame(kind=Kind.REPLY, correlation=correlation, objects=1)
            rights = array.array("i", [descriptor])
            sock.sendmsg([encode_frame(frame)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


async def main(process: Process) -> None:
    """Serve for ever."""
    Vault(process)
    process.serve()
    await process.wait()
