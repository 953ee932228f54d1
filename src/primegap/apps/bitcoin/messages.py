"""Signing messages: what the person scans or keeps on the card, and what the companion asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.apps.bitcoin import screens_messages as screens
from primegap.apps.bitcoin.guard import asker
from primegap.apps.bitcoin.screens import saved
from primegap.bitcoin.accounts import AddressMatch, Keychain
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.psbt_fields import HARDENED
from primegap.keyos.api import airlock, ui
from primegap.keyos.card import read_from_card
from primegap.keyos.ui.canonical import encode_screen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from primegap.apps.bitcoin.guard import Guard
    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.message_requests import MessageRequest, SignedMessage
    from primegap.bitcoin.messages import MessageForm, MessageReview
    from primegap.keyos.api import security
    from primegap.keyos.client import AppScreen
    from primegap.keyos.process import Process
    from primegap.quantumlink.api import bitcoin as routes

REQUEST_FILE: Final = "message.txt"
ANSWER_FILE: Final = "message-signed.txt"
_LOGGED_TEXT: Final = 100


class Messages:
    """Review, show, sign: as with payments."""

    def __init__(
        self,
        process: Process,
        screen: AppScreen,
        guard: Guard,
        sign: Callable[[MessageReview, bytes], Awaitable[str]],
    ) -> None:
        """Take how to sign a review with the number of its confirmation."""
        self._process = process
        self._screen = screen
        self._guard = guard
        self._sign = sign

    # -- the person -----------------------------------------------------------------------------

    async def open(self, account: Account, key: security.KeyChoice) -> None:
        """Ask where the message comes from, sign it, and show the answer the same way.

        Raises:
            BitcoinError: it is no request, or cannot be signed.
        """
        from primegap.bitcoin.message_requests import parse_code_untrusted, parse_file_untrusted

        match await self._screen.present(screens.sources(REQUEST_FILE)):
            case screens.SCAN:
                text = await self._screen.scan(screens.scanning())
                if text is None:
                    return
                signed = await self._ask(account, key, parse_code_untrusted(text), None, b"")
                if signed is not None:
                    await self._screen.present(screens.signature(signed))
            case screens.CARD:
                request = parse_file_untrusted(await read_from_card(self._process, REQUEST_FILE))
                signed = await self._ask(account, key, request, None, b"")
                if signed is not None:
                    data = signed.armoured().encode()
                    await self._process.call(airlock.WriteCardFile(ANSWER_FILE, data))
                    await self._screen.present(saved([ANSWER_FILE]))

    # -- the companion --------------------------------------------------------------------------

    async def for_companion(
        self,
        account: Account,
        key: security.KeyChoice,
        params: routes.SignMessageParams,
        pairing: bytes,
    ) -> routes.SignMessageResponse:
        """Ask the person about a message of a companion."""
        from primegap.bitcoin.message_requests import MessageRequest
        from primegap.bitcoin.messages import MessageForm, MessageFormError
        from primegap.quantumlink.api import bitcoin as routes

        try:
            try:
                form = MessageForm(params.form) if params.form else None
            except ValueError:
                raise MessageFormError("an unknown form") from None
            place = account.find_address(params.address)
            if place is None:
                return routes.SignMessageError("This address is not of this account.")
            request = MessageRequest(params.message, _path(account, place))
            signed = await self._ask(account, key, request, form, pairing)
        except BitcoinError as error:
            return routes.SignMessageError(error.hint)
        if signed is None:
            return routes.SignMessageRejected()
        return routes.SignMessageSigned(signed.signature)

    async def _ask(
        self,
        account: Account,
        key: security.KeyChoice,
        request: MessageRequest,
        form: MessageForm | None,
        pairing: bytes,
    ) -> SignedMessage | None:
        from primegap.bitcoin.message_requests import SignedMessage
        from primegap.bitcoin.messages import review_message

        place = _place(account, request.path)
        review = review_message(request.message, account, place, form)
        screen = encode_screen(screens.review_message(review, account))
        decision = await self._process.call(
            ui.Confirm(screen, review.digest, opens=key), ui.Decision
        )
        kind = "message-confirmed" if decision.approved else "message-refused"
        facts = {
            "address": review.address,
            "digest": review.digest.hex(),
            "by": asker(pairing.hex()),
        }
        if review.text is not None:
            facts["text"] = review.text[:_LOGGED_TEXT]
        await self._guard.note(kind, facts)
        if not decision.approved:
            return None
        signature = await self._sign(review, decision.confirmation)
        return SignedMessage(review.message, review.address, signature)


def _path(account: Account, place: AddressMatch) -> tuple[int, ...]:
    return (*account.own_key.steps, int(place.keychain), place.index)


def _place(account: Account, path: tuple[int, ...] | None) -> AddressMatch:
    """Return where in the account a path leads; its first address without one."""
    from primegap.bitcoin.messages import MessageFormError

    if path is None:
        return AddressMatch(Keychain.EXTERNAL, 0)
    *origin, chain, index = (0, 0, *path)[-max(2, len(path)) :]
    if tuple(origin) != account.own_key.steps or chain not in (0, 1) or index >= HARDENED:
        raise MessageFormError("the path of another account")
    return AddressMatch(Keychain(chain), index)
