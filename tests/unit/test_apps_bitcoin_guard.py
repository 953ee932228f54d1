"""The guard's record: a kill at any step counts too much or nothing, and never too little."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.stored_seed import store_seed

from primegap.apps.bitcoin.guard import Guard, RecordPutBackError
from primegap.bitcoin.audit import verify_untrusted
from primegap.bitcoin.policy import (
    Payment,
    Policy,
    PolicyError,
    Scope,
    SetPolicy,
    Unattended,
    Verdict,
)
from primegap.files import StorageError
from primegap.keyos.api import security
from primegap.keyos.client import RequestError, Status
from primegap.keyos.messages import Empty, Message
from primegap.keyos.security.anchors import Anchor
from primegap.keyos.security.vault import SoftwareVault

if TYPE_CHECKING:
    from pathlib import Path

    from primegap.keyos.process import Process

APP, SEED, SHOP = bytes(16), bytes(32), "bcrt1qshopshopshop"
PAYMENT = Payment("account", "aa", 30_000, (SHOP,), unaddressed=False, quiet=True, txid="01")
POLICY = SetPolicy(
    "account",
    "aa",
    Policy(
        Scope.COMPANION,
        max_window=50_000,
        allowed=(SHOP,),
        unattended=Unattended(3600, 40_000, 70_000),
    ),
)


class PowerCutError(BaseException):
    """The device lost its power."""


class Host:
    """The guard's process with a real vault behind it, whose power fails at a chosen step."""

    def __init__(self, folder: Path, vault: SoftwareVault) -> None:
        self.data, self.vault = folder, vault
        self.lines: list[str] = []
        self.cut_before = self.cut_after = False

    def log(self, text: str) -> None:
        self.lines.append(text)

    async def call(self, request: Message, reply: type[Message] = Empty) -> Any:
        del reply
        match request:
            case security.GetAnchor():
                try:
                    life, anchor = self.vault.anchor(APP)
                except StorageError as error:
                    raise RequestError(Status.FAILED, error.hint) from error
                return security.StateAnchor(life, anchor.number, anchor.digest)
            case security.SetAnchor(number, digest):
                if self.cut_before:
                    raise PowerCutError
                if not self.vault.set_anchor(APP, Anchor(number, digest)):
                    raise RequestError(Status.DENIED, "not newer")
                if self.cut_after:
                    raise PowerCutError
        return Empty()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    from primegap.keyos.security import vault as module

    monkeypatch.setattr(module, "ARGON2_MEMORY_KIB", 64)
    (tmp_path / "app").mkdir()
    return Host(tmp_path / "app", store_seed(tmp_path))


def guard_of(host: Host, now_s: float = 1000.0) -> Guard:
    return Guard(cast("Process", host), SEED, clock=lambda: now_s)


async def spent(guard: Guard) -> int:
    return guard.spent(await guard.read(), POLICY)


async def test_what_is_set_and_spent_outlives_a_restart(host: Host) -> None:
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    assert await guard.judge(PAYMENT) is Verdict.ASK
    assert await spent(guard) == 0
    await guard.confirmed(PAYMENT)
    again = guard_of(host)
    assert (await again.read()).policies.items == (POLICY,)
    assert await spent(again) == 30_000
    with pytest.raises(PolicyError):
        await again.confirmed(replace(PAYMENT, txid="02"))
    entries = verify_untrusted(await again.export()).log.read()
    assert [e.kind for e in entries] == ["policy-set", "payment-confirmed", "payment-blocked"]


