"""Answers with what it was sent, over both ways."""

from __future__ import annotations

from benchmarks.roles.messages import Pong, RoutedPing, SealedPing
from primegap.keyos.frame import Caller
from primegap.keyos.messages import Message
from primegap.keyos.process import Process


async def echo(caller: Caller, request: RoutedPing | SealedPing) -> Message:
    return Pong(request.body)


async def main(process: Process) -> None:
    process.handle(RoutedPing, echo)
    process.handle(SealedPing, echo)
    process.serve()
    await process.wait()
