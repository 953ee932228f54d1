"""What a recording tells: steps between two sides in the order of time, and a summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from primegap.quantumlink.records import HandshakeKind

MAX_STEPS: Final = 200_000
"Steps of one story: the rest is not read. An hour of full traffic, and 100 MB of memory."
_LAST_KINDS: Final = {"IK": HandshakeKind.IK2, "KK": HandshakeKind.KK2, "XX": HandshakeKind.XX4}


class Lane(IntEnum):
    """Who: the life lines of the diagram."""

    LEFT = 0
    "Companion, or the side that wrote the trace."
    RIGHT = 1
    "Device, or the other side."

    @property
    def other(self) -> Lane:
        """The opposite side."""
        return Lane.LEFT if self is Lane.RIGHT else Lane.RIGHT


class Level(StrEnum):
    """How much a note matters."""

    INFO = "info"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A record that went from one side to the other."""

    at_s: float
    "When its last packet passed, in seconds from the start."
    sender: Lane
    kind: str
    "`XX1` to `KK2`, or `session`."
    size: int
    "Bytes of the record."
    packets: int
    "Packets that carried it, repetitions included."
    took_s: float | None = None
    "From its first packet to its last."
    suite: str | None
    "None when the version byte belongs to no suite."
    version: int
    handshake_id: int | None = None
    seq: int | None = None
    details: tuple[tuple[str, str | int], ...] = ()
    "Everything else that the header shows in clear."

    @property
    def is_handshake(self) -> bool:
        """Whether it belongs to a handshake."""
        return self.kind != "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that happened on one side, or between both."""

    at_s: float
    lane: Lane | None
    "None: on the link itself."
    text: str
    level: Level = Level.INFO


@dataclass(slots=True)
class Traffic:
    """Sums of one direction."""

    records: int = 0
    record_bytes: int = 0
    packets: int = 0
    highest_seq: int | None = None
    repeated_seq: int = 0
    "Records whose number was not above all earlier ones of the session: repeated or overtaken."


@dataclass(slots=True)
class HandshakeRun:
    """One attempt, from its first message."""

    pattern: str
    handshake_id: int
    initiator: Lane
    began_s: float
    took_s: float | None = None
    "Until the last message of the pattern passed; None when it did not."
    messages: int = 1
    size: int = 0


@dataclass(slots=True)
class Story:
    """A whole recording."""

    source: str
    "`trace` or `capture`."
    lanes: tuple[str, str]
    "Names of the two sides."
    steps: list[Message | Note] = field(default_factory=list)
    is_cut: bool = False
    "More happened than `MAX_STEPS`."

    def add(self, step: Message | Note) -> None:
        """Put the next step, if there is room."""
        if len(self.steps) < MAX_STEPS:
            self.steps.append(step)
        else:
            self.is_cut = True

    @property
    def messages(self) -> list[Message]:
        """The records alone."""
        return [step for step in self.steps if isinstance(step, Message)]

    @property
    def duration_s(self) -> float:
        """Time of the last step."""
        return self.steps[-1].at_s if self.steps else 0.0

    def traffic(self) -> tuple[Traffic, Traffic]:
        """Return the sums of what the left and the right side sent."""
        sums = (Traffic(), Traffic())
        for message in self.messages:
            lane = sums[message.sender]
            lane.records += 1
            lane.record_bytes += message.size
            lane.packets += message.packets
            if message.is_handshake:
                lane.highest_seq = None  # numbers start again with the next session
            elif message.seq is not None:
                if lane.highest_seq is not None and message.seq <= lane.highest_seq:
                    lane.repeated_seq += 1
                lane.highest_seq = max(message.seq, lane.highest_seq or 0)
        return sums

    def handshakes(self) -> list[HandshakeRun]:
        """Return the attempts in the order of their beginnings."""
        runs: list[HandshakeRun] = []
        for message in self.messages:
            if not message.is_handshake or message.handshake_id is None:
                continue
            pattern, number = message.kind[:2], int(message.kind[2:])
            if number == 1:
                run = HandshakeRun(pattern, message.handshake_id, message.sender, message.at_s)
                run.size = message.size
                runs.append(run)
                continue
            initiator = message.sender if number % 2 else message.sender.other
            for run in reversed(runs[-8:]):  # an answer to something older is nobody's
                if (run.pattern, run.handshake_id, run.initiator) == (
                    pattern,
                    message.handshake_id,
                    initiator,
                ):
                    run.messages += 1
                    run.size += message.size
                    if message.kind == _LAST_KINDS[pattern].name and run.took_s is None:
                        run.took_s = message.at_s - run.began_s
                    break
        return runs

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "source": self.source,
            "lanes": list(self.lanes),
            "duration_s": round(self.duration_s, 6),
            "cut": self.is_cut,
            "traffic": {
                name: {
                    "records": sums.records,
                    "bytes": sums.record_bytes,
                    "packets": sums.packets,
                    "repeated_or_overtaken": sums.repeated_seq,
                }
                for name, sums in zip(self.lanes, self.traffic(), strict=True)
            },
            "handshakes": [
                {
                    "pattern": run.pattern,
                    "handshake_id": run.handshake_id,
                    "initiator": self.lanes[run.initiator],
                    "began_s": round(run.began_s, 6),
                    "took_s": None if run.took_s is None else round(run.took_s, 6),
                    "messages": run.messages,
                    "bytes": run.size,
                }
                for run in self.handshakes()
            ],
            "steps": [self._step(step) for step in self.steps],
        }

    def _step(self, step: Message | Note) -> dict[str, Any]:
        if isinstance(step, Note):
            where = None if step.lane is None else self.lanes[step.lane]
            return {
                "t": round(step.at_s, 6),
                "note": step.text,
                "where": where,
                "level": step.level.value,
            }
        return {
            "t": round(step.at_s, 6),
            "from": self.lanes[step.sender],
            "to": self.lanes[step.sender.other],
            "kind": step.kind,
            "version": step.version,
            "suite": step.suite,
            "handshake_id": step.handshake_id,
            "seq": step.seq,
            "bytes": step.size,
            "packets": step.packets,
            "took_s": None if step.took_s is None else round(step.took_s, 6),
            **dict(step.details),
        }
