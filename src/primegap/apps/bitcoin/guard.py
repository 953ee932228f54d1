"""The guard in front of the signer: policies, what was spent, and the log, as one record.

The record is one sealed file. Each change is numbered, stored, and anchored at `os/security` before
anything that it accounts for happens: a payment counts as spent before its key is asked for, so a
kill at any instruction can only count too much. A file that is not the newest one was put back by
somebody: then nothing is signed until the person renews the record on the screen.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from primegap.bitcoin.audit import AuditKey, AuditLog
from primegap.bitcoin.policy import (
    Policies,
    Policy,
    PolicyError,
    Session,
    SetPolicy,
    Spend,
    Spending,
    Verdict,
    decide,
    spent_in_window,
    use_session,
)
from primegap.files import StorageError
from primegap.keyos.api import security
from primegap.keyos.client import KeyosError, RequestError, SealedFile, Status, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from primegap.bitcoin.audit import Value
    from primegap.bitcoin.policy import Payment
    from primegap.keyos.process import Process

T = TypeVar("T")

FORMAT: Final = 1
MAX_BLOCKED_IN_A_ROW: Final = 16  # noted within an hour; more would push everything else out
BLOCKED: Final = "payment-blocked"
_HOUR_S: Final = 3600
_LOGGED_ADDRESSES: Final = 4
_PAIRING_DIGITS: Final = 16


class RecordPutBackError(KeyosError):
    """The record of policies and payments is not the newest one; nothing is signed."""

    code = "record-put-back"
    hint = (
        "The device’s record of limits and payments was removed or put back to an earlier state. "
        "Nothing is signed until you renew it: open Bitcoin, Limits and log."
    )


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that the guard keeps."""

    number: int = 0
    policies: Policies = field(default_factory=Policies)
    spending: Spending = field(default_factory=Spending)
    log: AuditLog = field(default_factory=AuditLog)

    def encode(self, life: bytes, previous: bytes) -> bytes:
        """Return the content of the file."""
        spending, log = self.spending, self.log
        content = {
            "format": FORMAT,
            "life": life.hex(),
            "number": self.number,
            "previous": previous.hex(),
            "policies": [
                [item.account_id, item.pairing, item.policy.encode().decode()]
                for item in self.policies.items
            ],
            "clock": spending.clock_s,
            "spends": [
                [s.time_s, s.account_id, s.pairing, s.amount, s.txid] for s in spending.spends
            ],
            "seen": [list(pair) for pair in spending.seen],
            "log": {
                "entries": [line.decode() for line in log.entries],
                "first": log.first,
                "before": log.before.hex(),
                "head": log.head.hex(),
                "time": log.time_s,
            },
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> tuple[Self, bytes, bytes]:
        """Return record, life and hash of the record before.

        Raises:
            UnreadableError: it makes no sense.
        """
        try:
            stored: dict[str, Any] = json.loads(data)
            if stored["format"] != FORMAT:
                raise UnreadableError("the record is of another version")
            log = stored["log"]
            record = cls(
                number=int(stored["number"]),
                policies=Policies(
                    tuple(
                        SetPolicy(account, pairing, Policy.parse_untrusted(text.encode()))
                        for account, pairing, text in stored["policies"]
                    )
                ),
                spending=Spending(
                    clock_s=int(stored["clock"]),
                    spends=tuple(Spend(*row) for row in stored["spends"]),
                    seen=tuple((address, time_s) for address, time_s in stored["seen"]),
                ),
                log=AuditLog(
                    entries=tuple(line.encode() for line in log["entries"]),
                    first=int(log["first"]),
                    before=bytes.fromhex(log["before"]),
                    head=bytes.fromhex(log["head"]),
                    time_s=int(log["time"]),
                ),
            )
            return record, bytes.fromhex(stored["life"]), bytes.fromhex(stored["previous"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableError("the record is damaged") from error


class Guard:
    """Decides, keeps account, and remembers what was decided."""

    def __init__(
        self,
        process: Process,
        app_seed: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._process = process
        self._file = SealedFile(process.data, "record", app_seed)
        self._key = AuditKey(app_seed)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._steps: set[asyncio.Task[Any]] = set()
        self._record: Record | None = None
        self._life = b""
        self._digest = b""
        self._session: Session | None = None
        self._confirmation = b""
        self._unlogged = 0

    # -- what is in force -----------------------------------------------------------------------

    @property
    def key(self) -> bytes:
        """Public key of the log."""
        return self._key.public

    async def read(self) -> Record:
        """Return the record.

        Raises:
            RecordPutBackError: it is not the newest one.
            KeyosError: it cannot be read now.
        """
        return await self._whole(self._need())

    def session(self) -> Session | None:
        """Return the session that runs."""
        session = self._session
        if session is not None and asyncio.get_running_loop().time() >= session.ends_s:
            self._session = session = None
        return session

    def spent(self, record: Record, item: SetPolicy) -> int:
        """Return how much of a policy's window is used up now, in satoshis."""
        return spent_in_window(item, record.spending.at(self._now_s()))

    async def export(self) -> bytes:
        """Return the signed log."""
        record = await self.read()
        return self._key.export(record.log, now_s=self._now_s())

    # -- payments -------------------------------------------------------------------------------

    async def judge(self, payment: Payment) -> Verdict:
        """Decide about a payment; one that needs no person is counted as spent already.

        Raises:
            PolicyError: it is not allowed; that is noted.
            RecordPutBackError: nothing is.
        """
        return await self._whole(self._judge(payment, asked=False))

    async def confirmed(self, payment: Payment) -> None:
        """Count a payment that the person confirmed as spent, if it is still allowed.

        Raises:
            PolicyError: another payment has used up the limit meanwhile.
        """
        await self._whole(self._judge(payment, asked=True))

    async def _judge(self, payment: Payment, *, asked: bool) -> Verdict:
        record = await self._need()
        spending = record.spending.at(self._now_s()).noting(payment.addresses)
        record = replace(record, spending=spending)
        try:
            verdict = decide(
                payment,
                record.policies,
                spending,
                session=None if asked else self.session(),
                now_s=asyncio.get_running_loop().time(),
            )
        except PolicyError as error:
            await self._note_blocked(record, payment, error.reason)
            raise
        if asked or verdict is Verdict.UNATTENDED:
            kind = "payment-confirmed" if asked else "payment-unattended"
            record = replace(record, spending=spending.adding(payment))
            await self._commit(self._noting(record, kind, facts_of(payment)))
            if not asked and self._session is not None:
                self._session = use_session(self._session, payment)
        else:
            self._record = record  # with the addresses noted; stored with what comes next
        return verdict

    async def refused(self, payment: Payment) -> None:
        """Note that the person said no."""
        await self.note("payment-refused", facts_of(payment))

    async def _note_blocked(self, record: Record, payment: Payment, reason: str) -> None:
        recent = record.log.read(MAX_BLOCKED_IN_A_ROW)
        if (
            len(recent) == MAX_BLOCKED_IN_A_ROW
            and all(entry.kind == BLOCKED for entry in recent)
            and recent[0].time_s > record.spending.clock_s - _HOUR_S
        ):
            self._unlogged += 1
            self._record = record
            return
        facts = {**facts_of(payment), "reason": reason}
        if self._unlogged:
            facts["unlogged"] = self._unlogged
        await self._commit(self._noting(record, BLOCKED, facts))
        self._unlogged = 0

    # -- everything else that is noted ----------------------------------------------------------

    async def note(self, kind: str, facts: Mapping[str, Value]) -> None:
        """Note what happened, before anything follows from it."""

        async def step() -> None:
            await self._commit(self._noting(await self._need(), kind, facts))

        await self._whole(step())

    async def set_policy(self, item: SetPolicy) -> None:
        """Put a policy in force that the person confirmed; a session of the old one is over."""

        async def step() -> None:
            record = await self._need()
            record = replace(record, policies=record.policies.setting(item))
            await self._commit(self._noting(record, "policy-set", facts_of_policy(item)))

        await self._whole(step())

    async def remove_policy(self, item: SetPolicy) -> None:
        """Take a policy out of force, as the person confirmed."""

        async def step() -> None:
            record = await self._need()
            record = replace(record, policies=record.policies.removing(item))
            await self._commit(self._noting(record, "policy-removed", facts_of_policy(item)))

        await self._whole(step())

    async def begin_session(self, item: SetPolicy, confirmation: bytes) -> None:
        """Begin a session that the person confirmed."""
        quick = item.policy.unattended
        assert quick is not None
        await self.note("session-begun", facts_of_policy(item))
        ends_s = asyncio.get_running_loop().time() + quick.session_s
        self._session = Session(item, ends_s, quick.max_total)
        self._confirmation = confirmation

    @property
    def opening(self) -> tuple[bytes, bytes]:
        """Number and content of the confirmation that keeps the key open for the session."""
        session = self._session
        return self._confirmation, b"" if session is None else session.policy.policy.digest

    async def end_session(self) -> None:
        """End the session that runs."""
        session, self._session = self._session, None
        if session is not None:
            try:
                await self._process.call(security.EndSession(self._confirmation))
            finally:
                await self.note("session-ended", facts_of_policy(session.policy))

    async def renew(self) -> None:
        """Begin a new record, as the person confirmed, when the old one cannot be trusted."""
        await self._whole(self._renew())

    async def _renew(self) -> None:
        anchor = await self._anchor()
        if anchor is None:  # what was kept of it is lost: begin it anew, with another life
            await self._process.call(security.SetAnchor(1, bytes(32)))
            anchor = await self._process.call(security.GetAnchor(), security.StateAnchor)
        self._life, self._digest = anchor.life, anchor.digest
        record = Record(anchor.number)
        await self._commit(self._noting(record, "record-renewed", {"at": anchor.number}))

    # -- inside ---------------------------------------------------------------------------------

    async def _whole(self, step: Coroutine[Any, Any, T]) -> T:
        """Do a step to its end, one after another, even if whoever wants it goes away."""

        async def in_turn() -> T:
            async with self._turn:
                return await step

        task = asyncio.get_running_loop().create_task(in_turn())
        self._steps.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._steps.discard(task)
        if not task.cancelled():
            task.exception()  # whoever wanted it may be gone

    def _now_s(self) -> int:
        return max(0, int(self._clock()))

    def _noting(self, record: Record, kind: str, facts: Mapping[str, Value]) -> Record:
        spending = record.spending.at(self._now_s())
        log = record.log.adding(kind, facts, now_s=spending.clock_s)
        return replace(record, spending=spending, log=log)

    async def _anchor(self) -> security.StateAnchor | None:
        """Return the anchor, None when it was lost or altered."""
        try:
            return await self._process.call(security.GetAnchor(), security.StateAnchor)
        except RequestError as error:
            if error.status is not Status.FAILED:
                raise
            return None

    async def _need(self) -> Record:
        if self._record is None:
            self._record = await self._load()
        return self._record

    async def _load(self) -> Record:
        anchor = await self._anchor()
        if anchor is None:
            raise RecordPutBackError("the anchor is lost")
        self._life = anchor.life
        try:
            data = await asyncio.to_thread(self._file.read)
            record, life, previous = (Record(), b"", b"") if data is None else Record.decode(data)
        except UnreadableError as error:
            data, record, life, previous = None, Record(), b"", b""
            self._process.log(str(error))
        if data is None or life != anchor.life:  # of an earlier set-up, or none
            if anchor.number:
                raise RecordPutBackError("the record is gone")
            self._digest = anchor.digest
            return Record()
        digest = hashlib.sha256(data).digest()
        if record.number == anchor.number + 1 and previous == anchor.digest:
            await self._process.call(security.SetAnchor(record.number, digest))  # it was cut off
        elif (record.number, digest) != (anchor.number, anchor.digest):
            raise RecordPutBackError("an older record was put back")
        self._digest = digest
        return record

    async def _commit(self, record: Record) -> None:
        record = replace(record, number=record.number + 1)
        data = record.encode(self._life, self._digest)
        digest = hashlib.sha256(data).digest()
        self._record = None  # until it is certain which one is the newest
        try:
            await asyncio.to_thread(self._file.write, data)
        except StorageError as error:
            raise RequestError(Status.FAILED, error.hint) from error
        await self._process.call(security.SetAnchor(record.number, digest))
        self._record, self._digest = record, digest


def asker(pairing: str) -> str:
    """Return who the log says asked: the beginning of a pairing's number, or the device itself."""
    return pairing[:_PAIRING_DIGITS] or "device"


def facts_of(payment: Payment) -> dict[str, Value]:
    """Return what the log says of a payment."""
    facts: dict[str, Value] = {
        "txid": payment.txid,
        "amount": payment.amount,
        "to": list(payment.addresses[:_LOGGED_ADDRESSES]),
        "by": asker(payment.pairing),
    }
    if len(payment.addresses) > _LOGGED_ADDRESSES:
        facts["more"] = len(payment.addresses) - _LOGGED_ADDRESSES
    return facts


def facts_of_policy(item: SetPolicy) -> dict[str, Value]:
    """Return what the log says of a policy: its hash, which whoever has the policy can check."""
    return {
        "policy": item.policy.digest.hex(),
        "scope": item.policy.scope.value,
        "by": asker(item.pairing),
    }
