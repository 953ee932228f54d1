"""The Bitcoin app: what the person starts on the device, and what the companion asks for.

Review, show, sign are three steps over one value: the review of the PSBT's bytes is drawn by the
trusted screen, its digest is what the confirmation is bound to, and the signer works on the same
bytes and refuses any other digest.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from primegap.apps.bitcoin import screens, screens_limits
from primegap.apps.bitcoin.guard import Guard, RecordPutBackError
from primegap.apps.bitcoin.limits import Limits
from primegap.apps.bitcoin.messages import Messages
from primegap.apps.bitcoin.shared_work import SharedWork
from primegap.apps.bitcoin.store import Memory
from primegap.bitcoin.accounts import Account, AccountKey, Keychain
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.networks import Network
from primegap.bitcoin.policy import Payment, PolicyError, Verdict
from primegap.files import StorageError
from primegap.keyos.api import calls, camera, security, ui
from primegap.keyos.client import (
    AppScreen,
    ChannelClosedError,
    KeyosError,
    RequestError,
    SealedFile,
    Status,
    app_seed,
    load_state,
)
from primegap.keyos.ui.canonical import encode_screen
from primegap.keyos.ui.errors import ScreenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.airgap import AirgapError, Received
    from primegap.bitcoin.messages import MessageReview
    from primegap.bitcoin.review_values import Review
    from primegap.keyos.process import Process

ACCOUNT: Final = 0
ACCOUNT_NAME: Final = "Account 1"
RETRY_S: Final = 0.5
MAX_CALLS: Final = 16  # calls of the companion worked on at the same time
RESET_INTERNAL: Final = 3
RESET_CODEC: Final = 5
RESET_REFUSED: Final = 6
RESET_LIMIT: Final = 8
RESET_UNKNOWN_ROUTE: Final = 9


class RejectedError(Exception):
    """The person said no."""


class TooLongToShowError(KeyosError):
    """A payment has more parts than a screen; what cannot be shown is not signed (U-6)."""

    code = "payment-too-long"
    hint = "This payment has too many parts to be shown on the device."


class BitcoinApp:
    """One account of the device's seed, on one network."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._screen = AppScreen(process)
        self._network = Network(process.config["network"])
        self._memory: Memory | None = None
        self._account: Account | None = None
        self._key: AccountKey | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._asking = SharedWork()
        self._guard: Guard
        self._limits: Limits
        self._messages: Messages

    async def run(self) -> None:
        """Wait for the first unlock, then serve the person and the companion."""
        seed = await app_seed(self._process)
        file = SealedFile(self._process.data, "state", seed)
        self._guard = Guard(self._process, seed)
        self._limits = Limits(self._process, self._screen, self._guard)
        self._messages = Messages(self._process, self._screen, self._guard, self._sign_message)
        self._memory = await load_state(file, Memory.load, log=self._process.log)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_person())
            if self._process.config.get("model") != "core":  # which has no link
                tasks.create_task(self._serve_companion())

    async def _open_account(self) -> tuple[Account, Memory]:
        """Return the account. Its public key is asked for each time: a locked device gives none.

        Raises:
            RequestError: the device is locked.
        """
        assert self._memory is not None
        xpub = await self._process.call(
            security.GetAccountXpub(self._network.value, ACCOUNT), security.AccountXpub
        )
        key = AccountKey(xpub.fingerprint, xpub.path, xpub.xpub)
        if self._account is None or key != self._key:
            self._account = Account.from_key(key, self._network, name=ACCOUNT_NAME)
            self._key = key
        return self._account, self._memory

    # -- the person -----------------------------------------------------------------------------

    async def _serve_person(self) -> None:
        while True:
            try:
                await self._screen.opened()
                await self._menu()
            except KeyosError as error:
                self._process.log(f"screen: {error}")
                await asyncio.sleep(RETRY_S)

    async def _menu(self) -> None:
        try:
            account, _ = await self._open_account()
            while True:
                choice = await self._screen.present(screens.menu(account))
                if choice not in screens.MENU:
                    return
                try:
                    await self._do(choice, account)
                except KeyosError as error:  # the camera restarts, say
                    await self._screen.present(screens.problem("That did not work", _hint(error)))
        finally:
            await self._screen.close()

    async def _do(self, choice: str, account: Account) -> None:
        match choice:
            case screens.RECEIVE:
                await self._receive(account)
            case screens.CHECK:
                await self._check_address(account)
            case screens.LIMITS:
                await self._limits.open(account, self._key_choice())
            case screens.SIGN_MORE:
                await self._sign_more(account)
            case screens.CONNECT:
                await self._connect_wallet(account)
            case _:
                await self._sign_by_qr(account)

    async def _sign_more(self, account: Account) -> None:
        match await self._screen.present(screens.sign_more()):
            case screens.SIGN_CARD:
                await self._sign_from_card(account)
            case screens.MESSAGE:
                try:
                    await self._messages.open(account, self._key_choice())
                except BitcoinError as error:
                    await self._screen.present(screens.problem("Not signed", error.hint))

    async def _receive(self, account: Account) -> None:
        index = 0
        while True:
            address = account.address(Keychain.EXTERNAL, index)
            if await self._screen.present(screens.receive(account, address, index)) != screens.NEXT:
                return
            index += 1

    async def _check_address(self, account: Account) -> None:
        title, hint = "Check an address", "Hold the address’s QR code up."
        text = await self._screen.scan(screens.scanning(title, hint, None))
        if text is None:
            return
        try:
            match = account.find_address(text)
        except BitcoinError as error:
            await self._screen.present(screens.problem("Not an address", error.hint))
            return
        if match is None:
            await self._screen.present(screens.address_foreign(text))
            return
        chain = "receive" if match.keychain is Keychain.EXTERNAL else "change"
        address = account.address(match.keychain, match.index)
        await self._screen.present(screens.address_ours(account, address, chain, match.index))

    async def _sign_by_qr(self, account: Account) -> None:
        from primegap.airgap import AirgapError, TooLargeForQrError
        from primegap.apps.bitcoin.card import save_from_qr
        from primegap.apps.bitcoin.showing import show_signed

        try:
            request = await self._scan_psbt()
            if request is None:
                return
            signed = await self._sign(account, request.psbt(), pairing=b"")
        except RejectedError:
            return
        except (BitcoinError, AirgapError, KeyosError) as error:
            await self._screen.present(screens.problem("Not signed", _hint(error)))
            return
        assert self._memory is not None
        try:
            save = await show_signed(signed, request.dialect, self._memory, self._screen)
        except (TooLargeForQrError, StorageError) as error:
            await self._screen.present(screens.problem("Signed, not shown", error.hint))
            save = True
        if save:
            await self._screen.present(screens.saved(await save_from_qr(self._process, signed)))

    async def _sign_from_card(self, account: Account) -> None:
        from primegap.airgap import AirgapError
        from primegap.apps.bitcoin.card import sign_from_card

        try:
            await sign_from_card(
                self._process, self._screen, lambda psbt: self._sign(account, psbt, pairing=b"")
            )
        except RejectedError:
            return
        except (BitcoinError, AirgapError, KeyosError) as error:
            await self._screen.present(screens.problem("Not signed", _hint(error)))

    async def _connect_wallet(self, account: Account) -> None:
        from primegap.airgap import AirgapError
        from primegap.apps.bitcoin.connect import connect_wallet, wallet_keys

        assert self._memory is not None
        keys = await wallet_keys(self._process, self._network, ACCOUNT)
        try:
            wallet = await connect_wallet(
                self._process, self._screen, self._memory, keys, account.name
            )
        except (AirgapError, StorageError) as error:
            await self._screen.present(screens.problem("Not connected", error.hint))
            return
        if wallet is None or wallet.id == "casa":
            return
        if wallet.id == "btcpay":  # it shows no code; the person compares
            await self._receive(account)
        elif await self._screen.present(screens.offer_check(wallet.title)) == screens.CHECK:
            await self._check_address(account)

    async def _scan_psbt(self) -> Received | None:
        """Read a PSBT in any dialect, animated or not; None when the person cancelled.

        Raises:
            NotAPsbtError: the message is complete and is something else.
        """
        from primegap.airgap import CodeReader, Expect, FrameVerdict, NotAPsbtError

        reader = CodeReader(Expect.PSBT)
        title, text = "Sign by QR code", "Hold the animated code up until it is complete."
        async with self._screen.presented(screens.scanning(title, text, 0.0)) as leaving:
            while reader.result is None:
                seeing = asyncio.ensure_future(self._process.call(camera.NextCode(), camera.Code))
                try:
                    await asyncio.wait((leaving, seeing), return_when=asyncio.FIRST_COMPLETED)
                    if not seeing.done():
                        return None
                    code = seeing.result()
                    verdict = reader.receive(code.text, code.raw)
                finally:
                    seeing.cancel()
                if verdict is FrameVerdict.CORRUPT and type(reader.last_error) is NotAPsbtError:
                    raise reader.last_error  # a whole message, and not one to sign
                fraction = reader.progress.fraction
                await self._screen.update(screens.scanning(title, text, fraction))
            return reader.result

    # -- signing --------------------------------------------------------------------------------

    async def _sign(
        self,
        account: Account,
        psbt: bytes,
        *,
        pairing: bytes,
        on_approved: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Review, judge, show, sign.

        Args:
            account: of the payment.
            psbt: as it came.
            pairing: number of the pairing of the companion that asks; empty for a scanned one.
            on_approved: called as soon as it is going to be signed.

        Raises:
            RejectedError: the person said no.
            BitcoinError: it cannot be signed, or a policy forbids it.
            TooLongToShowError: it cannot be shown.
            RecordPutBackError: what was spent before is not known.
            RequestError: the device was locked, or the confirmation was not honoured.
        """
        from primegap.bitcoin.review import review_psbt

        review = review_psbt(psbt, account)
        payment = Payment.of(review, pairing.hex())
        verdict = await self._guard.judge(payment)
        if verdict is Verdict.UNATTENDED:
            on_approved()
            key = await self._session_key()
            if key is not None:
                return self._sign_reviewed(psbt, review, account, key)
            verdict = Verdict.ASK  # the session is over
        decision = await self._confirm_payment(review, account)
        if decision.approved and verdict is Verdict.ASK_TWICE:
            decision = await self._confirm_again(review, account)
        if not decision.approved:
            await self._guard.refused(payment)
            raise RejectedError
        on_approved()
        await self._guard.confirmed(payment)
        key = await self._take_key(decision.confirmation, review.digest)
        return self._sign_reviewed(psbt, review, account, key)

    def _sign_reviewed(
        self, psbt: bytes, review: Review, account: Account, key: security.AccountKey
    ) -> bytes:
        from primegap.bitcoin.keys import AccountSigner
        from primegap.bitcoin.sign import sign_psbt

        with AccountSigner.from_private_key(key.key, self._network) as signer:
            return sign_psbt(psbt, review, review.digest, account, signer)

    async def _sign_message(self, review: MessageReview, confirmation: bytes) -> str:
        """Sign a message that the person confirmed."""
        from primegap.bitcoin.keys import AccountSigner
        from primegap.bitcoin.messages import sign_message

        account, _ = await self._open_account()
        key = await self._take_key(confirmation, review.digest)
        with AccountSigner.from_private_key(key.key, self._network) as signer:
            return sign_message(review, account, signer)

    def _key_choice(self) -> security.KeyChoice:
        return security.KeyChoice(self._network.value, ACCOUNT)

    async def _take_key(self, confirmation: bytes, content: bytes) -> security.AccountKey:
        request = security.TakeAccountKey(self._network.value, ACCOUNT, confirmation, content)
        return await self._process.call(request, security.AccountKey)

    async def _session_key(self) -> security.AccountKey | None:
        """Return the key that a session keeps open, None when it is open no longer."""
        confirmation, content = self._guard.opening
        try:
            return await self._take_key(confirmation, content)
        except RequestError as error:
            if error.status is not Status.DENIED:
                raise
            await self._guard.end_session()
            return None

    async def _confirm_again(self, review: Review, account: Account) -> ui.Decision:
        screen = screens_limits.second_question(review.leaving, account)
        request = ui.Confirm(encode_screen(screen), review.digest, opens=self._key_choice())
        return await self._process.call(request, ui.Decision)

    async def _confirm_payment(self, review: Review, account: Account) -> ui.Decision:
        try:
            screen = encode_screen(screens.review_payment(review, account))
        except ScreenError as error:
            raise TooLongToShowError(str(error)) from error
        request = ui.Confirm(screen, review.digest, opens=self._key_choice())
        try:
            return await self._process.call(request, ui.Decision)
        except RequestError as error:
            if error.status is Status.MALFORMED:  # more pages than the screen has
                raise TooLongToShowError(error.detail) from error
            raise

    async def _sign_for_companion(self, account: Account, psbt: bytes, pairing: bytes) -> bytes:
        """Sign, or return what was signed before when this companion asks for the same again.

        A companion that was gone when the person had signed gets its answer so, and one that comes
        back while the question is on the screen shares it. Another one, or the same after it was
        unpaired, does not: the person is asked again.
        """
        from primegap.bitcoin.review import review_psbt

        assert self._memory is not None
        memory = self._memory
        digest = review_psbt(psbt, account).digest
        before = memory.recall_signed(pairing, digest)
        if before is not None:
            return before

        async def sign() -> bytes:
            signed = await self._sign(
                account,
                psbt,
                pairing=pairing,
                on_approved=lambda: self._asking.decided((pairing, digest)),
            )
            try:
                memory.remember_signed(pairing, digest, signed)
            except StorageError as error:
                self._process.log(f"a signature is not remembered: {error}")
            return signed

        return await self._asking.do((pairing, digest), sign)

    # -- the companion --------------------------------------------------------------------------

    async def _serve_companion(self) -> None:
        while True:
            try:
                call = await self._process.call(calls.NextCall(), calls.RemoteCall)
            except KeyosError:
                await asyncio.sleep(RETRY_S)  # the link restarts; its calls are gone with it
                continue
            if len(self._calls) >= MAX_CALLS:
                await self._end(call, RESET_LIMIT)
                continue
            task = asyncio.create_task(self._answer(call))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _answer(self, call: calls.RemoteCall) -> None:
        """Work on one call for as long as the companion waits for it.

        What the person was asked goes on for a while when the companion only lost its link.
        """
        working = asyncio.create_task(self._work_on(call))
        watching = asyncio.create_task(self._wait_gone(call))
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            await asyncio.wait((working,))
            if watching.done() and watching.result():
                self._asking.drop_forsaken()
        finally:
            watching.cancel()

    async def _wait_gone(self, call: calls.RemoteCall) -> bool:
        """Wait until the companion no longer waits; return whether it gave the call up itself."""
        try:
            return (await self._process.call(calls.WaitGone(call.call), calls.Gone)).for_good
        except RequestError as error:
            if error.status is Status.BUSY:  # then it is not known; the answer will tell
                await asyncio.Event().wait()
            return False  # the link restarts, and the companion comes back
        except ChannelClosedError:
            return False

    async def _work_on(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        try:
            if call.route == routes.RequestSignPsbt.key.route_id:
                await self._answer_sign(call)
            elif call.route == routes.SubscribeAccountUpdated.key.route_id:
                await self._answer_accounts(call)
            elif call.route == routes.RequestPassportActiveSeedFingerprint.key.route_id:
                await self._answer_fingerprint(call)
            elif call.route == routes.RequestSetPolicy.key.route_id:
                await self._answer_policy(call)
            elif call.route == routes.RequestPolicies.key.route_id:
                await self._answer_policies(call)
            elif call.route == routes.RequestAuditLog.key.route_id:
                await self._answer_log(call)
            elif call.route == routes.RequestSignMessage.key.route_id:
                await self._answer_message(call)
            else:
                await self._end(call, RESET_UNKNOWN_ROUTE)
        except (BitcoinError, StorageError, KeyosError) as error:
            self._process.log(f"call of the companion: {error.code}")
            await self._end(call, RESET_INTERNAL)
        except Exception as error:  # noqa: BLE001 - the top of a task: the companion must not wait
            self._process.log(f"call of the companion: {type(error).__name__}")
            await self._end(call, RESET_INTERNAL)

    async def _end(self, call: calls.RemoteCall, code: int) -> None:
        with contextlib.suppress(KeyosError):
            await self._process.call(calls.EndCall(call.call, code))

    async def _answer_sign(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes
        from primegap.quantumlink.errors import QuantumLinkError

        try:
            params = routes.RequestSignPsbt.request.decode_untrusted(call.body)
        except QuantumLinkError:
            await self._end(call, RESET_CODEC)
            return
        answer: routes.SignPsbtResponse
        try:
            account, _ = await self._open_account()
            if params.account_id != account.id:
                answer = routes.SignPsbtError("This account is not on the device.")
            else:
                signed = await self._sign_for_companion(account, params.psbt, call.pairing)
                answer = routes.SignPsbtSigned(signed)
        except RejectedError:
            answer = routes.SignPsbtRejected()
        except (BitcoinError, TooLongToShowError, RecordPutBackError) as error:
            hint = error.explanation if isinstance(error, PolicyError) else error.hint
            answer = routes.SignPsbtError(hint)
            self._process.log(f"refused to sign: {error.code}")
            await self._tell_refusal(hint)
        except RequestError as error:
            answer = routes.SignPsbtError(error.detail or error.hint)
        body = routes.RequestSignPsbt.answer.encode(answer)
        await self._process.call(calls.Answer(call.call, body))

    async def _tell_refusal(self, hint: str) -> None:
        """Show the person why a payment of the companion was refused, without waiting for them."""
        screen = screens.problem("Payment refused", hint)
        with contextlib.suppress(KeyosError):
            await self._process.call(ui.Notify(encode_screen(screen)))

    async def _answer_accounts(self, call: calls.RemoteCall) -> None:
        """Share the account, once the person agreed; then keep the subscription open."""
        from primegap.quantumlink.api import bitcoin as routes

        account, memory = await self._open_account()
        content = account.descriptor_hash

        async def ask() -> bool:
            screen = screens.share_account(account, call.peer.hex()[:8].upper())
            decision = await self._process.call(
                ui.Confirm(encode_screen(screen), content, opens=None), ui.Decision
            )
            kind = "account-shared" if decision.approved else "account-refused"
            facts = {"account": account.id[:16], "by": call.pairing.hex()[:16]}
            await self._guard.note(kind, facts)
            if decision.approved:
                memory.share(call.pairing, content)
            return decision.approved

        shared = memory.is_shared(call.pairing, content)
        if not shared and not await self._asking.do((call.pairing, content), ask):
            await self._end(call, RESET_REFUSED)
            return
        event = routes.AccountUpdatedEvent(
            account_id=account.id, update=self._account_update(account, memory)
        )
        body = routes.SubscribeAccountUpdated.event.encode(event)
        await self._process.call(calls.SendEvent(call.call, body))

    def _account_update(self, account: Account, memory: Memory) -> bytes:
        from primegap.quantumlink.api import accounts

        pair = accounts.DescriptorPair(
            internal=account.internal,
            external=account.external,
            address_type=accounts.AddressType.P2WPKH,
        )
        name = "bitcoin" if self._network is Network.MAINNET else self._network.value
        update = accounts.make_remote_update(
            account_id=account.id,
            network=accounts.AccountNetwork(name),
            sequence=memory.sequence,
            metadata=accounts.AccountMetadata(name=account.name),
            descriptors=(pair,),
        )
        return accounts.encode_remote_update(update)

    async def _answer_fingerprint(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        account, memory = await self._open_account()
        if not memory.is_shared(call.pairing, account.descriptor_hash):
            await self._end(call, RESET_REFUSED)  # which seed it is, only a holder of it may know
            return
        answer = routes.ActiveSeedFingerprint(
            fingerprint=account.keys[0].fingerprint, has_passphrase=False
        )
        body = routes.RequestPassportActiveSeedFingerprint.answer.encode(answer)
        await self._process.call(calls.Answer(call.call, body))

    # -- limits and log, for the companion ------------------------------------------------------

    async def _shared_account(self, call: calls.RemoteCall) -> Account | None:
        """Return the account if it is shared with who calls, else refuse the call."""
        account, memory = await self._open_account()
        if memory.is_shared(call.pairing, account.descriptor_hash):
            return account
        await self._end(call, RESET_REFUSED)
        return None

    async def _answer_policy(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes
        from primegap.quantumlink.errors import QuantumLinkError

        try:
            params = routes.RequestSetPolicy.request.decode_untrusted(call.body)
        except QuantumLinkError:
            await self._end(call, RESET_CODEC)
            return
        account = await self._shared_account(call)
        if account is None:
            return
        answer: routes.SetPolicyResponse
        if params.account_id != account.id:
            answer = routes.SetPolicyError("This account is not on the device.")
        else:
            name = call.peer.hex()[:8].upper()
            answer = await self._asking.do(
                (call.pairing, params.policy),
                lambda: self._limits.propose(account, params.policy, call.pairing, name),
            )
        body = routes.RequestSetPolicy.answer.encode(answer)
        await self._process.call(calls.Answer(call.call, body))

    async def _answer_policies(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        account = await self._shared_account(call)
        if account is not None:
            answer = await self._limits.in_force(account, call.pairing)
            body = routes.RequestPolicies.answer.encode(answer)
            await self._process.call(calls.Answer(call.call, body))

    async def _answer_message(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes
        from primegap.quantumlink.errors import QuantumLinkError

        try:
            params = routes.RequestSignMessage.request.decode_untrusted(call.body)
        except QuantumLinkError:
            await self._end(call, RESET_CODEC)
            return
        account = await self._shared_account(call)
        if account is None:
            return
        answer: routes.SignMessageResponse
        if params.account_id != account.id:
            answer = routes.SignMessageError("This account is not on the device.")
        else:
            answer = await self._asking.do(
                (call.pairing, params),
                lambda: self._messages.for_companion(
                    account, self._key_choice(), params, call.pairing
                ),
            )
        body = routes.RequestSignMessage.answer.encode(answer)
        await self._process.call(calls.Answer(call.call, body))

    async def _answer_log(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        if await self._shared_account(call) is not None:
            answer = routes.AuditLogExport(log=await self._guard.export())
            body = routes.RequestAuditLog.answer.encode(answer)
            await self._process.call(calls.Answer(call.call, body))


def _hint(error: BitcoinError | AirgapError | KeyosError) -> str:
    if isinstance(error, PolicyError):
        return error.explanation
    detail = error.detail if isinstance(error, RequestError) else ""
    return detail or error.hint


async def main(process: Process) -> None:
    """Entry of the Bitcoin app."""
    process.serve()
    await BitcoinApp(process).run()
