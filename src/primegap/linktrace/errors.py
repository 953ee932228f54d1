"""What can be wrong with a file that is to be shown."""

from __future__ import annotations

from typing import ClassVar


class LinkTraceError(Exception):
    """Root of every error raised in this package."""

    code: ClassVar[str] = "link-trace"
    "Stable public code: JSON output, exit status, documentation."
    hint: ClassVar[str] = "The trace of the link could not be used."
    "A sentence for a person."


class RemoteTraceError(LinkTraceError):
    """The file does not hold what it should; files are untrusted data like any other."""

    code = "link-trace-file"
    hint = "Give a trace file (JSON lines) or a capture in the btsnoop format (data link H4 or H1)."


class TraceTooLargeError(RemoteTraceError):
    """The file is larger than what is worth drawing."""

    code = "link-trace-too-large"
    hint = "Make a shorter recording: a picture of so much traffic helps nobody."
