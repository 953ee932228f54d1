"""Recordings of a link: written at its edge, read again as a picture.

`TraceFile` and `TracedPort` write public facts to a file; `read_recording_untrusted` makes a
`Story` of such a file or of a btsnoop capture, which `terminal.draw` and `page.render_page` draw.
"""

from __future__ import annotations

from primegap.linktrace.errors import LinkTraceError, RemoteTraceError, TraceTooLargeError
from primegap.linktrace.reader import read_recording_untrusted
from primegap.linktrace.story import HandshakeRun, Lane, Level, Message, Note, Story, Traffic
from primegap.linktrace.writer import TracedPort, TraceFile

__all__ = [
    "HandshakeRun",
    "Lane",
    "Level",
    "LinkTraceError",
    "Message",
    "Note",
    "RemoteTraceError",
    "Story",
    "TraceFile",
    "TraceTooLargeError",
    "TracedPort",
    "Traffic",
    "read_recording_untrusted",
]
