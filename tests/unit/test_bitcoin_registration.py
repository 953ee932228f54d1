"""Registered wallets: what a person checked stays what it was."""

from __future__ import annotations

import json

import pytest

from primegap.bitcoin.accounts import Account, Keychain
from primegap.bitcoin.errors import AccountFormatError, RegistrationError
from primegap.bitcoin.keys import key_at
from primegap.bitcoin.networks import Network
from primegap.bitcoin.registration import (
    MAX_RECORD_BYTES,
    read_registration_untrusted,
    registration_key,
    write_registration,
)
from primegap.bitcoin.wallet_policy import parse_template_untrusted

NETWORK = Network.REGTEST
SEEDS = tuple(bytes([number]) * 16 for number in range(4))
KEYS = tuple(key_at(seed, NETWORK, "m/48'/1'/0'/2'") for seed in SEEDS)
KEY = registration_key(b"a secret of the device")


def wallet(template: str = "wsh(sortedmulti(2,@0/**,@1/**,@2/**))", own: int = 1) -> Account:
    parsed = parse_template_untrusted(template)
    return Account.from_policy(parsed, KEYS[: parsed.key_count], NETWORK, name="Savings", own=own)


@pytest.mark.parametrize(
    "template",
    [
        "wsh(sortedmulti(2,@0/**,@1/**,@2/**))",
        "sh(wsh(sortedmulti(1,@0/**,@1/**)))",
        "wsh(or_d(pk(@0/**),and_v(v:pkh(@1/**),older(1000))))",
        "tr(@0/**,{pk(@1/**),and_v(v:pk(@0/<2;3>/*),older(10))})",
    ],
)
def test_a_record_is_read_back(template: str) -> None:
    account = wallet(template)
    record = write_registration(account, KEY)
    assert len(record) <= MAX_RECORD_BYTES
    assert read_registration_untrusted(record, KEY) == account


def change(field: str, value: object) -> bytes:
    fields = json.loads(write_registration(wallet(), KEY))
    fields[field] = value
    return json.dumps(fields).encode()


def listed(*order: int) -> list[list[str]]:
    return [[KEYS[n].fingerprint, KEYS[n].path, KEYS[n].xpub] for n in order]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Spending"),
        ("network", "signet"),
        ("template", "wsh(sortedmulti(1,@0/**,@1/**,@2/**))"),
        ("template", "wsh(multi(2,@0/**,@1/**,@2/**))"),
        ("own", 0),
        ("keys", listed(0, 1, 3)),
        ("keys", listed(1, 0, 2)),
        ("mac", "00" * 32),
        ("mac", ""),
        ("mac", None),
        ("more", 1),
        ("own", True),
        ("own", 3),
        ("name", 5),
        ("network", "moon"),
        ("keys", None),
        ("keys", [["", ""]]),
        ("keys", [[1, 2, 3]] * 3),
        ("template", "nonsense"),
    ],
)
def test_every_change_is_refused(field: str, value: object) -> None:
    with pytest.raises(RegistrationError):
        read_registration_untrusted(change(field, value), KEY)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 5000, b" " * 9000])
def test_what_is_no_record(data: bytes) -> None:
    with pytest.raises(RegistrationError):
        read_registration_untrusted(data, KEY)


def test_another_seeds_record_is_refused() -> None:
    record = write_registration(wallet(), KEY)
    with pytest.raises(RegistrationError):
        read_registration_untrusted(record, registration_key(b"another"))


# --- what can be registered ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "",
        "wsh(pk(@0/*))",
        "wsh(pk(@1/**))",
        "wsh(multi(2,@1/**,@0/**))",
        "wsh(multi(2,@0/**,@0/**))",
        "wsh(multi(2,@0/**,@0/<1;2>/*))",
        "wsh(multi(2,@0/**,@01/**))",
        "wsh(multi(2,@0/<0;1>/*,@1/**))",
        "wsh(multi(2,@0/<02;3>/*,@1/**))",
        "wsh(multi(2,@0/**,@1'/**))",
        "wsh(multi(1,@0/**," + "02" * 33 + "))",
        "wsh(pk(@0/**))" + " ",
        "wsh(pk(@0/**))#abcdefgh",
        "wsh(" * 400 + "pk(@0/**)" + ")" * 400,
    ],
)
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(AccountFormatError):
        parse_template_untrusted(template)


@pytest.mark.parametrize(
    "template",
    [
        "wsh(or_i(pk(@0/**),1))",  # anyone can spend
        "wsh(and_v(v:older(5),pk(@0/**)))" + "x",
        "wsh(and_v(v:after(10),and_v(v:after(500000001),pk(@0/**))))",  # height and time
        "wsh(multi(3,@0/**,@1/**))",
        "sh(multi(1,@0/**,@1/**))",
        "wpkh(@0/<2;3>/*)",
        "pk(@0/**)",
        "tr(@0/**,sortedmulti_a(1,@1/**,@2/**))",
        "tr(@0/**,and_v(v:pkh(@1/**),pk(@2/**)))",  # see record 0033
        "wsh(older(5))".replace("5", "@0/**"),
    ],
)
def test_wallets_that_are_not_sane_or_not_supported(template: str) -> None:
    with pytest.raises(AccountFormatError):
        wallet(template, own=0)


def test_one_key_stands_in_a_wallet_once() -> None:
    template = parse_template_untrusted("wsh(multi(2,@0/**,@1/**))")
    with pytest.raises(AccountFormatError):
        Account.from_policy(template, (KEYS[0], KEYS[0]), NETWORK)
    account = wallet()
    with pytest.raises(AccountFormatError):
        Account.parse_untrusted(account.external, account.internal, NETWORK, own="00000000")
    assert account.own_key == KEYS[1]
    assert account.script(Keychain.EXTERNAL, 0) != account.script(Keychain.INTERNAL, 0)
