"""The story of a trace file, and the choice between the two kinds of recordings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from primegap.linktrace.btsnoop import MAGIC
from primegap.linktrace.capture import read_capture_untrusted
from primegap.linktrace.errors import RemoteTraceError, TraceTooLargeError
from primegap.linktrace.facts import Fact, clean_fact
from primegap.linktrace.headers import suite_name
from primegap.linktrace.story import Lane, Level, Message, Note, Story
from primegap.linktrace.writer import FIRST_LINE, SIDES

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RECORDING_BYTES: Final = 256 << 20
"A recording is held in memory; four times the largest trace that is written."
MAX_LINE_BYTES: Final = 1024
"Longest line of a trace; ours have at most 200 bytes."

_LANES: Final = {
    None: ("This side", "Other side"),
    "companion": ("Companion", "Device"),
    "device": ("Device", "Companion"),
}
_WORDS: Final = {
    "session-candidate": "session made, peer not proven",
    "session-proven": "peer has proved its keys",
    "work-refused": "one handshake too many, ignored",
    "record-replayed": "record seen before, dropped",
    "record-lost": "record lost, to be sent again",
    "file-full": "the trace ends here: its file is full",
}
"Facts whose name alone tells a reader too little."
_BETWEEN: Final = {"session-connected", "session-proven", "session-closed", "unpaired"}
_GOOD: Final = {"session-connected", "session-proven", "port-opened"}
_BAD: Final = {
    "record-lost",
    "record-replayed",
    "protocol-violation",
    "wire-refused",
    "packet-refused",
    "handshake-timed-out",
    "work-refused",
    "file-full",
}


def read_recording_untrusted(data: bytes) -> Story:
    """Return the story of a recording of either kind.

    Raises:
        RemoteTraceError: it is neither.
        TraceTooLargeError: above `MAX_RECORDING_BYTES`.
    """
    if len(data) > MAX_RECORDING_BYTES:
        raise TraceTooLargeError(f"a recording has at most {MAX_RECORDING_BYTES} bytes")
    if data.startswith(MAGIC):
        return read_capture_untrusted(data)
    return read_trace_untrusted(data)


def facts_untrusted(data: bytes) -> Iterator[Fact]:
    """Return the facts of a trace file; lines that the allow-list does not know are passed over.

    A last line without its end is passed over as well: the writer died in it.

    Raises:
        RemoteTraceError: not such a file.
    """
    lines = data.split(b"\n")
    _side(lines[0])
    for text in lines[1:-1]:
        line = _line(text)
        now_s, name = line.pop("t", None), line.pop("fact", None)
        if (
            isinstance(now_s, (int, float))
            and not isinstance(now_s, bool)
            and isinstance(name, str)
        ):
            fact = clean_fact(name, now_s, line)
            if fact is not None:
                yield fact


def _side(text: bytes) -> str | None:
    """Return whose trace it is, from the first line.

    Raises:
        RemoteTraceError: not the first line of a trace.
    """
    line = _line(text)
    side = line.pop("side", None)
    if line != FIRST_LINE or side not in (None, *SIDES):
        raise RemoteTraceError("the file is neither a trace of a link nor a capture")
    return None if side is None else str(side)


def _line(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_LINE_BYTES:
        raise RemoteTraceError("a line of the trace is too long")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise RemoteTraceError("a line of the trace is not JSON") from None
    if not isinstance(value, dict):
        raise RemoteTraceError("a line of the trace is no object")
    return value


def read_trace_untrusted(data: bytes) -> Story:
    """Return the story of a trace file. Time counts from its first fact.

    Raises:
        RemoteTraceError: not such a file.
    """
    story = Story("trace", _LANES[_side(data.split(b"\n", 1)[0])])
    first_s: float | None = None
    at_s = 0.0
    for fact in facts_untrusted(data):
        if first_s is None:
            first_s = fact.at_s
        at_s = max(at_s, fact.at_s - first_s)
        step = _step(fact, at_s)
        if step is not None:
            story.add(step)
        if story.is_cut:
            break
    return story


def _step(fact: Fact, at_s: float) -> Message | Note | None:
    if fact.name in {"wire-sent", "wire-received"}:
        return _message(fact, at_s)
    if fact.name in {"record-sent", "record-received"}:
        return None  # the wire's own facts tell the same, and more
    level = Level.INFO
    if fact.name in _GOOD:
        level = Level.GOOD
    elif fact.name in _BAD:
        level = Level.BAD
    words = [_WORDS.get(fact.name, fact.name.replace("-", " "))]
    words += [f"{name} {value}" for name, value in fact.values]
    lane = None if fact.name in _BETWEEN else Lane.LEFT
    return Note(at_s=at_s, lane=lane, text=", ".join(words), level=level)


def _whole(fact: Fact, name: str) -> int | None:
    value = fact.get(name)
    return value if isinstance(value, int) else None


def _message(fact: Fact, at_s: float) -> Message | None:
    kind, version, size = fact.get("kind"), _whole(fact, "version"), _whole(fact, "size")
    handshake_id, seq = _whole(fact, "handshake"), _whole(fact, "seq")
    if not isinstance(kind, str) or version is None or size is None:
        return None  # a line that somebody shortened
    if (seq if kind == "session" else handshake_id) is None:
        return None
    return Message(
        at_s=at_s,
        sender=Lane.LEFT if fact.name == "wire-sent" else Lane.RIGHT,
        kind=kind,
        size=size,
        packets=_whole(fact, "packets") or 0,
        suite=suite_name(version),
        version=version,
        handshake_id=handshake_id,
        seq=seq,
    )
