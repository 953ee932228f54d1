"""What goes on behind the companion's page: link, sync, pairing, payments under way.

One desk serves all open pages. It runs what takes time as tasks, keeps what came of them, and tells
the pages when something changed. Everything that must survive a restart is stored by the companion
itself; the desk holds only what may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

from primegap.airgap import AirgapError
from primegap.bitcoin.errors import BitcoinError
from primegap.companion.companion import BROADCAST, COMPOSED, SIGNED
from primegap.companion.errors import (
    BroadcastRefusedError,
    CompanionError,
    DeviceNotFoundError,
    LinkLostError,
    NoAccountError,
    PaymentError,
    ServerError,
)
from primegap.files import StorageError
from primegap.quantumlink.errors import QuantumLinkError
from primegap.radio.errors import RadioError
from primegap.web.companion_scan import Scanner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from primegap.companion.companion import Companion
    from primegap.companion.state import Payment
    from primegap.companion.wallet import Balance, HistoryEntry, ReceiveAddress
    from primegap.web.companion_scan import Scan

_log: Final = logging.getLogger(__name__)

LINK_PERIOD_S: Final = 2.0
SYNC_PERIOD_S: Final = 3.0  # of a private chain
PUBLIC_SYNC_PERIOD_S: Final = 20.0
MAX_SYNC_DELAY_S: Final = 30.0  # between attempts while the server is down
FEE_PERIOD_S: Final = 60.0
RETRY_S: Final = 1.0
INTERNAL: Final = "The companion met a fault of its own; its log tells more."


OurError = (
    CompanionError | AirgapError | BitcoinError | QuantumLinkError | RadioError | StorageError
)
OUR_ERRORS: Final = get_args(OurError)
"Every error that the companion raises on purpose; each has a code and a hint."


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done, for a person."""

    code: str
    hint: str
    detail: str = ""
    "What exactly happened; empty when the hint says it all."


def problem_of(error: OurError) -> Problem:
    """Return what to tell the person about an error."""
    return Problem(error.code, error.hint, str(error))


