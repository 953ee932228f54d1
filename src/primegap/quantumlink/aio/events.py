"""What a driver tells the program around it, and the feeds it is told through."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from primegap.quantumlink.errors import QuantumLinkError
    from primegap.quantumlink.identity import PeerBundle

MAX_WAITING_NOTICES: Final = 256
"""Notices kept for a feed nobody reads; the oldest go first. What they tell can be asked of the
driver at any time, and a program that stores pairings reads its feed long before."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A pairing was completed; the peer is to be stored."""

    peer: PeerBundle


@dataclass(frozen=True, slots=True)
class Connected:
    """A session is up."""

    peer: PeerBundle
    handshake_hash: bytes = field(repr=False)
    "Transcript hash, equal on both sides."


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The session is over; all its streams have failed."""

    close_code: int | None
    "Code of the side that closed it; None when it was replaced by a new attempt to connect."


@dataclass(frozen=True, slots=True)
class Unpaired:
    """The pairing was forgotten, by either side; what is stored of the peer must go."""


@dataclass(frozen=True, slots=True)
class PortAttached:
    """Packets can flow."""


@dataclass(frozen=True, slots=True)
class PortLost:
    """The connection below is gone. A session outlives it until the peer time-out."""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """An attempt of a `Reconnector` failed."""

    error: QuantumLinkError
    "Why, with a sentence for a person."
    retry_in_s: float
    "Seconds until the next attempt."


Notice = Paired | Connected | Disconnected | Unpaired | PortAttached | PortLost | ConnectFailed
"Anything a driver tells."


class Feed:
    """Notices in order, from the moment the feed was made. An asynchronous iterator.

    It ends when the driver is closed.
    """

    def __init__(self) -> None:
        self._waiting: deque[Notice] = deque(maxlen=MAX_WAITING_NOTICES)
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, notice: Notice) -> None:
        """Add a notice; the driver does this."""
        if not self._closed:
            self._waiting.append(notice)
            self._arrived.set()

    def close(self) -> None:
        """End the feed behind what waits in it."""
        self._closed = True
        self._arrived.set()

    def take_waiting(self) -> list[Notice]:
        """Return the notices that wait, without waiting for any."""
        notices = list(self._waiting)
        self._waiting.clear()
        return notices

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Notice:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()
