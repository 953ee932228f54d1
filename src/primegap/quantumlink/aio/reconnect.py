"""Staying connected: what the side that dials does with every new port (companion section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from primegap.quantumlink.aio.errors import (
    AttemptReplacedError,
    DriverClosedError,
    HandshakeTimeoutError,
)
from primegap.quantumlink.aio.events import ConnectFailed, Disconnected, Feed, PortAttached

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.quantumlink.aio.driver import LinkDriver


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectPolicy:
    """How eagerly to connect again; times in seconds."""

    probe_s: float = 1.5
    """Wait for a sign of life of a session that was up before the port changed. When it comes,
    calls go on as if nothing had happened; when not, there is a new handshake."""
    first_delay_s: float = 0.5
    "Before the second attempt on a port; doubles with each further one. The first is made at once."
    max_delay_s: float = 30.0
    steady_s: float = 60.0
    "A session that lasted this long makes the next attempt a first one again."


class Reconnector:
    """Keeps the paired peer connected whenever there is a port: KK, then IK, then with back-off.

        reconnecting = asyncio.create_task(Reconnector(driver).run())

    Failures appear as `ConnectFailed` in the driver's feeds. To stop, cancel the task; do so before
    closing a session on purpose.

    Args:
        driver: of the link.
        policy: how eagerly.
        chance: returns numbers of [0, 1) that spread the attempts of many devices.
    """

    def __init__(
        self,
        driver: LinkDriver,
        *,
        policy: ReconnectPolicy | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._driver = driver
        self._policy = policy or ReconnectPolicy()
        self._chance = chance
        self._attempts = 0

    async def run(self) -> None:
        """Work until cancelled or until the driver is closed."""
        loop = asyncio.get_running_loop()
        feed = self._driver.events()
        connected_s = loop.time()
        with contextlib.suppress(DriverClosedError):
            await self._connect(feed)
            async for notice in feed:
                match notice:
                    case PortAttached():
                        self._attempts = 0
                    case Disconnected():
                        if loop.time() - connected_s >= self._policy.steady_s:
                            self._attempts = 0
                        if self._attempts:  # a peer that hangs up at once is not called at once
                            await self._wait_for_port(feed, self._delay_s())
                    case _:
                        continue
                await self._connect(feed)
                connected_s = loop.time()

    async def _connect(self, feed: Feed) -> None:
        """Try until there is a session, or nothing to try it with."""
        driver = self._driver
        while driver.has_port and driver.peer is not None:
            if await driver.probe(self._policy.probe_s):
                return
            self._attempts += 1
            delay_s = self._delay_s()
            try:
                await self._attempt(feed)
            except (HandshakeTimeoutError, AttemptReplacedError) as error:
                driver.tell(ConnectFailed(error, delay_s))
            if driver.is_connected:
                return
            if self._attempts:  # else there is a new port
                await self._wait_for_port(feed, delay_s)

    async def _attempt(self, feed: Feed) -> None:
        """Connect, unless a new port makes the attempt pointless."""
        connecting = asyncio.create_task(self._driver.connect())
        watching = asyncio.create_task(self._wait_for_port(feed, None))
        try:
            await asyncio.wait({connecting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
        finally:
            for task in (connecting, watching):
                task.cancel()
            await asyncio.gather(connecting, watching, return_exceptions=True)

    def _delay_s(self) -> float:
        longest_s = self._policy.first_delay_s * 2.0 ** min(self._attempts - 1, 16)
        return min(longest_s, self._policy.max_delay_s) * (1 + self._chance()) / 2

    async def _wait_for_port(self, feed: Feed, at_most_s: float | None) -> None:
        """Wait until a new port is there to be used, at most for a time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                async for notice in feed:
                    if isinstance(notice, PortAttached):
                        self._attempts = 0
                        return
