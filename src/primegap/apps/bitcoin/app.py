"""The Bitcoin app: what the person starts on the device, and what the companion asks for.

Review, show, sign are three steps over one value: the review of the PSBT's bytes is drawn by the
trusted screen, its digest is what the confirmation is bound to, and the signer works on the same
bytes and refuses any other digest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from primegap.apps.bitcoin import screens, screens_limits
from primegap.apps.bitcoin.companion_calls import CompanionCalls
from primegap.apps.bitcoin.errors import RejectedError, TooLongToShowError
from primegap.apps.bitcoin.guard import Guard
from primegap.apps.bitcoin.limits import Limits
from primegap.apps.bitcoin.store import Memory
from primegap.bitcoin.accounts import Account, AccountKey, Keychain
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.networks import Network
from primegap.bitcoin.policy import Payment, PolicyError, Verdict
from primegap.files import StorageError
from primegap.keyos.api import camera, security, ui
from primegap.keyos.client import (
    AppScreen,
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
    from primegap.apps.bitcoin.messages import Messages
    from primegap.bitcoin.messages import MessageReview
    from primegap.bitcoin.review_values import Review
    from primegap.keyos.process import Process

ACCOUNT: Final = 0
ACCOUNT_NAME: Final = "Account 1"
RETRY_S: Final = 0.5


class BitcoinApp:
    """One account of the device's seed, on one network."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._screen = AppScreen(process)
        self._network = Network(process.config["network"])
        self._memory: Memory | None = None
        self._account: Account | None = None
        self._key: AccountKey | None = None
        self._guard: Guard
        self._limits: Limits

    async def run(self) -> None:
        """Wait for the first unlock, then serve the person and the companion."""
        seed = await app_seed(self._process)
        file = SealedFile(self._process.data, "state", seed)
        self._guard = Guard(self._process, seed)
        self._limits = Limits(self._process, self._screen, self._guard)
        self._memory = await load_state(file, Memory.load, log=self._process.log)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_person())
            if self._process.config.get("model") != "core":  # which has no link
                companion = CompanionCalls(self._process, self, self._guard, self._limits)
                tasks.create_task(companion.serve())

    @property
    def network(self) -> Network:
        """On which the account is."""
        return self._network

    def messages(self) -> Messages:
        """Return what signs messages; loaded by the first one that is asked for."""
        from primegap.apps.bitcoin.messages import Messages

        return Messages(self._process, self._screen, self._guard, self._sign_message)

    async def open_account(self) -> tuple[Account, Memory]:
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
            account, _ = await self.open_account()
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
                await self._limits.open(account, self.key_choice())
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
                    await self.messages().open(account, self.key_choice())
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
            signed = await self._sign_here(account, request.psbt())
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
                self._process, self._screen, lambda psbt: self._sign_here(account, psbt)
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

    async def _sign_here(self, account: Account, psbt: bytes) -> bytes:
        """Sign what the person scanned or chose on the card; see `sign`."""
        from primegap.bitcoin.review import review_psbt

        return await self.sign(account, psbt, review_psbt(psbt, account), pairing=b"")

    async def sign(
        self,
        account: Account,
        psbt: bytes,
        review: Review,
        *,
        pairing: bytes,
        on_approved: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Judge a reviewed payment, show it, sign it.

        Args:
            account: of the payment.
            psbt: as it came.
            review: of these bytes for this account.
            pairing: number of the pairing of the companion that asks; empty for a scanned one.
            on_approved: called as soon as it is going to be signed.

        Raises:
            RejectedError: the person said no.
            BitcoinError: it cannot be signed, or a policy forbids it.
            TooLongToShowError: it cannot be shown.
            RecordPutBackError: what was spent before is not known.
            RequestError: the device was locked, or the confirmation was not honoured.
        """
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

        account, _ = await self.open_account()
        key = await self._take_key(confirmation, review.digest)
        with AccountSigner.from_private_key(key.key, self._network) as signer:
            return sign_message(review, account, signer)

    def key_choice(self) -> security.KeyChoice:
        """Return which key a confirmation opens."""
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
        request = ui.Confirm(encode_screen(screen), review.digest, opens=self.key_choice())
        return await self._process.call(request, ui.Decision)

    async def _confirm_payment(self, review: Review, account: Account) -> ui.Decision:
        try:
            screen = encode_screen(screens.review_payment(review, account))
        except ScreenError as error:
            raise TooLongToShowError(str(error)) from error
        request = ui.Confirm(screen, review.digest, opens=self.key_choice())
        try:
            return await self._process.call(request, ui.Decision)
        except RequestError as error:
            if error.status is Status.MALFORMED:  # more pages than the screen has
                raise TooLongToShowError(error.detail) from error
            raise


def _hint(error: BitcoinError | AirgapError | KeyosError) -> str:
    if isinstance(error, PolicyError):
        return error.explanation
    detail = error.detail if isinstance(error, RequestError) else ""
    return detail or error.hint


async def main(process: Process) -> None:
    """Entry of the Bitcoin app."""
    process.serve()
    await BitcoinApp(process).run()
