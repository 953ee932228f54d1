"""The allow-list: which facts may stand in a trace file, and what each of their values may be.

A value gets through by its type alone. There is no type for bytes or for free text: a number is
bounded by its meaning, a word comes from a closed list that the program itself knows. Whatever is
not on the list is left out, so a fact added to the engine in a hurry cannot carry a key, a token, a
name or plain text into a file. Nothing is masked or shortened, because what is masked today is
shown tomorrow.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from primegap.btp import MAX_RECORD_BYTES, BtpError
from primegap.quantumlink.aio import errors as aio_errors
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.frames import CloseCode
from primegap.quantumlink.records import HandshakeKind
from primegap.quantumlink.session import errors as session_errors
from primegap.quantumlink.suite import SUITES, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = int | float | str | bool
"What a field of a fact can hold in the file."

MAX_U32: Final = (1 << 32) - 1
MAX_U64: Final = (1 << 64) - 1
MAX_TIME_S: Final = 1e9
"Thirty years; clocks start at boot, and a larger number is no time."
_MODULES_WITH_ERRORS: Final = (aio_errors, session_errors)
"Imported for the classes they define, see `_error_codes`."


class Field(Protocol):
    """The type of one value."""

    def clean(self, value: object) -> Value | None:
        """Return the value as it may stand in a file, or None when it may not."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from 0 to `maximum`."""

    maximum: int

    def clean(self, value: object) -> Value | None:
        """Return the number if it is one and within its bound."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= self.maximum:
            return int(value)
        return None


@dataclass(frozen=True, slots=True)
class Word:
    """One of a closed list of words."""

    words: frozenset[str]

    def clean(self, value: object) -> Value | None:
        """Return the word if it is on the list, as a plain string."""
        return str(value) if isinstance(value, str) and value in self.words else None


class _ErrorCode:
    """The code of one of the link's own error classes."""

    def clean(self, value: object) -> Value | None:
        return value if isinstance(value, str) and value in _error_codes() else None


class _CloseWord:
    """Why a session was closed. The wire's number is the peer's free choice, so only known ones."""

    _NAMES: Final = MappingProxyType({int(code): code.name.lower() for code in CloseCode})
    _OTHER: Final = "other"

    def clean(self, value: object) -> Value | None:
        if isinstance(value, str):  # out of a file
            return value if value == self._OTHER or value in self._NAMES.values() else None
        if isinstance(value, int) and not isinstance(value, bool):
            return self._NAMES.get(int(value), self._OTHER)
        return None


def _family(root: type[Exception]) -> Iterator[str]:
    yield getattr(root, "code")  # noqa: B009 - both roots have it, `Exception` does not
    for child in root.__subclasses__():
        yield from _family(child)


@functools.cache
def _error_codes() -> frozenset[str]:
    return frozenset([*_family(QuantumLinkError), *_family(BtpError)])


_SEQ: Final = Whole(MAX_U64)
"Record numbers travel in clear."
_BYTES: Final = Whole(MAX_RECORD_BYTES)
_REASON: Final = _ErrorCode()
_WIRE_RECORD: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "kind": Word(frozenset([kind.name for kind in HandshakeKind] + ["session"])),
        "version": Whole(0xFF),
        "handshake": Whole(MAX_U32),
        "seq": _SEQ,
        "size": _BYTES,
        "packets": Whole(MAX_RECORD_BYTES),
    }
)

FACTS: Final[Mapping[str, Mapping[str, Field]]] = MappingProxyType(
    {
        # of the engine
        "engine-created": {"suite": Word(frozenset(suite.name for suite in SUITES))},
        "handshake-started": {"pattern": Word(frozenset(Pattern))},
        "handshake-timed-out": {},
        "work-refused": {},
        "session-candidate": {},
        "session-connected": {},
        "session-proven": {},
        "session-closed": {"code": _CloseWord()},
        "unpaired": {},
        "record-sent": {"seq": _SEQ, "size": _BYTES},
        "record-received": {"seq": _SEQ, "body": _BYTES},
        "record-replayed": {"seq": _SEQ},
        "record-lost": {"seq": _SEQ},
        "protocol-violation": {"reason": _REASON},
        # of a traced port
        "port-opened": {},
        "port-closed": {},
        "wire-sent": _WIRE_RECORD,
        "wire-received": _WIRE_RECORD,
        "wire-refused": {"reason": _REASON, "size": _BYTES},
        "packet-refused": {"reason": _REASON},
        # of the file itself
        "file-full": {},
    }
)
"Fact -> its fields -> their types."


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a trace file, with nothing in it but what the list allows."""

    at_s: float
    "Seconds on the recorder's clock."
    name: str
    values: tuple[tuple[str, Value], ...]

    def get(self, field: str) -> Value | None:
        """Return a value, or None when it is not there."""
        return dict(self.values).get(field)


def clean_fact(name: str, now_s: float, values: Mapping[str, object]) -> Fact | None:
    """Return the fact as it may be written, or None when the list does not know it.

    Values that the list does not know, or whose type does not fit, are left out one by one.
    """
    fields = FACTS.get(name)
    if fields is None or not math.isfinite(now_s) or not 0 <= now_s <= MAX_TIME_S:
        return None
    kept = []
    for field, kind in fields.items():
        value = kind.clean(values[field]) if field in values else None
        if value is not None:
            kept.append((field, value))
    return Fact(now_s, name, tuple(kept))
