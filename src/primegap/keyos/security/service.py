"""The security process: one worker that holds the entropy while unlocked, and answers about it.

The worker ends when the device is locked: with it goes every copy that the interpreter made of seed
and PIN. Core starts a new one that knows nothing (keyos-model, section 16.6; X-2, S-8).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.api import security as api
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.messages import Empty, Message
from primegap.keyos.security import derivation, genuine
from primegap.keyos.security.anchors import DIGEST_BYTES, Anchor
from primegap.keyos.security.channel_keys import ChannelKeys
from primegap.keyos.security.grants import Grants, Use
from primegap.keyos.security.memory import SecretBuffer, wipe
from primegap.keyos.security.sealing import VaultError, WrongPinError, check_pin
from primegap.keyos.security.supply_chain import SupplyChain
from primegap.keyos.security.vault import SoftwareVault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from primegap.bitcoin.networks import Network
    from primegap.keyos.frame import Caller
    from primegap.keyos.process import Process
    from primegap.keyos.security.sealing import SealingHardware

MAX_LOGIN_DELAY_MS: Final = 150  # keyos-model, section 6.3
MAX_DICE: Final = 256
MAX_ACCOUNT: Final = (1 << 31) - 1
ENTROPY_BYTES: Final = {12: 16, 24: 32}
SECURITY_WORDS_PREFIX: Final = 4
_DEVICE_ID_BYTES: Final = 8
_WORD_BITS: Final = 11


class SecurityService:
    """State: what is sealed, and in memory, while unlocked, the secret that was.

    The sealed secret is the disk entropy (64 bytes), then the entropy of the seed (16 or 32).
    """

    def __init__(self, process: Process, hardware: SealingHardware) -> None:
        self._process = process
        self._hardware = hardware
        self._genuine = genuine.DeviceCheck(process.data, rng=os.urandom)
        self._secret: SecretBuffer | None = None
        self._pending: bytearray | None = None
        self._fingerprint = ""
        self._grants = Grants()
        self._unlocked = asyncio.Event()
        self._vault_in_use = asyncio.Lock()
        self._locks = 0
        "How often the device was locked: a login that a lock overtook does not count."
        self._version = 1
        self._changed = asyncio.Event()
        self._steps: set[asyncio.Task[Message]] = set()
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
        process.handle(api.WaitState, self._wait_state)
        process.handle(api.ChangePin, self._change_pin)
        process.handle(api.RevealWords, self._reveal_words)
        process.handle(api.Erase, self._erase)
        process.handle(api.GetStorageKey, self._storage_key)
        process.handle(api.GetSecurityWords, self._security_words)
        process.handle(api.GetDeviceFacts, self._device_facts)
        process.handle(api.ProveGenuine, self._prove_genuine)
        process.handle(api.GetAnchor, self._get_anchor)
        process.handle(api.SetAnchor, self._set_anchor)
        process.handle(api.EndSession, self._end_session)
        process.handle(api.GetWalletKeys, self._wallet_keys)
        process.handle(api.MakeCardBackup, self._card_backup)
        process.handle(api.RestoreCardBackup, self._restore_backup)
        process.handle(api.ImportSeed, self._import_seed)
        process.handle(api.AnswerSupplyChain, SupplyChain(process.config).answer)

    def recover(self) -> None:
        """Complete what a power cut left half done."""
        try:
            self._hardware.recover()
        except StorageError as error:
            self._process.log(str(error))

    # -- state ----------------------------------------------------------------------------------

    def _state(self) -> api.SecurityState:
        sealed = self._hardware.state()
        return api.SecurityState(
            onboarded=sealed.sealed,
            unlocked=self._secret is not None,
            attempts_left=sealed.attempts_left,
            fingerprint=self._fingerprint,
            version=self._version,
        )

    def _tell_change(self) -> None:
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def _get_state(self, caller: Caller, request: api.GetState) -> Message:
        return self._state()

    async def _wait_state(self, caller: Caller, request: api.WaitState) -> Message:
        while request.version == self._version:
            await self._changed.wait()
        return self._state()

    async def _device_facts(self, caller: Caller, request: api.GetDeviceFacts) -> Message:
        try:
            number = self._hardware.tag(b"device-id", b"")[:_DEVICE_ID_BYTES].hex()
        except StorageError:
            number = ""
        return api.DeviceFacts(
            device_id=number,
            sealing=self._hardware.kind,
            limits=self._hardware.limits,
            memory="" if self._secret is None else self._secret.protection,
            resets=self._hardware.state().resets,
        )

    # -- steps with the vault -------------------------------------------------------------------

    async def _to_the_end(self, step: Coroutine[None, None, Message]) -> Message:
        """Do a step with the vault to its end, even if whoever asked for it takes it back.

        Otherwise the next one would begin while the thread of this one still works: two guesses for
        one attempt, or a seed that is wiped while it is being stored.
        """
        task = asyncio.get_running_loop().create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return await asyncio.shield(task)

    @contextlib.asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """Have the vault alone, turn its errors into answers, and tell who waits for news."""
        async with self._vault_in_use:
            try:
                yield
            except (VaultError, StorageError) as error:
                if not self._hardware.state().sealed:
                    self._forget()  # that was the last attempt
                raise RequestError(Status.FAILED, error.hint) from error
            finally:
                self._tell_change()

    def _need_seed(self) -> None:
        if not self._hardware.state().sealed:
            raise RequestError(Status.DENIED, "no seed is stored")

    # -- first start ----------------------------------------------------------------------------

    async def _begin_seed(self, caller: Caller, request: api.BeginSeed) -> Message:
        from primegap.bitcoin.keys import entropy_to_words, mix_entropy

        self._need_no_seed()
        size = ENTROPY_BYTES.get(request.word_count)
        if size is None or len(request.dice) > MAX_DICE or set(request.dice) - set("123456"):
            raise RequestError(Status.MALFORMED, "word count or dice")
        wipe(self._pending)
        if self._process.simulator:
            self._pending = bytearray(size)  # the test seed that everybody knows (M-1)
        else:
            self._pending = bytearray(mix_entropy(os.urandom(size), request.dice))
        return api.SeedWords(tuple(entropy_to_words(bytes(self._pending))))

    def _need_no_seed(self) -> None:
        if self._vault_in_use.locked():
            raise RequestError(Status.BUSY, "a seed is being stored")
        if self._hardware.state().sealed:
            raise RequestError(Status.DENIED, "a seed is already stored")

    async def _import_seed(self, caller: Caller, request: api.ImportSeed) -> Message:
        if len(request.entropy) not in ENTROPY_BYTES.values():
            raise RequestError(Status.MALFORMED, "length of the entropy")
        return self._begin_with(request.entropy)

    async def _restore_backup(self, caller: Caller, request: api.RestoreCardBackup) -> Message:
        from primegap.keyos.security.card_backup import open_card_backup

        self._need_no_seed()
        opening = asyncio.to_thread(open_card_backup, request.archive, request.code)
        return self._begin_with(await opening)

    def _begin_with(self, entropy: bytes) -> Message:
        """Keep a seed that exists already until it is stored."""
        from primegap.bitcoin.keys import master_fingerprint

        self._need_no_seed()
        if self._process.simulator:
            raise RequestError(Status.DENIED, "a simulator keeps no seed of anybody")
        wipe(self._pending)
        self._pending = bytearray(entropy)
        return api.SeedBegun(master_fingerprint(entropy))

    async def _commit_seed(self, caller: Caller, request: api.CommitSeed) -> Message:
        return await self._to_the_end(self._store(request.pin, self._locks))

    async def _store(self, pin: str, locks: int) -> Message:
        async with self._step():
            if self._pending is None or self._hardware.state().sealed:
                raise RequestError(Status.DENIED, "no seed was begun")
            check_pin(pin)
            content = bytearray(os.urandom(derivation.DISK_ENTROPY_BYTES)) + self._pending
            secret = SecretBuffer(content)
            with secret.view() as view:
                await asyncio.to_thread(self._hardware.seal, pin, view)
            wipe(self._pending)
            self._pending = None
            self._unlock_unless_locked(secret, locks)
            return self._state()

    # -- PIN ------------------------------------------------------------------------------------

    async def _log_in(self, caller: Caller, request: api.Login) -> Message:
        return await self._to_the_end(self._open(request.pin, self._locks))

    async def _open(self, pin: str, locks: int) -> Message:
        async with self._step():
            if self._secret is not None:
                return self._state()
            self._need_seed()
            await self._delay()
            try:
                secret = await asyncio.to_thread(self._hardware.unseal, pin)
            except WrongPinError:
                return self._state()
            self._unlock_unless_locked(secret, locks)
            return self._state()

    async def _delay(self) -> None:
        """Wait for a random time: how long a PIN takes to be judged says nothing (S-5)."""
        await asyncio.sleep(os.urandom(1)[0] * MAX_LOGIN_DELAY_MS / 255 / 1000)

    async def _change_pin(self, caller: Caller, request: api.ChangePin) -> Message:
        return await self._to_the_end(self._reseal(request.pin, request.new_pin))

    async def _reseal(self, pin: str, new_pin: str) -> Message:
        async with self._step():
            self._held()
            await self._delay()
            await asyncio.to_thread(self._hardware.reseal, pin, new_pin)
            return self._state()

    async def _reveal_words(self, caller: Caller, request: api.RevealWords) -> Message:
        return await self._to_the_end(self._reveal(request.pin))

    async def _reveal(self, pin: str) -> Message:
        from primegap.bitcoin.keys import entropy_to_words

        async with self._unsealed(pin) as entropy:
            return api.SeedWords(tuple(entropy_to_words(entropy)))

    @contextlib.asynccontextmanager
    async def _unsealed(self, pin: str) -> AsyncIterator[bytes]:
        """Unseal the seed once more, against the PIN, and give its entropy."""
        async with self._step():
            self._held()
            await self._delay()
            secret = await asyncio.to_thread(self._hardware.unseal, pin)
            try:
                with secret.view() as view:
                    entropy = bytes(view[derivation.DISK_ENTROPY_BYTES :])
                yield entropy
            finally:
                secret.wipe()

    async def _card_backup(self, caller: Caller, request: api.MakeCardBackup) -> Message:
        return await self._to_the_end(self._back_up(request.pin, _network(request.network)))

    async def _back_up(self, pin: str, network: Network) -> Message:
        from primegap.keyos.security.card_backup import make_card_backup

        async with self._unsealed(pin) as entropy:
            device = self._hardware.tag(b"card-backup", b"")
            archive, code = await asyncio.to_thread(make_card_backup, entropy, device, network)
            return api.CardBackup(archive, code)

    async def _security_words(self, caller: Caller, request: api.GetSecurityWords) -> Message:
        from primegap.bitcoin.keys import seed_words

        if len(request.prefix) != SECURITY_WORDS_PREFIX:
            raise RequestError(Status.MALFORMED, "length of the prefix")
        try:
            tag = self._hardware.tag(b"security-words", request.prefix.encode())
        except StorageError as error:
            raise RequestError(Status.FAILED, error.hint) from error
        number = int.from_bytes(tag[:4], "big")
        mask = (1 << _WORD_BITS) - 1
        words = seed_words()
        return api.SecurityWords((words[number & mask], words[number >> _WORD_BITS & mask]))

    # -- lock and erase -------------------------------------------------------------------------

    def _unlock_unless_locked(self, secret: SecretBuffer, locks: int) -> None:
        if self._locks == locks:
            self._unlock(secret)
        else:
            secret.wipe()

    def _unlock(self, secret: SecretBuffer) -> None:
        from primegap.bitcoin.keys import master_fingerprint

        self._secret = secret
        with self._entropy() as entropy:
            self._fingerprint = master_fingerprint(bytes(entropy))
        self._unlocked.set()

    def _forget(self) -> None:
        """Drop everything that only an unlocked device knows."""
        self._locks += 1
        if self._secret is not None:
            self._secret.wipe()
        self._secret = None
        wipe(self._pending)
        self._pending = None
        self._fingerprint = ""
        self._grants.clear()
        self._unlocked.clear()

    async def _log_out(self, caller: Caller, request: api.Logout) -> Message:
        had_secrets = self._secret is not None or self._vault_in_use.locked()
        self._forget()
        async with self._vault_in_use:  # a step under way counts or resets the attempt first
            pass
        self._tell_change()
        if had_secrets:
            self._process.finish()
        return self._state()

    async def _erase(self, caller: Caller, request: api.Erase) -> Message:
        state = await self._to_the_end(self._destroy())
        self._process.finish()
        return state

    async def _destroy(self) -> Message:
        self._forget()
        async with self._step():
            await asyncio.to_thread(self._hardware.wipe)
            return self._state()

    def _held(self) -> SecretBuffer:
        if self._secret is None:
            raise RequestError(Status.LOCKED, "the device is locked")
        return self._secret

    @contextlib.contextmanager
    def _entropy(self) -> Iterator[memoryview]:
        with self._held().view() as view, view[derivation.DISK_ENTROPY_BYTES :] as entropy:
            yield entropy

    # -- derivations ----------------------------------------------------------------------------

    async def _app_seed(self, caller: Caller, request: api.GetAppSeed) -> Message:
        while self._secret is None:  # it may be locked again before its turn
            await self._unlocked.wait()
        with self._entropy() as entropy:
            return api.AppSeed(derivation.app_seed(caller.app_id, entropy))

    async def _storage_key(self, caller: Caller, request: api.GetStorageKey) -> Message:
        if len(request.app_id) != derivation.APP_ID_BYTES:
            raise RequestError(Status.MALFORMED, "app id")
        with self._held().view() as secret:
            size = derivation.DISK_ENTROPY_BYTES
            with secret[:size] as disk_entropy, secret[size:] as entropy:
                keys = derivation.disk_keys(entropy, disk_entropy)
        return api.StorageKey(
            derivation.storage_tag(keys), derivation.storage_key(request.app_id, keys)
        )

    async def _wait_unlocked(self, caller: Caller, request: api.WaitUnlocked) -> Message:
        await self._unlocked.wait()
        return Empty()

    async def _account_xpub(self, caller: Caller, request: api.GetAccountXpub) -> Message:
        from primegap.bitcoin.keys import account_key

        network, account = _network(request.network), _account(request.account)
        with self._entropy() as entropy:
            key = account_key(bytes(entropy), network, account)
        return api.AccountXpub(key.fingerprint, key.path, key.xpub)

    async def _wallet_keys(self, caller: Caller, request: api.GetWalletKeys) -> Message:
        from primegap.bitcoin.exports.keys import Slot
        from primegap.bitcoin.keys import export_keys

        network, account = _network(request.network), _account(request.account)
        with self._entropy() as entropy:
            keys = export_keys(bytes(entropy), network, account)
        xpubs = tuple(keys.xpubs[slot] for slot in Slot)
        return api.WalletKeys(keys.fingerprint, keys.master_xpub, xpubs)

    async def _report_confirmation(
        self, caller: Caller, request: api.ReportConfirmation
    ) -> Message:
        self._held()
        now_s = asyncio.get_running_loop().time()
        key = request.key
        use = Use(request.instance, request.content, key.network, key.account)
        if not self._grants.approve(
            request.confirmation, use, now_s=now_s, session_s=request.session_s
        ):
            raise RequestError(Status.DENIED, "confirmation")
        return Empty()

    async def _take_account_key(self, caller: Caller, request: api.TakeAccountKey) -> Message:
        from primegap.bitcoin.keys import account_private_key

        self._held()
        network, account = _network(request.network), _account(request.account)
        now_s = asyncio.get_running_loop().time()
        use = Use(caller.instance, request.content, network.value, account)
        if not self._grants.take(request.confirmation, use, now_s=now_s):
            raise RequestError(Status.DENIED, "the person did not confirm this content")
        with self._entropy() as entropy:
            return api.AccountKey(account_private_key(bytes(entropy), network, account))

    async def _end_session(self, caller: Caller, request: api.EndSession) -> Message:
        self._grants.end(request.confirmation, caller.instance)
        return Empty()

    # -- newest states of apps ------------------------------------------------------------------

    async def _get_anchor(self, caller: Caller, request: api.GetAnchor) -> Message:
        async with self._vault_in_use:
            try:
                life, anchor = await asyncio.to_thread(self._hardware.anchor, caller.app_id)
            except StorageError as error:
                raise RequestError(Status.FAILED, error.hint) from error
        return api.StateAnchor(life, anchor.number, anchor.digest)

    async def _set_anchor(self, caller: Caller, request: api.SetAnchor) -> Message:
        if len(request.digest) != DIGEST_BYTES:
            raise RequestError(Status.MALFORMED, "not a hash")
        return await self._to_the_end(
            self._move_anchor(caller.app_id, Anchor(request.number, request.digest))
        )

    async def _move_anchor(self, app_id: bytes, anchor: Anchor) -> Message:
        async with self._vault_in_use:
            try:
                moved = await asyncio.to_thread(self._hardware.set_anchor, app_id, anchor)
            except StorageError as error:
                raise RequestError(Status.FAILED, error.hint) from error
        if not moved:
            raise RequestError(Status.DENIED, "not a newer state")
        return Empty()

    # -- genuineness ----------------------------------------------------------------------------

    async def _prove_genuine(self, caller: Caller, request: api.ProveGenuine) -> Message:
        try:
            return api.Genuineness(await asyncio.to_thread(self._genuine.prove, request.challenge))
        except genuine.ChallengeError as error:
            raise RequestError(Status.DENIED, error.hint) from error
        except StorageError as error:
            raise RequestError(Status.FAILED, error.hint) from error


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


async def main(process: Process) -> None:
    """Entry of the security process."""
    service = SecurityService(process, SoftwareVault(process.data, rng=os.urandom))
    service.recover()
    process.serve()
    # BDK takes a third of a second to import; the first screen does not wait for it.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.5)
        return
    await asyncio.to_thread(_import_keys)  # who asks for something else is answered meanwhile
    await process.wait()


def _import_keys() -> None:
    import primegap.bitcoin.keys  # noqa: F401