@pytest.mark.parametrize("moment", ["write", "before", "after"])
async def test_a_cut_while_counting_leaves_the_old_or_the_new_record(
    host: Host, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    await guard.begin_session(POLICY, bytes(16))
    if moment == "write":

        def cut(self: object, data: bytes) -> None:
            raise PowerCutError

        with monkeypatch.context() as patched:
            patched.setattr("primegap.keyos.storage.sealed.SealedFile.write", cut)
            with pytest.raises(PowerCutError):
                await guard.judge(PAYMENT)
    else:
        host.cut_before, host.cut_after = moment == "before", moment == "after"
        with pytest.raises(PowerCutError):
            await guard.judge(PAYMENT)
        host.cut_before = host.cut_after = False
    # No verdict came, so nothing was signed; what is counted is nothing or all of it.
    again = guard_of(host)
    assert await spent(again) == (0 if moment == "write" else 30_000)
    assert again.session() is None
    await again.note("message-refused", {})
    assert await spent(guard_of(host)) == (0 if moment == "write" else 30_000)


async def test_an_answer_that_is_lost_is_found_again(host: Host) -> None:
    """Security restarts while it moves the anchor: the guard looks what became of it."""
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    host.cut_after = True
    with pytest.raises(PowerCutError):
        await guard.confirmed(PAYMENT)
    host.cut_after = False
    assert await spent(guard) == 30_000
    await guard.note("message-refused", {})


@pytest.mark.parametrize("how", ["older", "gone", "damaged", "two-ahead"])
async def test_a_record_that_is_not_the_newest_is_refused_until_renewed(
    host: Host, how: str
) -> None:
    record = host.data / "record"
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    older = record.read_bytes()
    await guard.confirmed(PAYMENT)
    match how:
        case "older":
            record.write_bytes(older)
        case "gone":
            record.unlink()
        case "damaged":
            record.write_bytes(os.urandom(100))
        case _:
            anchors = host.data.parent / "security" / "anchors"
            kept = anchors.read_bytes()
            await guard.note("message-refused", {})
            await guard.note("message-refused", {})
            anchors.write_bytes(kept)
    for act in (guard_of(host).judge, guard_of(host).confirmed):
        with pytest.raises(RecordPutBackError):
            await act(PAYMENT)
    fresh = guard_of(host)
    await fresh.renew()
    assert await fresh.judge(PAYMENT) is Verdict.ASK
    kinds = [e.kind for e in (await guard_of(host).read()).log.read()]
    assert kinds == ["record-renewed"]


async def test_a_lost_anchor_is_noticed_and_renewed(host: Host) -> None:
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    (host.data.parent / "security" / "anchors").unlink()
    with pytest.raises(RecordPutBackError):
        await guard_of(host).judge(PAYMENT)
    await guard_of(host).renew()
    assert await guard_of(host).judge(PAYMENT) is Verdict.ASK


async def test_a_new_seed_begins_anew(host: Host, tmp_path: Path) -> None:
    await guard_of(host).set_policy(POLICY)
    host.vault.wipe()
    host.vault = store_seed(tmp_path)
    assert (await guard_of(host).read()).policies.items == ()


async def test_a_session_counts_before_anything_is_signed(host: Host) -> None:
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    await guard.begin_session(POLICY, bytes(16))
    assert await guard.judge(PAYMENT) is Verdict.UNATTENDED
    assert await spent(guard_of(host)) == 30_000
    with pytest.raises(PolicyError):
        await guard.judge(replace(PAYMENT, txid="02"))
    await guard.end_session()
    assert await guard.judge(PAYMENT) is Verdict.ASK


async def test_a_flood_of_refused_payments_does_not_push_the_log_out(host: Host) -> None:
    guard = guard_of(host)
    await guard.set_policy(POLICY)
    for number in range(40):
        with pytest.raises(PolicyError):
            await guard.judge(replace(PAYMENT, amount=60_000, txid=str(number)))
    assert len((await guard.read()).log.entries) == 17
    await guard.note("message-refused", {})
    with pytest.raises(PolicyError):
        await guard.judge(replace(PAYMENT, amount=60_000, txid="last"))
    assert (await guard.read()).log.read()[-1].facts["unlogged"] == 24


async def test_a_payment_is_counted_even_if_whoever_asked_went_away(host: Host) -> None:
    import asyncio

    guard = guard_of(host)
    await guard.set_policy(POLICY)
    counting = asyncio.create_task(guard.confirmed(PAYMENT))
    await asyncio.sleep(0)
    counting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await counting
    assert await spent(guard) == 30_000
    assert await spent(guard_of(host)) == 30_000
