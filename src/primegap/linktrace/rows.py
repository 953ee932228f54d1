"""What both pictures share: rows of the diagram, with long runs drawn as one, and its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.linktrace.story import Lane, Level, Message, Note, Story

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_RUN: Final = 4
"Session records one after the other in one direction, from which they are drawn as one arrow."


@dataclass(frozen=True, slots=True)
class Arrow:
    """One or more records in one direction."""

    messages: tuple[Message, ...]

    @property
    def first(self) -> Message:
        """The record that the arrow begins with."""
        return self.messages[0]

    @property
    def sender(self) -> Lane:
        """Where it starts."""
        return self.first.sender

    @property
    def title(self) -> str:
        """A few words upon the arrow."""
        if len(self.messages) == 1:
            return self.first.kind
        return f"{len(self.messages):,} records"

    @property
    def weight(self) -> str:
        """How much went over the air."""
        size = sum(message.size for message in self.messages)
        packets = sum(message.packets for message in self.messages)
        amount = f"{size:,} B" if size < 100_000 else f"{size / 1000:,.0f} kB"
        return f"{amount} in {packets:,} packet{'' if packets == 1 else 's'}"

    @property
    def remark(self) -> str:
        """What to know about it."""
        first, last = self.first, self.messages[-1]
        if first.is_handshake:
            words = [f"handshake {first.handshake_id}"]
            words += [
                f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
                for name, value in first.details
                if name in {"window", "cut in", "bytes too many"}
            ]
        elif first is last:
            words = [f"record {first.seq}"]
        else:
            words = [f"records {first.seq} to {last.seq}"]
        if first.suite is None:
            words.append(f"unknown version 0x{first.version:02x}")
        took_s = sum(message.took_s or 0.0 for message in self.messages)
        if took_s >= 0.0005:
            words.append(f"{took_s * 1000:,.0f} ms on the air")
        return " · ".join(words)


def rows(story: Story, *, every_record: bool = False) -> Iterator[Arrow | Note]:
    """Return the rows of the diagram.

    Args:
        story: to be drawn.
        every_record: draw each record, however many there are in a row.
    """
    run: list[Message] = []
    for step in story.steps:
        fits = isinstance(step, Message) and not step.is_handshake
        if run and not (
            fits and isinstance(step, Message) and _continues(run[-1], step) and not every_record
        ):
            yield from _drawn(run)
            run = []
        if isinstance(step, Note):
            yield step
        elif fits:
            run.append(step)
        else:
            yield Arrow((step,))
    yield from _drawn(run)


def _continues(last: Message, step: Message) -> bool:
    return (last.sender, last.version) == (step.sender, step.version)


def _drawn(run: list[Message]) -> Iterator[Arrow]:
    if len(run) >= SHORTEST_RUN:
        yield Arrow(tuple(run))
    else:
        yield from (Arrow((message,)) for message in run)


def summary(story: Story) -> list[tuple[str, str, Level]]:
    """Return a few lines about the whole: a name, a sentence, and how it went."""
    lines: list[tuple[str, str, Level]] = []
    for name, sums in zip(story.lanes, story.traffic(), strict=True):
        text = f"{sums.records:,} records, {sums.record_bytes:,} bytes, {sums.packets:,} packets"
        if sums.repeated_seq:
            text += f", {sums.repeated_seq:,} repeated or overtaken"
        lines.append((f"{name} sent", text, Level.INFO))
    for run in story.handshakes():
        who = story.lanes[run.initiator].lower()
        if run.took_s is None:
            text, level = f"started by {who}, not completed", Level.BAD
        else:
            took = f"{run.took_s * 1000:,.0f} ms, {run.size:,} bytes in {run.messages} messages"
            text, level = f"started by {who}, {took}", Level.GOOD
        lines.append((f"{run.pattern} handshake", text, level))
    bad = sum(isinstance(step, Note) and step.level is Level.BAD for step in story.steps)
    if bad:
        lines.append(("Troubles", f"{bad:,}, marked in the picture", Level.BAD))
    if story.is_cut:
        lines.append(("Not shown", "what came later: the recording is too long", Level.BAD))
    return lines


def parties(story: Story) -> tuple[str | None, str | None]:
    """Return the identifier that each side shows in its records, the last one if it changed."""
    found: list[str | None] = [None, None]
    for message in story.messages:
        for name, value in message.details:
            if name == "sender":
                found[message.sender] = str(value)
    return found[0], found[1]
