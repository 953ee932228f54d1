"""The security process: one worker that holds the entropy while unlocked, and answers about it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.api import security as api
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.messages import Empty, Message
from primegap.keyos.security.channel_keys import ChannelKeys
from primegap.keyos.security.derivation import app_seed
from primegap.keyos.security.grants import Grants, Use
from primegap.keyos.security.vault import Vault, VaultError, WrongPinError, check_pin

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process

MAX_LOGIN_DELAY_MS: Final = 150  # keyos-model, section 6.3
MAX_DICE: Final = 256
MAX_ACCOUNT: Final = (1 << 31) - 1
ENTROPY_BYTES: Final = {12: 16, 24: 32}


class SecurityService:
    """State: the vault on disk, and the entropy in memory while unlocked."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._vault = Vault(process.data, rng=os.urandom)
        self._entropy: bytearray | None = None
        self._pending: bytearray | None = None
        self._fingerprint = ""
        self._grants = Grants()
        self._unlocked = asyncio.Event()
        self._vault_in_use = asyncio.Lock()
        self._locks = 0
        "How often the device was locked: a login that a lock overtook does not count."
        self._steps: set[asyncio.Task[api.SecurityState]] = set()
        process.handle(api.GetState, self._get_state)
        process.handle(api.BeginSeed, self._begin_seed)
        process.handle(api.CommitSeed, self._commit_seed)
        process.handle(api.Login, self._log_in)
        process.handle(api.Logout, self._log_out)
        process.handle(api.GetAppSeed, self._app_seed)
        process.handle(api.GetAccountXpub, self._account_xpub)
        process.handle(api.TakeAccountKey, self._take_account_key)
        process.handle(api.ReportConfirmation, self._report_confirmation)
        process.handle(api.WaitUnlocked, self._wait_unlocked)
        process.handle(api.CertifyChannelKey, ChannelKeys().certify)

    def _state(self) -> api.SecurityState:
        return api.SecurityState(
            onboarded=self._vault.exists,
            unlocked=self._entropy is not None,
            attempts_left=self._attempts_left(),
            fingerprint=self._fingerprint,
        )

    def _attempts_left(self) -> int:
        try:
            return self._vault.attempts_left
        except StorageError:
            return 0  # a PIN cannot be tried while the counter cannot be read

    async def _to_the_end(
        self, step: Coroutine[None, None, api.SecurityState]
    ) -> api.SecurityState:
        """Do a step with the vault to its end, even if whoever asked for it takes it back.

        Otherwise the next one would begin while the thread of this one still works: two guesses for
        one attempt, or a seed that is wiped while it is being stored.
        """
        task = asyncio.get_running_loop().create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return await asyncio.shield(task)

    async def _get_state(self, caller: Caller, request: api.GetState) -> Message:
        return self._state()

    # -- first start ----------------------------------------------------------------------------

    async def _begin_seed(self, caller: Caller, request: api.BeginSeed) -> Message:
        from primegap.bitcoin.keys import entropy_to_words, mix_entropy

        if self._vault_in_use.locked():
            raise RequestError(Status.BUSY, "a seed is being stored")
        if self._vault.exists:
            raise RequestError(Status.DENIED, "a seed is already stored")
        size = ENTROPY_BYTES.get(request.word_count)
        if size is None or len(request.dice) > MAX_DICE or set(request.dice) - set("123456"):
            raise RequestError(Status.MALFORMED, "word count or dice")
        _wipe(self._pending)
        self._pending = bytearray(mix_entropy(os.urandom(size), request.dice))
        return api.SeedWords(tuple(entropy_to_words(bytes(self._pending))))

    async def _commit_seed(self, caller: Caller, request: api.CommitSeed) -> Message:
        return await self._to_the_end(self._store(request.pin, self._locks))

    async def _store(self, pin: str, locks: int) -> api.SecurityState:
        async with self._vault_in_use:
            if self._pending is None or self._vault.exists:
                raise RequestError(Status.DENIED, "no seed was begun")
            try:
                check_pin(pin)
                await asyncio.to_thread(self._vault.create, pin, self._pending)
            except (VaultError, StorageError) as error:
                raise RequestError(Status.FAILED, error.hint) from error
            entropy, self._pending = self._pending, None
            self._unlock_unless_locked(entropy, locks)
            return self._state()

    # -- lock -----------------------------------------------------------------------------------

    async def _log_in(self, caller: Caller, request: api.Login) -> Message:
        return await self._to_the_end(self._open(request.pin, self._locks))

    async def _open(self, pin: str, locks: int) -> api.SecurityState:
        async with self._vault_in_use:
            if self._entropy is not None:
                return self._state()
            if not self._vault.exists:
                raise RequestError(Status.DENIED, "no seed is stored")
            await asyncio.sleep(os.urandom(1)[0] * MAX_LOGIN_DELAY_MS / 255 / 1000)
            try:
                entropy = await asyncio.to_thread(self._vault.open, pin)
            except WrongPinError:
                return self._state()
            except (VaultError, StorageError) as error:
                raise RequestError(Status.FAILED, error.hint) from error
            self._unlock_unless_locked(entropy, locks)
            return self._state()

    def _unlock_unless_locked(self, entropy: bytearray, locks: int) -> None:
        if self._locks == locks:
            self._unlock(entropy)
        else:
            _wipe(entropy)

    def _unlock(self, entropy: bytearray) -> None:
        from primegap.bitcoin.keys import master_fingerprint

        self._entropy = entropy
        self._fingerprint = master_fingerprint(bytes(entropy))
        self._unlocked.set()

    async def _log_out(self, caller: Caller, request: api.Logout) -> Message:
        self._locks += 1
        _wipe(self._entropy)
        self._entropy = None
        self._fingerprint = ""
        self._grants.clear()
        self._unlocked.clear()
        return self._state()

    def _held(self) -> bytes:
        if self._entropy is None:
            raise RequestError(Status.LOCKED, "the device is locked")
        return bytes(self._entropy)

    # -- derivations ----------------------------------------------------------------------------

    async def _app_seed(self, caller: Caller, request: api.GetAppSeed) -> Message:
        while self._entropy is None:  # it may be locked again before its turn
            await self._unlocked.wait()
        return api.AppSeed(app_seed(caller.app_id, self._held()))

    async def _wait_unlocked(self, caller: Caller, request: api.WaitUnlocked) -> Message:
        await self._unlocked.wait()
        return Empty()

    async def _account_xpub(self, caller: Caller, request: api.GetAccountXpub) -> Message:
        from primegap.bitcoin.keys import account_key

        key = account_key(self._held(), _network(request.network), _account(request.account))
        return api.AccountXpub(key.fingerprint, key.path, key.xpub)

    async def _report_confirmation(
        self, caller: Caller, request: api.ReportConfirmation
    ) -> Message:
        self._held()
        now_s = asyncio.get_running_loop().time()
        key = request.key
        use = Use(request.instance, request.content, key.network, key.account)
        if not self._grants.approve(request.confirmation, use, now_s=now_s):
            raise RequestError(Status.DENIED, "confirmation")
        return Empty()

    async def _take_account_key(self, caller: Caller, request: api.TakeAccountKey) -> Message:
        from primegap.bitcoin.keys import account_private_key

        entropy = self._held()
        network, account = _network(request.network), _account(request.account)
        now_s = asyncio.get_running_loop().time()
        use = Use(caller.instance, request.content, network.value, account)
        if not self._grants.take(request.confirmation, use, now_s=now_s):
            raise RequestError(Status.DENIED, "the person did not confirm this content")
        return api.AccountKey(account_private_key(entropy, network, account))


def _network(name: str) -> Network:
    from primegap.bitcoin.networks import Network

    try:
        return Network(name)
    except ValueError:
        raise RequestError(Status.MALFORMED, "network") from None


def _account(number: int) -> int:
    if not 0 <= number <= MAX_ACCOUNT:
        raise RequestError(Status.MALFORMED, "account number")
    return number


def _wipe(secret: bytearray | None) -> None:
    if secret is not None:
        secret[:] = bytes(len(secret))


async def main(process: Process) -> None:
    """Entry of the security process."""
    SecurityService(process)
    process.serve()
    # BDK takes a third of a second to import; the first screen does not wait for it.
    await asyncio.sleep(0.5)
    import primegap.bitcoin.keys  # noqa: F401

    await process.wait()


if TYPE_CHECKING:
    from primegap.bitcoin.networks import Network
