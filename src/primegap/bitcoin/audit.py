"""The audit log: what a person confirmed and refused, and what policies did, in a chain.

An entry is one line of JSON. Its number and what happened are hashed together with everything that
was noted before it:

    chain(n) = SHA-256("primegap/audit-entry/v1" ‖ chain(n-1) ‖ line n),  chain(0) = 32 zeros

so no entry can be altered, left out, put in or moved without changing all chain values after it.
The bytes of the line are hashed as they are: there is no second way to write an entry.

An export is a text file. The first line says whose log it is and where it begins, then come the
entries, and the last line holds the newest chain value with an Ed25519 signature over

    SHA-256("primegap/audit-log/v1" ‖ first line ‖ chain(last) ‖ number of the last entry ‖ time)

with numbers of eight bytes, big endian. The log on the device is bounded: the oldest entries are
sealed off by an entry that names the last of them and its chain value, which `before` in the first
line must repeat. Who kept an earlier export can check both against each other with `check_extends`.

The decoder reads what anybody may have written; it raises `AuditLogError` and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

from primegap.bitcoin.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = "primegap-audit-log/1"
MAX_ENTRIES: Final = 512  # on the device: half a year of daily use, and 300 kB at most
SEALED_AT_ONCE: Final = 128
MAX_LINE_BYTES: Final = 1024  # an entry names at most MAX_ADDRESSES addresses
MAX_LOG_BYTES: Final = (MAX_ENTRIES + 2) * (MAX_LINE_BYTES + 1)
MAX_ADDRESSES: Final = 4  # of a payment; more are counted
START: Final = bytes(32)
"Chain value before the first entry."
LOG_SEALED: Final = "log-sealed"
KINDS: Final = frozenset(
    {
        "account-shared",
        "account-refused",
        "payment-confirmed",
        "payment-unattended",
        "payment-refused",
        "payment-blocked",
        "policy-set",
        "policy-refused",
        "policy-removed",
        "session-begun",
        "session-refused",
        "session-ended",
        "message-confirmed",
        "message-refused",
        "record-renewed",
        LOG_SEALED,
    }
)
"What can be noted."
_ENTRY_LABEL: Final = b"primegap/audit-entry/v1"
_LOG_LABEL: Final = b"primegap/audit-log/v1"
_KEY_LABEL: Final = b"primegap/audit-key/v1"
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}", re.ASCII)
_NAME: Final = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)
_MAX_NUMBER: Final = (1 << 63) - 1
_MAX_FIELDS: Final = 16

Value = str | int | list[str]


class AuditLogError(RemoteError):
    """An audit log does not hold together."""

    code = "audit-log"
    hint = "This is not an audit log, or it was altered."


class AuditSignatureError(AuditLogError):
    """The signature under an audit log does not fit."""

    code: ClassVar[str] = "audit-signature"
    hint = "The signature under the audit log is not of its key: the log was altered."


class AuditKeyError(AuditLogError):
    """An audit log is of another device than expected."""

    code: ClassVar[str] = "audit-key"
    hint = "The audit log was signed by another device, or with another seed."


class AuditRewrittenError(AuditLogError):
    """A later export does not go on from an earlier one."""

    code: ClassVar[str] = "audit-rewritten"
    hint = "The audit log does not go on from the earlier one: entries were taken away or changed."


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    number: int
    "From 1, without gaps."
    time_s: int
    "Clock of the device, in seconds since 1970; never lower than in the entry before."
    kind: str
    "One of KINDS."
    facts: Mapping[str, Value]
    "What is worth knowing, by name."

    def encode(self) -> bytes:
        """Return the line, without its end.

        Raises:
            LocalError: the entry is longer than a line may be.
        """
        content = {"n": self.number, "time": self.time_s, "kind": self.kind, **self.facts}
        line = json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()
        if len(line) > MAX_LINE_BYTES or len(content) > _MAX_FIELDS:
            raise LocalError("an entry of the audit log is too long")
        return line


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The entries that are kept, and the chain value before them."""

    entries: tuple[bytes, ...] = ()
    "Lines, the oldest first."
    first: int = 1
    "Number of the first one kept, or of the next one when there is none."
    before: bytes = START
    head: bytes = START
    "Newest chain value."
    time_s: int = 0
    "Of the newest entry."

    @property
    def last(self) -> int:
        """Number of the newest entry; 0 before the first."""
        return self.first + len(self.entries) - 1

    def adding(self, kind: str, facts: Mapping[str, Value], *, now_s: int) -> AuditLog:
        """Return the log with an entry at its end; the oldest are sealed off when it is full."""
        if kind not in KINDS:
            raise LocalError("not a kind of audit entry")
        log = _sealed(self, now_s) if len(self.entries) >= MAX_ENTRIES else self
        return _with_entry(log, kind, facts, now_s)

    def read(self, newest: int = MAX_ENTRIES) -> tuple[Entry, ...]:
        """Return the newest entries, the oldest of them first."""
        return tuple(_read_entry(line) for line in self.entries[-newest:])