class Step(enum.StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    "For the device to be found or to connect."
    DEVICE = "device"
    "The person decides on the device."
    SENDING = "sending"
    "To the network."
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """Something under way, or how it ended."""

    step: Step = Step.WAITING
    problem: Problem | None = None
    "Why it failed, or why it has to wait."
    fingerprint: str = ""
    "Pairing: what both screens must show."
    name: str = ""
    "Pairing: how the device calls itself."
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.step not in (Step.DONE, Step.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletView:
    """The account as of the last look."""

    account: str
    balance: Balance
    history: tuple[HistoryEntry, ...]
    height: int
    address: ReceiveAddress

    def find(self, txid: str) -> HistoryEntry | None:
        """Return one transaction."""
        return next((entry for entry in self.history if entry.txid == txid), None)


class CompanionDesk:
    """The work behind the pages of one companion."""

    def __init__(self, companion: Companion) -> None:
        self.companion = companion
        self.wallet: WalletView | None = None
        self.fee_rate: int | None = None
        "Estimate in sat/vB; None before the server gave one."
        self.synced = False
        "Whether the last sync succeeded."
        self.sync_problem: Problem | None = None
        self.link_problem: Problem | None = None
        self.pairing: Job | None = None
        self.sharing: Job | None = None
        self.jobs: dict[str, Job] = {}
        "Payments under way, by transaction id."
        self.news = asyncio.Event()
        "Set once when something changes; take it anew before looking."
        self._sync_now = asyncio.Event()
        self._fee_asked_s = float("-inf")
        self._scanners: dict[str, Scanner] = {}

    # -- life -----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep link and wallet up to date for as long as the block lasts."""
        self.companion.on_link_change = self.changed
        keeping = [
            asyncio.create_task(self._keep_link()),
            asyncio.create_task(self._keep_synced()),
        ]
        for task in keeping:
            task.add_done_callback(_report)
        try:
            yield
        finally:
            jobs = (self.pairing, self.sharing, *self.jobs.values())
            tasks = [*keeping, *(job.task for job in jobs if job is not None and job.task)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def changed(self) -> None:
        """Wake the pages that are open."""
        self.news.set()
        self.news = asyncio.Event()

    def _start(self, job: Job, work: Coroutine[None, None, None]) -> None:
        job.task = asyncio.create_task(self._run(job, work))
        job.task.add_done_callback(_report)
        self.changed()

    async def _run(self, job: Job, work: Coroutine[None, None, None]) -> None:
        """Run a job to its end and note what came of it."""
        failed = Problem("internal", INTERNAL)
        try:
            await work
            job.step, job.problem = Step.DONE, None
        except OUR_ERRORS as error:
            failed = problem_of(error)
        finally:
            if job.running:
                job.step, job.problem = Step.FAILED, failed
            self.changed()

    # -- link -----------------------------------------------------------------------------------

    async def _keep_link(self) -> None:
        """Bring the link up when a device is paired; once up it looks after itself."""
        while True:
            problem = None
            try:
                if self.companion.device is not None:
                    await self.companion.link()
            except OUR_ERRORS as error:
                problem = problem_of(error)
            if problem != self.link_problem:
                self.link_problem = problem
                self.changed()
            await asyncio.sleep(LINK_PERIOD_S)

    async def start_pairing(self, code: str) -> None:
        """Begin to pair with the device that shows this code; one that was begun gives way.

        Raises:
            AlreadyPairedError, PairingCodeError: nothing was begun.
        """
        name = self.companion.read_pairing_code(code).name or ""
        await self.cancel_pairing()
        self.pairing = job = Job(name=name)
        self._start(job, self._pair(job, code))

    async def _pair(self, job: Job, code: str) -> None:
        def compare(fingerprint: str) -> None:
            job.step, job.fingerprint = Step.DEVICE, fingerprint
            self.changed()

        await self.companion.pair(code, compare)

    async def cancel_pairing(self) -> None:
        """Stop pairing, if it goes on, and forget how it ended."""
        job, self.pairing = self.pairing, None
        await _stop(job)
        self.changed()

    async def unpair(self) -> None:
        """Forget the device."""
        await self.cancel_pairing()
        await self.cancel_sharing()
        await self.companion.unpair()
        self.changed()

    def start_sharing(self) -> None:
        """Ask the device to share its account."""
        if self.sharing is None or not self.sharing.running:
            self.sharing = job = Job()
            self._start(job, self._share(job))

    async def _share(self, job: Job) -> None:
        await (await self.companion.link()).wait_connected()
        job.step = Step.DEVICE
        self.changed()
        await self.companion.fetch_account()
        await self._look()
        self._sync_now.set()

    async def cancel_sharing(self) -> None:
        """Stop waiting for the account, and forget how it ended."""
        job, self.sharing = self.sharing, None
        await _stop(job)
        self.changed()

    # -- wallet ---------------------------------------------------------------------------------

    def sync_soon(self) -> None:
        """Sync at once instead of at the next turn."""
        self._sync_now.set()

    async def _keep_synced(self) -> None:
        public = self.companion.network.value != "regtest"
        period_s = PUBLIC_SYNC_PERIOD_S if public else SYNC_PERIOD_S
        delay_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._sync_now.wait()
            self._sync_now.clear()
            if await self._sync():
                delay_s = period_s
            else:
                delay_s = min(max(delay_s * 2, period_s), MAX_SYNC_DELAY_S)

    async def _sync(self) -> bool:
        """Look at the stored wallet, then at the chain; tell whether the server answered."""
        problem = None
        try:
            if self.wallet is None:
                await self._look()
            await self.companion.sync()
            await self._look()
            await self._ask_fee()
        except NoAccountError:
            self.wallet = None
            return True
        except OUR_ERRORS as error:
            problem = problem_of(error)
        synced = problem is None
        if (problem, synced) != (self.sync_problem, self.synced):
            self.sync_problem, self.synced = problem, synced
            self.changed()
        return synced

    async def _look(self) -> None:
        companion = self.companion
        view = WalletView(
            account=companion.account().id,
            balance=await companion.balance(),
            history=tuple(await companion.history()),
            height=await companion.height(),
            address=await companion.receive_address(),
        )
        if view != self.wallet:
            self.wallet = view
            self.changed()

    async def _ask_fee(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._fee_asked_s >= FEE_PERIOD_S:
            self._fee_asked_s = now_s
            self.fee_rate = await self.companion.estimate_fee_rate()
            self.changed()

    # -- payments -------------------------------------------------------------------------------

    def payment(self, txid: str) -> Payment | None:
        """Return a payment of this network."""
        return next((item for item in self.companion.payments() if item.txid == txid), None)

    def _need(self, txid: str, stage: str) -> Payment:
        payment = self.payment(txid)
        if payment is None or payment.stage != stage:
            raise PaymentError("the payment is not at this stage any more")
        return payment

    def sign(self, txid: str) -> None:
        """Have the device sign over the link, then broadcast; goes on when the link comes back.

        Raises:
            PaymentError: the payment is signed already, or unknown.
        """
        payment = self._need(txid, COMPOSED)
        if not self._busy(txid):
            self.jobs[txid] = job = Job()
            self._start(job, self._sign(job, payment))

    async def _sign(self, job: Job, payment: Payment) -> None:
        signed = None
        while signed is None:
            try:
                await (await self.companion.link()).wait_connected()
                self._move(job, Step.DEVICE)
                signed = await self.companion.sign_over_link(payment)
            except (DeviceNotFoundError, LinkLostError) as error:
                # Asking again is harmless: the device remembers what it signed.
                self._move(job, Step.WAITING, problem_of(error))
                await asyncio.sleep(RETRY_S)
        await self._send(job, signed)

    def send(self, txid: str) -> None:
        """Broadcast a signed payment; goes on when the server comes back.

        Raises:
            PaymentError: the payment is not signed, or broadcast already.
        """
        payment = self._need(txid, SIGNED)
        if not self._busy(txid):
            self.jobs[txid] = job = Job()
            self._start(job, self._send(job, payment))

    async def _send(self, job: Job, payment: Payment) -> None:
        self._move(job, Step.SENDING)
        sent = None
        while sent is None:
            try:
                sent = await self.companion.broadcast(payment)
            except BroadcastRefusedError:
                raise
            except ServerError as error:
                self._move(job, Step.SENDING, problem_of(error))
                await asyncio.sleep(RETRY_S)
        await self._look()
        self._sync_now.set()

    def _busy(self, txid: str) -> bool:
        job = self.jobs.get(txid)
        return job is not None and job.running

    def _move(self, job: Job, step: Step, problem: Problem | None = None) -> None:
        if (job.step, job.problem) != (step, problem):
            job.step, job.problem = step, problem
            self.changed()

    async def stop(self, txid: str) -> None:
        """Stop what goes on with a payment; its stage stays."""
        await _stop(self.jobs.pop(txid, None))
        self._scanners.pop(txid, None)
        self.changed()

    async def give_up(self, txid: str) -> None:
        """Forget a payment that was not broadcast.

        Raises:
            PaymentError: it was broadcast, or is unknown.
        """
        await self.stop(txid)
        payment = self.payment(txid)
        if payment is None or payment.stage == BROADCAST:
            raise PaymentError("the payment is not there, or was sent already")
        self.companion.give_up(payment)
        self.changed()

    async def scan_signed(self, txid: str, picture: bytes) -> Scan:
        """Look at a picture of the device's animated code; when it is complete, broadcast.

        Raises:
            PaymentError: the payment is not waiting for a signature, or what came back is not it.
        """
        self._need(txid, COMPOSED)
        # One scanner a payment, and only for the payments that exist.
        scanner = self._scanners.setdefault(txid, Scanner())
        scan = await scanner.look(picture)
        if scan.psbt is not None:
            self.companion.accept_signed(self._need(txid, COMPOSED), scan.psbt)
            await self.stop(txid)
            self.send(txid)
        self.changed()
        return scan

    def scanned(self, txid: str) -> float:
        """Return how much of the signed payment was read from pictures, 0.0 to 1.0."""
        scanner = self._scanners.get(txid)
        return 0.0 if scanner is None else scanner.fraction


def _report(task: asyncio.Task[None]) -> None:
    """Log what nobody foresaw; the page goes on without this task."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("a task of the companion's page failed", exc_info=error)


async def _stop(job: Job | None) -> None:
    if job is not None and job.task is not None:
        job.task.cancel()
        await asyncio.gather(job.task, return_exceptions=True)
