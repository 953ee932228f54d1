"""Two drivers joined in memory: for tests, benchmarks and experiments.

Nothing here is needed to run a link. On a virtual clock a run is quick, and a function of its seed.

    async def scenario() -> None:
        async with DriverPair(seed=7) as pair:
            await pair.connect()
            ...

    run_virtual(scenario())
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from primegap.quantumlink.aio.driver import LinkDriver
from primegap.quantumlink.aio.memory import PERFECT, Impairment, MemoryLink
from primegap.quantumlink.identity import Identity
from primegap.quantumlink.session import LinkConfig, LinkEngine
from primegap.quantumlink.session.simulation import seeded_rng
from primegap.quantumlink.suite import NATIVE

if TYPE_CHECKING:
    from primegap.quantumlink.suite import Suite


class DriverPair:
    """A phone and a device, paired, and the link between them. Made inside an event loop.

    Args:
        seed: of identities, handshakes and faults.
        suite: of both.
        phone_config, device_config: settings; those of the suite if none are given.
        impairment: what happens to packets.
        paired: whether they know each other already.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        suite: Suite = NATIVE,
        phone_config: LinkConfig | None = None,
        device_config: LinkConfig | None = None,
        impairment: Impairment = PERFECT,
        paired: bool = True,
    ) -> None:
        self.impairment = impairment
        self._chance = random.Random(seed).random  # noqa: S311 - faults of a simulated link
        self.phone_identity, self.phone = self._make("phone", seed, suite, phone_config)
        self.device_identity, self.device = self._make("device", seed, suite, device_config)
        if paired:
            self.phone.bind_peer(self.device_identity.bundle)
            self.device.bind_peer(self.phone_identity.bundle)
        self.link = self.join()

    def _make(
        self, name: str, seed: int, suite: Suite, config: LinkConfig | None
    ) -> tuple[Identity, LinkDriver]:
        rng = seeded_rng(f"{name}/{seed}")
        identity = Identity.generate(suite, name, rng)
        now_s = asyncio.get_running_loop().time()
        engine = LinkEngine(config or LinkConfig.tuned(), identity, rng=rng, now_s=now_s)
        return identity, LinkDriver(engine)

    def join(self) -> MemoryLink:
        """Join both with a new link, as when Bluetooth connects again."""
        self.link = MemoryLink(self._chance)
        self.link.impair(self.impairment)
        self.phone.attach(self.link.a)
        self.device.attach(self.link.b)
        return self.link

    async def connect(self) -> None:
        """Connect from the phone's side, and wait until the device has seen the proof of it."""
        await self.phone.connect()
        while self.phone.is_connected and not self.device.is_connected:  # noqa: ASYNC110 - virtual
            await asyncio.sleep(0.001)

    async def aclose(self) -> None:
        """Close both drivers."""
        await self.phone.aclose()
        await self.device.aclose()

    async def __aenter__(self) -> DriverPair:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
