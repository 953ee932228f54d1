"""Policies, sessions and the audit log on the real processes: what a companion gets, and when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.bitcoin_kit import STRANGER, Wallet, make_wallet
from tests.stored_seed import ENTROPY, store_seed
from tests.trust_bench import Bench, Phone, Radio, bench, paired, quick_hand, quick_pin, radio

from primegap.bitcoin.accounts import Keychain
from primegap.bitcoin.audit import verify_untrusted
from primegap.bitcoin.derivation import address_of_script
from primegap.bitcoin.messages import verify_message
from primegap.bitcoin.networks import Network
from primegap.bitcoin.policy import Policy, Scope, Unattended
from primegap.quantumlink.api import bitcoin as routes
from primegap.quantumlink.api.empty import Empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["quick_hand", "quick_pin", "radio"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")

SHOP = address_of_script(STRANGER, Network.REGTEST) or ""
QUICK = Policy(
    Scope.COMPANION,
    max_window=250_000,
    allowed=(SHOP,),
    unattended=Unattended(session_s=3600, max_payment=60_000, max_total=100_000),
)


class House:
    """A device in use: unlocked, paired, its account shared."""

    def __init__(self, device: Bench, phone: Phone, account: str, wallet: Wallet) -> None:
        self.device, self.phone, self.account, self.wallet = device, phone, account, wallet

    def ask(self, psbt: bytes) -> asyncio.Task[routes.SignPsbtResponse]:
        params = routes.SignPsbtParams(account_id=self.account, psbt=psbt)
        request = self.phone.client.request(routes.RequestSignPsbt, params, timeout_s=60)
        return asyncio.create_task(request)

    def propose(self, policy: Policy) -> asyncio.Task[routes.SetPolicyResponse]:
        params = routes.SetPolicyParams(account_id=self.account, policy=policy.encode())
        request = self.phone.client.request(routes.RequestSetPolicy, params, timeout_s=60)
        return asyncio.create_task(request)

    async def set_policy(self, policy: Policy) -> None:
        proposed = self.propose(policy)
        await self.device.approve("policy-proposed")
        assert isinstance(await proposed, routes.PolicySet)
        await self.device.wait("home")

    async def log(self) -> list[str]:
        answer = await self.phone.client.request(routes.RequestAuditLog, Empty(), timeout_s=60)
        return [entry.kind for entry in verify_untrusted(answer.log).log.read()]

    async def open_limits(self) -> None:
        await self.device.press("app:bitcoin")
        await self.device.wait("bitcoin")
        await self.device.press("limits")

    async def leave(self) -> None:
        await self.device.press("back")
        await self.device.wait("bitcoin")
        await self.device.press("leave")
        await self.device.wait("home")

    async def begin_session(self) -> None:
        await self.open_limits()
        await self.device.wait("limits")
        await self.device.press("policy-0")
        await self.device.wait("policy")
        await self.device.press("begin")
        await self.device.approve("session")
        await self.device.wait("limits")
        await self.leave()


async def at_home(device: Bench) -> None:
    await device.unlock()
    await device.wait("home")
    async with asyncio.timeout(30):
        while not (device.links and device.links[-1]._radio_state == "waiting"):
            await asyncio.sleep(0.01)


async def share(device: Bench, phone: Phone) -> str:
    events = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
    first = asyncio.create_task(anext(events))
    await device.approve("share-account")
    account = (await first).account_id
    events.cancel()
    await device.wait("home")
    return account


@pytest.fixture
async def house(tmp_path: Path, radio: Radio) -> AsyncIterator[House]:
    store_seed(tmp_path)
    wallet = make_wallet(ENTROPY)
    wallet.fund(100_000, 150_000)
    async with bench(tmp_path) as device:
        await at_home(device)
        phone = Phone(radio)
        await paired(device, phone)
        yield House(device, phone, await share(device, phone), wallet)
        await phone.close()
        assert device.alive, device.journal.text
    wallet.close()


async def test_limits_hold_and_are_explained_and_what_happened_is_in_the_log(house: House) -> None:
    refused = house.propose(QUICK)
    await house.device.wait("policy-proposed")
    await house.device.press("reject")
    assert isinstance(await refused, routes.PolicyRejected)
    await house.set_policy(Policy(Scope.COMPANION, max_payment=20_000, confirm_twice_above=10_000))

    answer = await house.ask(house.wallet.pay(50_000))
    assert isinstance(answer, routes.SignPsbtError)
    assert "one payment may take 20 000 sats" in answer.error
    shown = await house.device.wait("bitcoin-problem")
    assert answer.error in str(shown)
    await house.device.press("ok")

    twice = house.ask(house.wallet.pay(15_000))
    await house.device.approve("review")
    await house.device.approve("second-question")
    assert isinstance(await twice, routes.SignPsbtSigned)
    no = house.ask(house.wallet.pay(5_000))
    await house.device.wait("review")
    await house.device.press("reject")
    assert isinstance(await no, routes.SignPsbtRejected)
    assert await house.log() == [
        "account-shared",
        "policy-refused",
        "policy-set",
        "payment-blocked",
        "payment-confirmed",
        "payment-refused",
    ]


async def test_nothing_is_signed_without_the_person_but_in_a_session_and_within_it(
    house: House,
) -> None:
    await house.set_policy(QUICK)
    asked = house.ask(house.wallet.pay(30_000))  # the policy alone opens nothing
    await house.device.wait("review")
    await house.device.press("reject")
    assert isinstance(await asked, routes.SignPsbtRejected)

    await house.begin_session()
    for amount in (30_000, 31_000):
        assert isinstance(await house.ask(house.wallet.pay(amount)), routes.SignPsbtSigned)
    assert house.device.shown()["id"] == "home"
    found = await house.phone.client.request(routes.RequestPolicies, Empty(), timeout_s=60)
    assert 61_000 < found.policies[0].spent < 63_000
    assert found.policies[0].session_left == 100_000 - found.policies[0].spent

    over = house.ask(house.wallet.pay(40_000))  # more than the session has left
    await house.device.approve("review")
    assert isinstance(await over, routes.SignPsbtSigned)
    away = await house.ask(house.wallet.pay(10_000, script=b"\x00\x14" + bytes(20)))
    assert isinstance(away, routes.SignPsbtError)

    kinds = await house.log()
    assert kinds[-5:] == [
        "session-begun",
        "payment-unattended",
        "payment-unattended",
        "payment-confirmed",
        "payment-blocked",
    ]


async def test_a_lock_or_a_restart_ends_a_session_and_keeps_what_was_spent(
    house: House, tmp_path: Path
) -> None:
    await house.set_policy(replace(QUICK, max_window=50_000))
    await house.begin_session()
    assert isinstance(await house.ask(house.wallet.pay(30_000)), routes.SignPsbtSigned)
    await house.device.wait("home")
    house.device.kill("bitcoin")
    async with asyncio.timeout(30):
        while house.device.starts["bitcoin"] < 2:
            await asyncio.sleep(0.01)
    asked = house.ask(house.wallet.pay(10_000))
    await house.device.wait("review", 60)
    await house.device.press("reject")
    assert isinstance(await asked, routes.SignPsbtRejected)
    blocked = await house.ask(house.wallet.pay(25_000))
    assert isinstance(blocked, routes.SignPsbtError)
    assert "are left" in blocked.error


async def test_a_record_that_was_put_back_signs_nothing_until_it_is_renewed(
    house: House, tmp_path: Path
) -> None:
    record = tmp_path / "bitcoin" / "record"
    await house.set_policy(replace(QUICK, max_window=50_000))
    old = record.read_bytes()
    spent = house.ask(house.wallet.pay(30_000))
    await house.device.approve("review")
    assert isinstance(await spent, routes.SignPsbtSigned)
    house.device.kill("bitcoin")
    record.write_bytes(old)
    answer = await house.ask(house.wallet.pay(30_000))
    assert isinstance(answer, routes.SignPsbtError)
    assert "put back" in answer.error
    await house.device.wait("bitcoin-problem")
    await house.device.press("ok")
    await house.open_limits()
    await house.device.approve("record-renew")
    await house.device.wait("limits")
    await house.leave()
    assert (await house.log())[0] == "record-renewed"
    signed = house.ask(house.wallet.pay(31_000))
    await house.device.approve("review")
    assert isinstance(await signed, routes.SignPsbtSigned)


async def test_messages_are_signed_after_the_person_has_read_them(house: House) -> None:
    wallet, phone = house.wallet, house.phone
    address = wallet.account.address(Keychain.EXTERNAL, 3)

    def ask(message: bytes, address: str = address) -> asyncio.Task[routes.SignMessageResponse]:
        params = routes.SignMessageParams(
            account_id=house.account, address=address, message=message, form=""
        )
        request = phone.client.request(routes.RequestSignMessage, params, timeout_s=60)
        return asyncio.create_task(request)

    asked = ask(b"I own this.\nChallenge: 1")
    shown = await house.device.wait("review-message")
    assert "I own this.\\nChallenge: 1" in str(shown)
    await house.device.approve("review-message")
    answer = await asked
    assert isinstance(answer, routes.SignMessageSigned)
    verify_message(b"I own this.\nChallenge: 1", address, answer.signature, Network.REGTEST)

    hostile = ask("pay\u202e\u0455".encode())
    shown = await house.device.wait("review-message")
    assert "70 61 79 e2 80 ae d1 95" in str(shown)
    assert "\u202e" not in str(shown)
    await house.device.press("reject")
    assert isinstance(await hostile, routes.SignMessageRejected)
    assert isinstance(await ask(b"x", SHOP), routes.SignMessageError)
    assert (await house.log())[-2:] == ["message-confirmed", "message-refused"]
