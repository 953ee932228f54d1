"""Attacks on the owner of the seed: the test plays the screen, an app, or the hand on the files."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from tests.stored_seed import PIN, store_seed
from tests.trust_bench import Bench, bench, quick_pin

from primegap.device.errors import DataDirectoryError
from primegap.device.launcher import prepare_data_directory
from primegap.keyos.api import security
from primegap.keyos.errors import KeyosError, RequestError, Status
from primegap.keyos.messages import Empty
from primegap.keyos.process import Process
from primegap.keyos.security import vault as vault_module
from primegap.keyos.security.sealing import MAX_ATTEMPTS, WrongPinError
from primegap.keyos.security.vault import SoftwareVault

__all__ = ["quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin")

CONTENT = bytes(range(32))
CONFIRMATION = bytes(range(16))


async def screen_of(device: Bench) -> Process:
    return await device.puppet("ui")


async def refusal(call: Any) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await call
    return refused.value


# -- PIN attempts --------------------------------------------------------------------------------


@pytest.mark.guarantee("S-4", tried="guesses that are cancelled half way")
async def test_requests_that_are_taken_back_cost_an_attempt_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = store_seed(tmp_path)
    looked_at = 0
    unseal = vault_module._unseal

    def counted(data: bytes, device_key: bytes, pin: str) -> bytearray | None:
        nonlocal looked_at
        looked_at += 1
        return unseal(data, device_key, pin)

    monkeypatch.setattr(vault_module, "_unseal", counted)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await screen_of(device)
        for number in range(12):
            guess = asyncio.create_task(
                ui.call(security.Login(f"00000{number:02}"), security.SecurityState)
            )
            await asyncio.sleep(0.03)
            guess.cancel()
            with contextlib.suppress(asyncio.CancelledError, KeyosError):
                await guess
        await asyncio.sleep(0.5)
        assert device.alive
        used = MAX_ATTEMPTS - vault.state().attempts_left if vault.exists else MAX_ATTEMPTS
        assert looked_at <= used
        assert looked_at <= MAX_ATTEMPTS


@pytest.mark.guarantee("S-4", tried="guesses in parallel")
async def test_many_guesses_at_once_are_counted_one_by_one(tmp_path: Path) -> None:
    vault = store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await screen_of(device)
        calls = [ui.call(security.Login(f"00000{n}"), security.SecurityState) for n in range(10)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        wrong = [a for a in answers if isinstance(a, security.SecurityState)]
        assert [a.attempts_left for a in wrong] == list(range(9, 0, -1))
        assert not any(a.unlocked for a in wrong)
        assert not vault.exists
        assert (await ui.call(security.GetState(), security.SecurityState)).onboarded is False


@pytest.mark.guarantee("S-3", "U-8", tried="a lock that overtakes a login")
async def test_a_lock_that_comes_during_a_login_wins(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await screen_of(device)
        await ui.call(security.GetState())  # opens the connection: the next two keep their order
        login = asyncio.create_task(ui.call(security.Login(PIN), security.SecurityState))
        await asyncio.sleep(0.002)
        assert not (await ui.call(security.Logout(), security.SecurityState)).unlocked
        await login
        assert not (await ui.call(security.GetState(), security.SecurityState)).unlocked


# -- the first seed ------------------------------------------------------------------------------


async def test_the_seed_that_is_stored_is_the_one_whose_words_were_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another BeginSeed or CommitSeed, or a request taken back, while the seed is being stored."""
    from primegap.bitcoin.keys import words_to_entropy

    aead = vault_module._aead

    def slow(pin: str, device_key: bytes, header: bytes) -> Any:
        import time

        time.sleep(0.2)
        return aead(pin, device_key, header)

    monkeypatch.setattr(vault_module, "_aead", slow)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await screen_of(device)
        words = (await ui.call(security.BeginSeed(12, ""), security.SeedWords)).words
        first = asyncio.create_task(ui.call(security.CommitSeed(PIN), security.SecurityState))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(ui.call(security.CommitSeed("999999"), security.SecurityState))
        other = asyncio.create_task(ui.call(security.BeginSeed(12, ""), security.SeedWords))
        await asyncio.sleep(0.02)
        first.cancel()
        results = await asyncio.gather(first, second, other, return_exceptions=True)
        assert isinstance(results[1], RequestError)
        assert isinstance(results[2], RequestError)
        await asyncio.sleep(0.3)
        vault = SoftwareVault(tmp_path / "security", rng=os.urandom)
        with vault.unseal(PIN).view() as secret:
            assert bytes(secret[64:]) == words_to_entropy(list(words))
        with pytest.raises(WrongPinError):
            vault.unseal("999999")
        assert device.alive


async def test_only_digits_of_dice_and_known_lengths_make_a_seed(tmp_path: Path) -> None:
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await screen_of(device)
        for count, dice in ((0, ""), (13, ""), (-12, ""), (12, "7"), (12, "1" * 257), (24, "１")):
            assert (await refusal(ui.call(security.BeginSeed(count, dice)))).status is (
                Status.MALFORMED
            )
        assert (await refusal(ui.call(security.CommitSeed(PIN)))).status is Status.DENIED
        await ui.call(security.BeginSeed(24, "123456"))
        for pin in ("", "12345", "1" * 65, "12345\n", "12345\x00"):
            await refusal(ui.call(security.CommitSeed(pin)))
            assert not (tmp_path / "security/vault").exists()


# -- confirmations -------------------------------------------------------------------------------