def _with_entry(log: AuditLog, kind: str, facts: Mapping[str, Value], now_s: int) -> AuditLog:
    time_s = max(now_s, log.time_s)
    line = Entry(log.last + 1, time_s, kind, facts).encode()
    return replace(log, entries=(*log.entries, line), head=chain(log.head, line), time_s=time_s)


def _sealed(log: AuditLog, now_s: int) -> AuditLog:
    before = log.before
    for line in log.entries[:SEALED_AT_ONCE]:
        before = chain(before, line)
    first = log.first + SEALED_AT_ONCE
    kept = replace(log, entries=log.entries[SEALED_AT_ONCE:], first=first, before=before)
    return _with_entry(kept, LOG_SEALED, {"through": first - 1, "chain": before.hex()}, now_s)


def chain(before: bytes, line: bytes) -> bytes:
    """Return the chain value after a line."""
    return hashlib.sha256(_ENTRY_LABEL + before + line).digest()


class AuditKey:
    """The key that signs a log: made from the app's seed, so it is the same for the same seed."""

    __slots__ = ("_key",)

    def __init__(self, app_seed: bytes) -> None:
        import hmac

        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(
            hmac.digest(app_seed, _KEY_LABEL, "sha256")
        )

    def __repr__(self) -> str:
        return "<AuditKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are never serialised")

    @property
    def public(self) -> bytes:
        """Ed25519 public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def export(self, log: AuditLog, *, now_s: int) -> bytes:
        """Return the log as a signed file."""
        now_s = max(now_s, log.time_s)
        head = {
            "format": FORMAT,
            "key": self.public.hex(),
            "first": log.first,
            "before": log.before.hex(),
        }
        first_line = json.dumps(head, separators=(",", ":")).encode()
        signature = self._key.sign(_signed_hash(first_line, log.head, log.last, now_s))
        end = {
            "last": log.last,
            "chain": log.head.hex(),
            "time": now_s,
            "signature": signature.hex(),
        }
        last_line = json.dumps(end, separators=(",", ":")).encode()
        return b"".join(line + b"\n" for line in (first_line, *log.entries, last_line))


def fingerprint(public: bytes) -> str:
    """Return how a log's key is shown to people: four groups of four hex digits."""
    text = hashlib.sha256(_KEY_LABEL + public).hexdigest()[:16].upper()
    return "-".join(text[i : i + 4] for i in range(0, 16, 4))


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """An export whose chain and signature hold."""

    key: bytes
    log: AuditLog
    time_s: int
    "When it was exported, by the device's clock."

    @property
    def fingerprint(self) -> str:
        """Of the key: compare it with the one on the device's screen."""
        return fingerprint(self.key)


def verify_untrusted(data: bytes, *, key_fingerprint: str | None = None) -> VerifiedLog:
    """Read an export and check its form, chain, seal and signature.

    Args:
        data: the file, at most MAX_LOG_BYTES.
        key_fingerprint: of the key that must have signed it; None to take the one in the file.

    Raises:
        AuditKeyError: another key signed it.
        AuditSignatureError: the signature does not hold.
        AuditLogError: anything else does not hold.
    """
    if len(data) > MAX_LOG_BYTES or not data.endswith(b"\n"):
        raise AuditLogError("too long, or cut off")
    first_line, *lines, last_line = data[:-1].split(b"\n") if b"\n" in data[:-1] else _fail()
    head = _read_object(first_line, {"format", "key", "first", "before"})
    end = _read_object(last_line, {"last", "chain", "time", "signature"})
    if head["format"] != FORMAT:
        raise AuditLogError("another format")
    key, before = _hash(head["key"]), _hash(head["before"])
    first, last, time_s = _number(head["first"]), _number(end["last"]), _number(end["time"])
    if first < 1 or len(lines) > MAX_ENTRIES + 1 or last != first + len(lines) - 1:
        raise AuditLogError("entries are missing, or there are more than were signed")
    value, newest_s = before, 0
    sealed: tuple[Value, Value] = (0, START.hex())
    for number, line in enumerate(lines, start=first):
        entry = _read_entry(line)
        if entry.number != number or entry.time_s < newest_s:
            raise AuditLogError("entries are not in order")
        if entry.kind == LOG_SEALED:
            sealed = (entry.facts.get("through", -1), entry.facts.get("chain", ""))
        value, newest_s = chain(value, line), entry.time_s
    if value.hex() != end["chain"]:
        raise AuditLogError("the chain does not hold")
    if sealed != (first - 1, before.hex()):
        raise AuditLogError("the log does not begin where it was sealed off")
    if newest_s > time_s:
        raise AuditLogError("entries are later than the signature")
    _check_signature(key, end["signature"], _signed_hash(first_line, value, last, time_s))
    if key_fingerprint is not None and fingerprint(key) != key_fingerprint.strip().upper():
        raise AuditKeyError("another key")
    return VerifiedLog(key, AuditLog(tuple(lines), first, before, value, newest_s), time_s)


