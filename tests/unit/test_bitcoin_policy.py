"""Policies: what is allowed, what is refused, and that doubt means asking the person."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.bitcoin.errors import LocalError
from primegap.bitcoin.policy import (
    MAX_DESTINATIONS,
    MAX_SPENDS,
    Payment,
    Policies,
    Policy,
    PolicyError,
    PolicyFormatError,
    Scope,
    Session,
    SetPolicy,
    Spending,
    Unattended,
    Verdict,
    decide,
    use_session,
)

SHOP, OTHER = "bcrt1qshopshopshop", "bcrt1qotherother"
PAYMENT = Payment(
    account_id="account",
    pairing="aa",
    amount=50_000,
    addresses=(SHOP,),
    unaddressed=False,
    quiet=True,
    txid="01",
)
QUICK = Policy(
    Scope.COMPANION,
    allowed=(SHOP,),
    unattended=Unattended(session_s=3600, max_payment=60_000, max_total=100_000),
)


def in_force(policy: Policy, pairing: str = "aa") -> Policies:
    """Return the policies of a device with one for the account."""
    return Policies((SetPolicy("account", pairing, policy),))


def refusal(payment: Payment, policies: Policies, spending: Spending) -> str:
    """Return why a payment is refused."""
    with pytest.raises(PolicyError) as refused:
        decide(payment, policies, spending.noting(payment.addresses))
    assert refused.value.explanation.endswith(".")
    return refused.value.reason


def test_without_a_policy_the_person_is_asked() -> None:
    assert decide(PAYMENT, Policies(), Spending()) is Verdict.ASK


def test_one_payment_has_a_limit() -> None:
    policies = in_force(Policy(Scope.COMPANION, max_payment=50_000))
    assert decide(PAYMENT, policies, Spending()) is Verdict.ASK
    assert refusal(replace(PAYMENT, amount=50_001), policies, Spending()) == "payment-limit"


def test_a_window_rolls() -> None:
    policies = in_force(Policy(Scope.COMPANION, max_window=100_000, window_s=3600))
    spending = Spending().at(10_000).adding(PAYMENT)
    again = replace(PAYMENT, txid="02", amount=50_001)
    assert refusal(again, policies, spending.at(13_599)) == "window-limit"
    assert decide(again, policies, spending.at(13_600)) is Verdict.ASK
    assert decide(replace(again, amount=50_000), policies, spending) is Verdict.ASK


def test_a_clock_that_is_set_back_gives_nothing_back() -> None:
    policies = in_force(Policy(Scope.COMPANION, max_window=60_000, window_s=3600))
    spending = Spending().at(10_000).adding(PAYMENT).at(1)
    assert spending.clock_s == 10_000
    assert refusal(replace(PAYMENT, txid="02"), policies, spending) == "window-limit"


def test_the_same_transaction_is_counted_once() -> None:
    policies = in_force(Policy(Scope.COMPANION, max_window=60_000))
    spending = Spending().at(10_000).adding(PAYMENT)
    assert decide(PAYMENT, policies, spending) is Verdict.ASK
    assert len(spending.adding(PAYMENT).spends) == 1


def test_more_payments_than_are_remembered_are_refused() -> None:
    spending = Spending().at(10_000)
    for number in range(MAX_SPENDS):
        spending = spending.adding(replace(PAYMENT, amount=1, txid=str(number)))
    policies = in_force(Policy(Scope.COMPANION, max_window=60_000))
    assert refusal(replace(PAYMENT, amount=1, txid="new"), policies, spending) == "too-many"


def test_only_named_addresses_are_paid() -> None:
    policies = in_force(Policy(Scope.COMPANION, allowed=(SHOP,)))
    assert decide(PAYMENT, policies, Spending()) is Verdict.ASK
    assert refusal(replace(PAYMENT, addresses=(SHOP, OTHER)), policies, Spending()) == "destination"
    assert refusal(replace(PAYMENT, unaddressed=True), policies, Spending()) == "no-address"
    to_self = replace(PAYMENT, addresses=())
    assert decide(to_self, policies, Spending()) is Verdict.ASK


def test_a_new_address_has_to_wait() -> None:
    policies = in_force(Policy(Scope.COMPANION, cool_down_s=600))
    spending = Spending().at(1000).noting([SHOP])
    assert refusal(PAYMENT, policies, spending.at(1599)) == "cool-down"
    assert decide(PAYMENT, policies, spending.at(1600).noting([SHOP])) is Verdict.ASK
    assert refusal(PAYMENT, policies, Spending()) == "cool-down"
    assert decide(replace(PAYMENT, addresses=()), policies, Spending()) is Verdict.ASK


def test_addresses_are_forgotten_towards_more_caution() -> None:
    spending = Spending().at(1000).noting([SHOP]).at(5000)
    spending = spending.noting(f"bcrt1q{n:08}" for n in range(MAX_DESTINATIONS))
    assert len(spending.seen) == MAX_DESTINATIONS
    policies = in_force(Policy(Scope.COMPANION, cool_down_s=600))
    assert refusal(PAYMENT, policies, spending) == "cool-down"


def test_much_is_confirmed_twice() -> None:
    policies = in_force(Policy(Scope.COMPANION, confirm_twice_above=49_999))
    assert decide(PAYMENT, policies, Spending()) is Verdict.ASK_TWICE
    assert decide(replace(PAYMENT, amount=49_999), policies, Spending()) is Verdict.ASK


def test_scopes_say_whose_requests_count() -> None:
    tight = Policy(Scope.COMPANION, max_payment=1)
    assert decide(PAYMENT, in_force(tight, "bb"), Spending()) is Verdict.ASK
    everybody = replace(tight, scope=Scope.ACCOUNT)
    assert refusal(PAYMENT, in_force(everybody, "bb"), Spending()) == "payment-limit"
    assert refusal(replace(PAYMENT, pairing=""), in_force(everybody), Spending()) == "payment-limit"
    other = replace(PAYMENT, account_id="other")
    assert decide(other, in_force(everybody), Spending()) is Verdict.ASK
    both = in_force(tight).setting(SetPolicy("account", "aa", everybody))
    assert len(both.items) == 2
    assert both.setting(SetPolicy("account", "cc", QUICK)).items[0].policy == everybody


def session_of(policies: Policies, **changes: int) -> Session:
    return replace(Session(policies.items[0], 3600, 100_000), **changes)  # type: ignore[arg-type]


def test_only_a_session_signs_without_asking() -> None:
    policies = in_force(QUICK)
    assert decide(PAYMENT, policies, Spending()) is Verdict.ASK
    session = session_of(policies)
    assert decide(PAYMENT, policies, Spending(), session=session) is Verdict.UNATTENDED


@pytest.mark.parametrize(
    ("payment", "changes", "now_s"),
    [
        ({"amount": 60_001}, {}, 0),
        ({"amount": 0}, {}, 0),
        ({"quiet": False}, {}, 0),
        ({"addresses": ()}, {}, 0),
        ({"pairing": "bb"}, {}, 0),
        ({"pairing": ""}, {}, 0),
        ({}, {"left": 49_999}, 0),
        ({}, {"payments_left": 0}, 0),
        ({}, {}, 3600),
    ],
)
def test_in_doubt_the_person_is_asked(
    payment: dict[str, object], changes: dict[str, int], now_s: int
) -> None:
    policies = in_force(QUICK)
    asked = replace(PAYMENT, **payment)  # type: ignore[arg-type]
    session = session_of(policies, **changes)
    assert decide(asked, policies, Spending(), session=session, now_s=now_s) is Verdict.ASK


def test_a_session_ends_with_its_policy_and_yields_to_others() -> None:
    session = session_of(in_force(QUICK))
    changed = in_force(replace(QUICK, window_s=7200))
    assert decide(PAYMENT, changed, Spending(), session=session) is Verdict.ASK
    twice = in_force(QUICK).setting(
        SetPolicy("account", "aa", Policy(Scope.ACCOUNT, confirm_twice_above=10))
    )
    assert decide(PAYMENT, twice, Spending(), session=session) is Verdict.ASK_TWICE
    limited = in_force(QUICK).setting(
        SetPolicy("account", "aa", Policy(Scope.ACCOUNT, max_payment=10))
    )
    with pytest.raises(PolicyError):
        decide(PAYMENT, limited, Spending(), session=session)


def test_a_session_is_used_up() -> None:
    session = use_session(session_of(in_force(QUICK)), PAYMENT)
    assert (session.left, session.payments_left) == (50_000, 99)
    with pytest.raises(LocalError):
        use_session(session, replace(PAYMENT, amount=50_001))


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": Scope.ACCOUNT},
        {"allowed": ()},
        {"allowed": ("a b c d e f",)},
        {"allowed": (SHOP, SHOP)},
        {"allowed": tuple(f"bcrt1q{n:08}" for n in range(17))},
        {"max_payment": 0},
        {"max_window": -1},
        {"window_s": 1},
        {"cool_down_s": 1 << 40},
        {"unattended": Unattended(59, 1, 1)},
        {"unattended": Unattended(60, 2, 1)},
        {"unattended": Unattended(13 * 3600, 1, 1)},
    ],
)
def test_policies_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(PolicyFormatError):
        replace(QUICK, **changes)  # type: ignore[arg-type]


def test_a_policy_is_read_as_it_was_written() -> None:
    for policy in (QUICK, Policy(Scope.ACCOUNT), Policy(Scope.COMPANION, max_payment=7)):
        assert Policy.parse_untrusted(policy.encode()) == policy
    data = QUICK.encode()
    for wrong in (
        b"",
        b"{}",
        b"[]",
        data.replace(b"60000", b"60000.0"),
        data.replace(b"60000", b"true"),
        data.replace(b"60000", b'"60000"'),
        data.replace(b'"max_payment"', b'"max_paymenu"', 1),
        data + b" ",
        b"[" * 4000,
        data.replace(b"86400", b"9" * 4400),
    ):
        with pytest.raises(PolicyFormatError):
            Policy.parse_untrusted(wrong)
    assert QUICK.digest != replace(QUICK, cool_down_s=1).digest


@settings(max_examples=30)
@given(
    amounts=st.lists(st.tuples(st.integers(0, 90_000), st.integers(-5000, 5000)), max_size=30),
)
def test_no_stretch_of_time_takes_more_than_the_window(amounts: list[tuple[int, int]]) -> None:
    """Whatever the clock does, a window never takes more than its limit."""
    policies = in_force(Policy(Scope.COMPANION, max_window=100_000, window_s=3600))
    spending, now_s, taken = Spending(), 10_000, []
    for number, (amount, step_s) in enumerate(amounts):
        now_s = max(0, now_s + step_s)
        spending = spending.at(now_s)
        payment = replace(PAYMENT, amount=amount, txid=str(number))
        try:
            decide(payment, policies, spending)
        except PolicyError:
            continue
        spending = spending.adding(payment)
        taken.append((spending.clock_s, amount))
    for end_s, _ in taken:
        assert sum(a for t, a in taken if end_s - 3600 < t <= end_s) <= 100_000
