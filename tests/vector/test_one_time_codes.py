"""One-time codes against RFC 4226, RFC 6238 and another implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given
from hypothesis import strategies as st

from primegap.apps.authenticator.otp import Account, Algorithm, OtpKind, hotp

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "one-time-codes.json").read_text()
)


@pytest.mark.parametrize("case", VECTORS["totp"], ids=lambda c: f"{c['algorithm']}-{c['unix_s']}")
def test_totp(case: dict[str, Any]) -> None:
    account = Account(
        OtpKind.TOTP,
        "",
        "x",
        bytes.fromhex(case["secret"]),
        Algorithm(case["algorithm"]),
        case["digits"],
        case["period_s"],
    )
    assert account.code_at(case["unix_s"]) == case["code"]


@pytest.mark.parametrize("case", VECTORS["hotp"], ids=lambda c: str(c["counter"]))
def test_hotp(case: dict[str, Any]) -> None:
    secret = bytes.fromhex(case["secret"])
    assert hotp(secret, case["counter"], Algorithm.SHA1, case["digits"]) == case["code"]


@given(
    secret=st.binary(min_size=16, max_size=128),
    unix_s=st.integers(0, 1 << 36),
    digits=st.sampled_from([6, 7, 8]),
    period_s=st.sampled_from([15, 30, 60]),
    algorithm=st.sampled_from(Algorithm),
)
def test_another_implementation_agrees(
    secret: bytes, unix_s: int, digits: int, period_s: int, algorithm: Algorithm
) -> None:
    theirs = TOTP(secret, digits, getattr(hashes, algorithm.value)(), period_s)
    ours = Account(OtpKind.TOTP, "", "x", secret, algorithm, digits, period_s)
    assert ours.code_at(unix_s) == theirs.generate(unix_s).decode()
