"""The caller's shell: opens channels over a connection to an app, and calls over them.

A channel carries one request at a time, so calls that wait side by side use several. A channel that
saw anything unexpected, even an honest refusal by core, is dropped and the next call opens another.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from primegap.keyos.between.certificate import Side
from primegap.keyos.between.handshake import ChannelKey, Opening, Peer
from primegap.keyos.errors import ChannelBrokenError, RequestError, Status
from primegap.keyos.frame import OPEN_CHANNEL

if TYPE_CHECKING:
    from primegap.keyos.between.channel import CallerChannel
    from primegap.keyos.frame import Caller

Send = Callable[[int, bytes], Awaitable[bytes]]
Certify = Callable[[Side, str], Awaitable[ChannelKey]]

MAX_CHANNELS: Final = 4  # to one server: calls that wait at the same time; the others queue
SUCCESS: Final = 0  # first byte of an answer; otherwise the number of a Status


class AppCalls:
    """Calls over one connection to the server of another app."""

    def __init__(self, server: str, callee: Caller, *, send: Send, certify: Certify) -> None:
        self._server = server
        self._peer = Peer(callee.app_id, callee.instance)
        self._send = send
        self._certify = certify
        self._idle: list[tuple[bytes, CallerChannel]] = []
        self._slots = asyncio.Semaphore(MAX_CHANNELS)

    async def call(self, message_id: int, body: bytes) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            RequestError: the other app or core answered with an error status.
            ChannelBrokenError: what came was not the other app's answer.
            ChannelClosedError: the other app is gone.
        """
        async with self._slots:
            number, channel = self._idle.pop() if self._idle else await self._open()
            try:
                record = channel.seal_request(message_id, body)
                answer = channel.open_answer(await self._send(message_id, number + record))
            except BaseException:
                channel.close()
                raise
            self._idle.append((number, channel))
        if not answer:
            raise ChannelBrokenError("empty answer")
        if answer[0] == SUCCESS:
            return answer[1:]
        try:
            status = Status(answer[0])
        except ValueError:
            status = Status.FAILED
        raise RequestError(status, answer[1:].decode(errors="replace"))

    async def _open(self) -> tuple[bytes, CallerChannel]:
        key = await self._certify(Side.CALLER, self._server)
        opening = Opening(key, server=self._server, rng=os.urandom)
        answer = await self._send(OPEN_CHANNEL, opening.hello)
        return opening.finish(answer, self._peer)