def check_extends(earlier: VerifiedLog, later: VerifiedLog) -> None:
    """Check that a later export goes on from an earlier one of the same device.

    Raises:
        AuditKeyError: they are of different devices or seeds.
        AuditRewrittenError: the later one is shorter, or tells the common part differently.
        AuditLogError: entries between the two were sealed off, so it cannot be told.
    """
    if earlier.key != later.key:
        raise AuditKeyError("another key")
    old, new = earlier.log, later.log
    if new.last < old.last or later.time_s < earlier.time_s:
        raise AuditRewrittenError("the later log is older")
    if new.first - 1 > old.last:
        raise AuditLogError("entries between the two logs are in neither")
    if (
        _chain_at(new, max(new.first - 1, old.first - 1))
        != _chain_at(old, max(new.first - 1, old.first - 1))
        or _chain_at(new, old.last) != old.head
    ):
        raise AuditRewrittenError("the common part differs")


def _chain_at(log: AuditLog, number: int) -> bytes | None:
    """Return the chain value after an entry, or None when the log does not reach back to it."""
    if number < log.first - 1:
        return None
    value = log.before
    for line in log.entries[: number - log.first + 1]:
        value = chain(value, line)
    return value


def _signed_hash(first_line: bytes, head: bytes, last: int, time_s: int) -> bytes:
    numbers = last.to_bytes(8, "big") + time_s.to_bytes(8, "big")
    return hashlib.sha256(_LOG_LABEL + first_line + head + numbers).digest()


def _check_signature(key: bytes, signature: Value, digest: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not isinstance(signature, str) or _SIGNATURE.fullmatch(signature) is None:
        raise AuditLogError("not a signature")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signature), digest)
    except (InvalidSignature, ValueError):
        raise AuditSignatureError("the signature does not verify") from None


def _fail() -> NoReturn:
    raise AuditLogError("not a log")


def _read_object(line: bytes, names: set[str] | None) -> dict[str, Value]:
    """Read one line: a flat object of texts, whole numbers and lists of texts, written our way."""
    if not 0 < len(line) <= MAX_LINE_BYTES or not line.isascii():
        raise AuditLogError("a line is empty or too long")
    try:
        content = json.loads(line, parse_float=_fail_on, parse_constant=_fail_on)
    except (ValueError, RecursionError):
        raise AuditLogError("a line is not JSON") from None
    if not isinstance(content, dict) or len(content) > _MAX_FIELDS:
        raise AuditLogError("a line is not an object")
    if not all(_NAME.fullmatch(name) and _is_value(value) for name, value in content.items()):
        raise AuditLogError("a field cannot stand in a log")
    if names is not None and set(content) != names:
        raise AuditLogError("fields are missing, or there are others")
    if json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode() != line:
        raise AuditLogError("a line is not written in the one way")
    return content


def _read_entry(line: bytes) -> Entry:
    content = _read_object(line, None)
    number, time_s = _number(content.pop("n", None)), _number(content.pop("time", None))
    kind = content.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise AuditLogError("an entry of an unknown kind")
    return Entry(number, time_s, kind, content)


def _fail_on(text: str) -> NoReturn:
    raise AuditLogError("a number is not whole")


def _is_value(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _number(value: Value | None) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX_NUMBER:
        raise AuditLogError("a number is missing or out of range")
    return value


def _hash(value: Value) -> bytes:
    if not isinstance(value, str) or _HASH.fullmatch(value) is None:
        raise AuditLogError("not a hash")
    return bytes.fromhex(value)
