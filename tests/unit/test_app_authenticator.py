"""The authenticator's parts without a device: `otpauth://` texts, stored accounts, screens."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.apps.authenticator import screens
from primegap.apps.authenticator.otp import (
    MAX_NAME_CHARS,
    Account,
    Algorithm,
    OtpKind,
    OtpUriError,
    WeakSecretError,
    parse_uri_untrusted,
)
from primegap.apps.authenticator.store import MAX_ACCOUNTS, Accounts, FullError, KnownError
from primegap.files import StorageError
from primegap.keyos.storage import SealedFile, UnreadableError
from primegap.keyos.ui.layout import layout

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DP"
GOOD = f"otpauth://totp/Mail:me%40example.org?secret={SECRET}&issuer=Mail"


def test_a_usual_code_is_read_with_its_defaults() -> None:
    account, counter = parse_uri_untrusted(GOOD)
    assert account == Account(
        OtpKind.TOTP, "Mail", "me@example.org", base64.b32decode(SECRET), Algorithm.SHA1, 6, 30
    )
    assert counter == 0
    assert SECRET not in repr(account)
    assert account.secret.hex() not in repr(account)


def test_everything_a_code_may_say_is_understood() -> None:
    text = (
        f"otpauth://TOTP/me?secret={SECRET.lower()}%3D%3D&algorithm=sha512&digits=8&period=60"
        "&image=https%3A%2F%2Fexample.org%2Flogo.png"
    )
    account, _ = parse_uri_untrusted(text)
    assert (account.issuer, account.name) == ("", "me")
    assert (account.algorithm, account.digits, account.period_s) == (Algorithm.SHA512, 8, 60)
    counted, counter = parse_uri_untrusted(f"otpauth://hotp/B:me?secret={SECRET}&counter=41")
    assert (counted.kind, counted.issuer, counter) == (OtpKind.HOTP, "B", 41)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("otpauth", "https"),
        ("totp", "steam"),
        (f"secret={SECRET}", "secret="),
        (f"secret={SECRET}", "secret=JBSW1"),
        (f"secret={SECRET}", f"secret={'A' * 400}"),
        ("&issuer=Mail", "&issuer=Bank"),
        ("&issuer=Mail", f"&secret={SECRET}"),
        ("&issuer=Mail", "&digits=9"),
        ("&issuer=Mail", "&digits=06x"),
        ("&issuer=Mail", "&digits=٦"),
        ("&issuer=Mail", "&period=0"),
        ("&issuer=Mail", "&algorithm=MD5"),
        ("&issuer=Mail", "&issuer=%ff"),
        ("&issuer=Mail", "#fragment"),
        ("Mail:me%40example.org", ""),
        ("Mail:me%40example.org", "x" * (MAX_NAME_CHARS + 1)),
        ("totp", "hotp"),  # no counter
        ("&issuer=Mail", "&x=" + "y" * 1000),
    ],
)
def test_a_code_with_one_fault_is_refused(old: str, new: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    if old.startswith("Mail"):
        text = text.replace("&issuer=Mail", "")
    with pytest.raises(OtpUriError):
        parse_uri_untrusted(text)


def test_a_short_secret_has_a_reason_of_its_own() -> None:
    with pytest.raises(WeakSecretError):
        parse_uri_untrusted("otpauth://totp/x?secret=JBSWY3DP")


@given(st.text(max_size=200) | st.text(max_size=200).map(lambda t: f"otpauth://totp/{t}"))
def test_any_text_is_an_account_or_is_refused(text: str) -> None:
    try:
        account, _ = parse_uri_untrusted(text)
    except OtpUriError:
        return
    layout(screens.keep(account))


@settings(deadline=None, max_examples=25)  # it draws; how fast is not the question
@given(
    issuer=st.text(max_size=MAX_NAME_CHARS),
    name=st.text(max_size=MAX_NAME_CHARS),
    digits=st.sampled_from([6, 7, 8]),
)
def test_hostile_names_can_be_shown_on_every_screen(issuer: str, name: str, digits: int) -> None:
    text = f"otpauth://totp/{quote(name, safe='')}?secret={SECRET}&issuer={quote(issuer)}"
    try:
        account, _ = parse_uri_untrusted(f"{text}&digits={digits}")
    except OtpUriError:
        return
    layout(screens.codes([account] * 3, 12345))
    layout(screens.account(account, 12345))
    layout(screens.confirm_delete(account))


def test_as_many_accounts_as_are_kept_fit_the_list() -> None:
    name = "W" * MAX_NAME_CHARS
    full = [Account(OtpKind.TOTP, name, name, bytes(20), digits=8)] * MAX_ACCOUNTS
    layout(screens.codes(full, 12345))


# -- storage ------------------------------------------------------------------------------------


def accounts_in(folder: Path, seed: bytes = b"s" * 32) -> Accounts:
    return Accounts.load(SealedFile(folder, "accounts", seed))


def login(number: int = 0, kind: OtpKind = OtpKind.TOTP) -> Account:
    return Account(kind, f"Service {number}", "me", bytes([number]) * 20)


def test_accounts_come_back_and_nothing_of_them_is_readable_at_rest(tmp_path: Path) -> None:
    kept = accounts_in(tmp_path)
    kept.add(login(1), 0)
    kept.add(login(2, OtpKind.HOTP), 7)
    again = accounts_in(tmp_path)
    assert again.accounts == [login(1), login(2, OtpKind.HOTP)]
    assert again.counters == [0, 7]
    stored = (tmp_path / "accounts").read_bytes()
    assert b"Service" not in stored
    assert login(1).secret.hex().encode() not in stored
    with pytest.raises(UnreadableError):
        accounts_in(tmp_path, b"t" * 32)
    again.remove(login(1))
    assert accounts_in(tmp_path).accounts == [login(2, OtpKind.HOTP)]


def test_an_account_is_kept_once_and_only_so_many(tmp_path: Path) -> None:
    kept = accounts_in(tmp_path)
    kept.add(login(0), 0)
    with pytest.raises(KnownError):
        kept.add(login(0), 0)
    for number in range(1, MAX_ACCOUNTS):
        kept.add(login(number), 0)
    with pytest.raises(FullError):
        kept.add(login(MAX_ACCOUNTS), 0)


def test_a_counter_is_used_up_before_its_code_is_seen(tmp_path: Path) -> None:
    kept = accounts_in(tmp_path)
    counted = login(3, OtpKind.HOTP)
    kept.add(counted, 0)
    first = kept.next_code(counted)
    assert first == counted.code_for(0)
    assert accounts_in(tmp_path).next_code(counted) == counted.code_for(1)


def test_what_cannot_be_written_is_not_kept_and_makes_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = accounts_in(tmp_path)
    counted = login(3, OtpKind.HOTP)
    kept.add(counted, 5)

    def full(self: SealedFile, plaintext: bytes) -> None:
        raise StorageError("full")

    with monkeypatch.context() as patch:
        patch.setattr(SealedFile, "write", full)
        with pytest.raises(StorageError):
            kept.add(login(4), 0)
        with pytest.raises(StorageError):
            kept.next_code(counted)
    assert kept.accounts == [counted]
    assert kept.next_code(counted) == counted.code_for(5)


@given(st.binary(max_size=60))
def test_a_damaged_file_of_the_right_key_is_refused(data: bytes) -> None:
    class Stored:
        def read(self) -> bytes:
            return data

    with pytest.raises(UnreadableError):
        Accounts.load(Stored())  # type: ignore[arg-type]


def test_the_ring_runs_from_full_to_empty() -> None:
    account = login()
    assert account.remaining_at(0) == 1.0
    assert account.remaining_at(15_000) == pytest.approx(0.5)
    assert 0 < account.remaining_at(29_999) < 0.001
    assert account.code_at(29) != account.code_at(30)


def test_random_secrets_give_codes_of_the_asked_length() -> None:
    for digits in (6, 7, 8):
        account = Account(OtpKind.TOTP, "", "x", os.urandom(20), Algorithm.SHA256, digits)
        assert len(account.code_at(1)) == digits
