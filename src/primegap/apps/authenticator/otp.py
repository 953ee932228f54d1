"""One-time codes, pure: HOTP (RFC 4226), TOTP (RFC 6238), and the `otpauth://` text of a QR code.

The text has no standard; it is read as the widespread authenticators write it, and strictly: what
is not understood is refused rather than guessed, because a wrong code shows itself only at a login.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from primegap.keyos.errors import KeyosError

MAX_URI_CHARS: Final = 1024  # a few hundred are usual
MIN_SECRET_BYTES: Final = 10  # what large services give out, though RFC 4226 asks for 16
MAX_SECRET_BYTES: Final = 128  # the block of SHA-512; longer keys are hashed anyway
MAX_NAME_CHARS: Final = 60
DIGITS: Final = (6, 7, 8)
MIN_PERIOD_S: Final = 5
MAX_PERIOD_S: Final = 300
MAX_COUNTER: Final = (1 << 64) - 1
DEFAULT_PERIOD_S: Final = 30
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)


class OtpUriError(KeyosError):
    """A scanned text is not an account of one-time codes."""

    code = "otp-uri"
    hint = "This is not a code for an authenticator."


class WeakSecretError(OtpUriError):
    """The secret is shorter than anybody should use."""

    code = "otp-secret-short"
    hint = "The secret in this code is too short to be safe."


class OtpKind(enum.Enum):
    """What a code is made from."""

    TOTP = "totp"
    "The time."
    HOTP = "hotp"
    "A counter."


class Algorithm(enum.Enum):
    """Hash of the HMAC, by its name in the QR code."""

    SHA1 = "SHA1"
    SHA256 = "SHA256"
    SHA512 = "SHA512"


@dataclass(frozen=True, slots=True)
class Account:
    """One login."""

    kind: OtpKind
    issuer: str
    "Name of the service, as it calls itself; may be empty."
    name: str
    "Name of the account there."
    secret: bytes = field(repr=False)
    algorithm: Algorithm = Algorithm.SHA1
    digits: int = 6
    period_s: int = DEFAULT_PERIOD_S
    "Of TOTP: how long a code is good for."

    def code_at(self, unix_s: int) -> str:
        """Return the TOTP code of a moment, in seconds since 1970 (RFC 6238, section 4)."""
        return hotp(self.secret, unix_s // self.period_s, self.algorithm, self.digits)

    def remaining_at(self, unix_ms: int) -> float:
        """Return which fraction of its time the code of a moment has left, above 0 to 1."""
        period_ms = self.period_s * 1000
        return 1 - (unix_ms % period_ms) / period_ms

    def code_for(self, counter: int) -> str:
        """Return the HOTP code of a counter."""
        return hotp(self.secret, counter, self.algorithm, self.digits)


def hotp(secret: bytes, counter: int, algorithm: Algorithm, digits: int) -> str:
    """Return a code: the HMAC of the counter, truncated to digits (RFC 4226, section 5.3)."""
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), algorithm.value.lower())
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}}"


def grouped(code: str) -> str:
    """Return a code in two groups, as people read it."""
    middle = len(code) - len(code) // 2
    return f"{code[:middle]} {code[middle:]}"


def parse_uri_untrusted(text: str) -> tuple[Account, int]:
    """Return the account in an `otpauth://` text, and the first counter of HOTP (0 for TOTP).

    Raises:
        OtpUriError: the text is something else, or asks for what is not supported.
    """
    if len(text) > MAX_URI_CHARS:
        raise OtpUriError("too long")
    try:
        parts = urlsplit(text)
        kind = OtpKind(parts.netloc.lower())
        fields = parse_qsl(
            parts.query,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=16,
        )
        label = unquote(parts.path.removeprefix("/"), errors="strict")
    except ValueError:
        raise OtpUriError("not an otpauth text") from None
    values = dict(fields)
    if parts.scheme.lower() != "otpauth" or parts.fragment or len(values) != len(fields):
        raise OtpUriError("not an otpauth text")
    issuer, name = _names(label, values.get("issuer", ""))
    try:
        algorithm = Algorithm(values.get("algorithm", "SHA1").upper())
    except ValueError:
        raise OtpUriError("algorithm") from None
    digits = _number(values, "digits", 6, low=DIGITS[0], high=DIGITS[-1])
    period_s, counter = DEFAULT_PERIOD_S, 0
    if kind is OtpKind.TOTP:
        period_s = _number(values, "period", DEFAULT_PERIOD_S, low=MIN_PERIOD_S, high=MAX_PERIOD_S)
    else:
        if "counter" not in values:
            raise OtpUriError("no counter")
        counter = _number(values, "counter", 0, low=0, high=MAX_COUNTER)
    secret = _secret(values.get("secret", ""))
    return Account(kind, issuer, name, secret, algorithm, digits, period_s), counter


def _names(label: str, issuer: str) -> tuple[str, str]:
    """Return (service, account). A service named in both places must be the same one."""
    prefix, colon, rest = label.partition(":")
    name = (rest if colon else label).strip()
    before = prefix.strip() if colon else ""
    issuer = issuer.strip()
    if before and issuer and before != issuer:
        raise OtpUriError("two different services")
    issuer = issuer or before
    if not issuer and not name:
        raise OtpUriError("no name")
    if len(issuer) > MAX_NAME_CHARS or len(name) > MAX_NAME_CHARS:
        raise OtpUriError("a name that is too long")
    return issuer, name


def _number(values: dict[str, str], key: str, default: int, *, low: int, high: int) -> int:
    text = values.get(key)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise OtpUriError(key)
    return int(text)


def _secret(text: str) -> bytes:
    compact = text.replace(" ", "").replace("-", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(compact + "=" * (-len(compact) % 8))
    except (binascii.Error, ValueError):
        raise OtpUriError("secret") from None
    if not secret:
        raise OtpUriError("no secret")
    if len(secret) < MIN_SECRET_BYTES:
        raise WeakSecretError("secret")
    if len(secret) > MAX_SECRET_BYTES:
        raise OtpUriError("a secret that is too long")
    return secret
