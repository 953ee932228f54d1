"""The callee's shell: accepts channels and takes requests from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.between.calls import SUCCESS
from primegap.keyos.between.certificate import Side, parse_certificate_untrusted
from primegap.keyos.between.handshake import NUMBER_BYTES, Peer, accept, certificate_of
from primegap.keyos.errors import ChannelBrokenError

if TYPE_CHECKING:
    from primegap.keyos.between.calls import Certify
    from primegap.keyos.between.channel import CalleeChannel
    from primegap.keyos.errors import Status
    from primegap.keyos.frame import Caller

MAX_CHANNELS_PER_APP: Final = 8  # twice what the client library opens; the least used one goes


@dataclass(slots=True)
class _Open:
    peer: Peer
    channel: CalleeChannel


@dataclass(slots=True)
class Exchange:
    """A request that was opened and waits for its answer."""

    body: bytes
    _channel: CalleeChannel

    def answer(self, body: bytes) -> bytes:
        """Return the record of a reply."""
        return self._channel.seal_answer(bytes((SUCCESS,)) + body)

    def refuse(self, status: Status, detail: str) -> bytes:
        """Return the record of an error."""
        return self._channel.seal_answer(bytes((status,)) + detail.encode(errors="replace")[:256])

    def drop(self) -> None:
        """End the channel: nobody waits for an answer."""
        self._channel.close()


class AppAnswers:
    """The channels of one app as a server."""

    def __init__(self, certify: Certify) -> None:
        self._certify = certify
        self._channels: dict[bytes, _Open] = {}
        "By number, the least recently used first."
        self.servers: set[str] = set()
        "Names of the servers that are offered."

    async def open(self, caller: Caller, hello: bytes) -> bytes:
        """Answer a hello.

        Raises:
            ChannelBrokenError: it is not the caller's.
        """
        said, _ = parse_certificate_untrusted(certificate_of(hello))
        if said.server not in self.servers:
            raise ChannelBrokenError("hello for another server")
        key = await self._certify(Side.CALLEE, said.server)
        number = os.urandom(NUMBER_BYTES)
        peer = Peer(caller.app_id, caller.instance)
        answer, channel = accept(hello, key, server=said.server, peer=peer, number=number)
        of_app = [n for n, known in self._channels.items() if known.peer.app_id == peer.app_id]
        if len(of_app) >= MAX_CHANNELS_PER_APP:
            self._channels.pop(of_app[0]).channel.close()
        self._channels[number] = _Open(peer, channel)
        return answer

    def receive(self, caller: Caller, message_id: int, data: bytes) -> Exchange:
        """Open a request.

        Raises:
            ChannelBrokenError: it is not the next one on a channel of this caller.
        """
        number = data[:NUMBER_BYTES]
        found = self._channels.get(number)
        # A number of somebody else must not end that channel: only its own caller's records can.
        if found is None or found.peer != Peer(caller.app_id, caller.instance):
            raise ChannelBrokenError("no such channel")
        self._channels[number] = self._channels.pop(number)
        if not found.channel.usable:
            found.channel.close()
            raise ChannelBrokenError("a request before the last one was answered")
        body = found.channel.open_request(message_id, data[NUMBER_BYTES:])
        return Exchange(body, found.channel)
