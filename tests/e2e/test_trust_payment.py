"""Processes killed around an approval, on the whole system."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.e2e.walking_support import eventually, kill, processes_of, system

from primegap.companion.companion import Companion
from primegap.companion.errors import CompanionError
from primegap.companion.state import Payment
from primegap.demo.steps import Demo
from primegap.device.client import AutomationClientError

SHOP = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def funded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    async with system(tmp_path_factory.mktemp("trust") / "run", until="receive") as demo:
        yield demo
        assert demo.device.process.poll() is None


async def ends(companion: Companion, payment: Payment) -> str:
    """Ask for a signature; return how that ended, whatever it was. Fails when it never ends."""
    async with asyncio.timeout(40):
        try:
            return (await companion.sign_over_link(payment)).stage
        except CompanionError as error:
            return error.code


@pytest.mark.guarantee("X-1", tried="the app killed as the person's hold completes")
@pytest.mark.parametrize("delay_s", [0.0, 0.05])
async def test_an_app_killed_after_the_approval_leaves_nobody_waiting(
    funded: Demo, delay_s: float
) -> None:
    payment = await funded.companion.compose(SHOP, 1_000_000 + int(delay_s * 1000), 2)
    asking = asyncio.create_task(ends(funded.companion, payment))
    await funded.finger.wait("review")
    await funded.finger.read_to_the_end()
    approving = asyncio.create_task(funded.finger.press("confirm"))
    await asyncio.sleep(0.6 + 1.5 + 0.1 + delay_s)  # about when the hold is complete
    before = processes_of(funded, "bitcoin")
    kill(funded, "bitcoin")
    with contextlib.suppress(AutomationClientError):
        await approving
    await asking
    # The app is there again; the question is asked again unless the answer was stored.
    await eventually(lambda: processes_of(funded, "bitcoin") not in ([], before))
    again = asyncio.create_task(ends(funded.companion, payment))
    await asyncio.sleep(1)
    if not again.done():
        await funded.finger.approve("review")
    assert await again == "signed"
    await funded.finger.wait("home")


@pytest.mark.guarantee("X-1", "U-7", tried="the link killed while the review is shown")
async def test_a_link_killed_under_a_review_signs_nothing(funded: Demo) -> None:
    payment = await funded.companion.compose(SHOP, 2_000_000, 2)
    asking = asyncio.create_task(ends(funded.companion, payment))
    await funded.finger.wait("review")
    kill(funded, "link")
    assert await asking != "signed"
    screen = await funded.finger.press("reject")
    assert screen["screen"]["id"] != "review"
    stored = funded.companion.state.payment(payment.txid)
    assert stored is not None
    assert stored.stage == "composed"
    await (await funded.companion.link()).wait_connected(30)
