"""The sequence diagram as a page: one file, nothing to be loaded, no script."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from primegap.linktrace.rows import Arrow, parties, rows, summary
from primegap.linktrace.story import Lane, Level, Message, Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.linktrace.story import Story

MAX_ROWS: Final = 5000
"Rows of a page: more than anybody scrolls through, and what a browser draws at once."
_MAX_LISTED: Final = 200
"Records of one arrow that are listed when it is opened."


def render_page(story: Story, *, title: str, look: str, every_record: bool = False) -> str:
    """Return the page as HTML.

    Args:
        story: what to draw.
        title: its headline.
        look: the style sheet that all our pages share.
        every_record: draw each record, however many there are in a row.
    """
    body = "".join(_body(story, every_record=every_record))
    headline = escape(title)
    style = look + (files(__package__) / "page.css").read_text(encoding="utf-8")
    source = "Trace of one side" if story.source == "trace" else "Bluetooth capture"
    lines = "".join(
        f'<dt>{escape(name)}</dt><dd class="{level}">{escape(text)}</dd>'
        for name, text, level in summary(story)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{headline}</title><style>{style}</style></head>\n<body><main>"
        f'<h1>{headline}</h1><p class="lead">{source}, {story.duration_s:,.1f} s. '
        "Open a row to see everything its header shows in clear; the rest is sealed.</p>"
        f'<dl class="summary">{lines}</dl>\n{body}</main></body></html>\n'
    )


def _body(story: Story, *, every_record: bool) -> Iterator[str]:
    heads = "".join(
        f"<div><b>{escape(name)}</b>{'' if qid is None else f'<code>{escape(qid)}</code>'}</div>"
        for name, qid in zip(story.lanes, parties(story), strict=True)
    )
    yield f'<div class="lanes"><div class="heads"><span></span><div>{heads}</div></div>\n'
    for number, row in enumerate(rows(story, every_record=every_record)):
        if number == MAX_ROWS:
            yield _note(Note(at_s=story.duration_s, lane=None, text="and so on", level=Level.INFO))
            break
        yield _note(row) if isinstance(row, Note) else _arrow(row, story)
    yield "</div>"


def _time(at_s: float) -> str:
    return f"<time>{at_s:.3f} s</time>"


def _note(note: Note) -> str:
    side = "link" if note.lane is None else note.lane.name.lower()
    text = escape(note.text)
    return (
        f'<div class="note {note.level} at-{side}">{_time(note.at_s)}'
        f'<div class="between">{text}</div></div>\n'
    )


def _arrow(arrow: Arrow, story: Story) -> str:
    kind = "handshake" if arrow.first.is_handshake else "session"
    if arrow.first.suite is None:
        kind = "unknown"
    towards = "right" if arrow.sender is Lane.LEFT else "left"
    detail = _one(arrow.first, story) if len(arrow.messages) == 1 else _many(arrow.messages)
    return (
        f'<details class="row {kind} {towards}"><summary>{_time(arrow.first.at_s)}'
        f'<div class="between"><div class="words"><b>{escape(arrow.title)}</b>'
        f"<span>{escape(arrow.weight)}</span>"
        f'<span class="muted">{escape(arrow.remark)}</span></div>'
        f'<div class="arrow"></div></div></summary><div class="detail">{detail}</div></details>\n'
    )


def _one(message: Message, story: Story) -> str:
    suite = message.suite or "unknown"
    fields: list[tuple[str, str]] = [
        ("from", story.lanes[message.sender]),
        ("to", story.lanes[message.sender.other]),
        ("version", f"0x{message.version:02x}, suite {suite}"),
    ]
    if message.handshake_id is not None:
        fields.append(("handshake id", str(message.handshake_id)))
    if message.seq is not None:
        fields.append(("record number", str(message.seq)))
    fields += [("bytes", f"{message.size:,}"), ("packets", f"{message.packets:,}")]
    for name, value in message.details:
        fields.append((name, f"{value:,}" if isinstance(value, int) else value))
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in fields
    )
    return f"<table>{lines}</table>"


def _many(messages: tuple[Message, ...]) -> str:
    lines = "".join(
        f"<tr><td>{message.at_s:.3f} s</td><td>{message.seq}</td><td>{message.size:,}</td>"
        f"<td>{message.packets:,}</td></tr>"
        for message in messages[:_MAX_LISTED]
    )
    rest = len(messages) - _MAX_LISTED
    more = f"<p>and {rest:,} more</p>" if rest > 0 else ""
    head = "<tr><th>time</th><th>record</th><th>bytes</th><th>packets</th></tr>"
    return f"<table>{head}{lines}</table>{more}"
