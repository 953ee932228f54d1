"""The sequence diagram in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from primegap.linktrace.rows import Arrow, parties, rows, summary
from primegap.linktrace.story import Lane, Level, Note

if TYPE_CHECKING:
    from rich.console import Console

    from primegap.linktrace.story import Story

MIN_WIDTH: Final = 60
MAX_WIDTH: Final = 132
_TIME: Final = 10
_QID_DIGITS: Final = 8
_STYLES: Final = {Level.INFO: "dim", Level.GOOD: "green", Level.BAD: "bold red"}


def draw(story: Story, console: Console, *, every_record: bool = False) -> None:
    """Draw a story.

    Args:
        story: what to draw.
        console: where to.
        every_record: draw each record, however many there are in a row.
    """
    width = max(MIN_WIDTH, min(console.width, MAX_WIDTH))
    space = min(48, max(44, (width - _TIME) * 2 // 5))
    console.print(_heads(story, space), no_wrap=True, overflow="crop")
    for row in rows(story, every_record=every_record):
        line = _note(row, space) if isinstance(row, Note) else _arrow(row, space)
        console.print(line, no_wrap=True, overflow="ellipsis", width=width)
    if not story.steps:
        console.print(Text("nothing of the link in this recording", style="dim"))
    table = Table.grid(padding=(0, 2))
    for name, text, level in summary(story):
        table.add_row(Text(name, style="bold"), Text(text, style=_STYLES[level]))
    console.print()
    console.print(table)


def _heads(story: Story, space: int) -> Text:
    names = []
    for name, qid in zip(story.lanes, parties(story), strict=True):
        names.append(name if qid is None else f"{name} {qid[:_QID_DIGITS]}…")
    line = Text(" " * _TIME)
    gap = space + 2 - len(names[0]) - len(names[1])
    line.append(names[0], style="bold")
    line.append(" " * max(1, gap))
    line.append(names[1], style="bold")
    return line


def _start(at_s: float) -> Text:
    return Text(f"{at_s:>{_TIME - 2}.3f}  ", style="dim")


def _arrow(arrow: Arrow, space: int) -> Text:
    label = f" {arrow.title}  {arrow.weight} "
    style = "yellow" if arrow.first.is_handshake else "cyan"
    if arrow.first.suite is None:
        style = "bold red"
    shaft = max(2, space - len(label) - 2)
    line = _start(arrow.first.at_s)
    if arrow.sender is Lane.LEFT:
        drawn = f"├─{label}{'─' * (shaft - 1)}▶│"
    else:
        drawn = f"│◀{'─' * (shaft - 1)}{label}─┤"
    line.append(drawn, style=style)
    line.append(f"  {arrow.remark}", style="dim")
    return line


def _note(note: Note, space: int) -> Text:
    line = _start(note.at_s)
    style = _STYLES[note.level]
    room = space - 2
    text = note.text if len(note.text) <= room else f"{note.text[: room - 1]}…"
    line.append("│", style="dim")
    if note.lane is None:
        line.append(f"{f' {text} ':·^{space}}", style=style)
    elif note.lane is Lane.LEFT:
        line.append(f"{f' {text}':<{space}}", style=style)
    else:
        line.append(f"{f'{text} ':>{space}}", style=style)
    line.append("│", style="dim")
    return line
