"""The companion: state, link and wallets together, and the course of a payment.

A payment goes through stages that are stored as it reaches them: composed, signed, broadcast. A
companion that is killed in between goes on from the stored stage; asking the device twice for the
same payment is harmless, because the device remembers what it signed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.accounts import Account
from primegap.bitcoin.errors import BitcoinError
from primegap.bitcoin.networks import Network
from primegap.bitcoin.policy import Policy
from primegap.companion.errors import (
    AlreadyPairedError,
    DeviceFailedError,
    NoAccountError,
    NoAdapterError,
    NotPairedError,
    NotSignedError,
    PairingCodeError,
    PaymentError,
    SignedElsewhereError,
    TraceFileError,
)
from primegap.companion.state import CompanionState, Payment, StoredAccount
from primegap.quantumlink import PairingLink
from primegap.quantumlink.errors import QuantumLinkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from primegap.airgap import UrEncoder
    from primegap.bitcoin.accounts import AccountKey
    from primegap.bitcoin.message_requests import SignedMessage
    from primegap.bitcoin.review_values import Review
    from primegap.companion.device_link import DeviceLink
    from primegap.companion.state import PairedDevice
    from primegap.companion.wallet import (
        AccountWallet,
        Balance,
        HistoryEntry,
        ReceiveAddress,
    )
    from primegap.linktrace import TraceFile

COMPOSED: Final = "composed"
SIGNED: Final = "signed"
BROADCAST: Final = "broadcast"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus:
    """Limits that hold, and how far they are used up."""

    policy: Policy
    spent: int
    "Satoshis of the window."
    session_left_s: int
    "Seconds for which the device signs without asking; 0 outside a session."
    session_left: int
    "Satoshis that are left in the session."


class Companion:
    """One companion on one data directory."""

    def __init__(
        self,
        folder: Path,
        *,
        network: str,
        electrum_url: str | None,
        transport: str | Callable[[], str] | None,
        link_trace: Path | None = None,
    ) -> None:
        """Open the data directory. `electrum_url` and `transport` are needed by what uses them.

        Args:
            folder: data directory.
            network: `regtest`, `signet`, `testnet4` or `mainnet`.
            electrum_url: Electrum server, as `tcp://host:port` or `ssl://host:port`.
            transport: Bluetooth adapter, or a function that finds it each time it is needed.
            link_trace: file to write public facts of the link to, replaced when a link comes up.
        """
        self.state = CompanionState(folder)
        self.network = Network(network)
        self.electrum_url = electrum_url
        self._transport = transport
        self._link: DeviceLink | None = None
        self._link_trace = link_trace
        self._trace: TraceFile | None = None
        self._link_lock = asyncio.Lock()
        self.on_link_change: Callable[[], None] = lambda: None
        "Called when the link comes up, goes down, or the device was forgotten."
        self.on_trace_end: Callable[[str], None] = lambda _reason: None
        "Called when the trace of the link ends early, with the reason in words."
        self._wallets: dict[str, AccountWallet] = {}
        self._wallet_lock = asyncio.Lock()
        self._sync_lock = asyncio.Lock()

    async def close(self) -> None:
        """Close the link and release the data directory."""
        async with self._link_lock:
            await self._close_link()
        if self._trace is not None:
            self._trace.close()
        self._wallets.clear()
        self.state.close()

    # -- device ---------------------------------------------------------------------------------

    async def link(self) -> DeviceLink:
        """Return the link, brought up at the first use and after a device was forgotten."""
        async with self._link_lock:
            if self._link is not None and self._link.ended:
                await self._close_link()
            if self._link is None:
                from primegap.companion.device_link import DeviceLink

                link = DeviceLink(self.state, self._adapter, trace=self._open_trace())
                await link.start()
                link.on_change = self._link_changed
                self._link = link
            return self._link

    def _open_trace(self) -> TraceFile | None:
        """Return the trace, opened at the first use and shared by all links of this companion."""
        if self._trace is None and self._link_trace is not None:
            from primegap.linktrace import TraceFile

            try:
                self._trace = TraceFile(
                    self._link_trace,
                    side="companion",
                    on_end=self.on_trace_end,
                )
            except OSError as error:
                reason = error.strerror or "it cannot be written"
                raise TraceFileError(f"cannot write {self._link_trace}: {reason}") from error
        return self._trace

    async def _close_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _link_changed(self) -> None:
        self.on_link_change()

    def _adapter(self) -> str:
        if self._transport is None:
            raise NoAdapterError("no Bluetooth adapter is configured")
        return self._transport if isinstance(self._transport, str) else self._transport()

    @property
    def device(self) -> PairedDevice | None:
        """The paired device."""
        return self.state.device()

    @property
    def connected(self) -> bool:
        """Whether a session with the device is up."""
        return self._link is not None and self._link.connected

    @property
    def fingerprint(self) -> str:
        """Short fingerprint of the session; empty without one."""
        return "" if self._link is None else self._link.fingerprint

    def read_pairing_code(self, code: str) -> PairingLink:
        """Check the text of a pairing code before anything is done with it.

        Raises:
            AlreadyPairedError: a device is paired.
            PairingCodeError: the text is no pairing code.
        """
        if self.state.device() is not None:
            raise AlreadyPairedError("a device is paired")
        try:
            return PairingLink.parse_untrusted(code.strip())
        except QuantumLinkError as error:
            raise PairingCodeError("this is not a pairing code") from error

    async def pair(self, code: str, on_fingerprint: Callable[[str], None]) -> PairedDevice:
        """Pair with the device that shows this code (the text of its QR code)."""
        link = self.read_pairing_code(code)
        return await (await self.link()).pair(link, on_fingerprint)

    async def unpair(self) -> None:
        """Forget the device."""
        self._need_device()
        await (await self.link()).unpair()
        async with self._link_lock:
            await self._close_link()

    def _need_device(self) -> PairedDevice:
        device = self.state.device()
        if device is None:
            raise NotPairedError("no device is paired")
        return device

    async def _connected_link(self) -> DeviceLink:
        self._need_device()
        link = await self.link()
        await link.wait_connected()
        return link

    # -- accounts -------------------------------------------------------------------------------

    async def fetch_account(self) -> StoredAccount:
        """Ask the device to share its account, check it, and store it."""
        from primegap.quantumlink.api.accounts import parse_remote_update_untrusted

        event = await (await self._connected_link()).request_account()
        try:
            update = parse_remote_update_untrusted(event.update)
            pair = update.descriptors[0]
            account = Account.parse_untrusted(
                pair.external, pair.internal, self.network, name=update.metadata.name
            )
        except (QuantumLinkError, BitcoinError, IndexError) as error:
            raise PaymentError(
                "the device shared an account that does not hold together"
            ) from error
        if account.id != event.account_id or account.id != update.account_id:
            raise PaymentError("the device shared an account under another id")
        stored = StoredAccount(
            id=account.id,
            name=account.name,
            network=account.network.value,
            sequence=update.sequence,
            external=account.external,
            internal=account.internal,
        )
        self.state.put_account(stored)
        return stored

    def accounts(self) -> list[StoredAccount]:
        """Return the known accounts of this network."""
        return [a for a in self.state.accounts() if a.network == self.network.value]

    def account(self) -> StoredAccount:
        """Return the account in use."""
        accounts = self.accounts()
        if not accounts:
            raise NoAccountError("no account is known")
        return accounts[0]

    def account_key(self) -> AccountKey | None:
        """Return the public key of the account in use, with its origin; None without an account."""
        accounts = self.accounts()
        return self._parse(accounts[0]).keys[0] if accounts else None

    def _parse(self, stored: StoredAccount) -> Account:
        return Account.parse_untrusted(
            stored.external, stored.internal, self.network, name=stored.name
        )

    async def _wallet(self) -> AccountWallet:
        from primegap.companion.wallet import AccountWallet

        stored = self.account()
        wallet = self._wallets.get(stored.id)
        if wallet is None:
            account = self._parse(stored)
            wallet = await asyncio.to_thread(AccountWallet, account, self.state.wallets)
            self._wallets[stored.id] = wallet
        return wallet

    def _electrum(self) -> str:
        if self.electrum_url is None:
            from primegap.companion.errors import ServerError

            raise ServerError("no Electrum server is configured")
        return self.electrum_url

    async def sync(self) -> None:
        """Fetch what is new on the chain. The wallet can be used meanwhile."""
        url = self._electrum()
        async with self._sync_lock:
            async with self._wallet_lock:
                wallet = await self._wallet()
            news = await asyncio.to_thread(wallet.fetch, url)
            async with self._wallet_lock:
                await asyncio.to_thread(wallet.apply, news)

    async def height(self) -> int:
        """Return the height of the newest block as of the last sync, 0 before the first."""
        async with self._wallet_lock:
            wallet = await self._wallet()
            return await asyncio.to_thread(wallet.height)

    async def balance(self) -> Balance:
        """Return the balance as of the last sync."""
        async with self._wallet_lock:
            wallet = await self._wallet()
            return await asyncio.to_thread(wallet.balance)

    async def history(self) -> list[HistoryEntry]:
        """Return the account's transactions as of the last sync, newest first."""
        async with self._wallet_lock:
            wallet = await self._wallet()
            return await asyncio.to_thread(wallet.history)

    async def receive_address(self) -> ReceiveAddress:
        """Return the next unused address."""
        async with self._wallet_lock:
            wallet = await self._wallet()
            return await asyncio.to_thread(wallet.receive_address)

    # -- payments -------------------------------------------------------------------------------

    async def estimate_fee_rate(self) -> int:
        """Return a fee rate in sat/vB."""
        from primegap.companion.wallet import estimate_fee_rate

        return await asyncio.to_thread(estimate_fee_rate, self._electrum())

    async def compose(self, address: str, amount: int, fee_rate: int | None = None) -> Payment:
        """Compose a payment and store it.

        The same payment composed again from the same coins is the stored one, at its stage. One
        that is signed and was not noted as broadcast is gone on with whatever coins there are now:
        it may be on its way already, and must not be paid twice.
        """
        for payment in self.unfinished():
            if payment.stage == SIGNED and (payment.address, payment.amount) == (address, amount):
                return payment
        rate = fee_rate if fee_rate is not None else await self.estimate_fee_rate()
        async with self._wallet_lock:
            wallet = await self._wallet()
            draft = await asyncio.to_thread(wallet.compose, address, amount, rate)
        known = self.state.payment(draft.txid)
        if known is not None:
            return known
        payment = Payment(
            txid=draft.txid,
            account=wallet.account.id,
            address=address,
            amount=amount,
            fee=draft.fee,
            fee_rate=rate,
            psbt=draft.psbt.hex(),
            created_s=int(time.time()),
        )
        self.state.put_payment(payment)
        return payment

    async def sign_over_link(self, payment: Payment) -> Payment:
        """Have the device sign a payment over the link. Safe to repeat."""
        link = await self._connected_link()
        signed = await link.request_signature(payment.account, bytes.fromhex(payment.psbt))
        return self.accept_signed(payment, signed)

    def accept_signed(self, payment: Payment, signed: bytes) -> Payment:
        """Take a signed PSBT that came back, by whatever way, and store it.

        Raises:
            SignedElsewhereError: it is not this payment, or a signature does not hold.
            NotSignedError: signatures are missing; the payment stays as it was.
        """
        from primegap.bitcoin.errors import IncompleteError
        from primegap.bitcoin.finish import finalise, merge_signed

        try:
            merged = merge_signed(bytes.fromhex(payment.psbt), signed)
            finalise(merged)
        except IncompleteError as error:
            raise NotSignedError("signatures are missing") from error
        except BitcoinError as error:
            raise SignedElsewhereError("the signed transaction does not fit the payment") from error
        updated = dataclasses.replace(payment, signed=merged.hex(), stage=SIGNED)
        self.state.put_payment(updated)
        return updated

    async def broadcast(self, payment: Payment) -> Payment:
        """Finalise and broadcast a signed payment. Safe to repeat.

        Raises:
            ServerError: the server does not answer; the payment can be broadcast later.
            BroadcastRefusedError: the network refused it.
        """
        from primegap.bitcoin.finish import finalise

        url = self._electrum()
        try:
            finished = finalise(bytes.fromhex(payment.signed))
        except BitcoinError as error:
            raise SignedElsewhereError("the signed transaction cannot be finished") from error
        async with self._wallet_lock:
            wallet = await self._wallet()
        await asyncio.to_thread(wallet.broadcast, finished.raw, url)
        async with self._wallet_lock:
            await asyncio.to_thread(wallet.note_broadcast, finished.raw)
        updated = dataclasses.replace(payment, stage=BROADCAST)
        self.state.put_payment(updated)
        return updated

    def give_up(self, payment: Payment) -> None:
        """Forget a payment that was not broadcast."""
        if payment.stage != BROADCAST:
            self.state.drop_payment(payment.txid)

    def payments(self) -> list[Payment]:
        """Return the payments of the known accounts of this network, newest first."""
        accounts = {account.id for account in self.accounts()}
        return [payment for payment in self.state.payments() if payment.account in accounts]

    def unfinished(self) -> list[Payment]:
        """Return payments that were begun and not broadcast, newest first."""
        return [payment for payment in self.payments() if payment.stage != BROADCAST]

    def review(self, payment: Payment) -> Review:
        """Review a payment as the device does: amounts, change and warnings from its own bytes.

        Raises:
            PaymentError: the stored payment does not hold together.
        """
        from primegap.bitcoin.review import review_psbt

        stored = next((item for item in self.accounts() if item.id == payment.account), None)
        if stored is None:
            raise PaymentError("the payment is of another account")
        try:
            return review_psbt(bytes.fromhex(payment.psbt), self._parse(stored))
        except BitcoinError as error:
            raise PaymentError("the stored payment does not hold together") from error

    # -- messages -------------------------------------------------------------------------------

    async def sign_message(self, address: str, message: bytes, form: str = "") -> SignedMessage:
        """Have the device sign a message with an address of the account; verify the signature.

        Args:
            address: of the account.
            message: at most 480 bytes.
            form: `bip137`, `bip322-simple`, `bip322-full`, or empty for the usual one.

        Raises:
            SignedElsewhereError: the signature that came back does not verify.
        """
        from primegap.bitcoin.message_requests import SignedMessage
        from primegap.bitcoin.messages import verify_message

        link = await self._connected_link()
        signature = await link.request_message_signature(self.account().id, address, message, form)
        try:
            verify_message(message, address, signature, self.network)
        except BitcoinError as error:
            raise SignedElsewhereError("the signature does not verify") from error
        return SignedMessage(message, address, signature)

    # -- limits and log -------------------------------------------------------------------------

    async def propose_policy(self, policy: Policy) -> None:
        """Propose limits for this companion's payments; return when the person has set them."""
        account = self.account()
        await (await self._connected_link()).propose_policy(account.id, policy.encode())

    async def policies(self) -> list[PolicyStatus]:
        """Return the limits that hold, as the device tells."""
        found = await (await self._connected_link()).request_policies()
        try:
            return [
                PolicyStatus(
                    policy=Policy.parse_untrusted(item.policy),
                    spent=item.spent,
                    session_left_s=item.session_left_s,
                    session_left=item.session_left,
                )
                for item in found
            ]
        except BitcoinError as error:
            raise DeviceFailedError("the device told of limits that make no sense") from error

    async def fetch_audit_log(self) -> bytes:
        """Return the device's audit log, verified, and going on from the one fetched before.

        The newest one is kept in the data directory: it is what the next one is held against.

        Raises:
            AuditLogError: it does not hold, is of another device, or entries were taken away.
        """
        from primegap.bitcoin.audit import check_extends, verify_untrusted
        from primegap.files import read_file, write_file

        data = await (await self._connected_link()).request_audit_log()
        verified = verify_untrusted(data)
        kept = self.state.audit_log
        before = read_file(kept)
        if before is not None:
            check_extends(verify_untrusted(before), verified)
        write_file(kept, data)
        return data

    # -- air gap --------------------------------------------------------------------------------

    def payment_encoder(
        self, payment: Payment, max_fragment_bytes: int, *, first: int = 1
    ) -> UrEncoder:
        """Return the writer of the endless animated QR code of a payment.

        Args:
            payment: the payment to sign.
            max_fragment_bytes: see `primegap.airgap.DENSITIES`.
            first: number of the frame to begin with, 1 to 2^32 - 1.
        """
        from primegap.airgap import UrEncoder, psbt_to_ur

        ur = psbt_to_ur(bytes.fromhex(payment.psbt))
        return UrEncoder(ur.ur_type, ur.cbor, max_fragment_bytes, first_seq_num=first)

    def payment_frames(self, payment: Payment, max_fragment_bytes: int) -> Callable[[], str]:
        """Return a function that gives the texts of an endless animated QR code of the PSBT."""
        return self.payment_encoder(payment, max_fragment_bytes).next_part