@pytest.mark.guarantee("U-5", tried="a confirmation used by others, for others, twice")
async def test_a_confirmation_opens_one_key_once_for_one_process_and_content(
    tmp_path: Path,
) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui", "bitcoin")) as device:
        ui = await screen_of(device)
        device.start("bitcoin")
        app = await device.puppet("bitcoin")
        instance = device.running["bitcoin"].instance

        def take(
            network: str = "regtest",
            account: int = 0,
            confirmation: bytes = CONFIRMATION,
            content: bytes = CONTENT,
        ) -> Any:
            return app.call(security.TakeAccountKey(network, account, confirmation, content))

        def report(
            confirmation: bytes = CONFIRMATION, instance: int = instance, content: bytes = CONTENT
        ) -> Any:
            return ui.call(
                security.ReportConfirmation(
                    confirmation, instance, content, security.KeyChoice("regtest", 0), 0
                )
            )

        assert (await refusal(report())).status is Status.LOCKED
        assert (await refusal(take())).status is Status.LOCKED
        await ui.call(security.Login(PIN))
        assert (await refusal(take())).status is Status.DENIED
        await report()
        # Used by somebody else, for something else, or with another key: refused, and still there.
        assert (await refusal(take(content=bytes(32)))).status is Status.DENIED
        assert (await refusal(take(confirmation=bytes(16)))).status is Status.DENIED
        assert (await refusal(take(account=1))).status is Status.DENIED
        assert (await refusal(take(network="mainnet"))).status is Status.DENIED
        for network, account in (("", 0), ("testnet3", 0), ("regtest", -1), ("regtest", 1 << 31)):
            assert (await refusal(take(network, account))).status is Status.MALFORMED
        key = await take()
        assert "tprv" in key.key
        assert key.key not in repr(key)
        assert (await refusal(take())).status is Status.DENIED
        # For the process that was there before: its number never comes again.
        await report(confirmation=bytes(16))
        device.kill("bitcoin")
        app = await device.puppet("bitcoin")
        assert (await refusal(take(confirmation=bytes(16)))).status is Status.DENIED
        # After a lock.
        instance = device.running["bitcoin"].instance
        await report(confirmation=b"x" * 16, instance=instance)
        await ui.call(security.Logout())
        await ui.call(security.GetState())  # answered by the process that comes after
        await ui.call(security.Login(PIN))
        assert (await refusal(take(confirmation=b"x" * 16))).status is Status.DENIED
        for bad in (b"", bytes(15), bytes(17)):
            assert (await refusal(report(confirmation=bad))).status is Status.DENIED
            assert (await refusal(report(content=bad))).status is Status.DENIED


@pytest.mark.guarantee("S-3", tried="requests before, during and after the unlocked time")
async def test_what_waits_for_the_unlock_waits_and_nothing_is_served_after_a_lock(
    tmp_path: Path,
) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui", "bitcoin")) as device:
        ui = await screen_of(device)
        device.start("bitcoin")
        app = await device.puppet("bitcoin")
        waiting: list[asyncio.Task[Any]] = [
            asyncio.create_task(app.call(security.GetAppSeed(), security.AppSeed)),
            asyncio.create_task(app.call(security.WaitUnlocked(), Empty)),
        ]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        assert (await refusal(app.call(security.GetAccountXpub("regtest", 0)))).status is (
            Status.LOCKED
        )
        await ui.call(security.Login(PIN))
        await asyncio.gather(*waiting)
        await app.call(security.GetAccountXpub("regtest", 0))
        await ui.call(security.Logout())
        assert (await refusal(app.call(security.GetAccountXpub("regtest", 0)))).status is (
            Status.LOCKED
        )
        late = asyncio.create_task(app.call(security.GetAppSeed(), security.AppSeed))
        await asyncio.sleep(0.05)
        assert not late.done()
        late.cancel()


async def test_an_app_may_send_the_screens_messages_to_nobody(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui", "bitcoin")) as device:
        await screen_of(device)
        device.start("bitcoin")
        app = await device.puppet("bitcoin")
        for request in (
            security.GetState(),
            security.BeginSeed(12, ""),
            security.CommitSeed(PIN),
            security.Login(PIN),
            security.Logout(),
            security.ReportConfirmation(
                CONFIRMATION, 1, CONTENT, security.KeyChoice("regtest", 0), 0
            ),
        ):
            assert (await refusal(app.call(request))).status is Status.DENIED
        assert (
            SoftwareVault(tmp_path / "security", rng=os.urandom).state().attempts_left
            == MAX_ATTEMPTS
        )


# -- files ---------------------------------------------------------------------------------------


def as_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("vault", lambda path: path.write_bytes(b"")),
        ("vault", lambda path: path.write_bytes(bytes(40))),
        ("vault", lambda path: path.write_bytes(os.urandom(9 << 20))),
        ("vault", as_directory),
        ("attempts", as_directory),
        ("attempts", lambda path: path.write_bytes(b"")),
        ("device.key", as_directory),
        ("device.key", lambda path: path.write_bytes(b"")),
    ],
)
async def test_damaged_files_open_nothing_and_stop_nothing(
    tmp_path: Path, name: str, damage: Any
) -> None:
    store_seed(tmp_path)
    damage(tmp_path / "security" / name)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await screen_of(device)
        assert not (await ui.call(security.GetState(), security.SecurityState)).unlocked
        try:
            state = await ui.call(security.Login(PIN), security.SecurityState)
        except RequestError as error:
            assert error.detail  # a sentence for the person
            state = await ui.call(security.GetState(), security.SecurityState)
        assert state.unlocked is (name == "attempts" and damage is not as_directory)
        assert device.alive
        assert PIN not in device.journal.text


def test_a_data_directory_that_everybody_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(DataDirectoryError, match="every user"):
        prepare_data_directory(tmp_path, development=False)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o755)
    os.close(prepare_data_directory(tmp_path, development=False))
