"""Policies: what a payment may be, decided from values alone.

A policy belongs to one account and either to one paired companion or to everybody who asks. It is
proposed by a companion, shown in full on the trusted screen and set by the person. It can only make
less possible than no policy does, with one exception that has a part of its own: `Unattended`
allows payments without asking the person, for the length of a session that they begin by holding a
button, up to a total, to addresses named in the policy. Without it the person is asked each time.

Pure: the engine takes the policies, what was spent before, the payment and the time, and answers.
The time never runs backwards in it: it looks at `Spending.clock_s`, the latest time ever seen.
"""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from primegap.bitcoin.amounts import MAX_MONEY, Satoshi, format_sats
from primegap.bitcoin.errors import LocalError, RemoteError
from primegap.bitcoin.review_values import (
    ChangeOutput,
    ExternalOutput,
    OwnReceiveOutput,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.bitcoin.review_values import Review

MAX_ALLOWED: Final = 16  # addresses of a policy: a person reads each of them on the screen
MAX_ADDRESS_CHARACTERS: Final = 90  # BIP-173
MAX_WINDOW_S: Final = 31 * 86400
MIN_WINDOW_S: Final = 3600
MAX_COOL_DOWN_S: Final = 31 * 86400
MAX_SESSION_S: Final = 12 * 3600  # a working day; a session also ends when the device locks
MIN_SESSION_S: Final = 60
MAX_SESSION_PAYMENTS: Final = 100
MAX_SPENDS: Final = 1024  # remembered; when there are more in a window, no more is signed
MAX_DESTINATIONS: Final = 256  # remembered; the one seen longest ago is forgotten first
MAX_PROPOSAL_BYTES: Final = 4096
_LABEL: Final = b"primegap/policy/v1"
_ADDRESS: Final = re.compile(r"[0-9A-Za-z]{8,90}", re.ASCII)


class PolicyFormatError(RemoteError):
    """A proposal is not a policy."""

    code = "policy-format"
    hint = "This is not a policy: a value is missing, unknown or out of range."


class PolicyError(RemoteError):
    """A policy does not allow a payment."""

    code = "policy"
    hint = "A policy on the device does not allow this payment."

    def __init__(self, reason: str, explanation: str) -> None:
        """Take the reason as a code, and a sentence for the person."""
        super().__init__(f"policy: {reason}")
        self.reason = reason
        self.explanation = explanation


class Scope(enum.StrEnum):
    """For whose requests a policy holds."""

    COMPANION = "companion"
    "Those of the companion that proposed it, for as long as it is paired."
    ACCOUNT = "account"
    "All payments of the account, by whatever way they come."


@dataclass(frozen=True, slots=True)
class Unattended:
    """Payments that are signed without asking, in a session that the person begins."""

    session_s: int
    "For how long, from 60 s to 12 h."
    max_payment: int
    "Satoshis that one payment may take from the account, fee included."
    max_total: int
    "Satoshis of all payments of a session together."


@dataclass(frozen=True, slots=True)
class Policy:
    """What the person allowed. None means that there is no such limit."""

    scope: Scope
    max_payment: int | None = None
    "Satoshis that one payment may take from the account, fee included."
    max_window: int | None = None
    "Satoshis within any stretch of time as long as the window."
    window_s: int = 86400
    allowed: tuple[str, ...] = ()
    "Addresses that may be paid; none named: any."
    cool_down_s: int = 0
    "For how long an address that was not asked for before has to wait."
    confirm_twice_above: int | None = None
    "Satoshis above which the person is asked a second time."
    unattended: Unattended | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        amounts = [self.max_payment, self.max_window, self.confirm_twice_above]
        quick = self.unattended
        if quick is not None:
            amounts += [quick.max_payment, quick.max_total]
        if (
            any(amount is not None and not 0 < amount <= MAX_MONEY for amount in amounts)
            or not MIN_WINDOW_S <= self.window_s <= MAX_WINDOW_S
            or not 0 <= self.cool_down_s <= MAX_COOL_DOWN_S
            or len(self.allowed) > MAX_ALLOWED
            or len(set(self.allowed)) != len(self.allowed)
            or not all(_ADDRESS.fullmatch(address) for address in self.allowed)
        ):
            raise PolicyFormatError("a value is out of range")
        if quick is not None and (
            self.scope is not Scope.COMPANION
            or not self.allowed
            or not MIN_SESSION_S <= quick.session_s <= MAX_SESSION_S
            or quick.max_payment > quick.max_total
        ):
            raise PolicyFormatError("payments without asking need named addresses and limits")

    @property
    def digest(self) -> bytes:
        """SHA-256 over the policy: what a confirmation of it, or of a session, is bound to."""
        return hashlib.sha256(_LABEL + self.encode()).digest()

    def encode(self) -> bytes:
        """Return the policy in its one written form, JSON with sorted names."""
        import json

        content: dict[str, Any] = {
            "scope": self.scope.value,
            "max_payment": self.max_payment,
            "max_window": self.max_window,
            "window_s": self.window_s,
            "allowed": list(self.allowed),
            "cool_down_s": self.cool_down_s,
            "confirm_twice_above": self.confirm_twice_above,
            "unattended": None,
        }
        if self.unattended is not None:
            quick = self.unattended
            content["unattended"] = {
                "session_s": quick.session_s,
                "max_payment": quick.max_payment,
                "max_total": quick.max_total,
            }
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def parse_untrusted(cls, data: bytes) -> Self:
        """Read what `encode` writes, from whoever proposes it.

        Raises:
            PolicyFormatError: it is anything else.
        """
        import json

        if len(data) > MAX_PROPOSAL_BYTES:
            raise PolicyFormatError("too long")
        try:
            content = json.loads(data)
            quick = content.pop("unattended")
            allowed = content.pop("allowed")
            scope = Scope(content.pop("scope"))
            numbers = {name: _whole(value) for name, value in content.items()}
            unattended = None
            if quick is not None:
                unattended = Unattended(**{name: int(value) for name, value in quick.items()})
            policy = cls(
                scope=scope,
                allowed=tuple(allowed),
                unattended=unattended,
                **numbers,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PolicyFormatError("not a policy") from error
        if policy.encode() != data:
            raise PolicyFormatError("not written in the one way")
        return policy


def _whole(value: object) -> Any:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise PolicyFormatError("not a whole number")
    return value


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """A policy that is in force."""

    account_id: str
    pairing: str
    "Number of the pairing that proposed it, hex."
    policy: Policy

    def covers(self, account_id: str, pairing: str) -> bool:
        """Tell whether it holds for a request."""
        same = self.policy.scope is Scope.ACCOUNT or self.pairing == pairing
        return self.account_id == account_id and same


@dataclass(frozen=True, slots=True)
class Spend:
    """A payment that was signed."""

    time_s: int
    account_id: str
    pairing: str
    "Empty when no companion asked."
    amount: int
    "Satoshis that it takes from the account."
    txid: str
    "Of the unsigned transaction: the same one signed again is not counted twice."


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent, and where to. It is stored before a signature leaves."""

    clock_s: int = 0
    "Latest time ever seen: a clock that is set back stands still here."
    spends: tuple[Spend, ...] = ()
    seen: tuple[tuple[str, int], ...] = ()
    "Address and the time at which it was first asked for, the one asked for longest ago first."

    def at(self, now_s: int) -> Self:
        """Return it with the clock moved on, never back."""
        return replace(self, clock_s=max(self.clock_s, now_s))

    def adding(self, payment: Payment) -> Self:
        """Return it with a payment counted as spent now."""
        spend = Spend(
            self.clock_s, payment.account_id, payment.pairing, payment.amount, payment.txid
        )
        kept = [s for s in self.spends if s.time_s > self.clock_s - MAX_WINDOW_S]
        others = [s for s in kept if s.txid != payment.txid][-(MAX_SPENDS - 1) :]
        return replace(self, spends=(*others, spend))

    def noting(self, addresses: Iterable[str]) -> Self:
        """Return it with addresses noted as asked for; those noted before keep their time."""
        seen = dict(self.seen)
        for address in addresses:
            seen[address] = seen.pop(address, self.clock_s)
        return replace(self, seen=tuple(seen.items())[-MAX_DESTINATIONS:])


@dataclass(frozen=True, slots=True)
class Payment:
    """What a policy looks at."""

    account_id: str
    pairing: str
    amount: int
    addresses: tuple[str, ...]
    "Of everybody who is paid and is not the account itself."
    unaddressed: bool
    "There are outputs that have no address and are not of the account."
    quiet: bool
    "The review has nothing to warn of."
    txid: str

    @classmethod
    def of(cls, review: Review, pairing: str) -> Self:
        """Take from a review what counts."""
        outside = [
            item for item in review.outputs if not isinstance(item, ChangeOutput | OwnReceiveOutput)
        ]
        addresses = [item.address for item in outside if isinstance(item, ExternalOutput)]
        return cls(
            account_id=review.account_id,
            pairing=pairing,
            amount=max(0, review.leaving),  # others may pay into it: that gives nothing back
            addresses=tuple(dict.fromkeys(address for address in addresses if address)),
            unaddressed=len(addresses) != len(outside) or not all(addresses),
            quiet=all(w.kind.severity <= Severity.NOTICE for w in review.warnings),
            txid=review.txid,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A stretch of time in which payments are signed without asking. Kept in memory only."""

    policy: SetPolicy
    ends_s: float
    "On a clock that nobody can set."
    left: int
    "Satoshis."
    payments_left: int = MAX_SESSION_PAYMENTS


class Verdict(enum.Enum):
    """What has to happen before a payment is signed."""

    UNATTENDED = 0
    ASK = 1
    ASK_TWICE = 2


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies in force."""

    items: tuple[SetPolicy, ...] = field(default=())

    def covering(self, account_id: str, pairing: str) -> tuple[SetPolicy, ...]:
        """Return those that hold for a request."""
        return tuple(item for item in self.items if item.covers(account_id, pairing))

    def setting(self, new: SetPolicy) -> Self:
        """Return them with one more, which takes the place of one with the same scope."""
        return replace(self, items=(*self._others(new), new))

    def removing(self, old: SetPolicy) -> Self:
        """Return them without one."""
        return replace(self, items=tuple(item for item in self.items if item != old))

    def _others(self, new: SetPolicy) -> tuple[SetPolicy, ...]:
        """Return those that stay: of each scope and account there is one.

        A companion's policy for an account also ends the one of an earlier pairing: there is one
        companion at a time.
        """
        key = (new.account_id, new.policy.scope)
        return tuple(i for i in self.items if (i.account_id, i.policy.scope) != key)


def decide(
    payment: Payment,
    policies: Policies,
    spending: Spending,
    *,
    session: Session | None = None,
    now_s: float = 0.0,
) -> Verdict:
    """Decide about a payment.

    Args:
        payment: what is to be signed.
        policies: all in force.
        spending: with the clock moved on (`at`) and the addresses of the payment noted.
        session: the one that runs, if any.
        now_s: time on the session's clock.

    Returns:
        How the person is to be asked.

    Raises:
        PolicyError: the payment is not allowed, whoever agrees to it.
    """
    covering = policies.covering(payment.account_id, payment.pairing)
    for item in covering:
        _check(payment, item, spending)
    if session is not None and _fits(payment, session, covering, now_s):
        return Verdict.UNATTENDED
    limits = [item.policy.confirm_twice_above for item in covering]
    if any(limit is not None and payment.amount > limit for limit in limits):
        return Verdict.ASK_TWICE
    return Verdict.ASK


def spent_in_window(item: SetPolicy, spending: Spending, *, but: str = "") -> int:
    """Return how much of a policy's window is used up, in satoshis, but for one transaction."""
    since_s = spending.clock_s - item.policy.window_s
    return sum(
        spend.amount
        for spend in spending.spends
        if spend.time_s > since_s
        and spend.txid != but
        and item.covers(spend.account_id, spend.pairing)
    )


def _check(payment: Payment, item: SetPolicy, spending: Spending) -> None:
    policy = item.policy
    if policy.max_payment is not None and payment.amount > policy.max_payment:
        raise PolicyError(
            "payment-limit",
            f"It takes {format_sats(Satoshi(payment.amount))}; "
            f"one payment may take {format_sats(Satoshi(policy.max_payment))}.",
        )
    if policy.max_window is not None:
        left = max(0, policy.max_window - spent_in_window(item, spending, but=payment.txid))
        if payment.amount > left:
            raise PolicyError(
                "window-limit",
                f"It takes {format_sats(Satoshi(payment.amount))}; of the limit for "
                f"{format_time(policy.window_s)} {format_sats(Satoshi(left))} are left.",
            )
        if len(spending.spends) >= MAX_SPENDS:
            raise PolicyError("too-many", "Too many payments were made to keep account of.")
    if (policy.allowed or policy.cool_down_s) and payment.unaddressed:
        raise PolicyError("no-address", "It pays to something that has no address.")
    if policy.allowed and not set(payment.addresses) <= set(policy.allowed):
        raise PolicyError("destination", "It pays to an address that is not on the list.")
    seen = dict(spending.seen)
    for address in payment.addresses:
        since_s = seen.get(address, spending.clock_s)
        waits_s = since_s + policy.cool_down_s - spending.clock_s
        if waits_s > 0:
            raise PolicyError(
                "cool-down",
                f"It pays to a new address. It can be paid in {format_time(waits_s)}.",
            )


def _fits(
    payment: Payment, session: Session, covering: tuple[SetPolicy, ...], now_s: float
) -> bool:
    """Tell whether a payment may be signed without asking. When in doubt, the person is asked."""
    quick = session.policy.policy.unattended
    twice = [item.policy.confirm_twice_above for item in covering]
    return (
        quick is not None
        and session.policy in covering
        and now_s < session.ends_s
        and session.payments_left > 0
        and payment.quiet
        and not payment.unaddressed
        and bool(payment.addresses)
        and set(payment.addresses) <= set(session.policy.policy.allowed)
        and 0 < payment.amount <= min(quick.max_payment, session.left)
        and not any(limit is not None and payment.amount > limit for limit in twice)
    )


def use_session(session: Session, payment: Payment) -> Session:
    """Return the session after a payment.

    Raises:
        LocalError: there is not that much left.
    """
    if payment.amount > session.left or session.payments_left < 1:
        raise LocalError("the session does not allow that much")
    return replace(
        session, left=session.left - payment.amount, payments_left=session.payments_left - 1
    )


def format_time(seconds: int) -> str:
    """Return a stretch of time in words, rounded up to its largest fitting unit."""
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = -(-seconds // unit)
            return f"1 {name}" if count == 1 else f"{count} {name}s"
    return "1 minute"
