"""What the companion asks of the Bitcoin app, and the answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from primegap.apps.bitcoin import screens
from primegap.apps.bitcoin.errors import RejectedError, TooLongToShowError
from primegap.apps.bitcoin.guard import RecordPutBackError, asker
from primegap.apps.bitcoin.shared_work import SharedWork
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.networks import Network
from primegap.bitcoin.policy import PolicyError
from primegap.files import StorageError
from primegap.keyos.api import calls, ui
from primegap.keyos.client import ChannelClosedError, KeyosError, RequestError, Status
from primegap.keyos.ui.canonical import encode_screen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from primegap.apps.bitcoin.app import BitcoinApp
    from primegap.apps.bitcoin.guard import Guard
    from primegap.apps.bitcoin.limits import Limits
    from primegap.apps.bitcoin.store import Memory
    from primegap.bitcoin.accounts import Account
    from primegap.keyos.process import Process
    from primegap.quantumlink.api import bitcoin as routes
    from primegap.quantumlink.rpc import RequestRoute

    class OfAccount(Protocol):
        """Parameters that name an account."""

        @property
        def account_id(self) -> str:
            """Of an account known from an account update."""
            ...

    ParamsT = TypeVar("ParamsT", bound=OfAccount)

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

RETRY_S: Final = 0.5
MAX_CALLS: Final = 16  # calls of the companion worked on at the same time
RESET_INTERNAL: Final = 3
RESET_CODEC: Final = 5
RESET_REFUSED: Final = 6
RESET_LIMIT: Final = 8
RESET_UNKNOWN_ROUTE: Final = 9
NOT_HERE: Final = "This account is not on the device."


class CompanionCalls:
    """Takes the companion's calls, has the person asked, and answers."""

    def __init__(self, process: Process, app: BitcoinApp, guard: Guard, limits: Limits) -> None:
        """Take who opens accounts, signs, and keeps to the limits."""
        self._process = process
        self._app = app
        self._guard = guard
        self._limits = limits
        self._calls: set[asyncio.Task[None]] = set()
        self._asking = SharedWork()

    async def serve(self) -> None:
        """Take calls for ever."""
        while True:
            try:
                call = await self._process.call(calls.NextCall(), calls.RemoteCall)
            except KeyosError:
                await asyncio.sleep(RETRY_S)  # the link restarts; its calls are gone with it
                continue
            if len(self._calls) >= MAX_CALLS:
                await self._end(call, RESET_LIMIT)
                continue
            task = asyncio.create_task(self._work(call))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _work(self, call: calls.RemoteCall) -> None:
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

        answers: dict[int, Callable[[calls.RemoteCall], Awaitable[None]]] = {
            routes.RequestSignPsbt.key.route_id: self._sign_psbt,
            routes.SubscribeAccountUpdated.key.route_id: self._share_account,
            routes.RequestPassportActiveSeedFingerprint.key.route_id: self._tell_fingerprint,
            routes.RequestSetPolicy.key.route_id: self._set_policy,
            routes.RequestPolicies.key.route_id: self._tell_policies,
            routes.RequestAuditLog.key.route_id: self._tell_log,
            routes.RequestSignMessage.key.route_id: self._sign_message,
        }
        answer = answers.get(call.route)
        if answer is None:
            await self._end(call, RESET_UNKNOWN_ROUTE)
            return
        try:
            await answer(call)
        except (BitcoinError, StorageError, KeyosError) as error:
            self._process.log(f"call of the companion: {error.code}")
            await self._end(call, RESET_INTERNAL)
        except Exception as error:  # noqa: BLE001 - the top of a task: the companion must not wait
            self._process.log(f"call of the companion: {type(error).__name__}")
            await self._end(call, RESET_INTERNAL)

    # -- what answers have in common ------------------------------------------------------------

    async def _end(self, call: calls.RemoteCall, code: int) -> None:
        with contextlib.suppress(KeyosError):
            await self._process.call(calls.EndCall(call.call, code))

    async def _params(
        self, call: calls.RemoteCall, route: RequestRoute[RequestT, AnswerT]
    ) -> RequestT | None:
        """Return what is asked, or end a call that asks nothing that can be read."""
        from primegap.quantumlink.errors import QuantumLinkError

        try:
            return route.request.decode_untrusted(call.body)
        except QuantumLinkError:
            await self._end(call, RESET_CODEC)
            return None

    async def _answer(
        self, call: calls.RemoteCall, route: RequestRoute[RequestT, AnswerT], answer: AnswerT
    ) -> None:
        await self._process.call(calls.Answer(call.call, route.answer.encode(answer)))

    async def _shared_account(self, call: calls.RemoteCall) -> Account | None:
        """Return the account if it is shared with who calls, else refuse the call."""
        account, memory = await self._app.open_account()
        if memory.is_shared(call.pairing, account.descriptor_hash):
            return account
        await self._end(call, RESET_REFUSED)
        return None

    async def _ask_about(
        self,
        call: calls.RemoteCall,
        route: RequestRoute[ParamsT, AnswerT],
        failed: Callable[[str], AnswerT],
        about: Callable[[ParamsT], Hashable],
        ask: Callable[[Account, ParamsT], Awaitable[AnswerT]],
    ) -> None:
        """Have the person asked about a shared account, once however often the companion calls."""
        params = await self._params(call, route)
        account = None if params is None else await self._shared_account(call)
        if params is None or account is None:
            return
        if params.account_id != account.id:
            answer = failed(NOT_HERE)
        else:
            question = (call.pairing, about(params))
            answer = await self._asking.do(question, lambda: ask(account, params))
        await self._answer(call, route, answer)

    # -- accounts -------------------------------------------------------------------------------

    async def _share_account(self, call: calls.RemoteCall) -> None:
        """Share the account, once the person agreed; then keep the subscription open."""
        from primegap.quantumlink.api import bitcoin as routes

        account, memory = await self._app.open_account()
        content = account.descriptor_hash

        async def ask() -> bool:
            screen = screens.share_account(account, _name_of(call))
            decision = await self._process.call(
                ui.Confirm(encode_screen(screen), content, opens=None), ui.Decision
            )
            kind = "account-shared" if decision.approved else "account-refused"
            facts = {"account": account.id[:16], "by": asker(call.pairing.hex())}
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
        network = account.network
        name = "bitcoin" if network is Network.MAINNET else network.value
        update = accounts.make_remote_update(
            account_id=account.id,
            network=accounts.AccountNetwork(name),
            sequence=memory.sequence,
            metadata=accounts.AccountMetadata(name=account.name),
            descriptors=(pair,),
        )
        return accounts.encode_remote_update(update)

    async def _tell_fingerprint(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        account = await self._shared_account(call)  # which seed it is, only a holder may know
        if account is not None:
            answer = routes.ActiveSeedFingerprint(
                fingerprint=account.keys[0].fingerprint, has_passphrase=False
            )
            await self._answer(call, routes.RequestPassportActiveSeedFingerprint, answer)

    # -- signing --------------------------------------------------------------------------------

    async def _sign_psbt(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        params = await self._params(call, routes.RequestSignPsbt)
        if params is None:
            return
        answer: routes.SignPsbtResponse
        try:
            account, memory = await self._app.open_account()
            if params.account_id != account.id:
                answer = routes.SignPsbtError(NOT_HERE)
            else:
                signed = await self._signed(account, memory, params.psbt, call.pairing)
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
        await self._answer(call, routes.RequestSignPsbt, answer)

    async def _signed(self, account: Account, memory: Memory, psbt: bytes, pairing: bytes) -> bytes:
        """Sign, or return what was signed before when this companion asks for the same again.

        A companion that was gone when the person had signed gets its answer so, and one that comes
        back while the question is on the screen shares it. Another one, or the same after it was
        unpaired, does not: the person is asked again.
        """
        from primegap.bitcoin.review import review_psbt

        review = review_psbt(psbt, account)
        digest = review.digest
        before = memory.recall_signed(pairing, digest)
        if before is not None:
            return before

        async def sign() -> bytes:
            signed = await self._app.sign(
                account,
                psbt,
                review,
                pairing=pairing,
                on_approved=lambda: self._asking.decided((pairing, digest)),
            )
            try:
                memory.remember_signed(pairing, digest, signed)
            except StorageError as error:
                self._process.log(f"a signature is not remembered: {error}")
            return signed

        return await self._asking.do((pairing, digest), sign)

    async def _tell_refusal(self, hint: str) -> None:
        """Show the person why a payment of the companion was refused, without waiting for them."""
        screen = screens.problem("Payment refused", hint)
        with contextlib.suppress(KeyosError):
            await self._process.call(ui.Notify(encode_screen(screen)))

    async def _sign_message(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        def ask(
            account: Account, params: routes.SignMessageParams
        ) -> Awaitable[routes.SignMessageResponse]:
            key = self._app.key_choice()
            return self._app.messages().for_companion(account, key, params, call.pairing)

        await self._ask_about(
            call, routes.RequestSignMessage, routes.SignMessageError, lambda params: params, ask
        )

    # -- limits and log -------------------------------------------------------------------------

    async def _set_policy(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        def ask(
            account: Account, params: routes.SetPolicyParams
        ) -> Awaitable[routes.SetPolicyResponse]:
            return self._limits.propose(account, params.policy, call.pairing, _name_of(call))

        await self._ask_about(
            call, routes.RequestSetPolicy, routes.SetPolicyError, lambda params: params.policy, ask
        )

    async def _tell_policies(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        account = await self._shared_account(call)
        if account is not None:
            answer = await self._limits.in_force(account, call.pairing)
            await self._answer(call, routes.RequestPolicies, answer)

    async def _tell_log(self, call: calls.RemoteCall) -> None:
        from primegap.quantumlink.api import bitcoin as routes

        if await self._shared_account(call) is not None:
            answer = routes.AuditLogExport(log=await self._guard.export())
            await self._answer(call, routes.RequestAuditLog, answer)


def _name_of(call: calls.RemoteCall) -> str:
    """Return what a companion is called on the screen."""
    return call.peer.hex()[:8].upper()
