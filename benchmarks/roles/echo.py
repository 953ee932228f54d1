"""Answers with what it was sent, over both ways, or with its size."""

from __future__ import annotations

from benchmarks.roles.messages import Pong, RoutedPing, SealedPing, Take, Taken
from primegap.keyos.frame import Caller
from primegap.keyos.messages import Message
from primegap.keyos.process import Process


async def echo(caller: Caller, request: RoutedPing | SealedPing) -> Message:
    return Pong(request.body)


async def take(caller: Caller, request: Take) -> Message:
    return Taken(len(request.body))


async def main(process: Process) -> None:
    process.handle(RoutedPing, echo)
    process.handle(SealedPing, echo)
    process.handle(Take, take)
    process.serve()
    await process.wait()
